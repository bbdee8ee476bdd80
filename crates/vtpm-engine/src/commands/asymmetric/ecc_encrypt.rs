//! TPM2_ECC_Encrypt: Part 3, clause 14.8, revision 1.83; the method is in Part 1, annex C.8.

use crate::commands::command;
use crate::crypto::ecc::EccPrivate;
use crate::object::key::{EccCipher, ecc_error, select_ecc_kdf};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    DhObject, Digest, EccPoint, KdfScheme, MaxBuffer, ObjectAttributes, PublicParms, Rc, Sized2b,
};

command! {
    /// Encrypts with the public half of an ECC key.
    #[doc(alias = "TPM2_ECC_Encrypt")]
    Command {
        handles {
            /// The key; no authorization is needed.
            key_handle: DhObject,
        }
        parameters {
            /// What to encrypt.
            plain_text: MaxBuffer,
            /// The key derivation function, if the key leaves the choice.
            in_scheme: Option<KdfScheme>,
        }
    }
    Response {
        parameters {
            /// The ephemeral public point.
            c1: Sized2b<EccPoint>,
            /// The encrypted data.
            c2: MaxBuffer,
            /// The integrity value.
            c3: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let PublicParms::Ecc(parms) = &key.public.parms else { return Err(Rc::KEY.handle(1)) };
    if !key.public.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let hash = select_ecc_kdf(parms.kdf, command.in_scheme).ok_or(Rc::SCHEME.parameter(2))?;
    let (curve, point) = key.ecc_point().map_err(|rc| rc.handle(1))?;
    let ephemeral = EccPrivate::generate(curve, &mut tpm.drbg).map_err(|_| Rc::FAILURE)?;
    let shared = ephemeral.ecdh(&point).map_err(|error| ecc_error(&error))?;
    let cipher = EccCipher::new(hash, &shared);
    let c3 = cipher.integrity(&command.plain_text);
    let mut c2 = command.plain_text.to_vec();
    cipher.apply_mask(&mut c2);
    let c1 = Sized2b(ephemeral.public().clone().into());
    Ok(Response { c1, c2: c2.into(), c3 })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{ecc_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Alg, Cc, Handle, KdfScheme, MaxBuffer, ObjectAttributes as A, PublicParms, Rc, Scheme,
    };

    fn encrypt(key: Handle, kdf: Option<Alg>) -> CommandBuilder {
        let scheme = kdf.map(|kdf| KdfScheme { kdf, hash: HashAlg::Sha256 });
        command(Cc::ECC_ENCRYPT).handle(key).put(MaxBuffer::from_slice(b"message")).put(scheme)
    }

    #[test]
    fn the_result_is_point_data_and_digest_and_never_the_same() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let first = client.run(&encrypt(key, Some(Alg::KDF2))).unwrap().parameters;
        let second = client.run(&encrypt(key, Some(Alg::KDF2))).unwrap().parameters;
        assert_eq!(first.len(), (2 + 68) + (2 + 7) + (2 + 32));
        assert_ne!(first, second);
    }

    #[test]
    fn the_function_of_the_key_is_used() {
        let mut client = Client::started();
        let mut key = ecc_key(A::DECRYPT, Scheme::Null);
        if let PublicParms::Ecc(parms) = &mut key.public.parms {
            parms.kdf = Some(KdfScheme { kdf: Alg::KDF2, hash: HashAlg::Sha256 });
        }
        let key = load(&mut client, key);
        client.run(&encrypt(key, None)).unwrap();
        client.run(&encrypt(key, Some(Alg::KDF2))).unwrap();
        assert_eq!(client.rc(&encrypt(key, Some(Alg::MGF1))), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn no_function_but_kdf2_will_do() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        for kdf in [None, Some(Alg::MGF1), Some(Alg::KDF1_SP800_56A)] {
            assert_eq!(client.rc(&encrypt(key, kdf)), Rc::SCHEME.parameter(2), "{kdf:?}");
        }
        assert_eq!(client.rc(&encrypt(key, Some(Alg::AES))), Rc::KDF.parameter(2));
    }

    #[test]
    fn only_an_ecc_decryption_key_will_do() {
        let mut client = Client::started();
        for (key, rc) in [
            (rsa_key(A::DECRYPT, Scheme::Null), Rc::KEY),
            (ecc_key(A::SIGN, Scheme::Null), Rc::ATTRIBUTES),
        ] {
            let key = load(&mut client, key);
            assert_eq!(client.rc(&encrypt(key, Some(Alg::KDF2))), rc.handle(1));
        }
    }
}
