//! TPM2_Rewrap: Part 3, clause 13.2, revision 1.59.

use super::is_new_parent;
use crate::commands::command;
use crate::object::protect::{Outer, rewrap_duplicate};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, EncryptedSecret, Name, Private, Rc};

command! {
    /// Exchanges the outer wrapper of a duplication, so that it goes to another parent.
    #[doc(alias = "TPM2_Rewrap")]
    Command {
        handles {
            /// The parent that the outer wrapper is for; `TPM_RH_NULL` when there is none.
            old_parent: Option<DhObject>,
            /// The new parent; `TPM_RH_NULL` for no outer wrapper.
            new_parent: Option<DhObject>,
        }
        parameters {
            /// The sensitive area in its wrappers.
            in_duplicate: Private,
            /// Name of the object.
            name: Name,
            /// Seed of the outer wrapper, encrypted to the old parent.
            in_sym_seed: EncryptedSecret,
        }
    }
    Response {
        parameters {
            /// The sensitive area in its new wrappers.
            out_duplicate: Private,
            /// Seed of the outer wrapper, encrypted to the new parent.
            out_sym_seed: EncryptedSecret,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if command.in_sym_seed.is_empty() != command.old_parent.is_none() {
        return Err(Rc::HANDLE.handle(1));
    }
    let contents = match command.old_parent {
        Some(handle) => {
            let parent = tpm.object(handle).map_err(|_| Rc::TYPE.handle(1))?;
            if !is_new_parent(&parent) {
                return Err(Rc::TYPE.handle(1));
            }
            let seed = tpm
                .decrypt_secret(&parent, b"DUPLICATE", &command.in_sym_seed)
                .map_err(|_| Rc::VALUE.parameter(3))?;
            let outer = Outer::with_seed(&parent, &seed).map_err(|rc| rc.handle(1))?;
            tpm.unwrap_duplicate(&command.in_duplicate, &command.name, &outer)
                .map_err(|rc| rc.parameter(1))?
        }
        None => command.in_duplicate,
    };
    let Some(handle) = command.new_parent else {
        return Ok(Response { out_duplicate: contents, out_sym_seed: EncryptedSecret::empty() });
    };
    let parent = tpm.object(handle).map_err(|_| Rc::TYPE.handle(2))?;
    if !is_new_parent(&parent) {
        return Err(Rc::TYPE.handle(2));
    }
    let (seed, out_sym_seed) = tpm.encrypt_secret(&parent, b"DUPLICATE")?;
    let outer = Outer::with_seed(&parent, &seed).map_err(|rc| rc.handle(2))?;
    let out_duplicate =
        rewrap_duplicate(&contents, &command.name, &outer).map_err(|rc| rc.parameter(1))?;
    Ok(Response { out_duplicate, out_sym_seed })
}
