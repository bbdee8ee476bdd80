//! The paddings of RFC 8017 over the raw operations: RSASSA-PKCS1-v1_5, RSASSA-PSS, RSAES-OAEP and
//! RSAES-PKCS1-v1_5, with the choices that TPM 2.0 Part 1, annex B makes.
//!
//! Taking off a padding of encryption runs in constant time up to the question whether it was
//! right.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::super::hash::{Digest, HashAlg, hash};
use super::super::kdf::mgf1;
use super::super::{Error, Rng};
use super::{RsaPrivate, RsaPublic};

/// The trailer of an encoded PSS message.
const PSS_TRAILER: u8 = 0xbc;
/// The bytes of RSAES-PKCS1-v1_5 and RSASSA-PKCS1-v1_5 around message and padding.
const PKCS1_OVERHEAD: usize = 3;
/// The shortest padding of PKCS1-v1_5.
const PKCS1_MIN_PADDING: usize = 8;
/// Where the zero that ends it stands at the earliest: behind the block's type and its zero.
const PKCS1_MIN_END: u32 = 2 + PKCS1_MIN_PADDING as u32;

impl RsaPrivate {
    /// RSASSA-PKCS1-v1_5: signs a digest.
    ///
    /// # Errors
    /// [`Error::Size`] when the digest has not its algorithm's length; [`Error::HashTooLong`] when
    /// the key is too short for it.
    #[doc(alias = "RSASSA")]
    pub fn pkcs1_sign(&self, alg: HashAlg, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let encoded = pkcs1_encode(alg, digest, self.public().size())?;
        Ok(self.private_op(&encoded)?.to_vec())
    }

    /// RSASSA-PSS with MGF1 and the same hash: signs a digest.
    ///
    /// The salt is as long as the digest, or as long as the key allows where that is less (TPM 2.0
    /// Part 1, B.7; FIPS 186-4, 5.5 e).
    ///
    /// # Errors
    /// As [`RsaPrivate::pkcs1_sign`].
    #[doc(alias = "RSAPSS")]
    pub fn pss_sign(
        &self,
        alg: HashAlg,
        digest: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, Error> {
        let room = pss_length(self.public())
            .checked_sub(alg.digest_size().saturating_add(2))
            .ok_or(Error::HashTooLong)?;
        let mut salt = vec![0; room.min(alg.digest_size())];
        rng.fill(&mut salt);
        let encoded = pss_encode(self.public(), alg, digest, &salt)?;
        Ok(self.private_op(&encoded)?.to_vec())
    }

    /// RSAES-OAEP with MGF1 and the same hash: decrypts a message that was encrypted under `label`
    /// (in a TPM with its terminating zero).
    ///
    /// # Errors
    /// [`Error::Size`] when the cipher text is not as long as the modulus, [`Error::OutOfRange`]
    /// when it is not below it, [`Error::HashTooLong`] when the key is too short for the hash,
    /// [`Error::Padding`] when there is no such message in it.
    pub fn oaep_decrypt(
        &self,
        alg: HashAlg,
        label: &[u8],
        cipher_text: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let size = self.public().size();
        if cipher_text.len() != size {
            return Err(Error::Size);
        }
        if size < alg.digest_size().saturating_mul(2).saturating_add(2) {
            return Err(Error::HashTooLong);
        }
        oaep_decode(alg, label, self.private_op(cipher_text)?)
    }

    /// RSAES-PKCS1-v1_5: decrypts a message.
    ///
    /// # Errors
    /// [`Error::Size`] when the cipher text is not as long as the modulus, [`Error::OutOfRange`]
    /// when it is not below it, [`Error::Padding`] when there is no message in it.
    #[doc(alias = "RSAES")]
    pub fn pkcs1v15_decrypt(&self, cipher_text: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if cipher_text.len() != self.public().size() {
            return Err(Error::Size);
        }
        let padded = self.private_op(cipher_text)?;
        let mut good = Choice::from(1);
        let mut start = 0u32;
        let mut found = Choice::from(0);
        for (at, byte) in (0u32..).zip(padded.iter()) {
            match at {
                0 => good &= byte.ct_eq(&0),
                1 => good &= byte.ct_eq(&2),
                _ => {
                    let end = byte.ct_eq(&0) & !found;
                    start.conditional_assign(&at.wrapping_add(1), end);
                    found |= end;
                    // Too early an end is the same as none.
                    good &= !(end & Choice::from(u8::from(at < PKCS1_MIN_END)));
                }
            }
        }
        message_from(&padded, start, good & found)
    }
}

impl RsaPublic {
    /// RSASSA-PKCS1-v1_5: whether `signature` is one of `digest`. Malformed arguments are no
    /// signature.
    #[must_use]
    pub fn pkcs1_verify(&self, alg: HashAlg, digest: &[u8], signature: &[u8]) -> bool {
        if signature.len() != self.size() {
            return false;
        }
        match (pkcs1_encode(alg, digest, self.size()), self.public_op(signature)) {
            (Ok(expected), Ok(encoded)) => expected == encoded,
            _ => false,
        }
    }

    /// RSASSA-PSS: whether `signature` is one of `digest`, with a salt of any length. Malformed
    /// arguments are no signature.
    #[must_use]
    pub fn pss_verify(&self, alg: HashAlg, digest: &[u8], signature: &[u8]) -> bool {
        if signature.len() != self.size() || digest.len() != alg.digest_size() {
            return false;
        }
        let Ok(encoded) = self.public_op(signature) else { return false };
        pss_check(self, alg, digest, &encoded).unwrap_or(false)
    }

    /// RSAES-OAEP with MGF1 and the same hash: encrypts a message under `label` (in a TPM with its
    /// terminating zero).
    ///
    /// # Errors
    /// [`Error::HashTooLong`] when the key is too short for the hash, [`Error::Size`] when it is
    /// too short for the message.
    pub fn oaep_encrypt(
        &self,
        alg: HashAlg,
        label: &[u8],
        message: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, Error> {
        let mut seed = Zeroizing::new(vec![0; alg.digest_size()]);
        rng.fill(&mut seed);
        let padded = oaep_encode(alg, label, message, &seed, self.size())?;
        self.public_op(&padded)
    }

    /// RSAES-PKCS1-v1_5: encrypts a message.
    ///
    /// # Errors
    /// [`Error::Size`] when the key is too short for the message, [`Error::NoResult`] when the
    /// random source gives nothing but zeros.
    pub fn pkcs1v15_encrypt(&self, message: &[u8], rng: &mut dyn Rng) -> Result<Vec<u8>, Error> {
        let filling = self
            .size()
            .checked_sub(message.len().saturating_add(PKCS1_OVERHEAD))
            .filter(|filling| *filling >= PKCS1_MIN_PADDING)
            .ok_or(Error::Size)?;
        let mut padded = Zeroizing::new(Vec::with_capacity(self.size()));
        padded.extend_from_slice(&[0, 2]);
        padded.extend_from_slice(&nonzero_bytes(filling, rng)?);
        padded.push(0);
        padded.extend_from_slice(message);
        self.public_op(&padded)
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017, 9.2) of a digest.
fn pkcs1_encode(alg: HashAlg, digest: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    if digest.len() != alg.digest_size() {
        return Err(Error::Size);
    }
    let info = digest_info(alg);
    let filling = size
        .checked_sub(info.len().saturating_add(digest.len()).saturating_add(PKCS1_OVERHEAD))
        .filter(|filling| *filling >= PKCS1_MIN_PADDING)
        .ok_or(Error::HashTooLong)?;
    let mut encoded = Vec::with_capacity(size);
    encoded.extend_from_slice(&[0, 1]);
    encoded.resize(filling.saturating_add(2), 0xff);
    encoded.push(0);
    encoded.extend_from_slice(&info);
    encoded.extend_from_slice(digest);
    Ok(encoded)
}

/// The DER of a DigestInfo up to the digest itself.
fn digest_info(alg: HashAlg) -> Vec<u8> {
    /// The arc of NIST's hash algorithms, 2.16.840.1.101.3.4.2.
    const NIST_HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
    let oid = match alg {
        HashAlg::Sha1 => vec![0x2b, 0x0e, 0x03, 0x02, 0x1a],
        HashAlg::Sha256 => [NIST_HASHES.as_slice(), &[1]].concat(),
        HashAlg::Sha384 => [NIST_HASHES.as_slice(), &[2]].concat(),
        HashAlg::Sha512 => [NIST_HASHES.as_slice(), &[3]].concat(),
        HashAlg::Sha3_256 => [NIST_HASHES.as_slice(), &[8]].concat(),
        HashAlg::Sha3_384 => [NIST_HASHES.as_slice(), &[9]].concat(),
        HashAlg::Sha3_512 => [NIST_HASHES.as_slice(), &[10]].concat(),
    };
    // All lengths are below 128, so each is one byte: an OID has at most 9, a digest 64.
    let (oid_len, digest_len) = (oid.len() as u8, alg.digest_size() as u8);
    let inner = oid_len.saturating_add(4);
    let whole = inner.saturating_add(digest_len).saturating_add(4);
    let mut info = vec![0x30, whole, 0x30, inner, 0x06, oid_len];
    info.extend_from_slice(&oid);
    info.extend_from_slice(&[0x05, 0x00, 0x04, digest_len]);
    info
}

/// The length of an encoded PSS message: of the modulus's bits less one.
fn pss_length(key: &RsaPublic) -> usize {
    key.bits().saturating_sub(1).div_ceil(8)
}

/// The bits of the first byte of an encoded PSS message that may be set.
fn pss_top_mask(key: &RsaPublic) -> u8 {
    let spare = pss_length(key).saturating_mul(8).saturating_sub(key.bits().saturating_sub(1));
    0xffu8.checked_shr(spare as u32).unwrap_or(0)
}

/// The hash H of an encoded PSS message.
fn pss_hash(alg: HashAlg, digest: &[u8], salt: &[u8]) -> Digest {
    hash(alg, &[&[0; 8], digest, salt])
}

/// EMSA-PSS-ENCODE (RFC 8017, 9.1.1).
fn pss_encode(key: &RsaPublic, alg: HashAlg, digest: &[u8], salt: &[u8]) -> Result<Vec<u8>, Error> {
    if digest.len() != alg.digest_size() {
        return Err(Error::Size);
    }
    let h = pss_hash(alg, digest, salt);
    let masked_len =
        pss_length(key).checked_sub(h.len().saturating_add(1)).ok_or(Error::HashTooLong)?;
    let zeros = masked_len.checked_sub(salt.len().saturating_add(1)).ok_or(Error::HashTooLong)?;
    let mut encoded = vec![0; zeros];
    encoded.push(1);
    encoded.extend_from_slice(salt);
    xor(&mut encoded, &mgf1(alg, &h, masked_len));
    if let Some(top) = encoded.first_mut() {
        *top &= pss_top_mask(key);
    }
    encoded.extend_from_slice(&h);
    encoded.push(PSS_TRAILER);
    Ok(encoded)
}

/// EMSA-PSS-VERIFY (RFC 8017, 9.1.2) with a salt of any length; `None` is a mismatch too.
fn pss_check(key: &RsaPublic, alg: HashAlg, digest: &[u8], encoded: &[u8]) -> Option<bool> {
    // The number may be a byte shorter than the modulus.
    let (above, encoded) = encoded.split_at_checked(key.size().checked_sub(pss_length(key))?)?;
    let (trailer, rest) = encoded.split_last()?;
    let masked_len = rest.len().checked_sub(alg.digest_size())?;
    let (masked, h) = rest.split_at_checked(masked_len)?;
    let top = *masked.first()?;
    if above.iter().any(|byte| *byte != 0)
        || *trailer != PSS_TRAILER
        || top & !pss_top_mask(key) != 0
    {
        return Some(false);
    }
    let mut db = masked.to_vec();
    xor(&mut db, &mgf1(alg, h, masked_len));
    *db.first_mut()? &= pss_top_mask(key);
    let one = db.iter().position(|byte| *byte != 0)?;
    let (marker, salt) = db.get(one..)?.split_first()?;
    Some(*marker == 1 && bool::from(pss_hash(alg, digest, salt).ct_eq(h)))
}

/// EME-OAEP encoding (RFC 8017, 7.1.1, step 2).
fn oaep_encode(
    alg: HashAlg,
    label: &[u8],
    message: &[u8],
    seed: &[u8],
    size: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let overhead = alg.digest_size().saturating_mul(2).saturating_add(2);
    let room = size.checked_sub(overhead).ok_or(Error::HashTooLong)?;
    let zeros = room.checked_sub(message.len()).ok_or(Error::Size)?;
    let mut db = Zeroizing::new(Vec::with_capacity(size));
    db.extend_from_slice(&hash(alg, &[label]));
    db.resize(alg.digest_size().saturating_add(zeros), 0);
    db.push(1);
    db.extend_from_slice(message);
    let mask = mgf1(alg, seed, db.len());
    xor(&mut db, &mask);
    let mut seed = Zeroizing::new(seed.to_vec());
    let mask = mgf1(alg, &db, seed.len());
    xor(&mut seed, &mask);
    let mut padded = Zeroizing::new(Vec::with_capacity(size));
    padded.push(0);
    padded.extend_from_slice(&seed);
    padded.extend_from_slice(&db);
    Ok(padded)
}

/// EME-OAEP decoding (RFC 8017, 7.1.2, step 3).
fn oaep_decode(
    alg: HashAlg,
    label: &[u8],
    mut padded: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (first, rest) = padded.split_first_mut().ok_or(Error::Padding)?;
    let (seed, db) = rest.split_at_mut_checked(alg.digest_size()).ok_or(Error::Padding)?;
    xor(seed, &mgf1(alg, db, seed.len()));
    xor(db, &mgf1(alg, seed, db.len()));
    let (label_hash, body) = db.split_at_checked(alg.digest_size()).ok_or(Error::Padding)?;

    let mut good = first.ct_eq(&0) & label_hash.ct_eq(&hash(alg, &[label]));
    let mut start = 0u32;
    let mut found = Choice::from(0);
    for (at, byte) in (0u32..).zip(body) {
        let end = byte.ct_eq(&1) & !found;
        start.conditional_assign(&at.wrapping_add(1), end);
        found |= end;
        good &= found | byte.ct_eq(&0);
    }
    message_from(body, start, good & found)
}

/// The message from `start` on, if the padding was good. Only here does its length show.
fn message_from(padded: &[u8], start: u32, good: Choice) -> Result<Zeroizing<Vec<u8>>, Error> {
    if !bool::from(good) {
        return Err(Error::Padding);
    }
    let message = padded.get(start as usize..).ok_or(Error::Padding)?;
    Ok(Zeroizing::new(message.to_vec()))
}

/// Random bytes other than zero: zeros are drawn again.
fn nonzero_bytes(len: usize, rng: &mut dyn Rng) -> Result<Zeroizing<Vec<u8>>, Error> {
    /// A good source gives 128 zeros in a row with a chance of 2^-1024.
    const TRIES: usize = 128;
    let mut bytes = Zeroizing::new(vec![0; len]);
    rng.fill(&mut bytes);
    for byte in bytes.iter_mut() {
        for _ in 0..TRIES {
            if *byte != 0 {
                break;
            }
            rng.fill(core::slice::from_mut(byte));
        }
        if *byte == 0 {
            return Err(Error::NoResult);
        }
    }
    Ok(bytes)
}

fn xor(data: &mut [u8], mask: &[u8]) {
    data.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}
