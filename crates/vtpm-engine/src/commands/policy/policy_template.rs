//! TPM2_PolicyTemplate: Part 3, clause 23.21, revision 1.59.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to the creation of objects of one template.
    #[doc(alias = "TPM2_PolicyTemplate")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The digest of the template.
            template_hash: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    match &session.policy.binding {
        PolicyBinding::None => {}
        PolicyBinding::Template(earlier) if *earlier == command.template_hash => {}
        PolicyBinding::Template(_) => return Err(Rc::VALUE.parameter(1)),
        _ => return Err(Rc::CPHASH),
    }
    if command.template_hash.len() != session.hash.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    session.extend_policy(Cc::POLICY_TEMPLATE, &[&command.template_hash]);
    session.policy.binding = PolicyBinding::Template(command.template_hash);
    Ok(Response {})
}
