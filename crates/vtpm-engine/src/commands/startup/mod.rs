//! Startup and shutdown: Part 3, clause 9.

pub(crate) mod shutdown;
#[allow(clippy::module_inception, reason = "the command has the chapter's name")]
pub(crate) mod startup;
