//! TPM2_ObjectChangeAuth: Part 3, clause 12.8, revision 1.59.

use crate::commands::command;
use crate::object::{qualified_name, template};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, DhObject, Private, Rc, Sensitive};

command! {
    /// Makes a new protected sensitive area of an object with another authorization value; the
    /// loaded object, and the old area, keep theirs.
    #[doc(alias = "TPM2_ObjectChangeAuth")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
            /// Its parent.
            parent_handle: DhObject,
        }
        parameters {
            /// The new value.
            new_auth: Auth,
        }
    }
    Response {
        parameters {
            /// The protected sensitive area.
            out_private: Private,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let object = tpm.object(command.object_handle).map_err(|_| Rc::TYPE.handle(1))?;
    let mut auth = command.new_auth;
    template::adjust_auth(&mut auth, object.public.name_alg).map_err(|rc| rc.parameter(1))?;
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(2))?;
    let below = qualified_name(&parent.qualified_name, &object.public, &object.name);
    // A derivation parent stores nothing.
    if object.qualified_name != below || !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(2));
    }
    let sensitive = object.sensitive.as_ref().ok_or(Rc::AUTH_UNAVAILABLE)?;
    let changed = Sensitive { auth, ..sensitive.clone() };
    let out_private =
        tpm.sensitive_to_private(&changed, &object.name, object.public.name_alg, &parent)?;
    Ok(Response { out_private })
}
