//! TPM2_PolicyCpHash: Part 3, clause 23.13, revision 1.59.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to one command with its handles and parameters.
    #[doc(alias = "TPM2_PolicyCpHash")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The command's cpHash.
            cp_hash_a: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if command.cp_hash_a.len() != session.hash.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    let binding = PolicyBinding::CpHash(command.cp_hash_a.clone());
    if session.policy.binding != PolicyBinding::None && session.policy.binding != binding {
        return Err(Rc::CPHASH);
    }
    session.extend_policy(Cc::POLICY_CP_HASH, &[&command.cp_hash_a]);
    session.policy.binding = binding;
    Ok(Response {})
}
