//! TPM2_PolicyPCR: Part 3, clause 23.7, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Marshal, PcrSelections, Rc, ShPolicy};

command! {
    /// Binds a policy to the values of PCR.
    #[doc(alias = "TPM2_PolicyPCR")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The expected digest of the values; empty for the current one.
            pcr_digest: Digest,
            /// The PCR.
            pcrs: PcrSelections,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session(command.policy_session)?;
    let trial = session.is_trial();
    let mut pcrs = command.pcrs;
    tpm.pcrs.filter(&mut pcrs.0);
    let current = tpm.pcrs.digest(session.hash, &pcrs.0);
    let counter = tpm.reset.pcr_counter;
    let expected = &command.pcr_digest;
    if !trial {
        // What an earlier check found must still be so.
        if session.policy.pcr_counter.is_some_and(|earlier| earlier != counter) {
            return Err(Rc::PCR_CHANGED);
        }
        if !expected.is_empty() && *expected != current {
            return Err(Rc::VALUE.parameter(1));
        }
    }
    let digest = if trial && !expected.is_empty() { expected } else { &current };
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.extend_policy(Cc::POLICY_PCR, &[&pcrs.to_bytes(), digest]);
    if !trial {
        session.policy.pcr_counter = Some(counter);
    }
    Ok(Response {})
}
