//! RSA (RFC 8017): keys and the raw operations. The paddings are in `padding`, the making of keys
//! in `keygen`.
//!
//! A TPM keeps of a private key its modulus and one prime; everything else is computed when the key
//! is loaded. A prepared [`RsaPrivate`] is worth caching.

mod keygen;
mod padding;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use core::fmt;

use openssl::bn::BigNum;
use openssl::pkey::{Private, Public};
use openssl::rsa::{Padding, Rsa, RsaPrivateKeyBuilder};
use zeroize::Zeroizing;

use super::Error;
use super::limbs::{self, Limbs};

/// The largest modulus, in bits.
pub const MAX_BITS: usize = 4096;

/// The smallest modulus, in bits. The TPM offers 1024 and more.
pub const MIN_BITS: usize = 512;

/// An RSA public key.
#[derive(Clone)]
pub struct RsaPublic {
    n: Vec<u8>,
    e: u32,
    key: Rsa<Public>,
}

impl RsaPublic {
    /// A public key from its modulus (big-endian) and its exponent.
    ///
    /// # Errors
    /// [`Error::Size`] when the modulus is shorter than [`MIN_BITS`] or longer than [`MAX_BITS`];
    /// [`Error::InvalidKey`] when modulus or exponent is even, or the exponent below 3.
    pub fn new(n: &[u8], e: u32) -> Result<Self, Error> {
        let n = strip_zeros(n);
        let bits = bit_length(n);
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(Error::Size);
        }
        let odd = n.last().is_some_and(|low| low & 1 == 1);
        if !odd || e.is_multiple_of(2) || e < 3 {
            return Err(Error::InvalidKey);
        }
        let key = Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_u32(e)?)?;
        Ok(Self { n: n.to_vec(), e, key })
    }

    /// The modulus, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.n
    }

    /// The public exponent.
    #[must_use]
    pub const fn exponent(&self) -> u32 {
        self.e
    }

    /// The modulus's length in bytes, which is that of every result.
    #[must_use]
    pub fn size(&self) -> usize {
        self.n.len()
    }

    /// The modulus's length in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        bit_length(&self.n)
    }

    /// RSAEP and RSAVP1: `input` to the power of `e`, as long as the modulus.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the input is not below the modulus.
    pub fn public_op(&self, input: &[u8]) -> Result<Vec<u8>, Error> {
        let input = self.below_modulus(input)?;
        let mut output = vec![0; self.size()];
        self.key.public_encrypt(&input, &mut output, Padding::NONE)?;
        Ok(output)
    }

    /// `input` padded to the modulus's length, if it is below the modulus.
    fn below_modulus(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let padded = left_pad(input, self.size()).ok_or(Error::OutOfRange)?;
        // Both have the same length, so this compares the numbers. That an input is in range is
        // no secret.
        if padded.as_slice() >= self.n.as_slice() {
            return Err(Error::OutOfRange);
        }
        Ok(padded)
    }
}

impl PartialEq for RsaPublic {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.e == other.e
    }
}

impl Eq for RsaPublic {}

impl fmt::Debug for RsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublic({} bits, e = {})", self.bits(), self.e)
    }
}

/// An RSA private key, prepared for the Chinese remainder theorem.
///
/// Its numbers live in the library's memory, which the library wipes when it frees it.
#[derive(Clone)]
pub struct RsaPrivate {
    public: RsaPublic,
    prime: Zeroizing<Vec<u8>>,
    key: Rsa<Private>,
}

impl RsaPrivate {
    /// A private key from its modulus, its exponent and one of its two primes.
    ///
    /// The primes must have half the modulus's length each. That they are prime is not tested, for
    /// that would take longer than most commands; a key of other numbers fails here or when it is
    /// used, since the library checks each result with the public key.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when the prime does not divide the modulus into two different halves,
    /// or the exponent has a common factor with one of them less one, otherwise as
    /// [`RsaPublic::new`].
    pub fn from_prime(n: &[u8], e: u32, prime: &[u8]) -> Result<Self, Error> {
        let public = RsaPublic::new(n, e)?;
        let count = public.bits().div_ceil(128);
        let modulus = limbs::from_be(&public.n, count.saturating_mul(2)).ok_or(Error::Size)?;
        let p = limbs::from_be(prime, count).ok_or(Error::InvalidKey)?;
        if p.first().is_none_or(|low| low & 1 == 0) {
            return Err(Error::InvalidKey);
        }
        let q = limbs::exact_div(&modulus, &p);
        if !limbs::equal(&limbs::mul(&p, &q), &modulus) {
            return Err(Error::InvalidKey);
        }
        Self::assemble(public, &p, &q)
    }

    /// The prime that the TPM stores, padded to half the modulus's length.
    #[must_use]
    pub fn prime(&self) -> &[u8] {
        &self.prime
    }

    /// The modulus, without leading zeros.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        self.public.modulus()
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &RsaPublic {
        &self.public
    }

    /// RSADP and RSASP1: `input` to the power of the private exponent, as long as the modulus;
    /// blinded, in constant time, and checked against the public key.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the input is not below the modulus; [`Error::Library`] when the
    /// key's numbers are no primes.
    pub fn private_op(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let input = self.public.below_modulus(input)?;
        if self.is_fixed_point(&input) {
            return Ok(input);
        }
        let mut output = Zeroizing::new(vec![0; self.public.size()]);
        self.key.private_encrypt(&input, &mut output, Padding::NONE)?;
        Ok(output)
    }

    /// Zero, one and n - 1 stay themselves under an odd exponent; the library refuses them.
    fn is_fixed_point(&self, input: &[u8]) -> bool {
        let Some((low, high)) = input.split_last() else { return true };
        let Some((n_low, n_high)) = self.public.n.split_last() else { return true };
        (*low <= 1 && high.iter().all(|byte| *byte == 0)) || (*low == n_low ^ 1 && high == n_high)
    }

    /// Prepares a key out of its primes, whose product the public key has.
    fn assemble(public: RsaPublic, p: &Limbs, q: &Limbs) -> Result<Self, Error> {
        let half = public.bits() / 2;
        if limbs::bits(p) != half || limbs::bits(q) != half || limbs::equal(p, q) {
            return Err(Error::InvalidKey);
        }
        let e = public.e;
        let (p_less, q_less) = (limbs::sub_word(p, 1), limbs::sub_word(q, 1));
        let phi = limbs::mul(&p_less, &q_less);
        let d = limbs::invert_word(e, &phi).ok_or(Error::InvalidKey)?;
        let d_p = limbs::invert_word(e, &p_less).ok_or(Error::InvalidKey)?;
        let d_q = limbs::invert_word(e, &q_less).ok_or(Error::InvalidKey)?;
        // Equally long as they are, neither prime is twice the other.
        let mut q_mod_p = q.clone();
        limbs::reduce_once(&mut q_mod_p, false, p);
        let q_inv = limbs::invert(&q_mod_p, p).ok_or(Error::InvalidKey)?;
        let key = RsaPrivateKeyBuilder::new(
            BigNum::from_slice(&public.n)?,
            BigNum::from_u32(e)?,
            big_num(&d)?,
        )?
        .set_factors(big_num(p)?, big_num(q)?)?
        .set_crt_params(big_num(&d_p)?, big_num(&d_q)?, big_num(&q_inv)?)?
        .build();
        let prime = limbs::to_be(p, half.div_ceil(8));
        Ok(Self { public, prime, key })
    }
}

impl fmt::Debug for RsaPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPrivate({} bits, ..)", self.public.bits())
    }
}

/// A secret for the library, which keeps it at its full width whatever its value.
fn big_num(value: &Limbs) -> Result<BigNum, Error> {
    let bytes = limbs::to_be(value, value.len().saturating_mul(8));
    Ok(BigNum::from_slice(&bytes)?)
}

fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The bits of a number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    let top = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len().saturating_mul(8).saturating_sub(top)
}

/// A number as exactly `len` bytes; `None` when it needs more.
fn left_pad(number: &[u8], len: usize) -> Option<Zeroizing<Vec<u8>>> {
    let (extra, low) = number.split_at(number.len().saturating_sub(len));
    if extra.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut padded = Zeroizing::new(vec![0; len]);
    padded.iter_mut().rev().zip(low.iter().rev()).for_each(|(to, from)| *to = *from);
    Some(padded)
}
