//! TPM2_Create: Part 3, clause 12.1, revision 1.59.

use crate::commands::command;
use crate::object::create::Above;
use crate::object::template;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    CreationData, Data, DhObject, Digest, PcrSelections, Private, Rc, Sized2b, Ticket, Tpm2bPublic,
    Tpm2bSensitiveCreate,
};

command! {
    /// Makes an object below a storage key, to be loaded with `TPM2_Load`.
    #[doc(alias = "TPM2_Create")]
    Command {
        handles {
            /// The storage key.
            parent_handle: DhObject,
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
        parameters {
            /// The protected sensitive area.
            out_private: Private,
            /// The public area.
            out_public: Tpm2bPublic,
            /// What was the case at the creation.
            creation_data: Sized2b<CreationData>,
            /// Digest of the creation data.
            creation_hash: Digest,
            /// Proves that this TPM made the object.
            creation_ticket: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(1));
    }
    // The object is not loaded, but the specification lets a TPM need the slot for its making.
    tpm.objects.check_free()?;
    let (mut create, public) = (command.in_sensitive.0, command.in_public.0);
    template::check_creation(Some(&parent), &public, create.data.len())
        .map_err(|rc| rc.parameter(2))?;
    template::adjust_auth(&mut create.user_auth, public.name_alg).map_err(|rc| rc.parameter(1))?;
    let new = tpm.generate_random(public, &create)?;
    let (creation_data, creation_hash, creation_ticket) =
        tpm.creation(Above::Parent(&parent), &new, command.creation_pcr, command.outside_info)?;
    let out_private =
        tpm.sensitive_to_private(&new.sensitive, &new.name, new.public.name_alg, &parent)?;
    let out_public = Sized2b(new.public);
    Ok(Response { out_private, out_public, creation_data, creation_hash, creation_ticket })
}
