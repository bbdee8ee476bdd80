//! Capability commands: Part 3, clause 30.

pub(crate) mod get_capability;
mod properties;
pub(crate) mod set_capability;
