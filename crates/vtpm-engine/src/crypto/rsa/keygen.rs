//! Making RSA keys: probable primes (FIPS 186-4, B.3.3) out of a caller's random bytes.
//!
//! A key depends on nothing but those bytes, since a TPM makes its primary keys again from a seed.
//! Each candidate for a prime takes half the modulus's length from the source, gets its two highest
//! bits and its lowest bit set, and stands trial: small factors, a common factor of p - 1 with the
//! exponent, the distance to the first prime, then Miller and Rabin's test in the library. The
//! witnesses of that test are the library's own; that they let a composite number pass is as likely
//! as guessing a key.
//!
//! Candidates are independent, as the standard says, not consecutive: what leaks about a rejected
//! one then says nothing about the prime.

use openssl::bn::{BigNum, BigNumContext};

use super::super::limbs::{self, Limbs};
use super::super::{Error, Rng};
use super::{RsaPrivate, RsaPublic};

/// Rounds of Miller and Rabin's test: at least as many as FIPS 186-4, table C.3 asks for the
/// smallest primes (the library does not do fewer than 16 for a prime).
const ROUNDS: i32 = 7;

/// How many candidates are drawn for each bit of a prime before the random source is held broken.
/// About one in a third of `bits` is prime, so the odds of ending here are beyond e^-100.
const CANDIDATES_PER_BIT: usize = 50;

/// The two primes differ within this many of their highest bits (FIPS 186-4, B.3.3, step 5.4).
const DISTANCE_BITS: usize = 100;

const SIEVE_LIMIT: usize = 2048;
const SIEVE_COUNT: usize = 308;

/// The odd primes below [`SIEVE_LIMIT`]. Beyond it, dividing costs more than it saves.
const SMALL_PRIMES: [u32; SIEVE_COUNT] = small_primes();

impl RsaPrivate {
    /// Makes a key of `bits` bits (a multiple of 128) with the exponent `e`, out of bytes from
    /// `rng` and nothing else.
    ///
    /// `cancel` is asked between candidates and ends the search by answering `true`.
    ///
    /// # Errors
    /// [`Error::Size`] for a length that is not offered, [`Error::InvalidKey`] for an even exponent
    /// or one below 3, [`Error::Cancelled`], and [`Error::NoResult`] when the source is so poor
    /// that no prime turns up.
    pub fn generate(
        bits: usize,
        e: u32,
        rng: &mut dyn Rng,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        if !(super::MIN_BITS..=super::MAX_BITS).contains(&bits) || !bits.is_multiple_of(128) {
            return Err(Error::Size);
        }
        if e < 3 || e.is_multiple_of(2) {
            return Err(Error::InvalidKey);
        }
        let p = find_prime(bits / 2, e, None, rng, cancel)?;
        let q = find_prime(bits / 2, e, Some(&p), rng, cancel)?;
        let n = limbs::to_be(&limbs::mul(&p, &q), bits / 8);
        Self::assemble(RsaPublic::new(&n, e)?, &p, &q)
    }
}

fn find_prime(
    bits: usize,
    e: u32,
    other: Option<&Limbs>,
    rng: &mut dyn Rng,
    cancel: &dyn Fn() -> bool,
) -> Result<Limbs, Error> {
    let mut bytes = zeroize::Zeroizing::new(vec![0u8; bits / 8]);
    let mut context = BigNumContext::new()?;
    for _ in 0..bits.saturating_mul(CANDIDATES_PER_BIT) {
        rng.fill(&mut bytes);
        if let Some(high) = bytes.first_mut() {
            *high |= 0xc0;
        }
        if let Some(low) = bytes.last_mut() {
            *low |= 1;
        }
        let candidate = limbs::from_be(&bytes, bits / 64).ok_or(Error::Size)?;
        let near = |other: &Limbs| {
            limbs::bits(&limbs::distance(&candidate, other)) <= bits.saturating_sub(DISTANCE_BITS)
        };
        if has_small_factor(&candidate) || common_factor(&candidate, e) || other.is_some_and(near) {
            continue;
        }
        if cancel() {
            return Err(Error::Cancelled);
        }
        if BigNum::from_slice(&bytes)?.is_prime_fasttest(ROUNDS, &mut context, false)? {
            return Ok(candidate);
        }
    }
    Err(Error::NoResult)
}

/// Whether the prime `p` would have a common factor of p - 1 with `e`.
fn common_factor(candidate: &[u64], e: u32) -> bool {
    let (mut a, mut b) = (e, limbs::rem_word(&limbs::sub_word(candidate, 1), e));
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a != 1
}

/// Whether one of the small primes divides a number. Divides by products of several primes first,
/// which are as cheap as a prime.
fn has_small_factor(candidate: &[u64]) -> bool {
    let mut rest = SMALL_PRIMES.as_slice();
    while let Some(first) = rest.first() {
        let (mut product, mut taken) = (*first, 1usize);
        for prime in rest.iter().skip(1) {
            let Some(larger) = product.checked_mul(*prime) else { break };
            (product, taken) = (larger, taken.saturating_add(1));
        }
        let (group, later) = rest.split_at(taken.min(rest.len()));
        let remainder = limbs::rem_word(candidate, product);
        if group.iter().any(|prime| remainder.is_multiple_of(*prime)) {
            return true;
        }
        rest = later;
    }
    false
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, never at run time"
)]
const fn small_primes() -> [u32; SIEVE_COUNT] {
    let mut composite = [false; SIEVE_LIMIT];
    let mut primes = [0; SIEVE_COUNT];
    let (mut number, mut found) = (3, 0);
    while number < SIEVE_LIMIT {
        if !composite[number] {
            primes[found] = number as u32;
            found += 1;
            let mut multiple = number * number;
            while multiple < SIEVE_LIMIT {
                composite[multiple] = true;
                multiple += 2 * number;
            }
        }
        number += 2;
    }
    assert!(found == SIEVE_COUNT);
    primes
}
