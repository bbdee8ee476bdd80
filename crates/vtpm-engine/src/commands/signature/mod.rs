//! Signing and signature verification: Part 3, chapter 20.

pub(crate) mod sign;
pub(crate) mod verify_signature;
