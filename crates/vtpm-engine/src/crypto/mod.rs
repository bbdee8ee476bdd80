//! The one place where the TPM touches cryptographic libraries.
//!
//! Hashes and the AES block come from RustCrypto, because the state of a hash sequence has to be
//! saved and moved with its machine. RSA and elliptic curves come from AWS-LC through the
//! `openssl` crate, which is constant time and several times faster. What the TPM builds on top of
//! them (HMAC, KDFs, CMAC, the random bit generator, paddings, signature schemes) is here.
//!
//! ```text
//!   hash -> hmac -> kdf -> sym          limbs -> rsa (keygen, padding)
//!           aes  -> cmac, drbg, sym     limbs -> ecc (curve, schemes)
//! ```
//!
//! Architecture Invariant: nothing here knows a TPM structure, a handle or a response code. Numbers
//! are big-endian byte strings: leading zeros are accepted, results are padded to the size of the
//! field, the order or the modulus.
//!
//! Architecture Invariant: whatever is random comes from an [`Rng`] that the caller passes, so a
//! run of the engine can be replayed. There are two exceptions, both inside AWS-LC and both without
//! influence on a key: the nonce of an ECDSA signature and the blinding of RSA. A constant-time
//! signature in a reviewed library is worth more than the replay of a nonce.

pub mod cmac;
pub mod drbg;
pub mod ecc;
pub mod hash;
pub mod hmac;
pub mod kdf;
mod limbs;
pub mod rsa;
pub mod sym;
#[cfg(test)]
mod test_util;

/// A source of random bytes.
///
/// The engine hands in its DRBG for random values and a seeded one for keys that are derived from
/// a hierarchy's seed.
pub trait Rng {
    /// Fills `out` with the next bytes of the source.
    fn fill(&mut self, out: &mut [u8]);
}

/// Why a cryptographic operation gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A length does not fit: a key size that the algorithm lacks, a message too long for the
    /// padding, data that is no multiple of the block size.
    #[error("a length does not fit the algorithm")]
    Size,
    /// The digest of this hash algorithm is too long for the key.
    #[error("the hash algorithm is too long for the key")]
    HashTooLong,
    /// A number is not in the range that the operation allows, such as an RSA input that is not
    /// below the modulus.
    #[error("a number is out of range")]
    OutOfRange,
    /// The parts of a key contradict each other, or are no key at all.
    #[error("the parts of the key do not belong together")]
    InvalidKey,
    /// The point is not on the curve.
    #[error("the point is not on the curve")]
    InvalidPoint,
    /// The result is the point at infinity, or no suitable random value was found.
    #[error("the operation has no result")]
    NoResult,
    /// A padding is not what its scheme says.
    #[error("the padding is wrong")]
    Padding,
    /// The caller asked to stop.
    #[error("the operation was cancelled")]
    Cancelled,
    /// The library refused; its own words.
    #[error("the cryptographic library failed: {0}")]
    Library(String),
}

impl From<openssl::error::ErrorStack> for Error {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self::Library(stack.to_string())
    }
}
