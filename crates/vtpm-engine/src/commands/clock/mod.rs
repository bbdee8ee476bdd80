//! Clocks and timers: Part 3, clause 29.

pub(crate) mod clock_rate_adjust;
pub(crate) mod clock_set;
pub(crate) mod read_clock;
