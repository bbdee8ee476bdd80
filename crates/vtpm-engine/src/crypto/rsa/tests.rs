//! Tests of the RSA module.

use openssl::bn::{BigNum, BigNumContext};

use super::super::drbg::Drbg;
use super::super::hash::{HashAlg, hash};
use super::super::test_util::{TestRng, hex, pattern, to_hex};
use super::super::{Error, Rng};
use super::vectors as v;
use super::{RsaPrivate, RsaPublic};

const E: u32 = 65537;

fn golden_rng(bits: u16) -> Drbg {
    Drbg::from_seed(&[0x5e; 64], &[b"rsa", &bits.to_be_bytes()])
}

fn generate(bits: u16) -> RsaPrivate {
    RsaPrivate::generate(bits.into(), E, &mut golden_rng(bits), &|| false).expect("a key")
}

fn key() -> RsaPrivate {
    RsaPrivate::from_prime(&hex(v::MODULUS_2048), E, &hex(v::PRIME_2048)).expect("a key")
}

fn short_key() -> RsaPrivate {
    RsaPrivate::from_prime(&hex(v::MODULUS_1024), E, &hex(v::PRIME_1024)).expect("a key")
}

/// The other prime of a key.
fn other_prime(key: &RsaPrivate) -> Vec<u8> {
    let n = BigNum::from_slice(key.modulus()).expect("a number");
    (&n / &BigNum::from_slice(key.prime()).expect("a number")).to_vec()
}

/// A source that gives one byte for ever.
struct Constant(u8);

impl Rng for Constant {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

#[test]
fn seeded_keys_never_change() {
    for (bits, modulus, prime) in
        [(1024, v::MODULUS_1024, v::PRIME_1024), (2048, v::MODULUS_2048, v::PRIME_2048)]
    {
        let key = generate(bits);
        assert_eq!(to_hex(key.modulus()), modulus);
        assert_eq!(to_hex(key.prime()), prime);
    }
    for (bits, modulus, prime) in [
        (3072, v::MODULUS_3072_SHA256, v::PRIME_3072_SHA256),
        (4096, v::MODULUS_4096_SHA256, v::PRIME_4096_SHA256),
    ] {
        let key = generate(bits);
        assert_eq!(to_hex(&hash(HashAlg::Sha256, &[key.modulus()])), modulus);
        assert_eq!(to_hex(&hash(HashAlg::Sha256, &[key.prime()])), prime);
        assert_eq!(key.public().bits(), usize::from(bits));
    }
}

#[test]
fn generated_keys_have_two_primes_of_half_the_length() {
    let mut context = BigNumContext::new().expect("memory");
    let mut rng = TestRng(5);
    for e in [3, 17, E, 0xffff_fffb] {
        let key = RsaPrivate::generate(512, e, &mut rng, &|| false).expect("a key");
        assert_eq!(key.public().bits(), 512);
        assert_eq!(key.public().exponent(), e);
        for prime in [key.prime().to_vec(), other_prime(&key)] {
            assert_eq!(prime.len(), 32);
            assert_eq!(prime[0] & 0xc0, 0xc0);
            let prime = BigNum::from_slice(&prime).expect("a number");
            assert!(prime.is_prime(64, &mut context).expect("an answer"));
        }
        let message = pattern(63);
        let round_trip = key.public().public_op(&key.private_op(&message).expect("a result"));
        assert_eq!(round_trip.expect("a result")[1..], message);
    }
}

#[test]
fn composite_candidates_are_passed_over() {
    // A Carmichael number, a strong pseudoprime to base 2, and a product of two large primes.
    let mut context = BigNumContext::new().expect("memory");
    for composite in [hex("0231"), hex("07ff"), hex(v::MODULUS_1024)] {
        let composite = BigNum::from_slice(&composite).expect("a number");
        assert!(!composite.is_prime_fasttest(7, &mut context, false).expect("an answer"));
    }
    // The generator sees the product of two primes first, then primes.
    let primes = [hex(v::PRIME_1024), other_prime(&short_key())];
    let queue = vec![primes[1].clone(), primes[0].clone(), generate_prime_product()];
    struct Queue(Vec<Vec<u8>>);
    impl Rng for Queue {
        fn fill(&mut self, out: &mut [u8]) {
            out.copy_from_slice(&self.0.pop().expect("enough candidates"));
        }
    }
    let key = RsaPrivate::generate(1024, E, &mut Queue(queue), &|| false).expect("a key");
    assert_eq!(key.prime(), primes[0]);
    assert_eq!(to_hex(key.modulus()), v::MODULUS_1024);
}

/// A number of 512 bits, its two top bits set, that has two prime factors and no small one.
fn generate_prime_product() -> Vec<u8> {
    let mut rng = TestRng(9);
    loop {
        let key = RsaPrivate::generate(512, E, &mut rng, &|| false).expect("a key");
        if key.modulus()[0] & 0xc0 == 0xc0 {
            return key.modulus().to_vec();
        }
    }
}

#[test]
fn generating_ends_on_request_and_on_a_broken_source() {
    let cancelled = RsaPrivate::generate(2048, E, &mut golden_rng(2048), &|| true);
    assert_eq!(cancelled.err(), Some(Error::Cancelled));
    for byte in [0, 0xff] {
        let broken = RsaPrivate::generate(1024, E, &mut Constant(byte), &|| false);
        assert_eq!(broken.err(), Some(Error::NoResult));
    }
    for (bits, e, error) in [
        (2047, E, Error::Size),
        (384, E, Error::Size),
        (8192, E, Error::Size),
        (2048, 65536, Error::InvalidKey),
        (2048, 1, Error::InvalidKey),
        (2048, 0, Error::InvalidKey),
    ] {
        let refused = RsaPrivate::generate(bits, e, &mut TestRng(1), &|| false);
        assert_eq!(refused.err(), Some(error));
    }
}

#[test]
fn either_prime_makes_the_same_key() {
    let key = key();
    let other = RsaPrivate::from_prime(key.modulus(), E, &other_prime(&key)).expect("a key");
    let input = pattern(255);
    assert_eq!(key.private_op(&input), other.private_op(&input));
    let padded = [&[0; 3], key.prime()].concat();
    let padded = RsaPrivate::from_prime(&[&[0], key.modulus()].concat(), E, &padded);
    assert_eq!(padded.expect("a key").prime(), key.prime());
}

#[test]
fn numbers_that_are_no_key_are_refused() {
    let key = key();
    let (n, p, q) = (key.modulus(), key.prime(), other_prime(&key));
    let mut wrong = p.to_vec();
    wrong[127] ^= 2;
    let mut even = p.to_vec();
    even[127] ^= 1;
    let square = BigNum::from_slice(p).expect("a number");
    let square = (&square * &square).to_vec();
    for (n, e, prime) in [
        (n, E, wrong.as_slice()),
        (n, E, &even),
        (n, E, &[]),
        (n, E, &[0]),
        (n, E, &[1]),
        (n, E, n),
        (n, 65536, p),
        (n, 1, p),
        (n, 0, p),
        (&square, E, p),
        (&n[..255], E, p),
        (&[n, &[1]].concat(), E, &q),
    ] {
        assert_eq!(RsaPrivate::from_prime(n, e, prime).err(), Some(Error::InvalidKey));
    }
    assert_eq!(RsaPrivate::from_prime(&[], E, p).err(), Some(Error::Size));
    assert_eq!(RsaPrivate::from_prime(&[0xff; 600], E, p).err(), Some(Error::Size));
    // An exponent with a common factor with p - 1.
    let less = BigNum::from_slice(p).expect("a number");
    let factor = (3..u32::MAX)
        .step_by(2)
        .find(|e| less.mod_word(*e).expect("a remainder") == 1)
        .expect("p - 1 has a factor");
    assert_eq!(RsaPrivate::from_prime(n, factor, p).err(), Some(Error::InvalidKey));
}

#[test]
fn composite_factors_never_give_a_wrong_result() {
    let p = BigNum::from_slice(&generate_prime_product()).expect("a number");
    let q = BigNum::from_slice(&hex(v::PRIME_1024)).expect("a number");
    let n = (&p * &q).to_vec();
    let key = RsaPrivate::from_prime(&n, E, &p.to_vec()).expect("primes are not tested here");
    for input in [pattern(127), vec![2]] {
        assert!(matches!(key.private_op(&input), Err(Error::Library(_))));
    }
}

#[test]
fn raw_operations_agree_with_python_and_undo_each_other() {
    let key = key();
    let plain = [&[0][..], &[0x12; 255]].concat();
    assert_eq!(to_hex(&key.public().public_op(&plain).expect("a result")), v::RAW);
    assert_eq!(key.private_op(&hex(v::RAW)).expect("a result").as_slice(), plain);
    // Shorter and longer inputs are the same number.
    assert_eq!(to_hex(&key.public().public_op(&plain[1..]).expect("a result")), v::RAW);
    let longer = [&[0; 9], plain.as_slice()].concat();
    assert_eq!(to_hex(&key.public().public_op(&longer).expect("a result")), v::RAW);
}

#[test]
fn inputs_at_the_edges_have_their_results() {
    let key = key();
    let mut largest = key.modulus().to_vec();
    largest[255] -= 1;
    let pad = |low: u8| [&[0; 255][..], &[low]].concat();
    for (input, expected) in
        [(vec![], pad(0)), (vec![0], pad(0)), (vec![1], pad(1)), (largest.clone(), largest.clone())]
    {
        assert_eq!(key.private_op(&input).expect("a result").as_slice(), expected);
        assert_eq!(key.public().public_op(&input).expect("a result"), expected);
    }
    for input in [key.modulus(), &[0xff; 256], &[1; 257]] {
        assert_eq!(key.private_op(input).err(), Some(Error::OutOfRange));
        assert_eq!(key.public().public_op(input).err(), Some(Error::OutOfRange));
    }
}

#[test]
fn public_keys_are_checked() {
    let n = hex(v::MODULUS_2048);
    let public = RsaPublic::new(&[&[0, 0], n.as_slice()].concat(), E).expect("a key");
    assert_eq!((public.modulus(), public.exponent(), public.size()), (&n[..], E, 256));
    assert_eq!(public, *key().public());
    for e in [0, 1, 2, 65536] {
        assert_eq!(RsaPublic::new(&n, e).err(), Some(Error::InvalidKey));
    }
    let mut even = n;
    even[255] &= 0xfe;
    assert_eq!(RsaPublic::new(&even, E).err(), Some(Error::InvalidKey));
    assert_eq!(RsaPublic::new(&[0xff; 63], E).err(), Some(Error::Size));
    assert_eq!(RsaPublic::new(&[0xff; 513], E).err(), Some(Error::Size));
    assert_eq!(RsaPublic::new(&[0; 256], E).err(), Some(Error::Size));
}

#[test]
fn debugging_shows_no_secret() {
    assert_eq!(format!("{:?}", key()), "RsaPrivate(2048 bits, ..)");
    assert_eq!(format!("{:?}", key().public()), "RsaPublic(2048 bits, e = 65537)");
}

#[test]
fn pkcs1_signatures_are_those_of_python() {
    let key = key();
    for (alg, signature) in v::PKCS1 {
        let digest = hash(alg, &[b"message"]);
        assert_eq!(to_hex(&key.pkcs1_sign(alg, &digest).expect("a signature")), signature);
        assert!(key.public().pkcs1_verify(alg, &digest, &hex(signature)), "{alg:?}");
        let other = hash(alg, &[b"massage"]);
        assert!(!key.public().pkcs1_verify(alg, &other, &hex(signature)));
    }
}

#[test]
fn pss_signatures_of_python_verify_with_any_salt() {
    let key = key();
    for (alg, signature) in v::PSS {
        let digest = hash(alg, &[b"message"]);
        let mut signature = hex(signature);
        assert!(key.public().pss_verify(alg, &digest, &signature), "{alg:?}");
        assert!(!key.public().pss_verify(alg, &hash(alg, &[b"massage"]), &signature));
        signature[100] ^= 1;
        assert!(!key.public().pss_verify(alg, &digest, &signature));
    }
    let digest = hash(HashAlg::Sha512, &[b"message"]);
    let public = short_key().public().clone();
    assert!(public.pss_verify(HashAlg::Sha512, &digest, &hex(v::PSS_1024_SHA512)));
    let public = RsaPublic::new(&hex(v::ODD_MODULUS), E).expect("a key");
    assert_eq!(public.bits(), 1025);
    let digest = hash(HashAlg::Sha256, &[b"message"]);
    assert!(public.pss_verify(HashAlg::Sha256, &digest, &hex(v::ODD_PSS)));
}

#[test]
fn our_pss_signatures_verify_and_salt_as_fips_says() {
    for (key, alg, salt_len) in [
        (key(), HashAlg::Sha1, 20),
        (key(), HashAlg::Sha3_512, 64),
        (short_key(), HashAlg::Sha512, 62),
    ] {
        let digest = hash(alg, &[b"message"]);
        let mut rng = TestRng(3);
        let signature = key.pss_sign(alg, &digest, &mut rng).expect("a signature");
        assert!(key.public().pss_verify(alg, &digest, &signature));
        // Exactly the salt was drawn.
        let mut expected = TestRng(3);
        expected.fill(&mut vec![0; salt_len]);
        assert_eq!(rng.0, expected.0);
    }
}

#[test]
fn malformed_signatures_are_none() {
    let key = key();
    let public = key.public();
    let alg = HashAlg::Sha256;
    let digest = hash(alg, &[b"message"]);
    let good = key.pkcs1_sign(alg, &digest).expect("a signature");
    for signature in [&[][..], &good[1..], &[&[0], good.as_slice()].concat(), &[0xff; 256]] {
        assert!(!public.pkcs1_verify(alg, &digest, signature));
        assert!(!public.pss_verify(alg, &digest, signature));
    }
    for signature in [[0; 256], [1; 256]] {
        assert!(!public.pss_verify(alg, &digest, &signature));
    }
    assert!(!public.pkcs1_verify(alg, &digest[1..], &good));
    assert!(!public.pss_verify(alg, &digest[1..], &good));
    assert_eq!(key.pkcs1_sign(alg, &digest[1..]).err(), Some(Error::Size));
    assert_eq!(key.pss_sign(alg, &[], &mut TestRng(1)).err(), Some(Error::Size));
}

#[test]
fn keys_too_short_for_the_hash_are_refused() {
    let key = RsaPrivate::generate(512, E, &mut TestRng(8), &|| false).expect("a key");
    let digest = hash(HashAlg::Sha512, &[]);
    let error = Some(Error::HashTooLong);
    assert_eq!(key.pkcs1_sign(HashAlg::Sha512, &digest).err(), error);
    assert_eq!(key.pss_sign(HashAlg::Sha512, &digest, &mut TestRng(1)).err(), error);
    assert!(!key.public().pss_verify(HashAlg::Sha512, &digest, &[1; 64]));
    let public = key.public();
    assert_eq!(public.oaep_encrypt(HashAlg::Sha256, b"", b"", &mut TestRng(1)).err(), error);
    assert_eq!(key.oaep_decrypt(HashAlg::Sha256, b"", &[1; 64]).err(), error);
}

#[test]
fn oaep_messages_of_others_decrypt() {
    let key = key();
    for (alg, cipher_text) in v::OAEP {
        let message = key.oaep_decrypt(alg, b"DUPLICATE\0", &hex(cipher_text)).expect("a message");
        assert_eq!(message.as_slice(), format!("secret {alg:?}").as_bytes());
        let refused = key.oaep_decrypt(alg, b"DUPLICATE", &hex(cipher_text));
        assert_eq!(refused.err(), Some(Error::Padding));
    }
}

#[test]
fn oaep_round_trips_up_to_the_longest_message() {
    let key = key();
    let alg = HashAlg::Sha256;
    for len in [0, 1, 32, 190] {
        let message = pattern(len);
        let cipher_text =
            key.public().oaep_encrypt(alg, b"label\0", &message, &mut TestRng(2)).expect("fits");
        let plain = key.oaep_decrypt(alg, b"label\0", &cipher_text).expect("a message");
        assert_eq!(plain.as_slice(), message);
    }
    let too_long = key.public().oaep_encrypt(alg, b"", &[0; 191], &mut TestRng(2));
    assert_eq!(too_long.err(), Some(Error::Size));
}

#[test]
fn rsaes_messages_of_others_decrypt() {
    let key = key();
    for (cipher_text, message) in
        [(v::RSAES_SECRET, &b"secret"[..]), (v::RSAES_EMPTY, b""), (v::RSAES_LONGEST, &[b'x'; 245])]
    {
        let plain = key.pkcs1v15_decrypt(&hex(cipher_text)).expect("a message");
        assert_eq!(plain.as_slice(), message);
        let ours = key.public().pkcs1v15_encrypt(message, &mut TestRng(4)).expect("it fits");
        assert_eq!(key.pkcs1v15_decrypt(&ours).expect("a message").as_slice(), message);
    }
    let too_long = key.public().pkcs1v15_encrypt(&[0; 246], &mut TestRng(4));
    assert_eq!(too_long.err(), Some(Error::Size));
    let broken = key.public().pkcs1v15_encrypt(&[0; 9], &mut Constant(0));
    assert_eq!(broken.err(), Some(Error::NoResult));
}

#[test]
fn wrong_paddings_of_encryption_are_refused() {
    let key = key();
    let encrypted = |padded: &[u8]| key.public().public_op(padded).expect("in range");
    let padded = |start: &[u8], filling: u8| {
        let mut bytes = vec![filling; 256];
        bytes[..start.len()].copy_from_slice(start);
        bytes
    };
    for bytes in [
        padded(&[0, 1], 5),                               // the type of a signature
        padded(&[0, 2], 5),                               // no end
        padded(&[0, 2, 1, 1, 1, 1, 1, 1, 1, 0], 5),       // a padding of seven bytes
        padded(&[0, 2, 0], 5),                            // and of none
        padded(&[1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], 5), // a byte above
        padded(&[], 0),
    ] {
        let refused = key.pkcs1v15_decrypt(&encrypted(&bytes));
        assert_eq!(refused.err(), Some(Error::Padding));
    }
    let just_right = padded(&[0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0], 5);
    let message = key.pkcs1v15_decrypt(&encrypted(&just_right)).expect("a message");
    assert_eq!(message.as_slice(), [5; 245]);

    let alg = HashAlg::Sha256;
    for bytes in [padded(&[0], 7), padded(&[1], 7), padded(&[], 0)] {
        let refused = key.oaep_decrypt(alg, b"", &encrypted(&bytes));
        assert_eq!(refused.err(), Some(Error::Padding));
    }
    for len in [0, 255, 257] {
        assert_eq!(key.oaep_decrypt(alg, b"", &vec![0; len]).err(), Some(Error::Size));
        assert_eq!(key.pkcs1v15_decrypt(&vec![0; len]).err(), Some(Error::Size));
    }
    assert_eq!(key.oaep_decrypt(alg, b"", &[0xff; 256]).err(), Some(Error::OutOfRange));
    assert_eq!(key.pkcs1v15_decrypt(&[0xff; 256]).err(), Some(Error::OutOfRange));
}
