//! TPM2_Commit: Part 3, clause 19.2, revision 1.59.

use crate::commands::command;
use crate::crypto::ecc::{Curve, Point, mul, mul_base};
use crate::crypto::{Error, hash};
use crate::object::Object;
use crate::session::authorize::Authorized;
use crate::sign::is_anonymous;
use crate::tpm::Tpm;
use crate::wire::{DhObject, EccParameter, EccPoint, PublicParms, Rc, SensitiveData, Sized2b};

command! {
    /// The first half of an anonymous signature: commits to a secret.
    #[doc(alias = "TPM2_Commit")]
    Command {
        handles {
            /// The key.
            sign_handle: DhObject,
        }
        parameters {
            /// M, a point on the curve; both coordinates empty for none.
            p1: Sized2b<EccPoint>,
            /// The hash of these octets is the x coordinate of B; empty for none.
            s2: SensitiveData,
            /// The y coordinate of B.
            y2: EccParameter,
        }
    }
    Response {
        parameters {
            /// `[d] B`, where d is the private key; empty without B.
            k: Sized2b<EccPoint>,
            /// `[r] B`, where r is the secret; empty without B.
            l: Sized2b<EccPoint>,
            /// `[r] M`; `[r] G` of the generator when there is neither M nor B; otherwise empty.
            e: Sized2b<EccPoint>,
            /// By this number the second half refers to the commitment.
            counter: u16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.sign_handle).map_err(|_| Rc::KEY.handle(1))?;
    let PublicParms::Ecc(parms) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    let curve = parms.curve;
    if !is_anonymous(parms.scheme.0) {
        return Err(Rc::SCHEME.handle(1));
    }
    if command.s2.is_empty() != command.y2.is_empty() {
        return Err(Rc::SIZE.parameter(3));
    }
    let b = base_point(&key, curve, &command)?;
    let Sized2b(p1) = &command.p1;
    let m = if p1.x.is_empty() && p1.y.is_empty() { None } else { Some(Point::from(p1)) };
    if m.as_ref().is_some_and(|m| !m.is_on_curve(curve)) {
        return Err(Rc::ECC_POINT.parameter(1));
    }
    let secret = tpm.next_commit_secret(curve, &key.name);
    let (mut k, mut l) = (EccPoint::default(), EccPoint::default());
    if let Some(b) = &b {
        k = result(key.ecc_private()?.ecdh(b))?;
        tpm.check_canceled()?;
        l = result(mul(curve, &secret, b))?;
    }
    let e = match &m {
        Some(m) => {
            if b.is_some() {
                tpm.check_canceled()?;
            }
            result(mul(curve, &secret, m))?
        }
        None if b.is_none() => result(mul_base(curve, &secret))?,
        None => EccPoint::default(),
    };
    // Nothing can fail from here on, so no failed command takes up a commitment.
    Ok(Response { k: Sized2b(k), l: Sized2b(l), e: Sized2b(e), counter: tpm.begin_commit() })
}

/// The point B, whose x coordinate is a hash, so that nobody knows its logarithm.
fn base_point(key: &Object, curve: Curve, command: &Command) -> Result<Option<Point>, Rc> {
    if command.s2.is_empty() {
        return Ok(None);
    }
    let alg = key.public.name_alg.ok_or(Rc::HASH.handle(1))?;
    let x = curve.reduce_coordinate(&hash::hash(alg, &[&command.s2])).map_err(|_| Rc::FAILURE)?;
    let point = Point { x, y: command.y2.to_vec() };
    if point.is_on_curve(curve) { Ok(Some(point)) } else { Err(Rc::ECC_POINT.parameter(2)) }
}

fn result(point: Result<Point, Error>) -> Result<EccPoint, Rc> {
    match point {
        Ok(point) => Ok(point.into()),
        Err(Error::Library(_)) => Err(Rc::FAILURE),
        Err(_) => Err(Rc::NO_RESULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::HashAlg;
    use crate::profile::Algorithms;
    use crate::sign::test_keys;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Reader, Scheme};

    const CURVE: Curve = Curve::P256;
    const ECDAA: Scheme = Scheme::Ecdaa(HashAlg::Sha256, 0);

    fn commit(key: Handle, m: &EccPoint, s2: &[u8], y2: &[u8]) -> CommandBuilder {
        command(Cc::COMMIT)
            .handle(key)
            .password(b"")
            .put(Sized2b(m.clone()))
            .put(SensitiveData::from_slice(s2))
            .put(EccParameter::from_slice(y2))
    }

    fn parse(parameters: &[u8]) -> ([Point; 3], u16) {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(parameters, &algorithms);
        let points = [(); 3].map(|()| {
            let Sized2b(point) = reader.get::<Sized2b<EccPoint>>().unwrap();
            Point::from(&point)
        });
        (points, reader.get().unwrap())
    }

    /// Octets whose hash is the x coordinate of a point on the curve, and the y coordinate: the
    /// square root of x^3 - 3x + b, found with the (p + 1) / 4th power.
    fn hashed_point() -> (Vec<u8>, Point) {
        use openssl::bn::{BigNum, BigNumContext};
        let mut context = BigNumContext::new().unwrap();
        let parameters = CURVE.parameters().unwrap();
        let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
        let (p, b) = (number(&parameters.p), number(&parameters.b));
        let mut exponent = number(&parameters.p);
        exponent.add_word(1).unwrap();
        exponent.div_word(4).unwrap();
        for octet in 0u8.. {
            let x = hash::hash(HashAlg::Sha256, &[&[octet]]).to_vec();
            let (mut cube, mut square) = (BigNum::new().unwrap(), BigNum::new().unwrap());
            let x_number = number(&x);
            cube.mod_exp(&x_number, &number(&[3]), &p, &mut context).unwrap();
            let mut triple = BigNum::new().unwrap();
            triple.mod_mul(&x_number, &number(&[3]), &p, &mut context).unwrap();
            let mut difference = BigNum::new().unwrap();
            difference.mod_sub(&cube, &triple, &p, &mut context).unwrap();
            square.mod_add(&difference, &b, &p, &mut context).unwrap();
            let mut y = BigNum::new().unwrap();
            y.mod_exp(&square, &exponent, &p, &mut context).unwrap();
            let point = Point { x, y: y.to_vec_padded(32).unwrap() };
            if point.is_on_curve(CURVE) {
                return (vec![octet], point);
            }
        }
        unreachable!("half of all x coordinates are on the curve");
    }

    #[test]
    fn without_points_the_commitment_is_a_multiple_of_the_generator() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(CURVE, ECDAA));
        let response = client.run(&commit(key, &EccPoint::default(), b"", b"")).unwrap();
        let ([k, l, e], counter) = parse(&response.parameters);
        let name = client.key(key).name.clone();
        let secret = client.tpm.key_commit_secret(CURVE, &name, counter).unwrap();
        assert_eq!((k, l), (Point::default(), Point::default()));
        assert_eq!(Ok(e), mul_base(CURVE, &secret));
    }

    #[test]
    fn both_points_are_multiplied() {
        let mut client = Client::started();
        let object = test_keys::ecc(CURVE, ECDAA);
        let name = object.name.clone();
        let private = object.ecc_private().unwrap().clone();
        let key = client.load(object);
        let (s2, b) = hashed_point();
        let m = mul_base(CURVE, &[9]).unwrap();
        let response = client.run(&commit(key, &m.clone().into(), &s2, &b.y)).unwrap();
        let ([k, l, e], counter) = parse(&response.parameters);
        let secret = client.tpm.key_commit_secret(CURVE, &name, counter).unwrap();
        assert_eq!(Ok(k), mul(CURVE, private.scalar(), &b));
        assert_eq!(Ok(l), mul(CURVE, &secret, &b));
        assert_eq!(Ok(e), mul(CURVE, &secret, &m));
    }

    #[test]
    fn with_the_hashed_point_alone_nothing_else_is_multiplied() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(CURVE, ECDAA));
        let (s2, b) = hashed_point();
        let response = client.run(&commit(key, &EccPoint::default(), &s2, &b.y)).unwrap();
        let ([k, _, e], _) = parse(&response.parameters);
        assert!(k.is_on_curve(CURVE));
        assert_eq!(e, Point::default());
    }

    #[test]
    fn only_an_ecc_key_with_an_anonymous_scheme_commits() {
        let mut client = Client::started();
        let none = EccPoint::default();
        let rsa = client.load(test_keys::rsa(Scheme::Null));
        assert_eq!(client.rc(&commit(rsa, &none, b"", b"")), Rc::KEY.handle(1));
        for scheme in [Scheme::Null, Scheme::Ecdsa(HashAlg::Sha256)] {
            let ecc = client.load(test_keys::ecc(CURVE, scheme));
            assert_eq!(client.rc(&commit(ecc, &none, b"", b"")), Rc::SCHEME.handle(1));
        }
    }

    #[test]
    fn points_off_the_curve_and_half_a_point_are_named_and_commit_nothing() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(CURVE, ECDAA));
        let none = EccPoint::default();
        let (s2, b) = hashed_point();
        assert_eq!(client.rc(&commit(key, &none, &s2, b"")), Rc::SIZE.parameter(3));
        assert_eq!(client.rc(&commit(key, &none, b"", &b.y)), Rc::SIZE.parameter(3));
        assert_eq!(client.rc(&commit(key, &none, &s2, &[1])), Rc::ECC_POINT.parameter(2));
        let off = EccPoint { x: EccParameter::from_slice(&[1]), y: EccParameter::from_slice(&[1]) };
        assert_eq!(client.rc(&commit(key, &off, b"", b"")), Rc::ECC_POINT.parameter(1));
        assert_eq!(client.tpm.reset.commit.counter, 0);
    }

    #[test]
    fn an_empty_structure_is_no_point() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(CURVE, ECDAA));
        let command = command(Cc::COMMIT).handle(key).password(b"").bytes(&[0; 6]);
        assert_eq!(client.rc(&command), Rc::SIZE.parameter(1));
    }

    #[test]
    fn a_cancelled_command_commits_nothing() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(CURVE, ECDAA));
        let (s2, b) = hashed_point();
        client.controls.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let command = commit(key, &EccPoint::default(), &s2, &b.y);
        assert_eq!(client.rc(&command), Rc::CANCELED);
        assert_eq!(client.tpm.reset.commit.counter, 0);
    }
}
