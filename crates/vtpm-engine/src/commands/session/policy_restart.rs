//! TPM2_PolicyRestart: Part 3, clause 11.2, revision 1.59.

use crate::commands::command;
use crate::session::PolicyState;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, ShPolicy};

command! {
    /// Starts a policy anew: its nonce and the start of its time stay.
    #[doc(alias = "TPM2_PolicyRestart")]
    Command {
        handles {
            /// The session.
            session_handle: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.session_handle)?;
    let (start_time, epoch) = (session.policy.start_time, session.policy.epoch);
    session.policy = PolicyState::new(session.hash, start_time, epoch);
    Ok(Response {})
}
