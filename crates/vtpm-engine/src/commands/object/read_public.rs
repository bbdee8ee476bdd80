//! TPM2_ReadPublic: Part 3, clause 12.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Name, Rc, Sized2b, Tpm2bPublic};

command! {
    /// Reads the public area of a loaded object.
    #[doc(alias = "TPM2_ReadPublic")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The public area.
            out_public: Tpm2bPublic,
            /// The name.
            name: Name,
            /// The qualified name.
            qualified_name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // A sequence has no public area.
    let object = tpm.object(command.object_handle).map_err(|_| Rc::SEQUENCE)?;
    Ok(Response {
        out_public: Sized2b(object.public.clone()),
        name: object.name.clone(),
        qualified_name: object.qualified_name.clone(),
    })
}
