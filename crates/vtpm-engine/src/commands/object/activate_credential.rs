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
