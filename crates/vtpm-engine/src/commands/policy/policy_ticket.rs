//! TPM2_PolicyTicket: Part 3, clause 23.5, revision 1.59.

use crate::commands::command;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{AuthTicket, Cc, Digest, Name, Nonce, Rc, ShPolicy, Tag};

command! {
    /// Includes an earlier authorization in a policy, by its ticket.
    #[doc(alias = "TPM2_PolicyTicket")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// As it came with the ticket.
            timeout: Timeout,
            /// As it was authorized.
            cp_hash_a: Digest,
            /// As it was authorized.
            policy_ref: Nonce,
            /// Name of the authorizing party.
            auth_name: Name,
            /// The ticket.
            ticket: AuthTicket,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session(command.policy_session)?;
    // A trial can include the authorization itself: nobody need give it.
    if session.is_trial() {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let (timeout, expires_on_reset) =
        Assertion::parse_timeout(&command.timeout).ok_or(Rc::SIZE.parameter(1))?;
    let blame = Blame { nonce: 0, cp_hash: 2, expiration: 1 };
    tpm.check_assertion(session, timeout, &command.cp_hash_a, None, blame)?;
    let ticket = &command.ticket.0;
    let assertion = Assertion {
        code: if ticket.tag == Tag::AUTH_SIGNED { Cc::POLICY_SIGNED } else { Cc::POLICY_SECRET },
        name: &command.auth_name,
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset,
    };
    tpm.check_assertion_ticket(ticket, &assertion).map_err(|rc| rc.parameter(5))?;
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    Ok(Response {})
}
