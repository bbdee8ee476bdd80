//! The NIST curves (SP 800-186) and arithmetic modulo their orders.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcGroup;
use openssl::nid::Nid;
use zeroize::Zeroizing;

use super::super::limbs::{self, Limbs};
use super::super::{Error, Rng};

/// Bytes drawn beyond the order's length, so that reducing them leaves no bias worth the name
/// (FIPS 186-4, B.4.1: 64 bits).
const EXTRA_BYTES: usize = 8;

/// An elliptic curve over a prime field.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Curve {
    /// NIST P-224.
    P224,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

/// A curve's constants: y^2 = x^3 + ax + b over the field of `p`, with a generator of order `n`
/// and cofactor `h`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// The field's prime.
    pub p: Vec<u8>,
    /// The coefficient a, padded to the field's size.
    pub a: Vec<u8>,
    /// The coefficient b, padded to the field's size.
    pub b: Vec<u8>,
    /// The generator's x coordinate, padded to the field's size.
    pub gx: Vec<u8>,
    /// The generator's y coordinate, padded to the field's size.
    pub gy: Vec<u8>,
    /// The generator's order.
    pub n: Vec<u8>,
    /// The cofactor, in one byte.
    pub h: Vec<u8>,
}

impl Curve {
    /// All curves, by rising identifier.
    pub const ALL: [Self; 4] = [Self::P224, Self::P256, Self::P384, Self::P521];

    /// The curve's TPM_ECC_CURVE (TCG Algorithm Registry).
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::P224 => 0x0002,
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
            Self::P521 => 0x0005,
        }
    }

    /// The curve with this TPM_ECC_CURVE, if it is one of ours.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            0x0002 => Self::P224,
            0x0003 => Self::P256,
            0x0004 => Self::P384,
            0x0005 => Self::P521,
            _ => return None,
        })
    }

    /// The bits of the field and, on these curves, of the order.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::P224 => 224,
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// The bytes of a coordinate and, on these curves, of a scalar.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// The curve's constants, for TPM2_ECC_Parameters.
    ///
    /// # Errors
    /// [`Error::Library`] only.
    #[doc(alias = "TPM2_ECC_Parameters")]
    pub fn parameters(self) -> Result<Parameters, Error> {
        let group = self.group()?;
        let mut context = BigNumContext::new()?;
        let (mut p, mut a, mut b) = (BigNum::new()?, BigNum::new()?, BigNum::new()?);
        group.components_gfp(&mut p, &mut a, &mut b, &mut context)?;
        let (mut gx, mut gy) = (BigNum::new()?, BigNum::new()?);
        let generator = group.generator_opt().ok_or(Error::NoResult)?;
        generator.affine_coordinates(&group, &mut gx, &mut gy, &mut context)?;
        let (p, a, b) = (self.padded(&p)?, self.padded(&a)?, self.padded(&b)?);
        let (gx, gy) = (self.padded(&gx)?, self.padded(&gy)?);
        Ok(Parameters { p, a, b, gx, gy, n: self.order(), h: vec![1] })
    }

    /// The order n of the generator, big-endian.
    #[must_use]
    pub fn order(self) -> Vec<u8> {
        limbs::to_be(self.order_limbs(), self.bytes()).to_vec()
    }

    /// A scalar from 1 to n - 1, from bytes of `rng` alone (FIPS 186-4, B.4.1): a number of 64 more
    /// bits than the order's bytes hold, modulo n - 1, plus one.
    ///
    /// Primary keys are made this way, so it can never change.
    #[must_use]
    pub fn random_scalar(self, rng: &mut dyn Rng) -> Zeroizing<Vec<u8>> {
        let mut wide = Zeroizing::new(vec![0; self.bytes().saturating_add(EXTRA_BYTES)]);
        rng.fill(&mut wide);
        self.scalar_from_wide(&wide)
    }

    /// A scalar from 1 to n - 1 out of a number of any length: modulo n - 1, plus one.
    #[must_use]
    pub fn scalar_from_wide(self, wide: &[u8]) -> Zeroizing<Vec<u8>> {
        let n = self.order_limbs();
        let n_less = limbs::sub_word(n, 1);
        let one = limbs::from_be(&[1], n.len()).unwrap_or_else(|| limbs::zero(n.len()));
        let scalar = limbs::add_mod(&limbs::reduce_be(wide, &n_less), &one, n);
        limbs::to_be(&scalar, self.bytes())
    }

    /// A number of any length modulo n.
    #[must_use]
    pub fn reduce(self, number: &[u8]) -> Zeroizing<Vec<u8>> {
        limbs::to_be(&self.reduced(number), self.bytes())
    }

    /// A number of any length modulo the field's prime, padded: a coordinate. Not in constant time.
    ///
    /// # Errors
    /// [`Error::Library`] only.
    pub fn reduce_coordinate(self, number: &[u8]) -> Result<Vec<u8>, Error> {
        let group = self.group()?;
        let mut context = BigNumContext::new()?;
        let (mut p, mut a, mut b) = (BigNum::new()?, BigNum::new()?, BigNum::new()?);
        group.components_gfp(&mut p, &mut a, &mut b, &mut context)?;
        let mut remainder = BigNum::new()?;
        let number = BigNum::from_slice(number)?;
        remainder.nnmod(&number, &p, &mut context)?;
        self.padded(&remainder)
    }

    /// `a * b + c` modulo n, for numbers of any length.
    #[must_use]
    pub fn mul_add_scalars(self, a: &[u8], b: &[u8], c: &[u8]) -> Zeroizing<Vec<u8>> {
        let n = self.order_limbs();
        let product = limbs::mul_mod(&self.reduced(a), &self.reduced(b), n);
        limbs::to_be(&limbs::add_mod(&product, &self.reduced(c), n), self.bytes())
    }

    /// `-a` modulo n, for a number of any length.
    #[must_use]
    pub fn negate_scalar(self, a: &[u8]) -> Zeroizing<Vec<u8>> {
        let minus_one = limbs::to_be(&limbs::sub_word(self.order_limbs(), 1), self.bytes());
        self.mul_add_scalars(&minus_one, a, &[])
    }

    /// A private key's scalar, padded, if it is from 1 to n - 1.
    pub(super) fn checked_scalar(self, number: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let n = self.order_limbs();
        let scalar = limbs::from_be(number, n.len())?;
        let valid = limbs::less(&scalar, n) && !limbs::is_word(&scalar, 0);
        valid.then(|| limbs::to_be(&scalar, self.bytes()))
    }

    /// The library's group; it keeps one of each for the process.
    pub(super) fn group(self) -> Result<EcGroup, Error> {
        Ok(EcGroup::from_curve_name(match self {
            Self::P224 => Nid::SECP224R1,
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        })?)
    }

    /// A coordinate or scalar of the library as bytes of the right length.
    pub(super) fn padded(self, number: &openssl::bn::BigNumRef) -> Result<Vec<u8>, Error> {
        Ok(number.to_vec_padded(i32::try_from(self.bytes()).map_err(|_| Error::Size)?)?)
    }

    fn reduced(self, number: &[u8]) -> Limbs {
        let n = self.order_limbs();
        let in_range = limbs::from_be(number, n.len()).filter(|number| limbs::less(number, n));
        in_range.unwrap_or_else(|| limbs::reduce_be(number, n))
    }

    const fn order_limbs(self) -> &'static [u64] {
        match self {
            Self::P224 => &P224_ORDER,
            Self::P256 => &P256_ORDER,
            Self::P384 => &P384_ORDER,
            Self::P521 => &P521_ORDER,
        }
    }
}

/// n of P-224.
const P224_ORDER: [u64; 4] =
    [0x13dd_2945_5c5c_2a3d, 0xffff_16a2_e0b8_f03e, 0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff];
/// n of P-256.
const P256_ORDER: [u64; 4] =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];
/// n of P-384.
const P384_ORDER: [u64; 6] = [
    0xecec_196a_ccc5_2973,
    0x581a_0db2_48b0_a77a,
    0xc763_4d81_f437_2ddf,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// n of P-521.
const P521_ORDER: [u64; 9] = [
    0xbb6f_b71e_9138_6409,
    0x3bb5_c9b8_899c_47ae,
    0x7fcc_0148_f709_a5d0,
    0x5186_8783_bf2f_966b,
    0xffff_ffff_ffff_fffa,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0x0000_0000_0000_01ff,
];
