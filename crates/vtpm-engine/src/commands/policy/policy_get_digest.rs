//! TPM2_PolicyGetDigest: Part 3, clause 23.19, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Digest, Rc, ShPolicy};

command! {
    /// Tells the policy so far.
    #[doc(alias = "TPM2_PolicyGetDigest")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The policy.
            policy_digest: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let policy_digest = tpm.policy_session(command.policy_session)?.policy.digest.clone();
    Ok(Response { policy_digest })
}
