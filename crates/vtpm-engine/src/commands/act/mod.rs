//! Authenticated countdown timers: Part 3, clause 33.

pub(crate) mod act_set_timeout;
