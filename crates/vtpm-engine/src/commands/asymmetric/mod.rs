//! Asymmetric primitives: Part 3, clause 14.

pub(crate) mod ecc_decrypt;
pub(crate) mod ecc_encrypt;
pub(crate) mod ecc_parameters;
pub(crate) mod ecdh_keygen;
pub(crate) mod ecdh_zgen;
pub(crate) mod rsa_decrypt;
pub(crate) mod rsa_encrypt;
pub(crate) mod zgen_2phase;
