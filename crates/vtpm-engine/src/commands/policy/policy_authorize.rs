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
    session.extend_policy_by_entity(Cc::POLICY_AUTHORIZE, &command.key_sign, &command.policy_ref);
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

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, asserted, digest, on, session, started};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::hierarchy::Hierarchy;
    use crate::test_util::CommandBuilder;
    use crate::wire::{Cc, Digest, Handle, Name, Nonce, Rc, Se, Tag, Ticket};

    fn request(session: Handle, approved: &[u8], name: &[u8], ticket: &Ticket) -> CommandBuilder {
        on(Cc::POLICY_AUTHORIZE, session)
            .put(Digest::from_slice(approved))
            .put(Nonce::from_slice(b"ref"))
            .put(Name::from_slice(name))
            .put(ticket)
    }

    fn name() -> Vec<u8> {
        [&[0, 0x0b][..], &[7; 32]].concat()
    }

    #[test]
    fn an_approved_policy_becomes_the_keys_name() {
        let (mut client, session) = started(Se::POLICY);
        let approval = hash(HashAlg::Sha256, &[&ZEROS, b"ref"]);
        let ticket = client.tpm.verified_ticket(Hierarchy::Owner, &approval, &name());
        let other = request(session, &[1; 32], &name(), &ticket);
        assert_eq!(client.rc(&other), Rc::VALUE.parameter(1));
        client.run(&request(session, &ZEROS, &name(), &ticket)).unwrap();
        let expected = asserted(&ZEROS, Cc::POLICY_AUTHORIZE, &name(), b"ref");
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn a_ticket_that_proves_nothing_approves_nothing() {
        let (mut client, policy) = started(Se::POLICY);
        let null = Ticket::null(Tag::VERIFIED);
        let request_null = request(policy, &ZEROS, &name(), &null);
        assert_eq!(client.rc(&request_null), Rc::VALUE.parameter(4));
        let other = client.tpm.verified_ticket(Hierarchy::Owner, &[1; 32], &name());
        let request_other = request(policy, &ZEROS, &name(), &other);
        assert_eq!(client.rc(&request_other), Rc::VALUE.parameter(4));
        let trial = session(&mut client, Se::TRIAL);
        client.run(&request(trial, &[1; 32], &name(), &null)).unwrap();
    }

    #[test]
    fn the_name_must_be_that_of_a_key() {
        let (mut client, session) = started(Se::TRIAL);
        let null = Ticket::null(Tag::VERIFIED);
        for name in [&b""[..], &[0], &[0, 0x10], &[0x40, 0, 0, 1]] {
            let request = request(session, &ZEROS, name, &null);
            assert_eq!(client.rc(&request), Rc::HASH.parameter(3));
        }
        let request = request(session, &ZEROS, &name()[..33], &null);
        assert_eq!(client.rc(&request), Rc::SIZE.parameter(3));
    }
}
