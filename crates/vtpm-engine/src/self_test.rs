//! Self-tests: known answers for every algorithm family (Part 1, clause 12.3; FIPS 140-3
//! implementation guidance on cryptographic algorithm self-tests).

use std::borrow::Cow;

use crate::crypto::drbg::Drbg;
use crate::crypto::ecc::{self, Curve, EccPrivate};
use crate::crypto::hash::{HashAlg, hash};
use crate::crypto::hmac::hmac;
use crate::crypto::rsa::RsaPrivate;
use crate::crypto::{Rng, sym};
use crate::tpm::{Power, Tpm};
use crate::wire::Rc;

/// Result of the self-tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelfTest {
    /// The tests ran since the last `_TPM_Init`.
    pub(crate) done: bool,
    /// Why the TPM is in failure mode.
    pub(crate) failure: Option<Cow<'static, str>>,
}

/// A test: what it tests, and whether it passed.
type Test = (&'static str, fn() -> bool);

const TESTS: [Test; 7] = [
    ("SHA-1 and SHA-2", test_sha2),
    ("SHA-3", test_sha3),
    ("HMAC", test_hmac),
    ("AES", test_aes),
    ("DRBG", test_drbg),
    ("ECC", test_ecc),
    ("RSA", test_rsa),
];

impl Tpm {
    /// Runs the tests; without `full`, only if they did not run since the last `_TPM_Init`.
    pub(crate) fn run_self_test(&mut self, full: bool) -> Result<(), Rc> {
        if self.self_test.done && !full {
            return Ok(());
        }
        for (name, test) in TESTS {
            self.check_canceled()?;
            if !test() {
                self.fail(name);
                return Err(Rc::FAILURE);
            }
        }
        self.self_test.done = true;
        Ok(())
    }

    /// Puts the TPM into failure mode.
    pub(crate) fn fail(&mut self, what: &'static str) {
        self.power = Power::Failed;
        self.self_test.failure = Some(what.into());
    }
}

/// The digests of "abc" (FIPS 180-4 examples) start with these bytes.
fn test_sha2() -> bool {
    let cases: [(HashAlg, [u8; 4]); 4] = [
        (HashAlg::Sha1, [0xa9, 0x99, 0x3e, 0x36]),
        (HashAlg::Sha256, [0xba, 0x78, 0x16, 0xbf]),
        (HashAlg::Sha384, [0xcb, 0x00, 0x75, 0x3f]),
        (HashAlg::Sha512, [0xdd, 0xaf, 0x35, 0xa1]),
    ];
    cases.iter().all(|(alg, head)| hash(*alg, &[b"abc"]).starts_with(head))
}

/// The digests of "abc" (FIPS 202 examples) start with these bytes.
fn test_sha3() -> bool {
    let cases: [(HashAlg, [u8; 4]); 3] = [
        (HashAlg::Sha3_256, [0x3a, 0x98, 0x5d, 0xa7]),
        (HashAlg::Sha3_384, [0xec, 0x01, 0x49, 0x82]),
        (HashAlg::Sha3_512, [0xb7, 0x51, 0x85, 0x0b]),
    ];
    cases.iter().all(|(alg, head)| hash(*alg, &[b"abc"]).starts_with(head))
}

/// RFC 4231, test case 2.
fn test_hmac() -> bool {
    let mac = hmac(HashAlg::Sha256, b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    mac.starts_with(&[0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e])
}

/// FIPS 197, appendix C.1, through CFB of a zero block: the first block is the cipher's output.
fn test_aes() -> bool {
    let key: [u8; 16] = core::array::from_fn(|i| i as u8);
    let plain: [u8; 16] = core::array::from_fn(|i| (i as u8).wrapping_mul(0x11));
    let cipher = [
        0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5,
        0x5a,
    ];
    let mut data = [0; 16];
    sym::cfb_encrypt(&key, &plain, &mut data).is_ok() && data == cipher
}

/// Two generators with one seed agree, and do not repeat themselves.
fn test_drbg() -> bool {
    let (mut a, mut b) =
        (Drbg::from_seed(&[1; 48], &[b"test"]), Drbg::from_seed(&[1; 48], &[b"test"]));
    let (mut first, mut second, mut third) = ([0; 32], [0; 32], [0; 32]);
    a.fill(&mut first);
    b.fill(&mut second);
    b.fill(&mut third);
    first == second && second != third && first != [0; 32]
}

/// Signs and verifies, and agrees on a point from both sides.
fn test_ecc() -> bool {
    let key = |byte| EccPrivate::new(Curve::P256, &[byte; 32]);
    let (Ok(alice), Ok(bob)) = (key(3), key(5)) else { return false };
    let digest = hash(HashAlg::Sha256, &[b"self test"]);
    let Ok((r, s)) = alice.ecdsa_sign(&digest) else { return false };
    let good = ecc::ecdsa_verify(Curve::P256, alice.public(), &digest, &r, &s);
    let bad = ecc::ecdsa_verify(Curve::P256, bob.public(), &digest, &r, &s);
    let shared = (alice.ecdh(bob.public()), bob.ecdh(alice.public()));
    good && !bad && matches!(shared, (Ok(a), Ok(b)) if a == b)
}

/// Signs and verifies with a key of 1024 bits made for this test.
fn test_rsa() -> bool {
    let mut rng = Drbg::from_seed(&[2; 48], &[b"self test"]);
    let Ok(key) = RsaPrivate::generate(1024, 65537, &mut rng, &|| false) else { return false };
    let digest = hash(HashAlg::Sha256, &[b"self test"]);
    let other = hash(HashAlg::Sha256, &[b"other"]);
    let Ok(signature) = key.pkcs1_sign(HashAlg::Sha256, &digest) else { return false };
    key.public().pkcs1_verify(HashAlg::Sha256, &digest, &signature)
        && !key.public().pkcs1_verify(HashAlg::Sha256, &other, &signature)
}
