//! TPM2_ECDH_ZGen: Part 3, clause 14.5, revision 1.59.

use crate::commands::command;
use crate::object::key::{check_key_exchange, ecc_error};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, EccPoint, Rc, Scheme, Sized2b};

command! {
    /// Multiplies a point with the private scalar of a key: the recipient's side of one-pass ECDH.
    #[doc(alias = "TPM2_ECDH_ZGen")]
    Command {
        handles {
            /// The key: an unrestricted decryption key.
            key_handle: DhObject,
        }
        parameters {
            /// The sender's ephemeral public point.
            in_point: Sized2b<EccPoint>,
        }
    }
    Response {
        parameters {
            /// The shared point.
            out_point: Sized2b<EccPoint>,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let parms = check_key_exchange(&key)?;
    if !matches!(parms.scheme.0, Scheme::Null | Scheme::Ecdh(_)) {
        return Err(Rc::SCHEME.handle(1));
    }
    let private = key.ecc_private().map_err(|rc| rc.handle(1))?;
    let point = (&command.in_point.0).into();
    let shared = private.ecdh(&point).map_err(|error| ecc_error(&error).parameter(1))?;
    Ok(Response { out_point: Sized2b(shared.into()) })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::{Curve, mul_base};
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{ecc_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Cc, EccParameter, EccPoint, Handle, Marshal, ObjectAttributes as A, Rc, Scheme, Sized2b,
    };

    fn z_gen(key: Handle, point: EccPoint) -> CommandBuilder {
        command(Cc::ECDH_ZGEN).handle(key).password(b"").put(Sized2b(point))
    }

    fn base(scalar: u8) -> EccPoint {
        mul_base(Curve::P256, &[scalar]).unwrap().into()
    }

    #[test]
    fn the_point_is_multiplied_with_the_scalar() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Ecdh(HashAlg::Sha256)));
        let response = client.run(&z_gen(key, base(2))).unwrap();
        // [7..7] [2] G is [14..14] G.
        let expected: EccPoint = mul_base(Curve::P256, &[14; 32]).unwrap().into();
        assert_eq!(response.parameters, Sized2b(expected).to_bytes());
    }

    #[test]
    fn only_an_unrestricted_ecc_decryption_key_will_do() {
        let mut client = Client::started();
        for (key, rc) in [
            (rsa_key(A::DECRYPT, Scheme::Null), Rc::KEY),
            (ecc_key(A::SIGN, Scheme::Null), Rc::ATTRIBUTES),
            (ecc_key(A::DECRYPT.with(A::RESTRICTED), Scheme::Null), Rc::ATTRIBUTES),
            (ecc_key(A::DECRYPT, Scheme::Ecmqv(HashAlg::Sha256)), Rc::SCHEME),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&z_gen(key, base(2))), rc.handle(1));
        }
    }

    #[test]
    fn the_point_must_be_on_the_curve() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let one = EccParameter::from_slice(&[1]);
        for point in [EccPoint { x: one.clone(), y: one }, EccPoint { y: base(2).x, x: base(3).x }]
        {
            assert_eq!(client.rc(&z_gen(key, point)), Rc::ECC_POINT.parameter(1));
        }
    }

    #[test]
    fn an_empty_point_is_a_size_error() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let empty = command(Cc::ECDH_ZGEN).handle(key).password(b"").put(0u16);
        assert_eq!(client.rc(&empty), Rc::SIZE.parameter(1));
    }
}
