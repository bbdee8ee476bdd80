//! Tests of the elliptic curves.

use super::super::drbg::Drbg;
use super::super::hash::{HashAlg, hash};
use super::super::test_util::{TestRng, hex, pattern, to_hex};
use super::super::{Error, Rng};
use super::vectors as v;
use super::*;

/// The P-256 key of RFC 6979, A.2.5.
const RFC6979_P256: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";

fn point(x: &str, y: &str) -> Point {
    Point { x: hex(x), y: hex(y) }
}

fn key(curve: Curve, seed: u64) -> EccPrivate {
    EccPrivate::generate(curve, &mut TestRng(seed)).expect("a key")
}

fn generator(curve: Curve) -> Point {
    let Parameters { gx, gy, .. } = curve.parameters().expect("parameters");
    Point { x: gx, y: gy }
}

#[test]
fn seeded_keys_never_change() {
    for (curve, scalar, x, y) in v::GOLDEN {
        let mut rng = Drbg::from_seed(&[0x5e; 64], &[b"ecc", &curve.id().to_be_bytes()]);
        let key = EccPrivate::generate(curve, &mut rng).expect("a key");
        assert_eq!(to_hex(key.scalar()), scalar, "{curve:?}");
        assert_eq!(*key.public(), point(x, y), "{curve:?}");
    }
}

#[test]
fn commit_scalars_never_change() {
    for (curve, scalar) in v::COMMITMENTS {
        let ours = commit_scalar(curve, HashAlg::Sha256, &[1; 32], &[2; 34], 3);
        assert_eq!(to_hex(&ours), scalar, "{curve:?}");
        assert_ne!(ours, commit_scalar(curve, HashAlg::Sha256, &[1; 32], &[2; 34], 4));
    }
}

#[test]
fn parameters_are_those_of_the_standard() {
    let p256 = Curve::P256.parameters().expect("parameters");
    assert_eq!(to_hex(&p256.p), "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    assert_eq!(to_hex(&p256.a), "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc");
    assert_eq!(to_hex(&p256.b), "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
    assert_eq!(
        to_hex(&p256.gx),
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    );
    for curve in Curve::ALL {
        let Parameters { p, a, b, gx, gy, n, h } = curve.parameters().expect("parameters");
        for number in [&p, &a, &b, &gx, &gy, &n] {
            assert_eq!(number.len(), curve.bytes(), "{curve:?}");
        }
        assert_eq!(h, [1]);
        // Our own constant is the library's order.
        let mut order = BigNum::new().expect("memory");
        let mut context = BigNumContext::new().expect("memory");
        curve.group().expect("a group").order(&mut order, &mut context).expect("an order");
        assert_eq!(order.to_vec(), n.into_iter().skip_while(|b| *b == 0).collect::<Vec<_>>());
        assert_eq!(order.num_bits(), curve.bits() as i32);
        assert_eq!(Curve::from_id(curve.id()), Some(curve));
    }
    assert_eq!(Curve::from_id(1), None);
    assert_eq!(Curve::from_id(0x10), None);
}

#[test]
fn ecdh_agrees_with_nist_and_python() {
    // NIST CAVS, ECC CDH primitive, P-256, the first vector.
    let other = point(
        "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287",
        "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
    );
    let d = hex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
    let z = ecdh(Curve::P256, &d, &other).expect("a point");
    assert_eq!(to_hex(&z.x), "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
    for (curve, d, x, y, z) in v::ECDH {
        let key = EccPrivate::new(curve, &hex(d)).expect("a key");
        assert_eq!(to_hex(&key.ecdh(&point(x, y)).expect("a point").x), z, "{curve:?}");
        assert_eq!(to_hex(&ecdh(curve, &hex(d), &point(x, y)).expect("a point").x), z);
    }
}

#[test]
fn ecdsa_verifies_the_signatures_of_rfc_6979() {
    for (curve, alg, x, y, r, s) in v::ECDSA {
        let public = point(x, y);
        let digest = hash(alg, &[b"sample"]);
        let (r, s) = (hex(r), hex(s));
        assert!(ecdsa_verify(curve, &public, &digest, &r, &s), "{curve:?} {alg:?}");
        assert!(ecdsa_verify(curve, &public, &digest, &[&[0; 5], r.as_slice()].concat(), &s));
        let mut damaged = digest.to_vec();
        damaged[0] ^= 1;
        assert!(!ecdsa_verify(curve, &public, &damaged, &r, &s));
        assert!(!ecdsa_verify(curve, &public, &digest, &s, &r));
    }
}

#[test]
fn our_ecdsa_signatures_verify_for_digests_of_any_length() {
    for curve in Curve::ALL {
        let key = key(curve, 1);
        for len in [0, 1, 20, 28, 32, 48, 64, 66, 80] {
            let digest = pattern(len);
            let (r, s) = key.ecdsa_sign(&digest).expect("a signature");
            assert_eq!((r.len(), s.len()), (curve.bytes(), curve.bytes()));
            assert!(ecdsa_verify(curve, key.public(), &digest, &r, &s), "{curve:?}, {len} bytes");
            assert!(!ecdsa_verify(curve, &generator(curve), &digest, &r, &s));
        }
    }
}

#[test]
fn signatures_out_of_range_are_none() {
    for curve in Curve::ALL {
        let key = key(curve, 2);
        let digest = hash(HashAlg::Sha256, &[b"message"]);
        let (r, s) = key.ecdsa_sign(&digest).expect("a signature");
        let order = curve.order();
        for bad in [&[][..], &[0], &order, &[0xff; 66], &[1; 100]] {
            assert!(!ecdsa_verify(curve, key.public(), &digest, bad, &s));
            assert!(!ecdsa_verify(curve, key.public(), &digest, &r, bad));
            let alg = HashAlg::Sha256;
            assert!(!ec_schnorr_verify(curve, key.public(), alg, &digest, bad, &s));
            assert!(!ec_schnorr_verify(curve, key.public(), alg, &digest, &r, bad));
        }
        let nowhere = Point { x: vec![1], y: vec![1] };
        assert!(!ecdsa_verify(curve, &nowhere, &digest, &r, &s));
        assert!(!ec_schnorr_verify(curve, &nowhere, HashAlg::Sha256, &digest, &r, &s));
    }
}

#[test]
fn schnorr_signatures_of_a_textbook_verify() {
    let key = EccPrivate::new(Curve::P256, &hex(RFC6979_P256)).expect("a key");
    let digest = hash(HashAlg::Sha256, &[b"sample"]);
    for (alg, r, s) in v::SCHNORR {
        let verify =
            |r: &[u8], s: &[u8]| ec_schnorr_verify(Curve::P256, key.public(), alg, &digest, r, s);
        assert!(verify(&hex(r), &hex(s)), "{alg:?}");
        assert!(!verify(&hex(s), &hex(r)));
        let mut damaged = hex(r);
        damaged[31] ^= 1;
        assert!(!verify(&damaged, &hex(s)));
        damaged = hex(r);
        damaged[0] ^= 1;
        assert!(!verify(&damaged, &hex(s)));
    }
}

#[test]
fn our_schnorr_signatures_verify() {
    for curve in Curve::ALL {
        let key = key(curve, 3);
        for alg in HashAlg::ALL {
            let digest = hash(alg, &[b"message"]);
            let (r, s) = key.ec_schnorr_sign(alg, &digest, &mut TestRng(4)).expect("a signature");
            assert_eq!((r.len(), s.len()), (curve.bytes(), curve.bytes()));
            let verify =
                |digest: &[u8]| ec_schnorr_verify(curve, key.public(), alg, digest, &r, &s);
            assert!(verify(&digest), "{curve:?} {alg:?}");
            assert!(!verify(&digest[1..]));
        }
    }
}

#[test]
fn ecdaa_signatures_satisfy_their_equation() {
    for curve in Curve::ALL {
        let key = key(curve, 5);
        let commitment = commit_scalar(curve, HashAlg::Sha256, b"nonce", b"name", 1);
        for alg in HashAlg::ALL {
            let digest = hash(alg, &[b"message"]);
            let (nonce, s) =
                key.ecdaa_sign(alg, &digest, &commitment, &mut TestRng(6)).expect("a signature");
            assert_eq!((nonce.len(), s.len()), (curve.bytes(), curve.bytes()));
            // [s] G - [T] Q is the point that TPM2_Commit showed.
            let t = curve.negate_scalar(&hash(alg, &[&nonce, &digest]));
            let shown = mul_base_add(curve, &s, &t, key.public()).expect("a point");
            assert_eq!(shown, mul_base(curve, &commitment).expect("a point"), "{curve:?}");
        }
    }
}

#[test]
fn mqv_agrees_with_a_textbook() {
    let [d, e, sx, sy, ex, ey, zx, zy] = v::MQV;
    let ours = EccPrivate::new(Curve::P256, &hex(d)).expect("a key");
    let ephemeral = EccPrivate::new(Curve::P256, &hex(e)).expect("a key");
    let z = ours.ecmqv(&ephemeral, &point(sx, sy), &point(ex, ey)).expect("a point");
    assert_eq!(z, point(zx, zy));
}

#[test]
fn both_parties_of_mqv_reach_one_secret() {
    for curve in Curve::ALL {
        let [a, ae, b, be] = [10, 11, 12, 13].map(|seed| key(curve, seed));
        let one = a.ecmqv(&ae, b.public(), be.public()).expect("a point");
        let other = b.ecmqv(&be, a.public(), ae.public()).expect("a point");
        assert_eq!(one, other, "{curve:?}");
        assert_ne!(one, a.ecmqv(&ae, be.public(), b.public()).expect("a point"));
    }
    let (p256, p384) = (key(Curve::P256, 1), key(Curve::P384, 1));
    let refused = p256.ecmqv(&p384, p256.public(), p256.public());
    assert_eq!(refused.err(), Some(Error::InvalidKey));
}

#[test]
fn sums_of_products_agree_with_a_textbook() {
    let key = EccPrivate::new(Curve::P256, &hex(RFC6979_P256)).expect("a key");
    let expected = point(v::SUM[0], v::SUM[1]);
    let base = generator(Curve::P256);
    assert_eq!(mul_base_add(Curve::P256, &[5], &[7], key.public()), Ok(expected.clone()));
    assert_eq!(mul_add(Curve::P256, &[5], &base, &[7], key.public()), Ok(expected));
    // Adding a point to itself is doubling it.
    assert_eq!(mul_add(Curve::P256, &[1], &base, &[1], &base), mul_base(Curve::P256, &[2]));
}

#[test]
fn scalars_count_modulo_the_order() {
    for curve in Curve::ALL {
        let mut above = curve.order();
        *above.last_mut().expect("a byte") += 2;
        let base = generator(curve);
        let double = mul_base(curve, &[2]).expect("a point");
        assert_eq!(mul_base(curve, &[0, 0, 2]), Ok(double.clone()));
        assert_eq!(mul_base(curve, &above), Ok(double.clone()), "{curve:?}");
        assert_eq!(mul(curve, &above, &base), Ok(double));
        assert_eq!(mul_base(curve, &[1]), Ok(base.clone()));
        let long = [&[1; 80], curve.order().as_slice()].concat();
        assert_eq!(mul(curve, &long, &base), mul_base(curve, &curve.reduce(&long)));
    }
}

#[test]
fn the_point_at_infinity_is_no_result() {
    for curve in Curve::ALL {
        let base = generator(curve);
        for zero in [&[][..], &[0], &[0; 99], &curve.order()] {
            assert_eq!(mul_base(curve, zero), Err(Error::NoResult));
            assert_eq!(mul(curve, zero, &base), Err(Error::NoResult));
            assert_eq!(EccPrivate::new(curve, zero).err(), Some(Error::OutOfRange));
        }
        let minus = curve.negate_scalar(&[3]);
        assert_eq!(mul_add(curve, &[3], &base, &minus, &base), Err(Error::NoResult));
        assert_eq!(EccPrivate::new(curve, &[1; 70]).err(), Some(Error::OutOfRange));
        let largest = EccPrivate::new(curve, &curve.negate_scalar(&[1])).expect("a key");
        assert_eq!(largest.public().x, base.x);
    }
}

#[test]
fn points_off_the_curve_are_refused_everywhere() {
    for curve in Curve::ALL {
        let key = key(curve, 7);
        let Parameters { p, .. } = curve.parameters().expect("parameters");
        let good = key.public().clone();
        let mut off = good.clone();
        off.y[5] ^= 1;
        let swapped = Point { x: good.y.clone(), y: good.x.clone() };
        let empty = Point::default();
        let at_p = Point { x: p, y: good.y.clone() };
        let long = Point { x: [&[1], good.x.as_slice()].concat(), y: good.y.clone() };
        for bad in [off, swapped, empty, at_p, long] {
            assert!(!is_on_curve(curve, &bad));
            let error = Some(Error::InvalidPoint);
            assert_eq!(mul(curve, &[2], &bad).err(), error);
            assert_eq!(key.ecdh(&bad).err(), error);
            assert_eq!(mul_add(curve, &[1], &good, &[1], &bad).err(), error);
            assert_eq!(mul_base_add(curve, &[1], &[1], &bad).err(), error);
            assert_eq!(bad.normalized(curve).err(), error);
            assert_eq!(key.ecmqv(&key, &bad, &good).err(), error);
            assert_eq!(key.ecmqv(&key, &good, &bad).err(), error);
        }
        let padded = Point { x: [&[0; 3], good.x.as_slice()].concat(), y: good.y.clone() };
        assert!(is_on_curve(curve, &padded));
        assert_eq!(padded.normalized(curve), Ok(good));
    }
}

#[test]
fn scalar_arithmetic_is_consistent() {
    for curve in Curve::ALL {
        let (a, b, c) = (pattern(90), pattern(20), curve.negate_scalar(&[1]));
        let sum = curve.mul_add_scalars(&a, &b, &c);
        let back = curve.mul_add_scalars(&sum, &[1], &[1]);
        assert_eq!(back, curve.mul_add_scalars(&b, &a, &[]), "{curve:?}");
        assert_eq!(curve.mul_add_scalars(&c, &c, &[]).last(), Some(&1));
        let product = mul(curve, &a, &mul_base(curve, &b).expect("a point"));
        assert_eq!(product, mul_base(curve, &back), "{curve:?}");
    }
}

#[test]
fn random_scalars_reach_from_one_to_the_order() {
    struct Constant(u8);
    impl Rng for Constant {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }
    for curve in Curve::ALL {
        let lowest = curve.random_scalar(&mut Constant(0));
        assert_eq!(curve.mul_add_scalars(&lowest, &[1], &[]), curve.reduce(&[1]));
        // n - 1 more than a multiple of n - 1 wraps to the lowest again.
        assert_eq!(curve.scalar_from_wide(&curve.negate_scalar(&[1])), lowest);
        assert_eq!(curve.scalar_from_wide(&curve.negate_scalar(&[2])), curve.negate_scalar(&[1]));
        assert_ne!(curve.random_scalar(&mut Constant(0xff)), lowest);
        assert_eq!(curve.scalar_from_wide(&[]), lowest);
    }
}

#[test]
fn debugging_shows_no_secret() {
    assert_eq!(format!("{:?}", key(Curve::P256, 1)), "EccPrivate(P256, ..)");
}
