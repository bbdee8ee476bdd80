//! Elliptic curves: points, keys and key agreement. The signature schemes are in `schemes`.
//!
//! Multiplications by secret scalars run in constant time inside the library; arithmetic modulo a
//! curve's order in this module's own.

mod curve;
mod schemes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use core::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroupRef, EcKey, EcPoint};
use openssl::pkey::Private;
use zeroize::Zeroizing;

pub use self::curve::{Curve, Parameters};
pub use self::schemes::{ec_schnorr_verify, ecdsa_verify};
use super::hash::HashAlg;
use super::kdf::kdfa;
use super::{Error, Rng};

/// A point in affine coordinates, big-endian.
///
/// Points that this module returns have coordinates padded to the field's size. Those it takes may
/// have leading zeros or lack them; each operation checks that they are on the curve.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Point {
    /// The x coordinate.
    pub x: Vec<u8>,
    /// The y coordinate.
    pub y: Vec<u8>,
}

impl Point {
    /// Whether the point is on the curve, with both coordinates below the field's prime. The point
    /// at infinity has no coordinates and is never meant.
    #[must_use]
    pub fn is_on_curve(&self, curve: Curve) -> bool {
        Arithmetic::new(curve).and_then(|mut arithmetic| arithmetic.import(self)).is_ok()
    }

    /// The same point with both coordinates padded to the field's size.
    ///
    /// # Errors
    /// [`Error::InvalidPoint`] when it is not on the curve.
    pub fn normalized(&self, curve: Curve) -> Result<Self, Error> {
        let mut arithmetic = Arithmetic::new(curve)?;
        let point = arithmetic.import(self)?;
        arithmetic.export(&point)
    }
}

/// Whether a point is on a curve; see [`Point::is_on_curve`].
#[must_use]
pub fn is_on_curve(curve: Curve, point: &Point) -> bool {
    point.is_on_curve(curve)
}

/// `[scalar] point`, in constant time. The scalar is taken modulo the order.
///
/// # Errors
/// [`Error::InvalidPoint`] when the point is not on the curve, [`Error::NoResult`] when the result
/// is the point at infinity.
pub fn mul(curve: Curve, scalar: &[u8], point: &Point) -> Result<Point, Error> {
    let mut arithmetic = Arithmetic::new(curve)?;
    let point = arithmetic.import(point)?;
    let product = arithmetic.mul(scalar, &point)?;
    arithmetic.export(&product)
}

/// `[scalar] G` of the curve's generator, in constant time. The scalar is taken modulo the order.
///
/// # Errors
/// [`Error::NoResult`] when the scalar is a multiple of the order.
pub fn mul_base(curve: Curve, scalar: &[u8]) -> Result<Point, Error> {
    let mut arithmetic = Arithmetic::new(curve)?;
    let product = arithmetic.mul_base(scalar)?;
    arithmetic.export(&product)
}

/// `[a] p + [b] q`. The scalars are taken modulo the order.
///
/// # Errors
/// [`Error::InvalidPoint`] when a point is not on the curve, [`Error::NoResult`] when the result
/// is the point at infinity.
pub fn mul_add(curve: Curve, a: &[u8], p: &Point, b: &[u8], q: &Point) -> Result<Point, Error> {
    let mut arithmetic = Arithmetic::new(curve)?;
    let (p, q) = (arithmetic.import(p)?, arithmetic.import(q)?);
    let (left, right) = (arithmetic.mul(a, &p)?, arithmetic.mul(b, &q)?);
    let sum = arithmetic.add(&left, &right)?;
    arithmetic.export(&sum)
}

/// `[a] G + [b] q`. The scalars are taken modulo the order.
///
/// # Errors
/// As [`mul_add`].
pub fn mul_base_add(curve: Curve, a: &[u8], b: &[u8], q: &Point) -> Result<Point, Error> {
    let mut arithmetic = Arithmetic::new(curve)?;
    let q = arithmetic.import(q)?;
    let (left, right) = (arithmetic.mul_base(a)?, arithmetic.mul(b, &q)?);
    let sum = arithmetic.add(&left, &right)?;
    arithmetic.export(&sum)
}

/// One-pass ECDH (SP 800-56A, 5.7.1.2): the point `[d] point`, whose x coordinate is the secret.
///
/// # Errors
/// As [`mul`].
#[doc(alias = "TPM2_ECDH_ZGen")]
pub fn ecdh(curve: Curve, d: &[u8], point: &Point) -> Result<Point, Error> {
    mul(curve, d, point)
}

/// The secret scalar r of TPM2_Commit (TPM 2.0 Part 1, C.2.3), from 1 to n - 1.
///
/// It comes from the TPM's secret `nonce`, the key's `name` and the value of the commit counter, so
/// that the TPM stores nothing for a commitment but that it is open.
#[doc(alias = "TPM2_Commit")]
#[must_use]
pub fn commit_scalar(
    curve: Curve,
    alg: HashAlg,
    nonce: &[u8],
    name: &[u8],
    counter: u64,
) -> Zeroizing<Vec<u8>> {
    // 64 bits more than the order, against bias; 74 bytes at most.
    let bits = (curve.bytes() as u32).saturating_mul(8).saturating_add(64);
    let wide = kdfa(alg, nonce, b"ECDAA Commit", name, &counter.to_be_bytes(), bits);
    curve.scalar_from_wide(&wide)
}

/// A private key, prepared for signing.
///
/// The scalar is also in the library's memory, which the library wipes when it frees it.
#[derive(Clone)]
pub struct EccPrivate {
    curve: Curve,
    d: Zeroizing<Vec<u8>>,
    public: Point,
    key: EcKey<Private>,
}

impl EccPrivate {
    /// A key from its scalar; computes the public point.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the scalar is not from 1 to n - 1.
    pub fn new(curve: Curve, d: &[u8]) -> Result<Self, Error> {
        let d = curve.checked_scalar(d).ok_or(Error::OutOfRange)?;
        let mut arithmetic = Arithmetic::new(curve)?;
        let point = arithmetic.mul_base(&d)?;
        let public = arithmetic.export(&point)?;
        let scalar = BigNum::from_slice(&d)?;
        let key = EcKey::from_private_components(&arithmetic.group, &scalar, &point)?;
        Ok(Self { curve, d, public, key })
    }

    /// A new key from bytes of `rng` alone; see [`Curve::random_scalar`].
    ///
    /// # Errors
    /// [`Error::Library`] only.
    pub fn generate(curve: Curve, rng: &mut dyn Rng) -> Result<Self, Error> {
        Self::new(curve, &curve.random_scalar(rng))
    }

    /// The key's curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// The secret scalar, padded to the order's size.
    #[must_use]
    pub fn scalar(&self) -> &[u8] {
        &self.d
    }

    /// The public point.
    #[must_use]
    pub const fn public(&self) -> &Point {
        &self.public
    }

    /// ECDH with the other party's public point; see [`ecdh`].
    ///
    /// # Errors
    /// [`Error::InvalidPoint`] when the point is not on the curve.
    pub fn ecdh(&self, point: &Point) -> Result<Point, Error> {
        mul(self.curve, &self.d, point)
    }

    /// Full MQV with this as the static key (SP 800-56A, 5.7.2.3.1; TPM 2.0 Part 1, C.6): the point
    /// whose x coordinate is the secret.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when the ephemeral key is on another curve, [`Error::InvalidPoint`]
    /// when a point is not on it, [`Error::NoResult`] when the result is the point at infinity.
    #[doc(alias = "TPM2_ZGen_2Phase")]
    pub fn ecmqv(
        &self,
        ephemeral: &Self,
        other_static: &Point,
        other_ephemeral: &Point,
    ) -> Result<Point, Error> {
        let curve = self.curve;
        if ephemeral.curve != curve {
            return Err(Error::InvalidKey);
        }
        let other_ephemeral = other_ephemeral.normalized(curve)?;
        let ours = associate_value(curve, &ephemeral.public.x);
        let signature = curve.mul_add_scalars(&ours, &self.d, &ephemeral.d);
        let theirs = associate_value(curve, &other_ephemeral.x);
        let sum = mul_add(curve, &[1], &other_ephemeral, &theirs, other_static)?;
        mul(curve, &signature, &sum)
    }
}

impl fmt::Debug for EccPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EccPrivate({:?}, ..)", self.curve)
    }
}

/// The associate value of a public point (SP 800-56A, 5.7.2.2): the lower half of its x
/// coordinate's bits, with the bit above them set.
fn associate_value(curve: Curve, x: &[u8]) -> Vec<u8> {
    let half_bits = curve.bits().div_ceil(2);
    let bytes = (half_bits / 8).saturating_add(1);
    let mut value = x.get(x.len().saturating_sub(bytes)..).unwrap_or_default().to_vec();
    if let Some(top) = value.first_mut() {
        let bit = 1u8 << (half_bits % 8);
        *top = *top & bit.wrapping_sub(1) | bit;
    }
    value
}

/// A group of the library with its scratch memory.
struct Arithmetic {
    curve: Curve,
    group: openssl::ec::EcGroup,
    context: BigNumContext,
}

impl Arithmetic {
    fn new(curve: Curve) -> Result<Self, Error> {
        Ok(Self { curve, group: curve.group()?, context: BigNumContext::new()? })
    }

    fn group(&self) -> &EcGroupRef {
        &self.group
    }

    fn import(&mut self, point: &Point) -> Result<EcPoint, Error> {
        let x = BigNum::from_slice(field_element(self.curve, &point.x)?)?;
        let y = BigNum::from_slice(field_element(self.curve, &point.y)?)?;
        let mut imported = EcPoint::new(self.group())?;
        imported
            .set_affine_coordinates(&self.group, &x, &y, &mut self.context)
            .map_err(|_| Error::InvalidPoint)?;
        let valid = imported.is_on_curve(&self.group, &mut self.context)?;
        if valid { Ok(imported) } else { Err(Error::InvalidPoint) }
    }

    fn export(&mut self, point: &EcPoint) -> Result<Point, Error> {
        if point.is_infinity(&self.group) {
            return Err(Error::NoResult);
        }
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        point.affine_coordinates(&self.group, &mut x, &mut y, &mut self.context)?;
        Ok(Point { x: self.curve.padded(&x)?, y: self.curve.padded(&y)? })
    }

    fn mul(&mut self, scalar: &[u8], point: &EcPoint) -> Result<EcPoint, Error> {
        let scalar = BigNum::from_slice(&self.curve.reduce(scalar))?;
        let mut product = EcPoint::new(self.group())?;
        product.mul2(&self.group, point, &scalar, &mut self.context)?;
        Ok(product)
    }

    fn mul_base(&mut self, scalar: &[u8]) -> Result<EcPoint, Error> {
        let scalar = BigNum::from_slice(&self.curve.reduce(scalar))?;
        let mut product = EcPoint::new(self.group())?;
        product.mul_generator2(&self.group, &scalar, &mut self.context)?;
        Ok(product)
    }

    fn add(&mut self, p: &EcPoint, q: &EcPoint) -> Result<EcPoint, Error> {
        let mut sum = EcPoint::new(self.group())?;
        sum.add(&self.group, p, q, &mut self.context)?;
        Ok(sum)
    }
}

/// A coordinate without what is too long for the field; leading zeros are cut.
fn field_element(curve: Curve, coordinate: &[u8]) -> Result<&[u8], Error> {
    let extra = coordinate.len().saturating_sub(curve.bytes());
    let (zeros, element) = coordinate.split_at(extra);
    if zeros.iter().any(|byte| *byte != 0) { Err(Error::InvalidPoint) } else { Ok(element) }
}
