//! Ephemeral EC keys: Part 3, chapter 19.

pub(crate) mod commit;
pub(crate) mod ec_ephemeral;
