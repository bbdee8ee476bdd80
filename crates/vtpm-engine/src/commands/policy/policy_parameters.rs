//! TPM2_PolicyParameters: Part 3, clause 23.25, revision 1.83.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to one command with its parameters, whatever its handles.
    #[doc(alias = "TPM2_PolicyParameters")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The digest of command code and parameters.
            p_hash: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if command.p_hash.len() != session.hash.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    if session.policy.binding != PolicyBinding::None {
        return Err(Rc::CPHASH);
    }
    session.extend_policy(Cc::POLICY_PARAMETERS, &[&command.p_hash]);
    session.policy.binding = PolicyBinding::Parameters(command.p_hash);
    Ok(Response {})
}
