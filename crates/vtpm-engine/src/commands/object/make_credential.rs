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
