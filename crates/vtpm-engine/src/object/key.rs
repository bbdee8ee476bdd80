//! Keys of objects, ready for the cryptographic library (Part 1, annexes B and C).
//!
//! A prepared private key is kept with its object, since preparing is the larger part of a small
//! operation: RSA computes the other prime and the exponents, ECC its public point.

use zeroize::Zeroizing;

use super::{Object, Prepared};
use crate::crypto::Error;
use crate::crypto::ecc::{Curve, EccPrivate, Point};
use crate::crypto::hash::{HashAlg, hash};
use crate::crypto::kdf::kdf2;
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::wire::{
    Alg, Digest, EccParms, EccPoint, KdfScheme, ObjectAttributes, PublicId, PublicParms, Rc, Scheme,
};

/// The public exponent that zero stands for (Part 2, clause 12.2.3.5).
pub(crate) const DEFAULT_EXPONENT: u32 = 65537;

impl Object {
    /// The private half of an RSA key, prepared at its first use.
    ///
    /// # Errors
    /// `TPM_RC_KEY` when the object is no RSA key, when only its public area is loaded, or when its
    /// parts do not belong together; `TPM_RC_FAILURE` when the library fails.
    pub(crate) fn rsa_private(&self) -> Result<&RsaPrivate, Rc> {
        match self.prepared()? {
            Prepared::Rsa(key) => Ok(key),
            Prepared::Ecc(_) => Err(Rc::KEY),
        }
    }

    /// The public half of an RSA key.
    ///
    /// # Errors
    /// `TPM_RC_KEY` when the object is no RSA key, or its numbers are none of one;
    /// `TPM_RC_FAILURE` when the library fails.
    pub(crate) fn rsa_public(&self) -> Result<RsaPublic, Rc> {
        if let Some(Prepared::Rsa(key)) = self.prepared.get() {
            return Ok(key.public().clone());
        }
        let (modulus, exponent) = self.rsa_numbers()?;
        RsaPublic::new(modulus, exponent).map_err(unfit)
    }

    /// The private half of an ECC key, prepared at its first use.
    ///
    /// # Errors
    /// `TPM_RC_KEY` when the object is no ECC key, when only its public area is loaded, or when its
    /// scalar is out of range; `TPM_RC_FAILURE` when the library fails.
    pub(crate) fn ecc_private(&self) -> Result<&EccPrivate, Rc> {
        match self.prepared()? {
            Prepared::Ecc(key) => Ok(key),
            Prepared::Rsa(_) => Err(Rc::KEY),
        }
    }

    /// Curve and public point of an ECC key; that the point is on the curve is for its user to
    /// check.
    ///
    /// # Errors
    /// `TPM_RC_KEY` when the object is no ECC key.
    pub(crate) fn ecc_point(&self) -> Result<(Curve, Point), Rc> {
        match (&self.public.parms, &self.public.unique) {
            (PublicParms::Ecc(parms), PublicId::Ecc(point)) => Ok((parms.curve, point.into())),
            _ => Err(Rc::KEY),
        }
    }

    /// Modulus and exponent, with zero replaced by what it stands for.
    fn rsa_numbers(&self) -> Result<(&[u8], u32), Rc> {
        match (&self.public.parms, &self.public.unique) {
            (PublicParms::Rsa(parms), PublicId::Rsa(modulus)) => {
                let exponent = match parms.exponent {
                    0 => DEFAULT_EXPONENT,
                    exponent => exponent,
                };
                Ok((modulus, exponent))
            }
            _ => Err(Rc::KEY),
        }
    }

    fn prepared(&self) -> Result<&Prepared, Rc> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let secret = &self.sensitive.as_ref().ok_or(Rc::KEY)?.composite;
        let prepared = match &self.public.parms {
            PublicParms::Rsa(_) => {
                let (modulus, exponent) = self.rsa_numbers()?;
                Prepared::Rsa(RsaPrivate::from_prime(modulus, exponent, secret).map_err(unfit)?)
            }
            PublicParms::Ecc(parms) => {
                Prepared::Ecc(EccPrivate::new(parms.curve, secret).map_err(unfit)?)
            }
            PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => return Err(Rc::KEY),
        };
        Ok(self.prepared.get_or_init(|| prepared))
    }
}

impl From<&EccPoint> for Point {
    fn from(point: &EccPoint) -> Self {
        Self { x: point.x.to_vec(), y: point.y.to_vec() }
    }
}

impl From<Point> for EccPoint {
    fn from(point: Point) -> Self {
        Self { x: point.x.into(), y: point.y.into() }
    }
}

fn unfit(error: Error) -> Rc {
    match error {
        Error::Library(_) => Rc::FAILURE,
        _ => Rc::KEY,
    }
}

/// The scheme for RSA encryption: the key's, or the caller's when the key leaves the choice;
/// absent when they contradict each other (Part 1, annex B.4).
pub(crate) fn select_rsa_scheme(prescribed: Scheme, requested: Scheme) -> Option<Scheme> {
    match (prescribed, requested) {
        (Scheme::Null, scheme) | (scheme, Scheme::Null) => Some(scheme),
        (prescribed, requested) => (prescribed == requested).then_some(requested),
    }
}

/// Whether a label is empty or ends in a zero, as OAEP wants it (Part 1, annex B.4).
pub(crate) fn is_label(label: &[u8]) -> bool {
    label.last().is_none_or(|last| *last == 0)
}

/// The parameters of a key for key agreement, which is the first handle.
///
/// # Errors
/// `TPM_RC_KEY` when it is no ECC key, `TPM_RC_ATTRIBUTES` when it is not an unrestricted
/// decryption key.
pub(crate) fn check_key_exchange(key: &Object) -> Result<&EccParms, Rc> {
    let PublicParms::Ecc(parms) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    if key.public.has(ObjectAttributes::RESTRICTED) || !key.public.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    Ok(parms)
}

/// The response code for a failed multiplication of a point that the caller sent.
pub(crate) fn ecc_error(error: &Error) -> Rc {
    match error {
        Error::InvalidPoint => Rc::ECC_POINT,
        Error::NoResult => Rc::NO_RESULT,
        _ => Rc::FAILURE,
    }
}

/// The hash of KDF2 for ECC encryption: the key's, or the caller's when the key leaves the choice;
/// absent when they contradict each other or another function is meant.
pub(crate) fn select_ecc_kdf(
    prescribed: Option<KdfScheme>,
    requested: Option<KdfScheme>,
) -> Option<HashAlg> {
    let scheme = match (prescribed, requested) {
        (Some(prescribed), Some(requested)) if prescribed != requested => return None,
        (prescribed, requested) => prescribed.or(requested)?,
    };
    (scheme.kdf == Alg::KDF2).then_some(scheme.hash)
}

/// The symmetric half of ECC encryption: data is masked with KDF2 of the shared point, and a digest
/// over point and data protects it (Part 1, annex C.8).
pub(crate) struct EccCipher {
    hash: HashAlg,
    x: Zeroizing<Vec<u8>>,
    y: Zeroizing<Vec<u8>>,
}

impl EccCipher {
    /// From the point that both sides share.
    pub(crate) fn new(hash: HashAlg, shared: &Point) -> Self {
        let (x, y) = (Zeroizing::new(shared.x.clone()), Zeroizing::new(shared.y.clone()));
        Self { hash, x, y }
    }

    /// Masks data in place; the same call takes the mask off again.
    pub(crate) fn apply_mask(&self, data: &mut [u8]) {
        let secret = Zeroizing::new([self.x.as_slice(), &self.y].concat());
        let mask = kdf2(self.hash, &secret, data.len());
        data.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// The integrity value of the plain data.
    pub(crate) fn integrity(&self, data: &[u8]) -> Digest {
        Digest::from_slice(&hash(self.hash, &[&self.x, data, &self.y]))
    }
}

/// Keys for tests of commands.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::hierarchy::Hierarchy;
    use crate::test_util::Client;
    use crate::wire::{
        Aes, Auth, EccScheme, Handle, KeyedHashScheme, Name, Public, PublicKeyRsa, RsaKeyBits,
        RsaParms, RsaScheme, Sensitive, SensitiveComposite, SymMode,
    };
    use std::sync::OnceLock;

    pub(crate) const RSA_MODULUS: &str = "\
        964d1aff78e037485419ca0c504d9b369b8d5bb415914fd8f3e14c610cac0d25cac7169f493ef3fd50ea76ea\
        bd1c4be2ab03c75c54cbc9bcb53a3d55c7e2f3b36268c19efd867fff9c04a6468ff360f37b0eb50b2be5fffd\
        89833633648486a06e5104a9a3f126612ea89e5c141568f138adf7f4c9f930cf31dca704b5eeb92b";
    const RSA_PRIME: &str = "\
        c749fbd4b81b4d18524396c51ace3138fd80779f1ece59ed57a8eea5808238eb0ec355da4b26eeee9d4e073e\
        e391049416f5668d08f2d2a45081d84bd2e9e64f";
    pub(crate) const ECC_SCALAR: [u8; 32] = [7; 32];

    pub(crate) fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// An object of the null hierarchy, authorized by an empty password.
    pub(crate) fn object(
        attributes: ObjectAttributes,
        parms: PublicParms,
        unique: PublicId,
        secret: &[u8],
    ) -> Object {
        let attributes =
            attributes.with(ObjectAttributes::USER_WITH_AUTH).with(ObjectAttributes::NO_DA);
        let sensitive = Sensitive {
            alg: parms.alg(),
            auth: Auth::empty(),
            seed: Auth::empty(),
            composite: SensitiveComposite::from_slice(secret),
        };
        let auth_policy = Digest::empty();
        let name_alg = Some(HashAlg::Sha256);
        let public = Public { name_alg, attributes, auth_policy, parms, unique };
        Object {
            name: public.name(),
            public,
            sensitive: Some(sensitive),
            qualified_name: Name::empty(),
            hierarchy: Hierarchy::Null,
            primary: false,
            external: true,
            st_clear: false,
            prepared: OnceLock::new(),
        }
    }

    /// An RSA key of 1024 bits.
    pub(crate) fn rsa_key(attributes: ObjectAttributes, scheme: Scheme) -> Object {
        let parms = PublicParms::Rsa(RsaParms {
            symmetric: None,
            scheme: RsaScheme(scheme),
            key_bits: RsaKeyBits(1024),
            exponent: 0,
        });
        let unique = PublicId::Rsa(PublicKeyRsa::from_slice(&bytes(RSA_MODULUS)));
        object(attributes, parms, unique, &bytes(RSA_PRIME))
    }

    /// A key on P-256.
    pub(crate) fn ecc_key(attributes: ObjectAttributes, scheme: Scheme) -> Object {
        let curve = Curve::P256;
        let parms = PublicParms::Ecc(EccParms {
            symmetric: None,
            scheme: EccScheme(scheme),
            curve,
            kdf: None,
        });
        let public = EccPrivate::new(curve, &ECC_SCALAR).unwrap().public().clone();
        object(attributes, parms, PublicId::Ecc(public.into()), &ECC_SCALAR)
    }

    /// A keyed hash.
    pub(crate) fn hmac_key(
        attributes: ObjectAttributes,
        scheme: KeyedHashScheme,
        key: &[u8],
    ) -> Object {
        let unique = PublicId::Digest(Digest::from_slice(&[1; 32]));
        object(attributes, PublicParms::KeyedHash(scheme), unique, key)
    }

    /// An AES key of 128 bits.
    pub(crate) fn aes_key(
        attributes: ObjectAttributes,
        mode: Option<SymMode>,
        key: &[u8],
    ) -> Object {
        let unique = PublicId::Digest(Digest::from_slice(&[1; 32]));
        object(attributes, PublicParms::SymCipher(Aes { bits: 128, mode }), unique, key)
    }

    /// Puts an object where a command finds it; frees the slots before when all are taken.
    pub(crate) fn load(client: &mut Client, object: Object) -> Handle {
        if client.tpm.objects.check_free().is_err() {
            client.tpm.objects.retain(|_| false);
        }
        client.tpm.load_object(object).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{ecc_key, hmac_key, rsa_key};
    use super::*;
    use crate::wire::{KeyedHashScheme, Sensitive, SensitiveComposite};

    #[test]
    fn a_private_key_is_prepared_once() {
        let key = rsa_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let first: *const RsaPrivate = key.rsa_private().unwrap();
        assert!(std::ptr::eq(first, key.rsa_private().unwrap()));
        assert_eq!(&key.rsa_public().unwrap(), key.rsa_private().unwrap().public());
    }

    #[test]
    fn halves_are_those_of_the_object() {
        let key = ecc_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let (curve, point) = key.ecc_point().unwrap();
        assert_eq!(curve, Curve::P256);
        assert_eq!(&point, key.ecc_private().unwrap().public());
        let key = rsa_key(ObjectAttributes::DECRYPT, Scheme::Null);
        assert_eq!(key.rsa_public().unwrap().exponent(), DEFAULT_EXPONENT);
    }

    #[test]
    fn an_object_of_another_type_has_no_such_key() {
        let rsa = rsa_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let ecc = ecc_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let hmac = hmac_key(ObjectAttributes::SIGN, KeyedHashScheme::Null, b"key");
        assert_eq!(rsa.ecc_private().err(), Some(Rc::KEY));
        assert_eq!(rsa.ecc_point().err(), Some(Rc::KEY));
        assert_eq!(ecc.rsa_private().err(), Some(Rc::KEY));
        assert_eq!(ecc.rsa_public().err(), Some(Rc::KEY));
        assert_eq!(hmac.rsa_private().err(), Some(Rc::KEY));
        assert_eq!(hmac.ecc_private().err(), Some(Rc::KEY));
    }

    #[test]
    fn a_public_area_alone_and_parts_that_do_not_fit_are_no_private_key() {
        let mut key = rsa_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let other = SensitiveComposite::from_slice(&[0xc1; 64]);
        key.sensitive = key.sensitive.map(|s| Sensitive { composite: other, ..s });
        assert_eq!(key.rsa_private().err(), Some(Rc::KEY));
        key.sensitive = None;
        assert_eq!(key.rsa_private().err(), Some(Rc::KEY));
        let mut key = ecc_key(ObjectAttributes::DECRYPT, Scheme::Null);
        let zero = SensitiveComposite::from_slice(&[0; 32]);
        key.sensitive = key.sensitive.map(|s| Sensitive { composite: zero, ..s });
        assert_eq!(key.ecc_private().err(), Some(Rc::KEY));
    }
}
