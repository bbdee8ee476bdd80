//! TPM2_ZGen_2Phase: Part 3, clause 14.7, revision 1.59.

use crate::commands::command;
use crate::crypto::ecc::{EccPrivate, Point, is_on_curve};
use crate::object::key::{check_key_exchange, ecc_error};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Alg, DhObject, EccPoint, KeyExchange, Rc, Sized2b};

command! {
    /// Agrees on a secret with two keys of each side, a static and an ephemeral one.
    #[doc(alias = "TPM2_ZGen_2Phase")]
    Command {
        handles {
            /// Our static key: an unrestricted decryption key.
            key_a: DhObject,
        }
        parameters {
            /// The other side's static public point.
            in_qs_b: Sized2b<EccPoint>,
            /// The other side's ephemeral public point.
            in_qe_b: Sized2b<EccPoint>,
            /// How the keys are combined.
            in_scheme: KeyExchange,
            /// The number that `TPM2_EC_Ephemeral` gave our ephemeral key.
            counter: u16,
        }
    }
    Response {
        parameters {
            /// With ECDH the product of the static keys; with MQV the only result.
            out_z1: Sized2b<EccPoint>,
            /// With ECDH the product of the ephemeral keys; with MQV empty.
            out_z2: Sized2b<EccPoint>,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_a).map_err(|_| Rc::KEY.handle(1))?;
    let parms = check_key_exchange(&key)?;
    let requested = match command.in_scheme {
        KeyExchange::Ecdh => Alg::ECDH,
        KeyExchange::Ecmqv => Alg::ECMQV,
    };
    let prescribed = parms.scheme.0.alg();
    if prescribed != Alg::NULL && prescribed != requested {
        return Err(Rc::SCHEME.parameter(3));
    }
    let curve = parms.curve;
    let static_b = Point::from(&command.in_qs_b.0);
    let ephemeral_b = Point::from(&command.in_qe_b.0);
    for (point, number) in [(&static_b, 1), (&ephemeral_b, 2)] {
        if !is_on_curve(curve, point) {
            return Err(Rc::ECC_POINT.parameter(number));
        }
    }
    let secret = tpm.commit_secret(curve, command.counter).map_err(|rc| rc.parameter(4))?;
    let ephemeral = EccPrivate::new(curve, &secret).map_err(|_| Rc::FAILURE)?;
    let private = key.ecc_private().map_err(|rc| rc.handle(1))?;
    let (out_z1, out_z2) = match command.in_scheme {
        KeyExchange::Ecdh => {
            let z_static = private.ecdh(&static_b).map_err(|error| ecc_error(&error))?;
            let z_ephemeral = ephemeral.ecdh(&ephemeral_b).map_err(|error| ecc_error(&error))?;
            (z_static.into(), z_ephemeral.into())
        }
        KeyExchange::Ecmqv => {
            let z = private.ecmqv(&ephemeral, &static_b, &ephemeral_b);
            (z.map_err(|error| ecc_error(&error))?.into(), EccPoint::default())
        }
    };
    tpm.end_commit(command.counter);
    Ok(Response { out_z1: Sized2b(out_z1), out_z2: Sized2b(out_z2) })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::{Curve, EccPrivate, Point, mul, mul_base};
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{ECC_SCALAR, ecc_key, load, rsa_key};
    use crate::profile::Algorithms;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Alg, Cc, EccParameter, EccPoint, Handle, ObjectAttributes as A, Rc, Reader, Scheme, Sized2b,
    };

    const CURVE: Curve = Curve::P256;

    fn base(scalar: u8) -> Point {
        mul_base(CURVE, &[scalar]).unwrap()
    }

    fn z_gen(key: Handle, points: [EccPoint; 2], scheme: Alg, counter: u16) -> CommandBuilder {
        let [static_b, ephemeral_b] = points;
        command(Cc::ZGEN_2PHASE)
            .handle(key)
            .password(b"")
            .put(Sized2b(static_b))
            .put(Sized2b(ephemeral_b))
            .put(scheme)
            .put(counter)
    }

    fn points() -> [EccPoint; 2] {
        [base(3).into(), base(5).into()]
    }

    /// A fresh ephemeral key: its public point and its number.
    fn ephemeral(client: &mut Client) -> (Point, u16) {
        let response = client.run(&command(Cc::EC_EPHEMERAL).put(CURVE)).unwrap();
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&response.parameters, &algorithms);
        let point = reader.get::<Sized2b<EccPoint>>().unwrap().0;
        ((&point).into(), reader.get().unwrap())
    }

    fn results(response: &[u8]) -> [EccPoint; 2] {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(response, &algorithms);
        [(); 2].map(|()| reader.get::<Sized2b<EccPoint>>().unwrap().0)
    }

    #[test]
    fn ecdh_multiplies_static_with_static_and_ephemeral_with_ephemeral() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Ecdh(HashAlg::Sha256)));
        let (ours, counter) = ephemeral(&mut client);
        let response = client.run(&z_gen(key, points(), Alg::ECDH, counter)).unwrap();
        let expected_static: EccPoint = mul(CURVE, &ECC_SCALAR, &base(3)).unwrap().into();
        let expected_ephemeral: EccPoint = mul(CURVE, &[5], &ours).unwrap().into();
        assert_eq!(results(&response.parameters), [expected_static, expected_ephemeral]);
    }

    #[test]
    fn mqv_gives_one_point_that_the_other_side_computes_too() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let (ours, counter) = ephemeral(&mut client);
        let response = client.run(&z_gen(key, points(), Alg::ECMQV, counter)).unwrap();
        let [static_b, ephemeral_b] =
            [3, 5].map(|scalar| EccPrivate::new(CURVE, &[scalar]).unwrap());
        let static_a = mul_base(CURVE, &ECC_SCALAR).unwrap();
        let expected = static_b.ecmqv(&ephemeral_b, &static_a, &ours).unwrap();
        assert_eq!(results(&response.parameters), [expected.into(), EccPoint::default()]);
    }

    #[test]
    fn an_ephemeral_key_serves_once() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let (_, counter) = ephemeral(&mut client);
        client.run(&z_gen(key, points(), Alg::ECDH, counter)).unwrap();
        let rc = client.rc(&z_gen(key, points(), Alg::ECDH, counter));
        assert_eq!(rc, Rc::VALUE.parameter(4));
    }

    #[test]
    fn only_an_unrestricted_ecc_decryption_key_will_do() {
        let mut client = Client::started();
        for (key, rc) in [
            (rsa_key(A::DECRYPT, Scheme::Null), Rc::KEY),
            (ecc_key(A::SIGN, Scheme::Null), Rc::ATTRIBUTES),
            (ecc_key(A::DECRYPT.with(A::RESTRICTED), Scheme::Null), Rc::ATTRIBUTES),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&z_gen(key, points(), Alg::ECDH, 0)), rc.handle(1));
        }
    }

    #[test]
    fn the_scheme_must_be_that_of_the_key() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Ecdh(HashAlg::Sha256)));
        for scheme in [Alg::ECMQV, Alg::ECDSA, Alg::NULL] {
            let rc = client.rc(&z_gen(key, points(), scheme, 0));
            assert_eq!(rc, Rc::SCHEME.parameter(3), "{scheme:?}");
        }
    }

    #[test]
    fn both_points_must_be_on_the_curve() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        for (position, number) in [(0, 1), (1, 2)] {
            let mut points = points();
            points[position].y = EccParameter::from_slice(&[1]);
            let rc = client.rc(&z_gen(key, points, Alg::ECDH, 0));
            assert_eq!(rc, Rc::ECC_POINT.parameter(number));
        }
    }

    #[test]
    fn an_unknown_ephemeral_key_is_refused() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let rc = client.rc(&z_gen(key, points(), Alg::ECDH, 77));
        assert_eq!(rc, Rc::VALUE.parameter(4));
    }
}
