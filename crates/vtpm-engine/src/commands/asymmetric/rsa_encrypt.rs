//! TPM2_RSA_Encrypt: Part 3, clause 14.2, revision 1.59.

use crate::commands::command;
use crate::crypto::Error;
use crate::object::key::{is_label, select_rsa_scheme};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Data, DhObject, ObjectAttributes, PublicKeyRsa, PublicParms, Rc, RsaDecrypt, Scheme,
};

command! {
    /// Encrypts with the public half of an RSA key.
    #[doc(alias = "TPM2_RSA_Encrypt")]
    Command {
        handles {
            /// The key; no authorization is needed.
            key_handle: DhObject,
        }
        parameters {
            /// What to encrypt.
            message: PublicKeyRsa,
            /// The padding, if the key leaves the choice.
            in_scheme: RsaDecrypt,
            /// The label of OAEP: empty, or ending in a zero.
            label: Data,
        }
    }
    Response {
        parameters {
            /// As long as the modulus.
            out_data: PublicKeyRsa,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let PublicParms::Rsa(parms) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    if !key.public.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if !is_label(&command.label) {
        return Err(Rc::VALUE.parameter(3));
    }
    let scheme =
        select_rsa_scheme(parms.scheme.0, command.in_scheme.0).ok_or(Rc::SCHEME.parameter(2))?;
    let public = key.rsa_public().map_err(|rc| rc.handle(1))?;
    let message = &command.message;
    let encrypted = match scheme {
        Scheme::Null => public.public_op(message),
        Scheme::Rsaes => public.pkcs1v15_encrypt(message, &mut tpm.drbg),
        Scheme::Oaep(hash) => public.oaep_encrypt(hash, &command.label, message, &mut tpm.drbg),
        _ => return Err(Rc::SCHEME),
    };
    let out_data = encrypted.map_err(|error| match error {
        Error::HashTooLong => Rc::HASH,
        Error::Size | Error::OutOfRange => Rc::VALUE,
        _ => Rc::FAILURE,
    })?;
    Ok(Response { out_data: out_data.into() })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{ecc_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Data, Handle, ObjectAttributes as A, PublicKeyRsa, Rc, Scheme};

    fn encrypt(key: Handle, message: &[u8], scheme: Scheme, label: &[u8]) -> CommandBuilder {
        command(Cc::RSA_ENCRYPT)
            .handle(key)
            .put(PublicKeyRsa::from_slice(message))
            .put(scheme)
            .put(Data::from_slice(label))
    }

    #[test]
    fn raw_encryption_is_the_public_operation_on_the_padded_number() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let response = client.run(&encrypt(key, &[0, 0, 1], Scheme::Null, b"")).unwrap();
        assert_eq!(response.parameters[..2], [0, 128]);
        assert_eq!(response.parameters[2..].iter().map(|b| usize::from(*b)).sum::<usize>(), 1);
    }

    #[test]
    fn padded_encryption_is_not_deterministic() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        for scheme in [Scheme::Rsaes, Scheme::Oaep(crate::crypto::hash::HashAlg::Sha256)] {
            let first = client.run(&encrypt(key, b"m", scheme, b"")).unwrap();
            let second = client.run(&encrypt(key, b"m", scheme, b"")).unwrap();
            assert_eq!(first.parameters.len(), 130);
            assert_ne!(first.parameters, second.parameters);
        }
    }

    #[test]
    fn only_an_rsa_key_encrypts() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        assert_eq!(client.rc(&encrypt(key, b"", Scheme::Null, b"")), Rc::KEY.handle(1));
    }

    #[test]
    fn only_a_decryption_key_encrypts() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::SIGN, Scheme::Null));
        assert_eq!(client.rc(&encrypt(key, b"", Scheme::Null, b"")), Rc::ATTRIBUTES.handle(1));
    }

    #[test]
    fn a_label_must_end_in_a_zero() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let rc = client.rc(&encrypt(key, b"", Scheme::Null, b"label"));
        assert_eq!(rc, Rc::VALUE.parameter(3));
        client.run(&encrypt(key, b"", Scheme::Rsaes, b"label\0")).unwrap();
    }

    #[test]
    fn the_scheme_must_be_that_of_the_key() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Rsaes));
        let oaep = Scheme::Oaep(crate::crypto::hash::HashAlg::Sha1);
        assert_eq!(client.rc(&encrypt(key, b"", oaep, b"")), Rc::SCHEME.parameter(2));
        client.run(&encrypt(key, b"", Scheme::Null, b"")).unwrap();
        client.run(&encrypt(key, b"", Scheme::Rsaes, b"")).unwrap();
    }

    #[test]
    fn a_signing_scheme_is_no_padding() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let rsassa = command(Cc::RSA_ENCRYPT)
            .handle(key)
            .put(PublicKeyRsa::empty())
            .put(Alg::RSASSA)
            .put(Alg::SHA256)
            .put(Data::empty());
        assert_eq!(client.rc(&rsassa), Rc::VALUE.parameter(2));
        let fixed = rsa_key(A::DECRYPT, Scheme::Rsassa(crate::crypto::hash::HashAlg::Sha256));
        let fixed = load(&mut client, fixed);
        assert_eq!(client.rc(&encrypt(fixed, b"", Scheme::Null, b"")), Rc::SCHEME);
    }

    #[test]
    fn a_message_must_fit_the_key() {
        let mut client = Client::started();
        let key = load(&mut client, rsa_key(A::DECRYPT, Scheme::Null));
        let sha256 = Scheme::Oaep(crate::crypto::hash::HashAlg::Sha256);
        let sha512 = Scheme::Oaep(crate::crypto::hash::HashAlg::Sha512);
        for (message, scheme, rc) in [
            (&[0xff; 128][..], Scheme::Null, Rc::VALUE),
            (&[1; 129], Scheme::Null, Rc::VALUE),
            (&[1; 118], Scheme::Rsaes, Rc::VALUE),
            (&[1; 63], sha256, Rc::VALUE),
            (&[], sha512, Rc::HASH),
        ] {
            assert_eq!(client.rc(&encrypt(key, message, scheme, b"")), rc, "{scheme:?}");
        }
        client.run(&encrypt(key, &[1; 117], Scheme::Rsaes, b"")).unwrap();
        client.run(&encrypt(key, &[1; 62], sha256, b"")).unwrap();
    }
}
