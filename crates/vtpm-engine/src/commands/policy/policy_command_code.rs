//! TPM2_PolicyCommandCode: Part 3, clause 23.11, revision 1.59.

use crate::commands::{self, command};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Marshal, Rc, ShPolicy};

command! {
    /// Limits a policy to one command.
    #[doc(alias = "TPM2_PolicyCommandCode")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The command.
            code: Cc,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if session.policy.command.is_some_and(|earlier| earlier != command.code) {
        return Err(Rc::VALUE.parameter(1));
    }
    if commands::find(command.code).is_none() {
        return Err(Rc::POLICY_CC.parameter(1));
    }
    session.extend_policy(Cc::POLICY_COMMAND_CODE, &[&command.code.to_bytes()]);
    session.policy.command = Some(command.code);
    Ok(Response {})
}
