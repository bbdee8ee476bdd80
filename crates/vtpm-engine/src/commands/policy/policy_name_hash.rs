//! TPM2_PolicyNameHash: Part 3, clause 23.14, revision 1.59.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to the entities in a command's handles.
    #[doc(alias = "TPM2_PolicyNameHash")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The digest of the entities' names.
            name_hash: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if command.name_hash.len() != session.hash.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    if session.policy.binding != PolicyBinding::None {
        return Err(Rc::CPHASH);
    }
    session.extend_policy(Cc::POLICY_NAME_HASH, &[&command.name_hash]);
    session.policy.binding = PolicyBinding::NameHash(command.name_hash);
    Ok(Response {})
}
