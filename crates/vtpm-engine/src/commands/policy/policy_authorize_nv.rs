//! TPM2_PolicyAuthorizeNV: Part 3, clause 23.22, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Ha, HandleInterface, Rc, Reader, RhNvAuth, RhNvIndex, ShPolicy};

command! {
    /// Replaces a policy that stands in an NV index by the index's name.
    #[doc(alias = "TPM2_PolicyAuthorizeNV")]
    Command {
        handles {
            /// Who authorizes the reading.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
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
    let nv_index = command.nv_index.handle();
    let session = tpm.policy_session(command.policy_session)?;
    if !session.is_trial() {
        tpm.check_nv_read(command.auth_handle.handle(), nv_index)?;
        let data = &tpm.nv_index(nv_index)?.data;
        // Bytes after the digest may stand there: an index is as large as its largest policy.
        let policy = Reader::new(data, &tpm.profile.algorithms).get::<Ha>()?;
        if policy.alg != session.hash {
            return Err(Rc::HASH);
        }
        if policy.digest != session.policy.digest {
            return Err(Rc::VALUE);
        }
    }
    let name = tpm.name(nv_index);
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.clear_policy_digest();
    session.extend_policy(Cc::POLICY_AUTHORIZE_NV, &[&name]);
    Ok(Response {})
}
