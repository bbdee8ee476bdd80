//! Digests of a log's banks.

use std::fmt;

use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use crate::LogError;

/// Hash algorithm of a PCR bank: a `TPM_ALG_ID`, any value of which can be held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashAlgorithm(pub u16);

impl HashAlgorithm {
    /// `TPM_ALG_SHA1`.
    pub const SHA1: Self = Self(0x0004);
    /// `TPM_ALG_SHA256`.
    pub const SHA256: Self = Self(0x000B);
    /// `TPM_ALG_SHA384`.
    pub const SHA384: Self = Self(0x000C);
    /// `TPM_ALG_SHA512`.
    pub const SHA512: Self = Self(0x000D);
    /// `TPM_ALG_SM3_256`.
    pub const SM3_256: Self = Self(0x0012);

    /// Bytes of a digest, where this crate knows the algorithm.
    pub const fn digest_size(self) -> Option<usize> {
        match self {
            Self::SHA1 => Some(20),
            Self::SHA256 | Self::SM3_256 => Some(32),
            Self::SHA384 => Some(48),
            Self::SHA512 => Some(64),
            _ => None,
        }
    }
}

/// A digest and its algorithm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest {
    algorithm: HashAlgorithm,
    value: Vec<u8>,
}

impl Digest {
    /// A digest that was computed elsewhere.
    ///
    /// # Errors
    /// [`LogError::Digests`] if its length is not that of a known `algorithm`.
    pub fn new(algorithm: HashAlgorithm, value: &[u8]) -> Result<Self, LogError> {
        match algorithm.digest_size() {
            Some(size) if size != value.len() => Err(LogError::Digests),
            _ => Ok(Self { algorithm, value: value.to_vec() }),
        }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Its bytes.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}:", self.algorithm.0)?;
        self.value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where digests come from: this crate's software, or a TPM's `TPM2_Hash`.
pub trait DigestProvider {
    /// The digest of `data`.
    ///
    /// # Errors
    /// [`LogError::UnsupportedAlgorithm`] if `algorithm` cannot be computed.
    fn digest(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Digest, LogError>;
}

/// SHA-1, SHA-256, SHA-384 and SHA-512 in software.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftwareDigests;

impl DigestProvider for SoftwareDigests {
    fn digest(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Digest, LogError> {
        let value = match algorithm {
            HashAlgorithm::SHA1 => Sha1::digest(data).to_vec(),
            HashAlgorithm::SHA256 => Sha256::digest(data).to_vec(),
            HashAlgorithm::SHA384 => Sha384::digest(data).to_vec(),
            HashAlgorithm::SHA512 => Sha512::digest(data).to_vec(),
            HashAlgorithm(other) => return Err(LogError::UnsupportedAlgorithm(other)),
        };
        Ok(Digest { algorithm, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_digests_have_the_size_of_their_algorithm() {
        for algorithm in [
            HashAlgorithm::SHA1,
            HashAlgorithm::SHA256,
            HashAlgorithm::SHA384,
            HashAlgorithm::SHA512,
        ] {
            let digest = SoftwareDigests.digest(algorithm, b"abc").unwrap();
            assert_eq!(Some(digest.value().len()), algorithm.digest_size());
        }
        let sm3 = SoftwareDigests.digest(HashAlgorithm::SM3_256, b"abc");
        assert_eq!(sm3, Err(LogError::UnsupportedAlgorithm(0x12)));
    }

    #[test]
    fn a_digest_prints_as_algorithm_and_hexadecimal() {
        // FIPS 180-4's example "abc".
        let digest = SoftwareDigests.digest(HashAlgorithm::SHA1, b"abc").unwrap();
        assert_eq!(format!("{digest:?}"), "0x0004:a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn a_digest_of_the_wrong_length_is_refused() {
        assert_eq!(Digest::new(HashAlgorithm::SHA256, &[0; 20]), Err(LogError::Digests));
    }
}
