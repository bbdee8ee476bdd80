//! Part 3, clause 11: session commands.

pub(crate) mod policy_restart;
pub(crate) mod start_auth_session;
