//! Random number generator: Part 3, clause 16.

pub(crate) mod get_random;
pub(crate) mod stir_random;
