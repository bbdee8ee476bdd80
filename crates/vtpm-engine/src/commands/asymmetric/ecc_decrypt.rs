//! TPM2_ECC_Decrypt: Part 3, clause 14.9, revision 1.83; the method is in Part 1, annex C.8.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::commands::command;
use crate::object::key::{EccCipher, check_key_exchange, ecc_error, select_ecc_kdf};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    DhObject, Digest, EccPoint, KdfScheme, MAX_BUFFER, MaxBuffer, Rc, Secret, Sized2b,
};

command! {
    /// Decrypts with the private half of an ECC key.
    #[doc(alias = "TPM2_ECC_Decrypt")]
    Command {
        handles {
            /// The key: an unrestricted decryption key.
            key_handle: DhObject,
        }
        parameters {
            /// The ephemeral public point.
            c1: Sized2b<EccPoint>,
            /// The encrypted data.
            c2: MaxBuffer,
            /// The integrity value.
            c3: Digest,
            /// The key derivation function, if the key leaves the choice.
            in_scheme: Option<KdfScheme>,
        }
    }
    Response {
        parameters {
            /// The data.
            plain_text: Secret<MAX_BUFFER>,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::KEY.handle(1))?;
    let parms = check_key_exchange(&key)?;
    let hash = select_ecc_kdf(parms.kdf, command.in_scheme).ok_or(Rc::SCHEME.parameter(4))?;
    let private = key.ecc_private().map_err(|rc| rc.handle(1))?;
    let shared =
        private.ecdh(&(&command.c1.0).into()).map_err(|error| ecc_error(&error).parameter(1))?;
    let cipher = EccCipher::new(hash, &shared);
    let mut plain_text = Zeroizing::new(command.c2.to_vec());
    cipher.apply_mask(&mut plain_text);
    if !bool::from(cipher.integrity(&plain_text).ct_eq(&command.c3)) {
        return Err(Rc::VALUE);
    }
    Ok(Response { plain_text: Secret::new(&plain_text)? })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::object::key::testing::{ecc_key, load, rsa_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Handle, KdfScheme, MaxBuffer, ObjectAttributes as A, Rc, Scheme};

    const KDF2: Option<KdfScheme> = Some(KdfScheme { kdf: Alg::KDF2, hash: HashAlg::Sha256 });

    fn encrypted(client: &mut Client, key: Handle, message: &[u8]) -> Vec<u8> {
        let encrypt =
            command(Cc::ECC_ENCRYPT).handle(key).put(MaxBuffer::from_slice(message)).put(KDF2);
        client.run(&encrypt).unwrap().parameters
    }

    fn decrypt(key: Handle, cipher: &[u8], kdf: Option<KdfScheme>) -> CommandBuilder {
        command(Cc::ECC_DECRYPT).handle(key).password(b"").bytes(cipher).put(kdf)
    }

    #[test]
    fn what_was_encrypted_is_decrypted() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        for message in [&b"message"[..], b"", &[7; 1000]] {
            let cipher = encrypted(&mut client, key, message);
            let response = client.run(&decrypt(key, &cipher, KDF2)).unwrap();
            assert_eq!(response.parameters[2..], *message);
        }
    }

    #[test]
    fn a_change_in_any_part_is_noticed() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let cipher = encrypted(&mut client, key, b"message");
        // The last byte of the point, of the data and of the digest.
        for (at, rc) in
            [(69, Rc::ECC_POINT.parameter(1)), (78, Rc::VALUE), (cipher.len() - 1, Rc::VALUE)]
        {
            let mut changed = cipher.clone();
            changed[at] ^= 1;
            assert_eq!(client.rc(&decrypt(key, &changed, KDF2)), rc);
        }
    }

    #[test]
    fn another_hash_or_function_does_not_decrypt() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let cipher = encrypted(&mut client, key, b"message");
        let sha384 = Some(KdfScheme { kdf: Alg::KDF2, hash: HashAlg::Sha384 });
        assert_eq!(client.rc(&decrypt(key, &cipher, sha384)), Rc::VALUE);
        assert_eq!(client.rc(&decrypt(key, &cipher, None)), Rc::SCHEME.parameter(4));
    }

    #[test]
    fn only_an_unrestricted_ecc_decryption_key_will_do() {
        let mut client = Client::started();
        let key = load(&mut client, ecc_key(A::DECRYPT, Scheme::Null));
        let cipher = encrypted(&mut client, key, b"message");
        for (key, rc) in [
            (rsa_key(A::DECRYPT, Scheme::Null), Rc::KEY),
            (ecc_key(A::SIGN, Scheme::Null), Rc::ATTRIBUTES),
            (ecc_key(A::DECRYPT.with(A::RESTRICTED), Scheme::Null), Rc::ATTRIBUTES),
        ] {
            client.tpm.objects.retain(|_| false);
            let key = load(&mut client, key);
            assert_eq!(client.rc(&decrypt(key, &cipher, KDF2)), rc.handle(1));
        }
    }
}
