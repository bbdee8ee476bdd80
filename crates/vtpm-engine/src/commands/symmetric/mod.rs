//! Symmetric primitives: Part 3, clause 15.

pub(crate) mod encrypt_decrypt;
pub(crate) mod encrypt_decrypt_2;
pub(crate) mod hash;
pub(crate) mod mac;
