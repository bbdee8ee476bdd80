//! Capability commands: Part 3, clause 30.

pub(crate) mod get_capability;
pub(crate) mod properties;
pub(crate) mod set_capability;
pub(crate) mod test_parms;

#[cfg(test)]
pub(crate) use get_capability::command_attributes;
