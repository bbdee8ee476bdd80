//! TPM2_PolicyNV: Part 3, clause 23.9, revision 1.59.

use crate::commands::command;
use crate::policy::Comparison;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, HandleInterface, Rc, RhNvAuth, RhNvIndex, ShPolicy};

command! {
    /// Binds a policy to the contents of an NV index.
    #[doc(alias = "TPM2_PolicyNV")]
    Command {
        handles {
            /// Who authorizes the reading.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// What the contents are compared with.
            operand_b: Digest,
            /// Where in the contents.
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
    let nv_index = command.nv_index.handle();
    if !tpm.policy_session(command.policy_session)?.is_trial() {
        tpm.check_nv_read(command.auth_handle.handle(), nv_index)?;
        let data = &tpm.nv_index(nv_index)?.data;
        command.operation.check(data, command.offset, &command.operand_b)?;
    }
    let name = tpm.name(nv_index);
    let session = tpm.policy_session_mut(command.policy_session)?;
    let arguments =
        command.operation.arguments(session, &command.operand_b, command.offset, &[]);
    session.extend_policy(Cc::POLICY_NV, &[&arguments, &name]);
    Ok(Response {})
}
