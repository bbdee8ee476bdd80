//! TPM2_PolicyAuthValue: Part 3, clause 23.17, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Rc, ShPolicy};

command! {
    /// Demands the entity's authorization value in the HMAC key when the policy is used.
    #[doc(alias = "TPM2_PolicyAuthValue")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.extend_policy(Cc::POLICY_AUTH_VALUE, &[]);
    session.policy.auth_value_needed = true;
    session.policy.password_needed = false;
    Ok(Response {})
}
