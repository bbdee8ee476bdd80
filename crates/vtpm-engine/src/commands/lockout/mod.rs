//! Dictionary-attack commands: Part 3, clause 25.

pub(crate) mod dictionary_attack_lock_reset;
pub(crate) mod dictionary_attack_parameters;
