//! Miscellaneous management: Part 3, clause 26.

pub(crate) mod pp_commands;
pub(crate) mod set_algorithm_set;
