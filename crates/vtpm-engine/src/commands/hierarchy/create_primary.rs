//! TPM2_CreatePrimary: Part 3, clause 24.1, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::create::Above;
use crate::object::template;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    CreationData, Data, Digest, HandleInterface, Name, PcrSelections, Rc, RhHierarchy, Sized2b,
    Ticket, Tpm2bPublic, Tpm2bSensitiveCreate,
};

command! {
    /// Makes an object from the seed of a hierarchy, the same one for the same template, and loads
    /// it.
    #[doc(alias = "TPM2_CreatePrimary")]
    Command {
        handles {
            /// The hierarchy.
            primary_handle: Option<RhHierarchy>,
        }
        parameters {
            /// Authorization value and data.
            in_sensitive: Tpm2bSensitiveCreate,
            /// The template.
            in_public: Tpm2bPublic,
            /// Goes into the creation data.
            outside_info: Data,
            /// PCR that go into the creation data.
            creation_pcr: PcrSelections,
        }
    }
    Response {
        handle {
            /// The loaded object.
            object_handle
        }
        parameters {
            /// The public area.
            out_public: Tpm2bPublic,
            /// What was the case at the creation.
            creation_data: Sized2b<CreationData>,
            /// Digest of the creation data.
            creation_hash: Digest,
            /// Proves that this TPM made the object.
            creation_ticket: Ticket,
            /// The name.
            name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let hierarchy = Hierarchy::of(command.primary_handle.handle()).ok_or(Rc::VALUE.handle(1))?;
    let (mut create, public) = (command.in_sensitive.0, command.in_public.0);
    tpm.objects.check_free()?;
    template::check_creation(None, &public, create.data.len()).map_err(|rc| rc.parameter(2))?;
    template::adjust_auth(&mut create.user_auth, public.name_alg).map_err(|rc| rc.parameter(1))?;
    let mut source = tpm.primary_source(hierarchy, &public, &create.data);
    let new = tpm.generate_from(public, &create, &mut source)?;
    let above = Above::Hierarchy(hierarchy);
    let (creation_data, creation_hash, creation_ticket) =
        tpm.creation(above, &new, command.creation_pcr, command.outside_info)?;
    let (out_public, name) = (Sized2b(new.public.clone()), new.name.clone());
    let object_handle = tpm.load_object(new.below(above))?;
    Ok(Response { object_handle, out_public, creation_data, creation_hash, creation_ticket, name })
}
