//! TPM2_Load: Part 3, clause 12.2, revision 1.59.

use crate::commands::command;
use crate::object::load::{self, Blame};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Name, Private, Rc, Tpm2bPublic};

command! {
    /// Loads an object below its parent.
    #[doc(alias = "TPM2_Load")]
    Command {
        handles {
            /// The storage key.
            parent_handle: DhObject,
        }
        parameters {
            /// The protected sensitive area.
            in_private: Private,
            /// The public area.
            in_public: Tpm2bPublic,
        }
    }
    Response {
        handle {
            /// The loaded object.
            object_handle
        }
        parameters {
            /// The name.
            name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.objects.check_free()?;
    if command.in_private.is_empty() {
        return Err(Rc::SIZE.parameter(1));
    }
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(1));
    }
    let public = command.in_public.0;
    let name = public.name();
    let sensitive = tpm
        .private_to_sensitive(&command.in_private, &name, &parent)
        .map_err(|rc| rc.parameter(1))?;
    let blame = Blame { public: 2, sensitive: 1 };
    let object = load::below_parent(&parent, public, sensitive, name.clone(), blame)?;
    let object_handle = tpm.load_object(object)?;
    Ok(Response { object_handle, name })
}
