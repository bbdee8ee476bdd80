//! TPM2_RSA_Decrypt: Part 3, clause 14.3, revision 1.59.

use crate::commands::command;
use crate::crypto::Error;
use crate::object::key::{is_label, select_rsa_scheme};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Data, DhObject, MAX_RSA_BYTES, ObjectAttributes, PublicKeyRsa, PublicParms, Rc, RsaDecrypt,
    Scheme, Secret,
};

command! {
    /// Decrypts with the private half of an RSA key.
    #[doc(alias = "TPM2_RSA_Decrypt")]
    Command {
        handles {
            /// The key: an unrestricted decryption key.
            key_handle: DhObject,
        }
        parameters {
            /// As long as the modulus.
            cipher_text: PublicKeyRsa,
            /// The padding, if the key leaves the choice.
            in_scheme: RsaDecrypt,
            /// The label of OAEP: empty, or ending in a zero.
            label: Data,
        }
    }
    Response {
        parameters {
            /// The message; without padding, as long as the modulus.
            message: Secret<MAX_RSA_BYTES>,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let PublicParms::Rsa(parms) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    if key.public.has(ObjectAttributes::RESTRICTED) || !key.public.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if !is_label(&command.label) {
        return Err(Rc::VALUE.parameter(3));
    }
    let scheme =
        select_rsa_scheme(parms.scheme.0, command.in_scheme.0).ok_or(Rc::SCHEME.parameter(2))?;
    let private = key.rsa_private().map_err(|rc| rc.handle(1))?;
    let cipher_text = &command.cipher_text;
    if cipher_text.len() != private.public().size() {
        return Err(Rc::SIZE);
    }
    let decrypted = match scheme {
        Scheme::Null => private.private_op(cipher_text),
        Scheme::Rsaes => private.pkcs1v15_decrypt(cipher_text),
        Scheme::Oaep(hash) => private.oaep_decrypt(hash, &command.label, cipher_text),
        _ => return Err(Rc::SCHEME),
    };
    let message = decrypted.map_err(|error| match error {
        Error::OutOfRange | Error::Padding | Error::HashTooLong => Rc::VALUE,
        _ => Rc::FAILURE,
    })?;
    Ok(Response { message: Secret::new(&message)? })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{RSA_MODULUS, bytes, ecc_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Data, Handle, ObjectAttributes as A, PublicKeyRsa, Rc, Scheme};

    fn crypt(code: Cc, key: Handle, input: &[u8], scheme: Scheme, label: &[u8]) -> CommandBuilder {
        let builder = command(code).handle(key);
        let builder = if code == Cc::RSA_DECRYPT { builder.password(b"") } else { builder };
        builder.put(PublicKeyRsa::from_slice(input)).put(scheme).put(Data::from_slice(label))
    }

    fn decrypt(key: Handle, input: &[u8], scheme: Scheme, label: &[u8]) -> CommandBuilder {
        crypt(Cc::RSA_DECRYPT, key, input, scheme, label)
    }

    fn encrypted(
        client: &mut Client,
        key: Handle,
        message: &[u8],
        scheme: Scheme,
        label: &[u8],
    ) -> Vec<u8> {
        let encrypt = crypt(Cc::RSA_ENCRYPT, key, message, scheme, label);
        client.run(&encrypt).unwrap().parameters[2..].to_vec()
    }

    #[test]
    fn what_was_encrypted_is_decrypted() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        for (scheme, label) in [
            (Scheme::Rsaes, &b""[..]),
            (Scheme::Oaep(HashAlg::Sha1), b""),
            (Scheme::Oaep(HashAlg::Sha256), b"label\0"),
        ] {
            let cipher = encrypted(&mut client, key, b"message", scheme, label);
            let response = client.run(&decrypt(key, &cipher, scheme, label)).unwrap();
            assert_eq!(response.parameters, b"\0\x07message");
        }
    }

    #[test]
    fn without_padding_the_message_is_as_long_as_the_modulus() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let cipher = encrypted(&mut client, key, b"message", Scheme::Null, b"");
        let response = client.run(&decrypt(key, &cipher, Scheme::Null, b"")).unwrap();
        assert_eq!(response.parameters.len(), 130);
        assert!(response.parameters.ends_with(b"\0message"));
    }

    #[test]
    fn the_scheme_of_the_key_is_used() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Oaep(HashAlg::Sha1)));
        let cipher = encrypted(&mut client, key, b"message", Scheme::Null, b"");
        let response = client.run(&decrypt(key, &cipher, Scheme::Null, b"")).unwrap();
        assert_eq!(response.parameters, b"\0\x07message");
        let rc = client.rc(&decrypt(key, &cipher, Scheme::Oaep(HashAlg::Sha256), b""));
        assert_eq!(rc, Rc::SCHEME.parameter(2));
    }

    #[test]
    fn only_an_unrestricted_rsa_decryption_key_decrypts() {
        let mut client = Client::started();
        for (key, rc) in [
            (ecc_key(A::DECRYPT, Scheme::Null), Rc::KEY),
            (rsa_key(A::SIGN, Scheme::Null), Rc::ATTRIBUTES),
            (rsa_key(A::DECRYPT.with(A::RESTRICTED), Scheme::Null), Rc::ATTRIBUTES),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&decrypt(key, b"", Scheme::Null, b"")), rc.handle(1));
        }
    }

    #[test]
    fn a_label_must_end_in_a_zero_and_be_the_one_of_encryption() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Oaep(HashAlg::Sha1)));
        let cipher = encrypted(&mut client, key, b"message", Scheme::Null, b"a\0");
        let rc = client.rc(&decrypt(key, &cipher, Scheme::Null, b"a"));
        assert_eq!(rc, Rc::VALUE.parameter(3));
        assert_eq!(client.rc(&decrypt(key, &cipher, Scheme::Null, b"b\0")), Rc::VALUE);
    }

    #[test]
    fn cipher_text_must_be_as_long_as_the_modulus_and_below_it() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        assert_eq!(client.rc(&decrypt(key, &[0; 127], Scheme::Null, b"")), Rc::SIZE);
        assert_eq!(client.rc(&decrypt(key, &[0; 129], Scheme::Null, b"")), Rc::SIZE);
        let modulus = bytes(RSA_MODULUS);
        assert_eq!(client.rc(&decrypt(key, &modulus, Scheme::Null, b"")), Rc::VALUE);
    }

    #[test]
    fn a_wrong_padding_is_a_wrong_value() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let cipher = encrypted(&mut client, key, b"message", Scheme::Null, b"");
        for scheme in [Scheme::Rsaes, Scheme::Oaep(HashAlg::Sha1), Scheme::Oaep(HashAlg::Sha512)] {
            assert_eq!(client.rc(&decrypt(key, &cipher, scheme, b"")), Rc::VALUE, "{scheme:?}");
        }
    }
}
