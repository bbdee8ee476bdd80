//! TPM2_PolicyAuthorize: Part 3, clause 23.16, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::{self, HashAlg};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Alg, Cc, Digest, Name, Nonce, Rc, ShPolicy, VerifiedTicket};

command! {
    /// Replaces a policy that a key has approved by the key's name.
    #[doc(alias = "TPM2_PolicyAuthorize")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The approved policy.
            approved_policy: Digest,
            /// Of the signer's choosing.
            policy_ref: Nonce,
            /// Name of the key.
            key_sign: Name,
            /// Proof that the TPM has verified the key's signature.
            check_ticket: VerifiedTicket,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let alg = name_alg(tpm, &command.key_sign).map_err(|rc| rc.parameter(3))?;
    let session = tpm.policy_session(command.policy_session)?;
    if !session.is_trial() {
        if session.policy.digest != command.approved_policy {
            return Err(Rc::VALUE.parameter(1));
        }
        let approval = hash::hash(alg, &[&command.approved_policy, &command.policy_ref]);
        if !tpm.is_ticket_valid(&command.check_ticket.0, &[&approval, &command.key_sign]) {
            return Err(Rc::VALUE.parameter(4));
        }
    }
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.clear_policy_digest();
    session.extend_policy_by_entity(
        Cc::POLICY_AUTHORIZE,
        &command.key_sign,
        &command.policy_ref,
    );
    Ok(Response {})
}

/// The hash of a name; `TPM_RC_HASH` or `TPM_RC_SIZE` when it is not an object's.
fn name_alg(tpm: &Tpm, name: &Name) -> Result<HashAlg, Rc> {
    let (id, digest) = name.split_first_chunk::<2>().ok_or(Rc::HASH)?;
    let id = u16::from_be_bytes(*id);
    let alg = HashAlg::from_id(id).filter(|_| tpm.profile.algorithms.has(Alg(id)));
    let alg = alg.ok_or(Rc::HASH)?;
    if digest.len() == alg.digest_size() { Ok(alg) } else { Err(Rc::SIZE) }
}
