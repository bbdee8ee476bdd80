//! TPM2_PolicyCounterTimer: Part 3, clause 23.10, revision 1.59.

use crate::commands::command;
use crate::policy::Comparison;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Marshal, Rc, ShPolicy};

command! {
    /// Binds a policy to the contents of `TPMS_TIME_INFO`.
    #[doc(alias = "TPM2_PolicyCounterTimer")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// What the contents are compared with.
            operand_b: Digest,
            /// Where in the structure.
            offset: u16,
            /// The comparison.
            operation: Comparison,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let info = tpm.time_info().to_bytes();
    // A trial as well must stay inside the structure: the policy could never be fulfilled.
    let rest = info.get(usize::from(command.offset)..).ok_or(Rc::VALUE.parameter(2))?;
    if command.operand_b.len() > rest.len() {
        return Err(Rc::RANGE);
    }
    let session = tpm.policy_session_mut(command.policy_session)?;
    if !session.is_trial() {
        command.operation.check(&info, command.offset, &command.operand_b)?;
    }
    let arguments =
        command.operation.arguments(session, &command.operand_b, command.offset, &[]);
    session.extend_policy(Cc::POLICY_COUNTER_TIMER, &[&arguments]);
    Ok(Response {})
}
