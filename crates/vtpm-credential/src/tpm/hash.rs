//! Hash algorithms (Part 2, clause 6.3) and HMAC.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::error::{Error, Result};

/// A hash algorithm with its `TPM_ALG_ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum HashAlg {
    /// SHA-1: for PCR banks of old logs; never accepted in a signature.
    Sha1 = 0x0004,
    /// SHA-256.
    Sha256 = 0x000b,
    /// SHA-384.
    Sha384 = 0x000c,
    /// SHA-512.
    Sha512 = 0x000d,
}

impl HashAlg {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The `TPM_ALG_ID`.
    #[must_use]
    pub fn id(self) -> u16 {
        self as u16
    }

    /// The algorithm with this `TPM_ALG_ID`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for any other.
    pub fn from_id(id: u16) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|alg| alg.id() == id);
        found.ok_or(Error::Unsupported { what: "a hash algorithm" })
    }

    /// The name that PCR banks have in tools: `sha256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// The length of a digest in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of the parts, one after the other.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn all<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().to_vec()
        }
        match self {
            Self::Sha1 => all::<sha1::Sha1>(parts),
            Self::Sha256 => all::<Sha256>(parts),
            Self::Sha384 => all::<Sha384>(parts),
            Self::Sha512 => all::<Sha512>(parts),
        }
    }

    /// HMAC of the parts, one after the other (FIPS 198-1).
    #[must_use]
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        macro_rules! mac {
            ($hash:ty) => {{
                // HMAC takes a key of any length.
                let Ok(mut mac) = Hmac::<$hash>::new_from_slice(key) else { return Vec::new() };
                parts.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha1 => mac!(sha1::Sha1),
            Self::Sha256 => mac!(Sha256),
            Self::Sha384 => mac!(Sha384),
            Self::Sha512 => mac!(Sha512),
        }
    }

    pub(crate) fn message_digest(self) -> openssl::hash::MessageDigest {
        match self {
            Self::Sha1 => openssl::hash::MessageDigest::sha1(),
            Self::Sha256 => openssl::hash::MessageDigest::sha256(),
            Self::Sha384 => openssl::hash::MessageDigest::sha384(),
            Self::Sha512 => openssl::hash::MessageDigest::sha512(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_fit_the_algorithms() {
        for alg in HashAlg::ALL {
            assert_eq!(alg.digest(&[b"a", b"bc"]).len(), alg.size());
            assert_eq!(alg.digest(&[b"a", b"bc"]), alg.digest(&[b"abc"]));
            assert_eq!(HashAlg::from_name(alg.name()), Some(alg));
            assert_eq!(HashAlg::from_id(alg.id()).unwrap(), alg);
        }
        assert!(HashAlg::from_id(0x0010).is_err());
    }

    #[test]
    fn hmac_gives_what_rfc_4231_says() {
        let mac = HashAlg::Sha256.hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert!(hex::encode(mac).starts_with("5bdcc146bf60754e6a042426089575c7"));
    }
}
