//! Arithmetic on secret numbers whose time depends only on their lengths.
//!
//! The library's safe interface offers constant time for whole operations (an RSA private
//! operation, a point multiplication), not for the few steps around them: the parameters of an RSA
//! key out of one prime, and a signature's sum over a curve's order. Those are here. Numbers are
//! slices of 64-bit limbs, the least significant first; operands of one operation have the same
//! length unless it says otherwise.

use core::hint::black_box;
use core::num::NonZero;

use zeroize::Zeroizing;

/// A secret number.
pub(super) type Limbs = Zeroizing<Vec<u64>>;

/// Reads a big-endian number into `count` limbs; `None` when it is too long.
pub(super) fn from_be(bytes: &[u8], count: usize) -> Option<Limbs> {
    let mut limbs = zero(count);
    let mut chunks = bytes.rchunks(8);
    for (limb, chunk) in limbs.iter_mut().zip(&mut chunks) {
        *limb = chunk.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    }
    chunks.flatten().all(|byte| *byte == 0).then_some(limbs)
}

/// Writes a number as `len` big-endian bytes; what does not fit is cut off at the top.
pub(super) fn to_be(limbs: &[u64], len: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; len]);
    for (chunk, limb) in bytes.rchunks_mut(8).zip(limbs) {
        for (byte, from) in chunk.iter_mut().rev().zip(limb.to_le_bytes()) {
            *byte = from;
        }
    }
    bytes
}

/// The number zero in `count` limbs.
pub(super) fn zero(count: usize) -> Limbs {
    Zeroizing::new(vec![0; count])
}

/// `a < b`.
pub(super) fn less(a: &[u64], b: &[u64]) -> bool {
    let mut borrow = false;
    for (x, y) in a.iter().zip(b) {
        (_, borrow) = x.borrowing_sub(*y, borrow);
    }
    borrow
}

/// Whether a number is `value`.
pub(super) fn is_word(a: &[u64], value: u64) -> bool {
    let mut rest = a.iter();
    let low = rest.next().map_or(value, |limb| limb ^ value);
    rest.fold(low, |all, limb| all | limb) == 0
}

/// `a == b`.
pub(super) fn equal(a: &[u64], b: &[u64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// The number of bits without leading zeros. The length is not hidden.
pub(super) fn bits(a: &[u64]) -> usize {
    let mut below = a.len().saturating_mul(64);
    for limb in a.iter().rev() {
        if *limb != 0 {
            return below.saturating_sub(limb.leading_zeros() as usize);
        }
        below = below.saturating_sub(64);
    }
    0
}

/// `a * b`, as long as both together.
pub(super) fn mul(a: &[u64], b: &[u64]) -> Limbs {
    let mut product = zero(a.len().saturating_add(b.len()));
    for (at, x) in a.iter().enumerate() {
        let mut carry = 0;
        let place = product.get_mut(at..).unwrap_or_default();
        let (low, high) = place.split_at_mut(b.len().min(place.len()));
        for (to, y) in low.iter_mut().zip(b) {
            (*to, carry) = x.carrying_mul_add(*y, carry, *to);
        }
        if let Some(to) = high.first_mut() {
            *to = carry;
        }
    }
    product
}

/// `a - value` for a small `value` that is not greater.
pub(super) fn sub_word(a: &[u64], value: u64) -> Limbs {
    let mut result = Zeroizing::new(a.to_vec());
    let mut borrow = false;
    let mut subtrahend = value;
    for limb in result.iter_mut() {
        (*limb, borrow) = limb.borrowing_sub(subtrahend, borrow);
        subtrahend = 0;
    }
    result
}

/// `|a - b|`.
pub(super) fn distance(a: &[u64], b: &[u64]) -> Limbs {
    let swap = less(a, b);
    let (mut larger, mut smaller) = (Zeroizing::new(a.to_vec()), Zeroizing::new(b.to_vec()));
    cond_swap(mask(swap), &mut larger, &mut smaller);
    cond_sub(!0, &mut larger, &smaller);
    larger
}

/// `a mod divisor`, where zero counts as one.
pub(super) fn rem_word(a: &[u64], divisor: u32) -> u32 {
    let divisor = NonZero::new(u64::from(divisor)).unwrap_or(NonZero::<u64>::MIN);
    let mut rem = 0u64;
    for limb in a.iter().rev() {
        rem = (rem << 32 | limb >> 32) % divisor;
        rem = (rem << 32 | limb & 0xffff_ffff) % divisor;
    }
    rem as u32
}

/// `a / b` where the division is known to leave nothing and `b` is odd; both of any length, the
/// result as long as `b`.
///
/// When it does leave something the result is meaningless; the caller multiplies back.
pub(super) fn exact_div(a: &[u64], b: &[u64]) -> Limbs {
    let mut rest = zero(b.len());
    rest.iter_mut().zip(a).for_each(|(to, from)| *to = *from);
    let inverse = inverse_mod_word(b.first().copied().unwrap_or(1));
    let mut quotient = zero(b.len());
    for (at, digit) in quotient.iter_mut().enumerate() {
        let place = rest.get_mut(at..).unwrap_or_default();
        *digit = place.first().map_or(0, |low| low.wrapping_mul(inverse));
        let (mut carry, mut borrow) = (0, false);
        for (to, y) in place.iter_mut().zip(b) {
            let low;
            (low, carry) = digit.carrying_mul(*y, carry);
            (*to, borrow) = to.borrowing_sub(low, borrow);
        }
    }
    quotient
}

/// `1 / e mod m` for a public odd `e`, as long as `m`; `None` when they have a common factor.
///
/// Finds the `k` below `e` for which `k m + 1` is a multiple of `e`. It reveals `m mod e` through
/// timing, which is a few bits of a number of thousands.
pub(super) fn invert_word(e: u32, m: &[u64]) -> Option<Limbs> {
    let inverse = inverse_mod_u32(rem_word(m, e), e)?;
    let factor = u64::from(e.checked_sub(inverse)?);
    let mut sum = zero(m.len().checked_add(1)?);
    let mut carry = 1;
    for (to, limb) in sum.iter_mut().zip(m.iter().chain(&[0])) {
        (*to, carry) = limb.carrying_mul(factor, carry);
    }
    let divisor = NonZero::new(u64::from(e))?;
    let mut rem = 0u64;
    for limb in sum.iter_mut().rev() {
        let high = rem << 32 | *limb >> 32;
        let low = (high % divisor) << 32 | *limb & 0xffff_ffff;
        *limb = ((high / divisor) << 32) | (low / divisor);
        rem = low % divisor;
    }
    let fits = sum.pop() == Some(0);
    (fits && rem == 0).then_some(sum)
}

/// `1 / a mod m` for an odd `m` above 1 and `a < m`; `None` when they have a common factor.
///
/// The binary algorithm, with every step taken whatever the bits are. Of `x` and `y` the larger
/// becomes smaller by a bit in each turn; `u` and `v` follow, so that `x = u a` and `y = v a`
/// modulo `m` throughout.
pub(super) fn invert(a: &[u64], m: &[u64]) -> Option<Limbs> {
    let (mut x, mut y) = (Zeroizing::new(a.to_vec()), Zeroizing::new(m.to_vec()));
    let (mut u, mut v) = (zero(m.len()), zero(m.len()));
    *u.first_mut()? = 1;
    for _ in 0..m.len().saturating_mul(128) {
        let odd = mask(x.first()? & 1 == 1);
        let swap = odd & mask(less(&x, &y));
        cond_swap(swap, &mut x, &mut y);
        cond_swap(swap, &mut u, &mut v);
        cond_sub(odd, &mut x, &y);
        let borrow = cond_sub(odd, &mut u, &v);
        cond_add(mask(borrow), &mut u, m);
        shift_right(&mut x, false);
        let half = mask(u.first()? & 1 == 1);
        let carry = cond_add(half, &mut u, m);
        shift_right(&mut u, carry);
    }
    is_word(&y, 1).then_some(v)
}

/// `a + b mod m` for operands below `m`.
pub(super) fn add_mod(a: &[u64], b: &[u64], m: &[u64]) -> Limbs {
    let mut sum = Zeroizing::new(a.to_vec());
    let carry = cond_add(!0, &mut sum, b);
    reduce_once(&mut sum, carry, m);
    sum
}

/// `a * b mod m` for `b < m` and an `a` of any size, bit by bit: meant for numbers as short as a
/// curve's order.
pub(super) fn mul_mod(a: &[u64], b: &[u64], m: &[u64]) -> Limbs {
    let mut sum = zero(m.len());
    for limb in a.iter().rev() {
        for bit in (0..64).rev() {
            let carry = shift_left(&mut sum, 0);
            reduce_once(&mut sum, carry, m);
            let carry = cond_add(mask(limb >> bit & 1 == 1), &mut sum, b);
            reduce_once(&mut sum, carry, m);
        }
    }
    sum
}

/// A big-endian number of any length modulo `m`.
pub(super) fn reduce_be(bytes: &[u8], m: &[u64]) -> Limbs {
    let count = bytes.len().div_ceil(8);
    let wide = from_be(bytes, count).unwrap_or_else(|| zero(count));
    let mut rest = zero(m.len());
    for limb in wide.iter().rev() {
        for bit in (0..64).rev() {
            let carry = shift_left(&mut rest, limb >> bit & 1);
            reduce_once(&mut rest, carry, m);
        }
    }
    rest
}

/// Takes `m` off once if the number, with its carry above the top limb, is not below it. What is
/// below `2 m` comes out reduced.
pub(super) fn reduce_once(a: &mut [u64], carry: bool, m: &[u64]) {
    let borrow = cond_sub(!0, a, m);
    cond_add(mask(borrow & !carry), a, m);
}

/// All ones for `true`. The barrier keeps the compiler from making a branch of it.
fn mask(bit: bool) -> u64 {
    black_box(u64::from(bit)).wrapping_neg()
}

fn cond_add(mask: u64, a: &mut [u64], b: &[u64]) -> bool {
    let mut carry = false;
    for (x, y) in a.iter_mut().zip(b) {
        (*x, carry) = x.carrying_add(y & mask, carry);
    }
    carry
}

fn cond_sub(mask: u64, a: &mut [u64], b: &[u64]) -> bool {
    let mut borrow = false;
    for (x, y) in a.iter_mut().zip(b) {
        (*x, borrow) = x.borrowing_sub(y & mask, borrow);
    }
    borrow
}

fn cond_swap(mask: u64, a: &mut [u64], b: &mut [u64]) {
    for (x, y) in a.iter_mut().zip(b) {
        let both = (*x ^ *y) & mask;
        *x ^= both;
        *y ^= both;
    }
}

/// Shifts by one bit, with `low` (0 or 1) coming in below; gives the bit that falls out.
fn shift_left(a: &mut [u64], low: u64) -> bool {
    let mut carry = low;
    for limb in a {
        let next = *limb >> 63;
        *limb = *limb << 1 | carry;
        carry = next;
    }
    carry == 1
}

/// Shifts by one bit, with `top` coming in above.
fn shift_right(a: &mut [u64], top: bool) {
    let mut carry = u64::from(top) << 63;
    for limb in a.iter_mut().rev() {
        let next = *limb << 63;
        *limb = *limb >> 1 | carry;
        carry = next;
    }
}

/// `1 / a mod 2^64` for an odd `a`: each step doubles the number of right bits, from five.
fn inverse_mod_word(a: u64) -> u64 {
    let mut inverse = a.wrapping_mul(3) ^ 2;
    for _ in 0..4 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(a.wrapping_mul(inverse)));
    }
    inverse
}

/// `1 / a mod m` by Euclid's algorithm; `None` when they have a common factor.
fn inverse_mod_u32(a: u32, m: u32) -> Option<u32> {
    let modulus = i64::from(m);
    let (mut r0, mut r1) = (modulus, i64::from(a));
    let (mut t0, mut t1) = (0i64, 1i64);
    while r1 != 0 {
        let quotient = r0.checked_div(r1)?;
        (r0, r1) = (r1, r0.checked_sub(quotient.checked_mul(r1)?)?);
        (t0, t1) = (t1, t0.checked_sub(quotient.checked_mul(t1)?)?);
    }
    if r0 != 1 {
        return None;
    }
    u32::try_from(t0.rem_euclid(modulus)).ok()
}

#[cfg(test)]
mod tests {
    use openssl::bn::{BigNum, BigNumContext};

    use super::super::Rng;
    use super::super::test_util::TestRng;
    use super::*;

    const ROUNDS: usize = 200;

    /// A random number of `count` limbs, some of them all zeros or all ones.
    fn random(rng: &mut TestRng, count: usize) -> Limbs {
        let mut limbs = zero(count);
        for limb in limbs.iter_mut() {
            let mut bytes = [0; 9];
            rng.fill(&mut bytes);
            *limb = match bytes[8] % 8 {
                0 => 0,
                1 => u64::MAX,
                _ => u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes")),
            };
        }
        limbs
    }

    /// A modulus with its top bit and its lowest bit set, and two numbers below it.
    fn random_modulus(rng: &mut TestRng, count: usize) -> (Limbs, Limbs, Limbs) {
        let mut m = random(rng, count);
        m[count - 1] |= 1 << 63;
        m[0] |= 1;
        let (mut a, mut b) = (random(rng, count), random(rng, count));
        reduce_once(&mut a, false, &m);
        reduce_once(&mut b, false, &m);
        (m, a, b)
    }

    fn number(limbs: &[u64]) -> BigNum {
        BigNum::from_slice(&to_be(limbs, limbs.len() * 8)).expect("a number")
    }

    fn check(limbs: &[u64], expected: &BigNum) {
        assert_eq!(&number(limbs), expected);
    }

    #[test]
    fn bytes_and_limbs_convert_both_ways() {
        let limbs = from_be(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 2).expect("it fits");
        assert_eq!(limbs.as_slice(), [0x0203_0405_0607_0809, 1]);
        assert_eq!(to_be(&limbs, 9).as_slice(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(to_be(&limbs, 11).as_slice(), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(from_be(&[1, 0, 0, 0, 0, 0, 0, 0, 0], 1).is_none());
        assert_eq!(from_be(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 1).expect("it fits").as_slice(), [5]);
        assert_eq!(from_be(&[], 1).expect("it fits").as_slice(), [0]);
    }

    #[test]
    fn modular_arithmetic_agrees_with_the_library() {
        let mut context = BigNumContext::new().expect("memory");
        let mut rng = TestRng(1);
        for round in 0..ROUNDS {
            let (m, a, b) = random_modulus(&mut rng, 1 + round % 9);
            let (big_m, big_a, big_b) = (number(&m), number(&a), number(&b));
            let mut expected = BigNum::new().expect("memory");
            expected.mod_add(&big_a, &big_b, &big_m, &mut context).expect("a sum");
            check(&add_mod(&a, &b, &m), &expected);
            expected.mod_mul(&big_a, &big_b, &big_m, &mut context).expect("a product");
            check(&mul_mod(&a, &b, &m), &expected);
            let wide = random(&mut rng, m.len() + 2);
            expected.nnmod(&number(&wide), &big_m, &mut context).expect("a remainder");
            check(&reduce_be(&to_be(&wide, wide.len() * 8), &m), &expected);
        }
    }

    #[test]
    fn inverses_agree_with_the_library() {
        let mut context = BigNumContext::new().expect("memory");
        let mut rng = TestRng(2);
        let mut found = 0;
        for round in 0..ROUNDS {
            let (m, a, _) = random_modulus(&mut rng, 1 + round % 9);
            let mut expected = BigNum::new().expect("memory");
            match expected.mod_inverse(&number(&a), &number(&m), &mut context) {
                Ok(()) => {
                    found += 1;
                    check(&invert(&a, &m).expect("an inverse"), &expected);
                }
                Err(_) => assert!(invert(&a, &m).is_none()),
            }
        }
        assert!((ROUNDS / 4..ROUNDS).contains(&found), "{found} had inverses");
    }

    #[test]
    fn the_greatest_number_inverts_to_itself() {
        let m = from_be(&[0xff; 128], 16).expect("it fits");
        let a = sub_word(&m, 1);
        assert_eq!(invert(&a, &m).expect("an inverse").as_slice(), a.as_slice());
    }

    #[test]
    fn products_and_exact_quotients_undo_each_other() {
        let mut rng = TestRng(3);
        for round in 0..ROUNDS {
            let (a, b, _) = random_modulus(&mut rng, 1 + round % 9);
            let product = mul(&a, &b);
            check(&product, &(&number(&a) * &number(&b)));
            assert!(equal(&exact_div(&product, &a), &b));
        }
    }

    #[test]
    fn inverses_of_words_agree_with_the_library() {
        let mut context = BigNumContext::new().expect("memory");
        let mut rng = TestRng(4);
        for round in 0..ROUNDS {
            let (m, ..) = random_modulus(&mut rng, 1 + round % 9);
            for e in [3, 15, 17, 65537, 0xffff_fffb, u32::MAX] {
                let mut expected = BigNum::new().expect("memory");
                let big_e = BigNum::from_u32(e).expect("memory");
                match expected.mod_inverse(&big_e, &number(&m), &mut context) {
                    Ok(()) => check(&invert_word(e, &m).expect("an inverse"), &expected),
                    Err(_) => assert!(invert_word(e, &m).is_none()),
                }
            }
        }
    }

    #[test]
    fn comparisons_and_differences_are_right_at_the_edges() {
        let (small, large) = ([5, 0], [4, 1]);
        assert!(less(&small, &large) && !less(&large, &small) && !less(&small, &small));
        assert!(equal(&small, &small) && !equal(&small, &large) && !equal(&small, &[5]));
        assert_eq!(distance(&small, &large).as_slice(), [u64::MAX, 0]);
        assert_eq!(distance(&large, &small).as_slice(), [u64::MAX, 0]);
        assert!(is_word(&small, 5) && !is_word(&large, 4) && !is_word(&small, 0));
        assert_eq!([bits(&[0, 0]), bits(&small), bits(&large)], [0, 3, 65]);
        assert_eq!(rem_word(&large, 3), 2);
        assert_eq!(sub_word(&[0, 1], 1).as_slice(), [u64::MAX, 0]);
    }
}
