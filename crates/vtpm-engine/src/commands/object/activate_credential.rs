//! TPM2_ActivateCredential: Part 3, clause 12.5, revision 1.59.

use crate::commands::command;
use crate::object::protect::Outer;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Digest, EncryptedSecret, IdObject, ObjectAttributes, Rc};

command! {
    /// Gives the secret in a credential to whoever may use the object that the credential names.
    #[doc(alias = "TPM2_ActivateCredential")]
    Command {
        handles {
            /// The object that the credential is about.
            activate_handle: DhObject,
            /// The key that the credential is encrypted to.
            key_handle: DhObject,
        }
        parameters {
            /// The credential.
            credential_blob: IdObject,
            /// The credential's seed, encrypted to the key.
            secret: EncryptedSecret,
        }
    }
    Response {
        parameters {
            /// The secret.
            cert_info: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::TYPE.handle(2))?;
    let activate = tpm.object(command.activate_handle).map_err(|_| Rc::TYPE.handle(1))?;
    let storage = ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT);
    if !key.public.parms.is_asymmetric() || !key.public.has(storage) {
        return Err(Rc::TYPE.handle(2));
    }
    let seed = tpm.decrypt_secret(&key, b"IDENTITY", &command.secret).map_err(|rc| match rc {
        // The key was checked above, so the fault is the TPM's.
        Rc::KEY => Rc::FAILURE,
        rc => rc.parameter(2),
    })?;
    let outer = Outer::with_seed(&key, &seed).map_err(|rc| rc.handle(2))?;
    let cert_info = tpm
        .credential_to_secret(&command.credential_blob, &activate.name, &outer)
        .map_err(|rc| rc.parameter(1))?;
    Ok(Response { cert_info })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{ecc_signing, ecc_storage, hmac_key, next, rsa_storage};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, EncryptedSecret, Handle, IdObject, Marshal, Name, Rc};

    fn make(
        client: &mut Client,
        key: Handle,
        secret: &[u8],
        name: &Name,
    ) -> (IdObject, EncryptedSecret) {
        let make = command(Cc::MAKE_CREDENTIAL).handle(key);
        let reply = client.run(&make.put(Digest::from_slice(secret)).put(name)).unwrap();
        let mut rest = reply.parameters;
        (next(client, &mut rest), next(client, &mut rest))
    }

    fn activate(
        object: Handle,
        key: Handle,
        (blob, secret): &(IdObject, EncryptedSecret),
    ) -> CommandBuilder {
        let command = command(Cc::ACTIVATE_CREDENTIAL).handle(object).handle(key);
        command.password(b"").password(b"").put(blob).put(secret)
    }

    #[test]
    fn the_secret_comes_out_with_an_ecc_and_with_an_rsa_key() {
        for storage in [ecc_storage(), rsa_storage(1024)] {
            let mut client = Client::started();
            let key = client.primary(Handle::ENDORSEMENT, &storage);
            let object = client.primary(Handle::OWNER, &ecc_signing());
            let name = client.tpm.name(object);
            let credential = make(&mut client, key, b"secret", &name);
            let reply = client.run(&activate(object, key, &credential)).unwrap();
            assert_eq!(reply.parameters, Digest::from_slice(b"secret").to_bytes());
        }
    }

    #[test]
    fn a_credential_for_another_object_is_refused() {
        let mut client = Client::started();
        let key = client.primary(Handle::ENDORSEMENT, &ecc_storage());
        let object = client.primary(Handle::OWNER, &ecc_signing());
        let other = client.tpm.name(key);
        let credential = make(&mut client, key, b"secret", &other);
        let rc = client.rc(&activate(object, key, &credential));
        assert_eq!(rc, Rc::INTEGRITY.parameter(1));
    }

    #[test]
    fn a_damaged_credential_or_seed_is_refused() {
        for (storage, rc) in [
            (ecc_storage(), Rc::ECC_POINT.parameter(2)),
            (rsa_storage(1024), Rc::VALUE.parameter(2)),
        ] {
            let mut client = Client::started();
            let key = client.primary(Handle::ENDORSEMENT, &storage);
            let object = client.primary(Handle::OWNER, &ecc_signing());
            let name = client.tpm.name(object);
            let (blob, secret) = make(&mut client, key, b"secret", &name);
            for position in 2..blob.len() {
                let mut damaged = blob.to_vec();
                damaged[position] ^= 1;
                let damaged = (IdObject::from_slice(&damaged), secret.clone());
                let found = client.rc(&activate(object, key, &damaged));
                assert_eq!(found, Rc::INTEGRITY.parameter(1));
            }
            let mut damaged = secret.to_vec();
            *damaged.last_mut().unwrap() ^= 1;
            let damaged = (blob.clone(), EncryptedSecret::from_slice(&damaged));
            assert_eq!(client.rc(&activate(object, key, &damaged)), rc);
            let empty = (blob, EncryptedSecret::empty());
            let found = client.rc(&activate(object, key, &empty)).base();
            assert!(found == Rc::INSUFFICIENT || found == Rc::SIZE);
        }
    }

    #[test]
    fn the_key_must_be_an_asymmetric_storage_key() {
        let mut client = Client::started();
        let object = client.primary(Handle::OWNER, &ecc_signing());
        let mac = client.primary(Handle::OWNER, &hmac_key());
        let nothing = (IdObject::empty(), EncryptedSecret::empty());
        for key in [object, mac] {
            assert_eq!(client.rc(&activate(object, key, &nothing)), Rc::TYPE.handle(2));
        }
    }

    #[test]
    fn both_authorizations_are_needed() {
        let mut client = Client::started();
        let key = client.primary(Handle::ENDORSEMENT, &ecc_storage());
        let one = command(Cc::ACTIVATE_CREDENTIAL)
            .handle(key)
            .handle(key)
            .password(b"")
            .put(IdObject::empty())
            .put(EncryptedSecret::empty());
        assert_eq!(client.rc(&one), Rc::AUTH_MISSING);
    }
}
