//! TPM2_ECDH_KeyGen: Part 3, clause 14.4, revision 1.59.

use crate::commands::command;
use crate::crypto::Error;
use crate::crypto::ecc::EccPrivate;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, EccPoint, Rc, Sized2b};

command! {
    /// Makes an ephemeral key and multiplies the point of a loaded key with it: the sender's side
    /// of one-pass ECDH.
    #[doc(alias = "TPM2_ECDH_KeyGen")]
    Command {
        handles {
            /// The recipient's key; no authorization is needed.
            key_handle: DhObject,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The shared point.
            z_point: Sized2b<EccPoint>,
            /// The ephemeral public point, for the recipient.
            pub_point: Sized2b<EccPoint>,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let (curve, point) = key.ecc_point().map_err(|rc| rc.handle(1))?;
    let ephemeral = EccPrivate::generate(curve, &mut tpm.drbg).map_err(|_| Rc::FAILURE)?;
    let shared = ephemeral.ecdh(&point).map_err(|error| match error {
        Error::InvalidPoint => Rc::KEY.handle(1),
        _ => Rc::FAILURE,
    })?;
    let pub_point = Sized2b(ephemeral.public().clone().into());
    Ok(Response { z_point: Sized2b(shared.into()), pub_point })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{ecc_key, load, rsa_key};
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, ObjectAttributes as A, PublicId, Rc, Scheme};

    #[test]
    fn the_recipient_computes_the_same_point() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let response = client.run(&command(Cc::ECDH_KEYGEN).handle(key)).unwrap();
        let (z_point, pub_point) = response.parameters.split_at(2 + 68);
        let z_gen = command(Cc::ECDH_ZGEN).handle(key).password(b"").bytes(pub_point);
        assert_eq!(client.run(&z_gen).unwrap().parameters, z_point);
    }

    #[test]
    fn each_ephemeral_key_is_a_new_one() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::SIGN, Scheme::Null));
        let first = client.run(&command(Cc::ECDH_KEYGEN).handle(key)).unwrap();
        let second = client.run(&command(Cc::ECDH_KEYGEN).handle(key)).unwrap();
        assert_ne!(first.parameters, second.parameters);
    }

    #[test]
    fn only_an_ecc_key_with_a_point_on_its_curve_will_do() {
        let mut client = Client::started();
        let mut off_curve = ecc_key(A::DECRYPT, Scheme::Null);
        if let PublicId::Ecc(point) = &mut off_curve.public.unique {
            point.x = point.y.clone();
        }
        for key in [rsa_key(A::DECRYPT, Scheme::Null), off_curve] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&command(Cc::ECDH_KEYGEN).handle(key)), Rc::KEY.handle(1));
        }
    }
}
