//! TPM2_PolicyLocality: Part 3, clause 23.8, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, LocalityAttributes, Rc, ShPolicy};

command! {
    /// Limits a policy to localities.
    #[doc(alias = "TPM2_PolicyLocality")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The localities.
            locality: LocalityAttributes,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.policy.locality =
        restrict(session.policy.locality, command.locality).ok_or(Rc::RANGE.parameter(1))?;
    session.extend_policy(Cc::POLICY_LOCALITY, &[&[command.locality.0]]);
    Ok(Response {})
}

/// What both settings allow; an earlier setting of none allows all.
fn restrict(
    earlier: LocalityAttributes,
    wanted: LocalityAttributes,
) -> Option<LocalityAttributes> {
    if wanted == LocalityAttributes::NONE {
        return None;
    }
    if earlier == LocalityAttributes::NONE {
        return Some(wanted);
    }
    let allowed = match (earlier.is_extended(), wanted.is_extended()) {
        (false, false) => LocalityAttributes(earlier.0 & wanted.0),
        (true, true) if earlier == wanted => wanted,
        _ => LocalityAttributes::NONE,
    };
    (allowed != LocalityAttributes::NONE).then_some(allowed)
}
