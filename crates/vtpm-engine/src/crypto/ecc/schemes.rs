//! Signatures: ECDSA (FIPS 186-4), EC Schnorr and ECDAA (TPM 2.0 Part 1, annex C).

use openssl::bn::BigNum;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::hash::{HashAlg, hash};
use super::super::{Error, Rng};
use super::{Arithmetic, Curve, EccPrivate, Point, mul_base, mul_base_add};

/// How often a signature is tried again when a part of it comes out zero or too large. Each
/// failure has a chance of 2^-32 at most, so a second one points to a broken random source.
const TRIES: usize = 16;

impl EccPrivate {
    /// ECDSA: signs a digest, of which the order's bits count (FIPS 186-4, 6.4). Gives `(r, s)`,
    /// each padded to the order's size.
    ///
    /// The nonce comes from the library's random source mixed with key and digest, not from an
    /// [`Rng`]: no replay of a run repeats it, and no poor source gives the key away.
    ///
    /// # Errors
    /// [`Error::Library`] only.
    #[doc(alias = "TPM2_Sign")]
    pub fn ecdsa_sign(&self, digest: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let signature = EcdsaSig::sign(digest, &self.key)?;
        Ok((self.curve.padded(signature.r())?, self.curve.padded(signature.s())?))
    }

    /// EC Schnorr (TPM 2.0 Part 1, C.4.3): signs a digest. Gives `(r, s)`, each padded to the
    /// order's size, where `r` is the hash of the x coordinate of a random point and the digest,
    /// and `s = k + r d`.
    ///
    /// # Errors
    /// [`Error::NoResult`] when the random source is too poor.
    pub fn ec_schnorr_sign(
        &self,
        alg: HashAlg,
        digest: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        for _ in 0..TRIES {
            let k = self.curve.random_scalar(rng);
            let commitment = mul_base(self.curve, &k)?;
            let r = schnorr_challenge(self.curve, alg, &commitment.x, digest);
            // A verifier refuses an r that is zero or not below the order.
            let Some(r) = self.curve.checked_scalar(&r) else { continue };
            let s = self.curve.mul_add_scalars(&r, &self.d, &k);
            if self.curve.checked_scalar(&s).is_some() {
                return Ok((r.to_vec(), s.to_vec()));
            }
        }
        Err(Error::NoResult)
    }

    /// ECDAA (TPM 2.0 Part 1, C.4.2): signs a digest with the secret scalar `commitment` of an
    /// earlier TPM2_Commit ([`commit_scalar`](super::commit_scalar)). Gives `(nonce_k, s)`, each
    /// padded to the order's size, with `s = commitment + T d` and `T` the hash of the nonce and
    /// the digest.
    ///
    /// # Errors
    /// [`Error::NoResult`] when the random source is too poor.
    pub fn ecdaa_sign(
        &self,
        alg: HashAlg,
        digest: &[u8],
        commitment: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        for _ in 0..TRIES {
            let nonce = self.curve.random_scalar(rng);
            let t = self.curve.reduce(&hash(alg, &[&nonce, digest]));
            let s = self.curve.mul_add_scalars(&t, &self.d, commitment);
            if self.curve.checked_scalar(&t).is_some() && self.curve.checked_scalar(&s).is_some() {
                return Ok((nonce.to_vec(), s.to_vec()));
            }
        }
        Err(Error::NoResult)
    }
}

/// ECDSA: whether `(r, s)` is a signature of `digest` under `public`. Malformed arguments are no
/// signature.
#[doc(alias = "TPM2_VerifySignature")]
#[must_use]
pub fn ecdsa_verify(curve: Curve, public: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> bool {
    let (Some(r), Some(s)) = (curve.checked_scalar(r), curve.checked_scalar(s)) else {
        return false;
    };
    let verify = || -> Result<bool, Error> {
        let mut arithmetic = Arithmetic::new(curve)?;
        let point = arithmetic.import(public)?;
        let key = EcKey::from_public_key(&arithmetic.group, &point)?;
        let (r, s) = (BigNum::from_slice(&r)?, BigNum::from_slice(&s)?);
        let good = EcdsaSig::from_private_components(r, s)?.verify(digest, &key)?;
        if !good {
            // The library leaves its reason in this thread's queue.
            drop(openssl::error::ErrorStack::get());
        }
        Ok(good)
    };
    verify().unwrap_or(false)
}

/// EC Schnorr: whether `(r, s)` is a signature of `digest` under `public`. Malformed arguments are
/// no signature.
#[must_use]
pub fn ec_schnorr_verify(
    curve: Curve,
    public: &Point,
    alg: HashAlg,
    digest: &[u8],
    r: &[u8],
    s: &[u8],
) -> bool {
    let (Some(r), Some(s)) = (curve.checked_scalar(r), curve.checked_scalar(s)) else {
        return false;
    };
    // [s] G - [r] Q is the point whose x coordinate was hashed.
    let Ok(commitment) = mul_base_add(curve, &s, &curve.negate_scalar(&r), public) else {
        return false;
    };
    let expected = schnorr_challenge(curve, alg, &commitment.x, digest);
    let expected = expected.get(expected.len().saturating_sub(r.len())..).unwrap_or_default();
    padded_eq(expected, &r)
}

/// H(x || digest) of EC Schnorr, cut to the order's bytes as TPMs do.
fn schnorr_challenge(curve: Curve, alg: HashAlg, x: &[u8], digest: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut challenge = Zeroizing::new(hash(alg, &[x, digest]).to_vec());
    challenge.truncate(curve.bytes());
    challenge
}

/// Whether `number` with zeros in front is `padded`, which is at least as long.
fn padded_eq(number: &[u8], padded: &[u8]) -> bool {
    let (zeros, low) = padded.split_at(padded.len().saturating_sub(number.len()));
    zeros.iter().all(|byte| *byte == 0) && bool::from(low.ct_eq(number))
}
