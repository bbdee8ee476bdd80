//! TPM2_MAC_Start, which includes TPM2_HMAC_Start: Part 3, clauses 17.2 and 17.3, revision 1.59.

use crate::commands::command;
use crate::object::sequence::{MacScheme, SequenceState};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, DhObject, Rc};

command! {
    /// Starts a sequence that computes a message authentication code.
    #[doc(alias = "TPM2_MAC_Start", alias = "TPM2_HMAC_Start")]
    Command {
        handles {
            /// The key: an unrestricted signing key that is a keyed hash or a symmetric cipher.
            handle: DhObject,
        }
        parameters {
            /// Authorization value of the sequence.
            auth: Auth,
            /// The algorithm, if the key leaves the choice.
            in_scheme: Option<MacScheme>,
        }
    }
    Response {
        handle {
            /// The sequence.
            sequence_handle
        }
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.handle).map_err(|_| Rc::TYPE.handle(1))?;
    let state = SequenceState::mac(&key, command.in_scheme)?;
    Ok(Response { sequence_handle: tpm.start_sequence(command.auth, state)? })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{aes_key, hmac_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Alg, Auth, Cc, Handle, KeyedHashScheme, MaxBuffer, ObjectAttributes as A, Rc, Scheme,
    };

    fn start(key: Handle, scheme: Alg) -> CommandBuilder {
        command(Cc::HMAC_START)
            .handle(key)
            .password(b"")
            .put(Auth::from_slice(b"seq\0"))
            .put(scheme)
    }

    #[test]
    fn a_sequence_gives_the_mac_of_the_whole() {
        let mut client = Client::started();
        for (key, scheme) in [
            (hmac_key(A::SIGN, KeyedHashScheme::Null, b"key"), Alg::SHA384),
            (aes_key(A::SIGN, None, &[1; 16]), Alg::CMAC),
        ] {
            client.tpm.objects.retain(|_| false);
            let key = load(&mut client, key);
            let whole = command(Cc::HMAC)
                .handle(key)
                .password(b"")
                .put(MaxBuffer::from_slice(b"one two three"))
                .put(scheme);
            let whole = client.run(&whole).unwrap().parameters;
            let sequence = client.run(&start(key, scheme)).unwrap().handle.unwrap();
            // The key is not needed any more.
            assert!(client.tpm.objects.remove(key));
            for piece in [&b"one "[..], b"two"] {
                let update = command(Cc::SEQUENCE_UPDATE)
                    .handle(sequence)
                    .password(b"seq")
                    .put(MaxBuffer::from_slice(piece));
                client.run(&update).unwrap();
            }
            let complete = command(Cc::SEQUENCE_COMPLETE)
                .handle(sequence)
                .password(b"seq")
                .put(MaxBuffer::from_slice(b" three"))
                .put(Handle::OWNER);
            let response = client.run(&complete).unwrap().parameters;
            // The null ticket: tag, null hierarchy, empty digest.
            let ticket = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
            assert_eq!(response, [whole.as_slice(), &ticket].concat());
        }
    }

    #[test]
    fn keys_are_checked_as_by_mac() {
        let mut client = Client::started();
        let hmac = |attributes| hmac_key(attributes, KeyedHashScheme::Null, b"key");
        for (key, scheme, rc) in [
            (rsa_key(A::SIGN, Scheme::Null), Alg::SHA256, Rc::TYPE.handle(1)),
            (hmac(A::SIGN), Alg::NULL, Rc::VALUE.parameter(2)),
            (hmac(A::SIGN), Alg::CMAC, Rc::SCHEME.parameter(2)),
            (hmac(A::SIGN.with(A::RESTRICTED)), Alg::SHA256, Rc::ATTRIBUTES.handle(1)),
            (hmac(A::NONE), Alg::SHA256, Rc::KEY.handle(1)),
        ] {
            client.tpm.objects.retain(|_| false);
            let key = load(&mut client, key);
            assert_eq!(client.rc(&start(key, scheme)), rc);
        }
    }

    #[test]
    fn without_a_free_slot_there_is_no_sequence() {
        let mut client = Client::started();
        let key = load(&mut client, hmac_key(A::SIGN, KeyedHashScheme::Null, b"key"));
        client.run(&start(key, Alg::SHA256)).unwrap();
        client.run(&start(key, Alg::SHA256)).unwrap();
        assert_eq!(client.rc(&start(key, Alg::SHA256)), Rc::OBJECT_MEMORY);
    }
}
