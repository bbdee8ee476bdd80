//! Tests of signing and verification.

use super::test_keys::{self, public_only, without};
use super::*;
use crate::crypto::ecc::{Curve, mul_base, mul_base_add};
use crate::crypto::hash::hash;
use crate::test_util::Client;
use crate::wire::{EccParameter, PublicKeyRsa};

const SHA256: HashAlg = HashAlg::Sha256;

fn digest(alg: HashAlg) -> Vec<u8> {
    hash(alg, &[b"message"]).to_vec()
}

#[test]
fn every_scheme_verifies_what_it_signed_and_nothing_else() {
    let mut client = Client::started();
    let cases = [
        (test_keys::rsa(Scheme::Null), Scheme::Rsassa(SHA256)),
        (test_keys::rsa(Scheme::Null), Scheme::Rsapss(SHA256)),
        (test_keys::rsa(Scheme::Null), Scheme::Rsapss(HashAlg::Sha512)),
        (test_keys::ecc(Curve::P224, Scheme::Null), Scheme::Ecdsa(HashAlg::Sha384)),
        (test_keys::ecc(Curve::P256, Scheme::Null), Scheme::Ecdsa(SHA256)),
        (test_keys::ecc(Curve::P384, Scheme::Null), Scheme::Ecdsa(HashAlg::Sha1)),
        (test_keys::ecc(Curve::P521, Scheme::Null), Scheme::EcSchnorr(HashAlg::Sha512)),
        (test_keys::ecc(Curve::P256, Scheme::Null), Scheme::EcSchnorr(SHA256)),
        (test_keys::hmac(KeyedHashScheme::Null), Scheme::Hmac(SHA256)),
    ];
    for (key, scheme) in cases {
        let mut digest = digest(scheme.hash().unwrap());
        let signature = client.tpm.sign(&key, scheme, &digest).unwrap();
        assert_eq!(signature.scheme(), scheme);
        assert_eq!(client.tpm.verify(&key, &signature, &digest), Ok(()), "{scheme:?}");
        digest[0] ^= 1;
        let verified = client.tpm.verify(&key, &signature, &digest);
        assert_eq!(verified, Err(Rc::SIGNATURE), "{scheme:?}");
    }
}

#[test]
fn an_asymmetric_signature_needs_only_the_public_area_to_verify() {
    let mut client = Client::started();
    for (key, scheme) in [
        (test_keys::rsa(Scheme::Null), Scheme::Rsassa(SHA256)),
        (test_keys::ecc(Curve::P256, Scheme::Null), Scheme::Ecdsa(SHA256)),
    ] {
        let digest = digest(SHA256);
        let signature = client.tpm.sign(&key, scheme, &digest).unwrap();
        let key = public_only(key);
        assert_eq!(client.tpm.verify(&key, &signature, &digest), Ok(()));
        assert_eq!(client.tpm.sign(&key, scheme, &digest), Err(Rc::KEY));
    }
}

/// CVE-2025-2884: the reference code took the hash of any scheme for an HMAC key, and so read
/// beyond the digest.
#[test]
fn an_hmac_key_signs_with_no_scheme_but_hmac() {
    let mut client = Client::started();
    let key = test_keys::hmac(KeyedHashScheme::Null);
    for alg in HashAlg::ALL {
        for scheme in [
            Scheme::Rsassa(alg),
            Scheme::Rsapss(alg),
            Scheme::Ecdsa(alg),
            Scheme::Ecdaa(alg, 0),
            Scheme::EcSchnorr(alg),
        ] {
            assert_eq!(client.tpm.sign(&key, scheme, &digest(alg)), Err(Rc::SCHEME));
        }
    }
}

#[test]
fn a_scheme_of_another_kind_of_key_is_refused() {
    let mut client = Client::started();
    let (rsa, ecc) = (test_keys::rsa(Scheme::Null), test_keys::ecc(Curve::P256, Scheme::Null));
    let digest = digest(SHA256);
    for (key, scheme) in [
        (&rsa, Scheme::Ecdsa(SHA256)),
        (&rsa, Scheme::Hmac(SHA256)),
        (&rsa, Scheme::Oaep(SHA256)),
        (&ecc, Scheme::Rsassa(SHA256)),
        (&ecc, Scheme::Hmac(SHA256)),
        (&ecc, Scheme::Ecdh(SHA256)),
    ] {
        assert_eq!(client.tpm.sign(key, scheme, &digest), Err(Rc::SCHEME), "{scheme:?}");
    }
    let signature = client.tpm.sign(&rsa, Scheme::Rsassa(SHA256), &digest).unwrap();
    assert_eq!(client.tpm.verify(&ecc, &signature, &digest), Err(Rc::SCHEME));
    let hmac = test_keys::hmac(KeyedHashScheme::Null);
    assert_eq!(client.tpm.verify(&hmac, &signature, &digest), Err(Rc::SCHEME));
    assert_eq!(client.tpm.verify(&test_keys::aes(), &signature, &digest), Err(Rc::SCHEME));
}

#[test]
fn malformed_signatures_are_not_valid() {
    let client = Client::started();
    let digest = digest(SHA256);
    let rsa = test_keys::rsa(Scheme::Null);
    for size in [0, 127, 129, 512] {
        let signature = PublicKeyRsa::from_slice(&vec![0xff; size]);
        for scheme in [Scheme::Rsassa(SHA256), Scheme::Rsapss(SHA256)] {
            let signature = Signature::Rsa { scheme, signature: signature.clone() };
            assert_eq!(client.tpm.verify(&rsa, &signature, &digest), Err(Rc::SIGNATURE));
        }
    }
    let ecc = test_keys::ecc(Curve::P256, Scheme::Null);
    for size in [0, 1, 32, 66] {
        let r = EccParameter::from_slice(&vec![0xff; size]);
        for scheme in [Scheme::Ecdsa(SHA256), Scheme::EcSchnorr(SHA256)] {
            let signature = Signature::Ecc { scheme, r: r.clone(), s: r.clone() };
            assert_eq!(client.tpm.verify(&ecc, &signature, &digest), Err(Rc::SIGNATURE));
        }
    }
    assert_eq!(client.tpm.verify(&ecc, &Signature::Null, &digest), Err(Rc::SIGNATURE));
}

#[test]
fn an_hmac_is_that_of_rfc_4231() {
    let mut client = Client::started();
    let key = test_keys::hmac(KeyedHashScheme::Hmac(SHA256));
    let Ok(Signature::Hmac(ha)) = client.tpm.sign(&key, Scheme::Hmac(SHA256), b"Hi There") else {
        panic!("no HMAC");
    };
    let expected = [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce];
    assert_eq!(ha.digest[..12], expected);
}

#[test]
fn an_hmac_key_with_a_scheme_verifies_no_other_hash() {
    let mut client = Client::started();
    let any = test_keys::hmac(KeyedHashScheme::Null);
    let digest = digest(SHA256);
    let signature = client.tpm.sign(&any, Scheme::Hmac(HashAlg::Sha1), &digest).unwrap();
    assert_eq!(client.tpm.verify(&any, &signature, &digest), Ok(()));
    let fixed = test_keys::hmac(KeyedHashScheme::Hmac(SHA256));
    assert_eq!(client.tpm.verify(&fixed, &signature, &digest), Err(Rc::SIGNATURE));
    let public = public_only(any);
    assert_eq!(client.tpm.verify(&public, &signature, &digest), Err(Rc::HANDLE));
}

#[test]
fn the_scheme_of_a_key_is_used_unless_it_is_contradicted() {
    let client = Client::started();
    let own = Scheme::Ecdsa(SHA256);
    let key = test_keys::ecc(Curve::P256, own);
    assert_eq!(client.tpm.select_scheme(&key, Scheme::Null), Ok(own));
    assert_eq!(client.tpm.select_scheme(&key, own), Ok(own));
    for other in [Scheme::Ecdsa(HashAlg::Sha1), Scheme::EcSchnorr(SHA256)] {
        assert_eq!(client.tpm.select_scheme(&key, other), Err(Rc::SCHEME));
    }
    let free = test_keys::ecc(Curve::P256, Scheme::Null);
    assert_eq!(client.tpm.select_scheme(&free, own), Ok(own));
    assert_eq!(client.tpm.select_scheme(&free, Scheme::Null), Err(Rc::SCHEME));
}

#[test]
fn an_anonymous_scheme_takes_its_commitment_from_the_request() {
    let client = Client::started();
    let key = test_keys::ecc(Curve::P256, Scheme::Ecdaa(SHA256, 0));
    let requested = Scheme::Ecdaa(SHA256, 77);
    assert_eq!(client.tpm.select_scheme(&key, requested), Ok(requested));
    assert_eq!(client.tpm.select_scheme(&key, Scheme::Null), Err(Rc::SCHEME));
}

#[test]
fn what_does_not_sign_has_no_scheme() {
    let client = Client::started();
    let keys = [
        test_keys::aes(),
        test_keys::hmac(KeyedHashScheme::Xor(SHA256, None)),
        without(test_keys::ecc(Curve::P256, Scheme::Null), ObjectAttributes::SIGN),
    ];
    for key in keys {
        assert_eq!(client.tpm.select_scheme(&key, Scheme::Ecdsa(SHA256)), Err(Rc::SCHEME));
    }
}

#[test]
fn an_anonymous_signature_proves_the_key_of_its_commitment_and_ends_it() {
    let mut client = Client::started();
    let curve = Curve::P256;
    let key = test_keys::ecc(curve, Scheme::Ecdaa(SHA256, 0));
    let secret = client.tpm.next_commit_secret(curve, &key.name);
    let commitment = mul_base(curve, &secret).unwrap();
    let counter = client.tpm.begin_commit();
    let scheme = Scheme::Ecdaa(SHA256, counter);
    let digest = digest(SHA256);
    let Ok(Signature::Ecc { r, s, .. }) = client.tpm.sign(&key, scheme, &digest) else {
        panic!("no signature");
    };
    // [s] G - [T] Q is the commitment again.
    let t = curve.reduce(&hash(SHA256, &[&r, &digest]));
    let (_, public) = key.ecc_point().unwrap();
    let point = mul_base_add(curve, &s, &curve.negate_scalar(&t), &public).unwrap();
    assert_eq!(point, commitment);
    assert_eq!(client.tpm.sign(&key, scheme, &digest), Err(Rc::VALUE));
}
