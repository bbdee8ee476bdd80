//! Object commands: Part 3, clause 12.

pub(crate) mod read_public;
