//! TPM2_LoadExternal: Part 3, clause 12.3, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::load::{self, Blame};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    HandleInterface, Name, ObjectAttributes, OptionalSensitive, Rc, RhHierarchy, Tpm2bPublicPlus,
};

command! {
    /// Loads an object that is not protected by this TPM: a public area, or both areas in the
    /// clear.
    #[doc(alias = "TPM2_LoadExternal")]
    Command {
        handles {}
        parameters {
            /// The sensitive area; may be empty.
            in_private: OptionalSensitive,
            /// The public area.
            in_public: Tpm2bPublicPlus,
            /// The hierarchy that the object shall belong to.
            hierarchy: Option<RhHierarchy>,
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
    let hierarchy = Hierarchy::of(command.hierarchy.handle()).ok_or(Rc::VALUE.parameter(3))?;
    let (sensitive, public) = (command.in_private.0, command.in_public.0);
    tpm.objects.check_free()?;
    tpm.check_enabled(hierarchy).map_err(|rc| rc.parameter(3))?;
    if sensitive.is_some() {
        if hierarchy != Hierarchy::Null {
            return Err(Rc::HIERARCHY.parameter(3));
        }
        // It must not look like a key that a TPM made.
        let own = ObjectAttributes::FIXED_TPM
            .with(ObjectAttributes::FIXED_PARENT)
            .with(ObjectAttributes::RESTRICTED);
        if public.attributes.any(own) {
            return Err(Rc::ATTRIBUTES.parameter(2));
        }
    }
    let object = load::external(hierarchy, public, sensitive, Blame { public: 2, sensitive: 1 })?;
    let name = object.name.clone();
    let object_handle = tpm.load_object(object)?;
    Ok(Response { object_handle, name })
}
