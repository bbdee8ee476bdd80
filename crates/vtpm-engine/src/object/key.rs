//! Keys of objects, ready for the cryptographic library (Part 1, annexes B and C).
//!
//! A prepared private key is kept with its object, since preparing is the larger part of a small
//! operation: RSA computes the other prime and the exponents, ECC its public point.

use super::{Object, Prepared};
use crate::crypto::Error;
use crate::crypto::ecc::{Curve, EccPrivate, Point};
use crate::crypto::rsa::{RsaPrivate, RsaPublic};
use crate::wire::{EccPoint, PublicId, PublicParms, Rc};

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
                // Where more than one prime is kept, the first of them comes first.
                let prime = secret.get(..modulus.len() / 2).ok_or(Rc::KEY)?;
                Prepared::Rsa(RsaPrivate::from_prime(modulus, exponent, prime).map_err(unfit)?)
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
