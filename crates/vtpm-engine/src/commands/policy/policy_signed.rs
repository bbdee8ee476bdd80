//! TPM2_PolicySigned: Part 3, clause 23.3, revision 1.59.

use crate::commands::command;
use crate::crypto::hash;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, DhObject, Digest, HandleInterface, Nonce, Rc, ShPolicy, Signature, Tag, Ticket};

command! {
    /// Includes a signed authorization in a policy.
    #[doc(alias = "TPM2_PolicySigned")]
    Command {
        handles {
            /// The key that verifies the signature.
            auth_object: DhObject,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The session's nonce, if the authorization is for this session only.
            nonce_tpm: Nonce,
            /// The command that is authorized; empty for any.
            cp_hash_a: Digest,
            /// Of the signer's choosing.
            policy_ref: Nonce,
            /// Seconds until the authorization ends; negative asks for a ticket.
            expiration: i32,
            /// The signature.
            auth: Signature,
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
        check_signature(tpm, &command).map_err(|rc| rc.parameter(5))?;
    }
    let assertion = Assertion {
        code: Cc::POLICY_SIGNED,
        name: &tpm.name(command.auth_object.handle()),
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset: command.nonce_tpm.is_empty(),
    };
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    if command.expiration >= 0 || trial {
        let policy_ticket = Ticket::null(Tag::AUTH_SIGNED);
        return Ok(Response { timeout: Timeout::empty(), policy_ticket });
    }
    let hierarchy = tpm.hierarchy_of(command.auth_object.handle());
    let (timeout, policy_ticket) = tpm.assertion_ticket(Tag::AUTH_SIGNED, hierarchy, &assertion);
    Ok(Response { timeout, policy_ticket })
}

/// Verifies the signature over `aHash`.
fn check_signature(tpm: &Tpm, command: &Command) -> Result<(), Rc> {
    let alg = command.auth.scheme().hash().ok_or(Rc::SCHEME)?;
    let parts: [&[u8]; 4] = [
        &command.nonce_tpm,
        &command.expiration.to_be_bytes(),
        &command.cp_hash_a,
        &command.policy_ref,
    ];
    let digest = hash::hash(alg, &parts);
    // A sequence verifies nothing.
    let key = tpm.object(command.auth_object).map_err(|_| Rc::SCHEME)?;
    tpm.verify(&key, &command.auth, &digest)
}
