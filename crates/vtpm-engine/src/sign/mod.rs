//! Signatures by the keys of objects: choice of the scheme, signing, verification
//! (Part 1, annexes B.6, B.7 and C.4; Part 2, clause 11.3; Part 3, clause 20).
//!
//! What is signed is always a digest. Private keys come prepared from their object, so that a
//! signature costs what the cryptographic library needs for it and little more.

#[cfg(test)]
pub(crate) mod test_keys;

use crate::crypto::Error;
use crate::crypto::ecc::{ec_schnorr_verify, ecdsa_verify};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::{Hmac, hmac};
use crate::object::Object;
use crate::tpm::Tpm;
use crate::wire::{
    Digest, Ha, KeyedHashScheme, ObjectAttributes, PublicParms, Rc, Scheme, Signature,
};

impl Object {
    /// Whether the object is a key that may sign. In a symmetric cipher key the attribute `sign`
    /// means encryption.
    pub(crate) fn is_signing_key(&self) -> bool {
        self.public.has(ObjectAttributes::SIGN)
            && !matches!(self.public.parms, PublicParms::SymCipher(_))
    }
}

/// Whether signatures of a scheme must not tell whose they are: attestations then leave out what
/// would.
pub(crate) const fn is_anonymous(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Ecdaa(..))
}

impl Tpm {
    /// The scheme of a signature: the key's own, which the requested one must not contradict, or
    /// the requested one when the key has none.
    ///
    /// # Errors
    /// `TPM_RC_SCHEME` when neither names one, when they differ, or when the key's own needs the
    /// number of a commitment that the request lacks.
    pub(crate) fn select_scheme(&self, key: &Object, requested: Scheme) -> Result<Scheme, Rc> {
        if !key.is_signing_key()
            || matches!(key.public.parms, PublicParms::KeyedHash(KeyedHashScheme::Xor(..)))
        {
            return Err(Rc::SCHEME);
        }
        match (key.public.parms.scheme(), requested) {
            (Scheme::Null, Scheme::Null) | (Scheme::Ecdaa(..), Scheme::Null) => Err(Rc::SCHEME),
            (Scheme::Null, requested) if !fits(&key.public.parms, requested) => Err(Rc::SCHEME),
            (Scheme::Null, requested) => Ok(requested),
            (own, Scheme::Null) => Ok(own),
            (own, requested) => {
                let same = own.alg() == requested.alg() && own.hash() == requested.hash();
                if same { Ok(requested) } else { Err(Rc::SCHEME) }
            }
        }
    }

    /// Signs a digest. An ECDAA signature ends the commitment that it used.
    ///
    /// # Errors
    /// `TPM_RC_SCHEME` when the scheme is none of the key's type; `TPM_RC_VALUE` when the digest
    /// has not the size of the scheme's hash, or the commitment is not open; `TPM_RC_SIZE` when the
    /// key is too short for the hash; `TPM_RC_KEY` when the key is none; `TPM_RC_NO_RESULT` when no
    /// signature came out; `TPM_RC_FAILURE` when the library fails.
    pub(crate) fn sign(
        &mut self,
        key: &Object,
        scheme: Scheme,
        digest: &[u8],
    ) -> Result<Signature, Rc> {
        // That a scheme fits the type of the key is decided here and nowhere else: a hash of
        // another scheme must not choose the size of an HMAC (CVE-2025-2884).
        match (&key.public.parms, scheme) {
            (_, Scheme::Null) => Ok(Signature::Null),
            (PublicParms::Rsa(_), Scheme::Rsassa(alg)) => {
                let signature = key.rsa_private()?.pkcs1_sign(alg, digest).map_err(failed)?;
                Ok(Signature::Rsa { scheme, signature: signature.into() })
            }
            (PublicParms::Rsa(_), Scheme::Rsapss(alg)) => {
                let private = key.rsa_private()?;
                let signature = private.pss_sign(alg, digest, &mut self.drbg).map_err(failed)?;
                Ok(Signature::Rsa { scheme, signature: signature.into() })
            }
            (PublicParms::Ecc(_), Scheme::Ecdsa(_)) => {
                ecc(scheme, key.ecc_private()?.ecdsa_sign(digest))
            }
            (PublicParms::Ecc(_), Scheme::EcSchnorr(alg)) => {
                ecc(scheme, key.ecc_private()?.ec_schnorr_sign(alg, digest, &mut self.drbg))
            }
            (PublicParms::Ecc(_), Scheme::Ecdaa(alg, counter)) => {
                self.sign_anonymously(key, alg, counter, digest)
            }
            (PublicParms::KeyedHash(_), Scheme::Hmac(alg)) => {
                let secret = &key.sensitive.as_ref().ok_or(Rc::KEY)?.composite;
                let digest = Digest::from_slice(&hmac(alg, secret, &[digest]));
                Ok(Signature::Hmac(Ha { alg, digest }))
            }
            _ => Err(Rc::SCHEME),
        }
    }

    fn sign_anonymously(
        &mut self,
        key: &Object,
        alg: HashAlg,
        counter: u16,
        digest: &[u8],
    ) -> Result<Signature, Rc> {
        let private = key.ecc_private()?;
        let secret = self.key_commit_secret(private.curve(), &key.name, counter)?;
        let signed = private.ecdaa_sign(alg, digest, &secret, &mut self.drbg);
        let signature = ecc(Scheme::Ecdaa(alg, counter), signed)?;
        self.end_commit(counter);
        Ok(signature)
    }

    /// Verifies a signature of a digest; the public area of an asymmetric key is enough.
    ///
    /// # Errors
    /// `TPM_RC_SIGNATURE` when the signature is not valid, `TPM_RC_SCHEME` when no key of this type
    /// verifies such signatures, `TPM_RC_HANDLE` when only the public area of an HMAC key is there,
    /// `TPM_RC_FAILURE` when the library fails.
    pub(crate) fn verify(
        &self,
        key: &Object,
        signature: &Signature,
        digest: &[u8],
    ) -> Result<(), Rc> {
        let valid = match (&key.public.parms, signature) {
            (_, Signature::Null) => false,
            (PublicParms::Rsa(_), Signature::Rsa { scheme, signature }) => {
                verify_rsa(key, *scheme, signature, digest)?
            }
            (PublicParms::Ecc(_), Signature::Ecc { scheme, r, s }) => {
                let (curve, point) = key.ecc_point()?;
                match *scheme {
                    Scheme::Ecdsa(_) => ecdsa_verify(curve, &point, digest, r, s),
                    Scheme::EcSchnorr(alg) => ec_schnorr_verify(curve, &point, alg, digest, r, s),
                    _ => return Err(Rc::SCHEME),
                }
            }
            (PublicParms::KeyedHash(scheme), signature) => {
                verify_hmac(key, *scheme, signature, digest)?
            }
            _ => return Err(Rc::SCHEME),
        };
        if valid { Ok(()) } else { Err(Rc::SIGNATURE) }
    }
}

fn ecc(scheme: Scheme, signed: Result<(Vec<u8>, Vec<u8>), Error>) -> Result<Signature, Rc> {
    let (r, s) = signed.map_err(failed)?;
    Ok(Signature::Ecc { scheme, r: r.into(), s: s.into() })
}

fn verify_rsa(key: &Object, scheme: Scheme, signature: &[u8], digest: &[u8]) -> Result<bool, Rc> {
    let public = match key.rsa_public() {
        Ok(public) => public,
        // Numbers that are no key verify nothing.
        Err(Rc::KEY) => return Ok(false),
        Err(rc) => return Err(rc),
    };
    match scheme {
        Scheme::Rsassa(alg) => Ok(public.pkcs1_verify(alg, digest, signature)),
        Scheme::Rsapss(alg) => Ok(public.pss_verify(alg, digest, signature)),
        _ => Err(Rc::SCHEME),
    }
}

fn verify_hmac(
    key: &Object,
    scheme: KeyedHashScheme,
    signature: &Signature,
    digest: &[u8],
) -> Result<bool, Rc> {
    let secret = &key.sensitive.as_ref().ok_or(Rc::HANDLE)?.composite;
    let Signature::Hmac(ha) = signature else { return Err(Rc::SCHEME) };
    // A key with a scheme verifies nothing that it would not sign, such as a weaker hash.
    if !matches!(scheme, KeyedHashScheme::Null) && scheme != KeyedHashScheme::Hmac(ha.alg) {
        return Ok(false);
    }
    let mut hmac = Hmac::new(ha.alg, secret);
    hmac.update(digest);
    Ok(hmac.verify(&ha.digest))
}

fn failed(error: Error) -> Rc {
    match error {
        Error::Size => Rc::VALUE,
        Error::HashTooLong => Rc::SIZE,
        Error::InvalidKey | Error::OutOfRange | Error::InvalidPoint => Rc::KEY,
        Error::NoResult => Rc::NO_RESULT,
        _ => Rc::FAILURE,
    }
}

#[cfg(test)]
mod tests;

/// Whether asymmetric keys of this type can sign with the scheme.
const fn fits(parms: &PublicParms, scheme: Scheme) -> bool {
    match parms {
        PublicParms::Rsa(_) => matches!(scheme, Scheme::Rsassa(_) | Scheme::Rsapss(_)),
        PublicParms::Ecc(_) => {
            matches!(scheme, Scheme::Ecdsa(_) | Scheme::Ecdaa(..) | Scheme::EcSchnorr(_))
        }
        // Left to `sign`, whose code has no parameter number.
        PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => true,
    }
}
