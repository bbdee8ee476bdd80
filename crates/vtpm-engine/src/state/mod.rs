//! Saved state.

pub(crate) mod context;
pub(crate) mod object;
pub(crate) mod record;
pub(crate) mod session;
