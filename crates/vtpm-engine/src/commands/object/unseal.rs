//! TPM2_Unseal: Part 3, clause 12.7, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, ObjectAttributes, PublicParms, Rc, SensitiveData};

command! {
    /// Returns the data of a sealed object.
    #[doc(alias = "TPM2_Unseal")]
    Command {
        handles {
            /// The sealed object.
            item_handle: DhObject,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The data.
            out_data: SensitiveData,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let object = tpm.object(command.item_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !matches!(object.public.parms, PublicParms::KeyedHash(_)) {
        return Err(Rc::TYPE.handle(1));
    }
    let key =
        ObjectAttributes::DECRYPT.with(ObjectAttributes::SIGN).with(ObjectAttributes::RESTRICTED);
    if object.public.attributes.any(key) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    // Authorization needs the sensitive area, so it is there.
    let sensitive = object.sensitive.as_ref().ok_or(Rc::AUTH_UNAVAILABLE)?;
    Ok(Response { out_data: SensitiveData::new(&sensitive.composite)? })
}
