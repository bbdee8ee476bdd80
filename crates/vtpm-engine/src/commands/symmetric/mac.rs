//! TPM2_MAC, which includes TPM2_HMAC: Part 3, clauses 15.5 and 15.6, revision 1.59.

use crate::commands::command;
use crate::object::sequence::{MacScheme, SequenceState};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Digest, MaxBuffer, Rc};

command! {
    /// Computes the message authentication code of some data.
    #[doc(alias = "TPM2_MAC", alias = "TPM2_HMAC")]
    Command {
        handles {
            /// The key: an unrestricted signing key that is a keyed hash or a symmetric cipher.
            handle: DhObject,
        }
        parameters {
            /// The data.
            buffer: MaxBuffer,
            /// The algorithm, if the key leaves the choice.
            in_scheme: Option<MacScheme>,
        }
    }
    Response {
        parameters {
            /// The code.
            out_mac: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.handle).map_err(|_| Rc::TYPE.handle(1))?;
    let mut state = SequenceState::mac(&key, command.in_scheme)?;
    state.update(&command.buffer);
    Ok(Response { out_mac: state.finish_mac().ok_or(Rc::FAILURE)? })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{aes_key, bytes, hmac_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Alg, Cc, Handle, KeyedHashScheme, MaxBuffer, ObjectAttributes as A, Rc, Scheme, SymMode,
    };

    fn mac(key: Handle, data: &[u8], scheme: Alg) -> CommandBuilder {
        command(Cc::HMAC).handle(key).password(b"").put(MaxBuffer::from_slice(data)).put(scheme)
    }

    #[test]
    fn a_keyed_hash_gives_an_hmac() {
        let mut client = Client::started();
        for scheme in [KeyedHashScheme::Null, KeyedHashScheme::Hmac(HashAlg::Sha256)] {
            let key = load(&mut client, hmac_key(A::SIGN, scheme, b"Jefe"));
            let data = b"what do ya want for nothing?";
            // RFC 4231, test case 2.
            let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
            let response = client.run(&mac(key, data, Alg::SHA256)).unwrap();
            assert_eq!(response.parameters[2..], bytes(expected));
        }
    }

    #[test]
    fn a_symmetric_key_gives_a_cmac() {
        let mut client = Client::started();
        let key = bytes("2b7e151628aed2a6abf7158809cf4f3c");
        let data = bytes("6bc1bee22e409f96e93d7e117393172a");
        // RFC 4493, example 2.
        let expected = bytes("070a16b46b4d4144f79bdd9dd04a287c");
        for (mode, scheme) in [(None, Alg::CMAC), (Some(SymMode::Cmac), Alg::NULL)] {
            let key = load(&mut client, aes_key(A::SIGN, mode, &key));
            let response = client.run(&mac(key, &data, scheme)).unwrap();
            assert_eq!(response.parameters[2..], expected);
        }
    }

    #[test]
    fn the_scheme_must_be_that_of_the_key() {
        let mut client = Client::started();
        let hmac = |scheme| hmac_key(A::SIGN, scheme, b"key");
        let aes = |mode| aes_key(A::SIGN, mode, &[1; 16]);
        for (key, scheme, rc) in [
            (hmac(KeyedHashScheme::Null), Alg::NULL, Rc::VALUE),
            (hmac(KeyedHashScheme::Null), Alg::CMAC, Rc::SCHEME),
            (hmac(KeyedHashScheme::Hmac(HashAlg::Sha1)), Alg::SHA256, Rc::VALUE),
            (hmac(KeyedHashScheme::Xor(HashAlg::Sha1, None)), Alg::SHA256, Rc::VALUE),
            (aes(None), Alg::NULL, Rc::VALUE),
            (aes(None), Alg::SHA256, Rc::SCHEME),
            (aes(Some(SymMode::Cfb)), Alg::NULL, Rc::SCHEME),
            (aes(Some(SymMode::Cfb)), Alg::CMAC, Rc::VALUE),
            (aes(None), Alg::CFB, Rc::SYMMETRIC),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&mac(key, b"", scheme)), rc.parameter(2), "{scheme:?}");
        }
    }

    #[test]
    fn only_an_unrestricted_signing_key_that_makes_macs_will_do() {
        let mut client = Client::started();
        let restricted = A::SIGN.with(A::RESTRICTED);
        for (key, scheme, rc) in [
            (rsa_key(A::SIGN, Scheme::Null), Alg::SHA256, Rc::TYPE),
            (hmac_key(A::NONE, KeyedHashScheme::Null, b"sealed"), Alg::SHA256, Rc::KEY),
            (hmac_key(restricted, KeyedHashScheme::Null, b""), Alg::SHA256, Rc::ATTRIBUTES),
            (aes_key(A::DECRYPT, Some(SymMode::Cmac), &[1; 16]), Alg::CMAC, Rc::KEY),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&mac(key, b"", scheme)), rc.handle(1));
        }
    }
}
