//! Hierarchy commands: Part 3, clause 24.

pub(crate) mod hierarchy_change_auth;
