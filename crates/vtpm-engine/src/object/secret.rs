//! Shared secrets: a seed for another key, or the salt of a session, encrypted to a key
//! (`TPM2B_ENCRYPTED_SECRET`; Part 1, clauses B.10.4, C.6.3 and C.7; Part 2, clause 11.4.3).
//!
//! RSA carries the secret in an OAEP block. ECC carries an ephemeral public point; the secret comes
//! out of the agreed point by KDFe. Labels are given without their terminating zero.

use zeroize::Zeroizing;

use super::Object;
use crate::crypto::ecc::EccPrivate;
use crate::crypto::hash::HashAlg;
use crate::crypto::{Error, kdf};
use crate::tpm::Tpm;
use crate::wire::{
    EccPoint, EncryptedSecret, Marshal, ObjectAttributes, PublicParms, Rc, Reader, Scheme,
};

/// A secret in the clear.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

impl Tpm {
    /// Makes a secret as long as the digest of the key's name algorithm, and encrypts it to the
    /// key.
    ///
    /// # Errors
    /// `TPM_RC_ATTRIBUTES` when the key does not decrypt; `TPM_RC_KEY` when it is not asymmetric,
    /// has no name algorithm, or its point is not on its curve; `TPM_RC_VALUE` when it is too short
    /// for its own name algorithm.
    pub(crate) fn encrypt_secret(
        &mut self,
        key: &Object,
        label: &[u8],
    ) -> Result<(Secret, EncryptedSecret), Rc> {
        let alg = key.public.name_alg.ok_or(Rc::KEY)?;
        if !key.public.has(ObjectAttributes::DECRYPT) {
            return Err(Rc::ATTRIBUTES);
        }
        match key.public.parms {
            PublicParms::Rsa(_) => {
                let public = key.rsa_public()?;
                let secret = self.random(alg.digest_size());
                let block = public
                    .oaep_encrypt(alg, &terminated(label), &secret, &mut self.drbg)
                    .map_err(rsa_error)?;
                Ok((secret, EncryptedSecret::from_slice(&block)))
            }
            PublicParms::Ecc(_) => {
                let (curve, point) = key.ecc_point()?;
                let ephemeral =
                    EccPrivate::generate(curve, &mut self.drbg).map_err(|_| Rc::FAILURE)?;
                let agreed = ephemeral.ecdh(&point).map_err(|_| Rc::KEY)?;
                let z = Zeroizing::new(agreed.x);
                let public = EccPoint::from(ephemeral.public().clone());
                let secret = agree(alg, &z, label, &public.x, &point.x);
                Ok((secret, EncryptedSecret::from_slice(&public.to_bytes())))
            }
            PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => Err(Rc::KEY),
        }
    }

    /// Decrypts what [`Tpm::encrypt_secret`] of this or another TPM made.
    ///
    /// # Errors
    /// `TPM_RC_SCHEME` for an RSA key whose scheme is not OAEP; `TPM_RC_SIZE`, `TPM_RC_VALUE`,
    /// `TPM_RC_INSUFFICIENT`, `TPM_RC_ECC_POINT` and `TPM_RC_NO_RESULT` for a secret that is none;
    /// `TPM_RC_KEY` when the key is not asymmetric or not complete. All without numbers.
    pub(crate) fn decrypt_secret(
        &self,
        key: &Object,
        label: &[u8],
        secret: &EncryptedSecret,
    ) -> Result<Secret, Rc> {
        match &key.public.parms {
            PublicParms::Rsa(parms) => {
                let alg = match parms.scheme.0 {
                    Scheme::Null => key.public.name_alg.ok_or(Rc::SCHEME)?,
                    Scheme::Oaep(alg) => alg,
                    _ => return Err(Rc::SCHEME),
                };
                let message = key
                    .rsa_private()?
                    .oaep_decrypt(alg, &terminated(label), secret)
                    .map_err(rsa_error)?;
                if message.len() > alg.digest_size() { Err(Rc::VALUE) } else { Ok(message) }
            }
            PublicParms::Ecc(_) => {
                let mut reader = Reader::new(secret, &self.profile.algorithms);
                let public = reader.get::<EccPoint>()?;
                let alg = key.public.name_alg.ok_or(Rc::KEY)?;
                let agreed = key.ecc_private()?.ecdh(&(&public).into()).map_err(ecc_error)?;
                let z = Zeroizing::new(agreed.x);
                let (_, own) = key.ecc_point()?;
                Ok(agree(alg, &z, label, &public.x, &own.x))
            }
            PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => Err(Rc::KEY),
        }
    }
}

/// The secret that two parties with the shared coordinate `z` agree on.
fn agree(alg: HashAlg, z: &[u8], label: &[u8], ephemeral_x: &[u8], static_x: &[u8]) -> Secret {
    let bits = (alg.digest_size() as u32).saturating_mul(8);
    kdf::kdfe(alg, z, label, ephemeral_x, static_x, bits)
}

/// OAEP takes its label with the zero at the end.
fn terminated(label: &[u8]) -> Vec<u8> {
    let mut terminated = label.to_vec();
    terminated.push(0);
    terminated
}

fn rsa_error(error: Error) -> Rc {
    match error {
        Error::Size | Error::OutOfRange => Rc::SIZE,
        Error::Padding | Error::HashTooLong => Rc::VALUE,
        _ => Rc::FAILURE,
    }
}

fn ecc_error(error: Error) -> Rc {
    match error {
        Error::InvalidPoint => Rc::ECC_POINT,
        Error::NoResult => Rc::NO_RESULT,
        _ => Rc::FAILURE,
    }
}
