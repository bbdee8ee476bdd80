//! TPM2_MakeCredential: Part 3, clause 12.6, revision 1.59.

use crate::commands::command;
use crate::object::protect::Outer;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Digest, EncryptedSecret, IdObject, Name, ObjectAttributes, Rc};

command! {
    /// Makes a credential that only the TPM with a key and the named object can open.
    #[doc(alias = "TPM2_MakeCredential")]
    Command {
        handles {
            /// The key to encrypt to; its public area suffices.
            handle: DhObject,
        }
        parameters {
            /// The secret.
            credential: Digest,
            /// Name of the object that the credential is about.
            object_name: Name,
        }
    }
    Response {
        parameters {
            /// The credential.
            credential_blob: IdObject,
            /// The credential's seed, encrypted to the key.
            secret: EncryptedSecret,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.handle).map_err(|_| Rc::TYPE.handle(1))?;
    let storage = ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT);
    if !key.public.parms.is_asymmetric() || !key.public.has(storage) {
        return Err(Rc::TYPE.handle(1));
    }
    let limit = key.public.name_alg.map_or(0, |alg| alg.digest_size());
    if command.credential.len() > limit {
        return Err(Rc::SIZE.parameter(1));
    }
    let (seed, secret) = tpm.encrypt_secret(&key, b"IDENTITY")?;
    let outer = Outer::with_seed(&key, &seed).map_err(|rc| rc.handle(1))?;
    let credential_blob =
        tpm.secret_to_credential(&command.credential, &command.object_name, &outer)?;
    Ok(Response { credential_blob, secret })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{ecc_signing, ecc_storage, hmac_key};
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Digest, Handle, Name, Rc, Sized2b};

    #[test]
    fn the_public_area_of_the_key_suffices() {
        let mut client = Client::started();
        let key = client.primary(Handle::OWNER, &ecc_storage());
        let public = client.tpm.object(key).unwrap().public.clone();
        let load = command(Cc::LOAD_EXTERNAL).put(0u16).put(Sized2b(public)).put(Handle::NULL);
        let key = client.run(&load).unwrap().handle.unwrap();
        let make = command(Cc::MAKE_CREDENTIAL).handle(key);
        client.run(&make.put(Digest::from_slice(b"secret")).put(Name::empty())).unwrap();
    }

    #[test]
    fn a_secret_longer_than_the_keys_name_algorithm_is_refused() {
        let mut client = Client::started();
        let key = client.primary(Handle::OWNER, &ecc_storage());
        let make = |size| {
            let secret = Digest::from_slice(&[1; 64][..size]);
            command(Cc::MAKE_CREDENTIAL).handle(key).put(secret).put(Name::empty())
        };
        client.run(&make(32)).unwrap();
        assert_eq!(client.rc(&make(33)), Rc::SIZE.parameter(1));
    }

    #[test]
    fn the_key_must_be_an_asymmetric_storage_key() {
        let mut client = Client::started();
        for template in [ecc_signing(), hmac_key()] {
            let key = client.primary(Handle::OWNER, &template);
            let make = command(Cc::MAKE_CREDENTIAL).handle(key);
            let make = make.put(Digest::empty()).put(Name::empty());
            assert_eq!(client.rc(&make), Rc::TYPE.handle(1));
        }
    }
}
