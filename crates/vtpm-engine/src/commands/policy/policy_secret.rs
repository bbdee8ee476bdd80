//! TPM2_PolicySecret: Part 3, clause 23.4, revision 1.59.

use crate::commands::command;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Cc, DhEntity, Digest, HandleInterface, Nonce, NvType, Rc, ShPolicy, Tag, Ticket,
};

command! {
    /// Includes the authorization of another entity in a policy.
    #[doc(alias = "TPM2_PolicySecret")]
    Command {
        handles {
            /// The entity whose secret is proven.
            auth_handle: DhEntity,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The session's nonce, if the authorization is for this session only.
            nonce_tpm: Nonce,
            /// The command that is authorized; empty for any.
            cp_hash_a: Digest,
            /// Of the authorizing party's choosing.
            policy_ref: Nonce,
            /// Seconds until the authorization ends; negative asks for a ticket.
            expiration: i32,
        }
    }
    Response {
        parameters {
            /// When the ticket ends.
            timeout: Timeout,
            /// The ticket, for a negative expiration.
            policy_ticket: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session(command.policy_session)?;
    let trial = session.is_trial();
    let mut timeout = 0;
    if !trial {
        timeout = session.timeout(command.expiration, &command.nonce_tpm, tpm.clock.time);
        let blame = Blame { nonce: 1, cp_hash: 2, expiration: 4 };
        let nonce = Some(&command.nonce_tpm);
        tpm.check_assertion(session, timeout, &command.cp_hash_a, nonce, blame)?;
    }
    let entity = command.auth_handle.handle();
    let assertion = Assertion {
        code: Cc::POLICY_SECRET,
        name: &tpm.name(entity),
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset: command.nonce_tpm.is_empty(),
    };
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    // A ticket would be a use of a PIN that is not counted.
    let pin = tpm.nv.index(entity).is_some_and(|index| index.kind() == NvType::PinPass);
    if command.expiration >= 0 || trial || pin {
        let policy_ticket = Ticket::null(Tag::AUTH_SECRET);
        return Ok(Response { timeout: Timeout::empty(), policy_ticket });
    }
    let hierarchy = tpm.hierarchy_of(entity);
    let (timeout, policy_ticket) = tpm.assertion_ticket(Tag::AUTH_SECRET, hierarchy, &assertion);
    Ok(Response { timeout, policy_ticket })
}
