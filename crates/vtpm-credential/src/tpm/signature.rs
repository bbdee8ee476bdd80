//! Signatures (Part 2, clause 11.3).

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use super::wire::{Put, Reader};
use super::{HashAlg, Key, PublicArea};
use crate::error::{Error, Result};

const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_ECDSA: u16 = 0x0018;

/// `TPMT_SIGNATURE`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// RSA, PKCS #1 v1.5.
    RsaSsa {
        /// The hash of the message.
        hash: HashAlg,
        /// The signature.
        bytes: Vec<u8>,
    },
    /// RSA, PSS.
    RsaPss {
        /// The hash of the message.
        hash: HashAlg,
        /// The signature.
        bytes: Vec<u8>,
    },
    /// ECDSA.
    Ecdsa {
        /// The hash of the message.
        hash: HashAlg,
        /// Big-endian.
        r: Vec<u8>,
        /// Big-endian.
        s: Vec<u8>,
    },
}

impl Signature {
    /// Reads a `TPMT_SIGNATURE`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unsupported`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a signature");
        let scheme = reader.u16()?;
        if !matches!(scheme, ALG_RSASSA | ALG_RSAPSS | ALG_ECDSA) {
            return Err(Error::Unsupported { what: "a signature" });
        }
        let hash = HashAlg::from_id(reader.u16()?)?;
        let first = reader.sized()?.to_vec();
        let signature = match scheme {
            ALG_RSASSA => Self::RsaSsa { hash, bytes: first },
            ALG_RSAPSS => Self::RsaPss { hash, bytes: first },
            _ => Self::Ecdsa { hash, r: first, s: reader.sized()?.to_vec() },
        };
        reader.finish()?;
        Ok(signature)
    }

    /// The `TPMT_SIGNATURE`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut head = |scheme: u16, hash: HashAlg| {
            out.put_u16(scheme);
            out.put_u16(hash.id());
        };
        match self {
            Self::RsaSsa { hash, bytes } => {
                head(ALG_RSASSA, *hash);
                out.put_sized(bytes);
            }
            Self::RsaPss { hash, bytes } => {
                head(ALG_RSAPSS, *hash);
                out.put_sized(bytes);
            }
            Self::Ecdsa { hash, r, s } => {
                head(ALG_ECDSA, *hash);
                out.put_sized(r);
                out.put_sized(s);
            }
        }
        out
    }

    /// The hash of the message.
    #[must_use]
    pub fn hash(&self) -> HashAlg {
        match self {
            Self::RsaSsa { hash, .. } | Self::RsaPss { hash, .. } | Self::Ecdsa { hash, .. } => {
                *hash
            }
        }
    }

    /// An ECDSA signature as X.509 writes it; absent for RSA.
    #[must_use]
    pub fn ecdsa_der(&self) -> Option<Vec<u8>> {
        let Self::Ecdsa { r, s, .. } = self else { return None };
        let (r, s) = (BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?);
        EcdsaSig::from_private_components(r, s).ok()?.to_der().ok()
    }

    /// A P-256 signature with SHA-256 from its X.509 form.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_ecdsa_der(der: &[u8]) -> Result<Self> {
        let malformed = || Error::Malformed { what: "a signature" };
        let signature = EcdsaSig::from_der(der).map_err(|_| malformed())?;
        let padded =
            |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).map_err(|_| malformed());
        let (r, s) = (padded(signature.r())?, padded(signature.s())?);
        Ok(Self::Ecdsa { hash: HashAlg::Sha256, r, s })
    }

    /// Checks that `signer` signed `message`, which is `what`. SHA-1 is not accepted.
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn verify(&self, signer: &PublicArea, message: &[u8], what: &'static str) -> Result<()> {
        let refused = Error::Signature { what };
        if self.hash() == HashAlg::Sha1 {
            return Err(refused);
        }
        let key = signer.public_key()?;
        let good = match (self, signer.key()) {
            (Self::Ecdsa { hash, r, s }, Key::Ecc { .. }) => {
                let (r, s) = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
                let signature = EcdsaSig::from_private_components(r, s)?;
                signature.verify(&hash.digest(&[message]), &*key.ec_key()?).unwrap_or(false)
            }
            (Self::RsaSsa { hash, bytes }, Key::Rsa { .. }) => {
                let mut verifier = Verifier::new(hash.message_digest(), &key)?;
                verifier.set_rsa_padding(Padding::PKCS1)?;
                verifier.verify_oneshot(bytes, message).unwrap_or(false)
            }
            (Self::RsaPss { hash, bytes }, Key::Rsa { .. }) => {
                let mut verifier = Verifier::new(hash.message_digest(), &key)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                // A TPM's salt is as long as the digest, or as there is room (Part 1, B.7).
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH).ok();
                verifier.verify_oneshot(bytes, message).unwrap_or(false)
                    || verify_pss_of_digest_length(&key, *hash, bytes, message)?
            }
            _ => false,
        };
        if good { Ok(()) } else { Err(refused) }
    }
}

fn verify_pss_of_digest_length(
    key: &openssl::pkey::PKeyRef<openssl::pkey::Public>,
    hash: HashAlg,
    signature: &[u8],
    message: &[u8],
) -> Result<bool> {
    let mut verifier = Verifier::new(hash.message_digest(), key)?;
    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    Ok(verifier.verify_oneshot(signature, message).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_back_from_their_bytes() {
        let hash = HashAlg::Sha256;
        for signature in [
            Signature::Ecdsa { hash, r: vec![1, 2], s: vec![3] },
            Signature::RsaSsa { hash, bytes: vec![4; 256] },
            Signature::RsaPss { hash, bytes: vec![5; 256] },
        ] {
            let bytes = signature.to_bytes();
            assert_eq!(Signature::from_bytes(&bytes).unwrap(), signature);
            assert!(Signature::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
