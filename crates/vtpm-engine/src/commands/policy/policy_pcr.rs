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

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::CommandBuilder;
    use crate::wire::Handle;
    use crate::wire::{Cc, Digest, List, Marshal, PcrSelection, PcrSelections, Rc, Se};

    fn selection(hash: HashAlg, pcr: u32) -> PcrSelections {
        let mut selection = PcrSelection::none(hash);
        selection.set(pcr);
        List(vec![selection])
    }

    fn request(session: Handle, expected: &[u8], pcrs: &PcrSelections) -> CommandBuilder {
        on(Cc::POLICY_PCR, session).put(Digest::from_slice(expected)).put(pcrs)
    }

    #[test]
    fn selection_and_values_extend_the_policy() {
        let (mut client, session) = started(Se::POLICY);
        let pcrs = selection(HashAlg::Sha256, 7);
        client.run(&request(session, b"", &pcrs)).unwrap();
        let values = hash(HashAlg::Sha256, &[&ZEROS]);
        let expected = extended(&ZEROS, Cc::POLICY_PCR, &[&pcrs.to_bytes(), &values]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn other_values_are_refused_but_a_trial_takes_them() {
        let (mut client, session) = started(Se::POLICY);
        let pcrs = selection(HashAlg::Sha256, 7);
        assert_eq!(client.rc(&request(session, &[1; 32], &pcrs)), Rc::VALUE.parameter(1));
        let trial = super::super::test_util::session(&mut client, Se::TRIAL);
        client.run(&request(trial, &[1; 32], &pcrs)).unwrap();
        let expected = extended(&ZEROS, Cc::POLICY_PCR, &[&pcrs.to_bytes(), &[1; 32]]);
        assert_eq!(digest(&mut client, trial), expected);
    }

    #[test]
    fn a_bank_that_is_not_there_is_taken_out_of_the_selection() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&request(session, b"", &selection(HashAlg::Sha512, 7))).unwrap();
        let none: PcrSelections = List(vec![PcrSelection::none(HashAlg::Sha512)]);
        let values = hash(HashAlg::Sha256, &[]);
        let expected = extended(&ZEROS, Cc::POLICY_PCR, &[&none.to_bytes(), &values]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn a_change_between_two_checks_is_noticed() {
        let (mut client, session) = started(Se::POLICY);
        let pcrs = selection(HashAlg::Sha256, 7);
        client.run(&request(session, b"", &pcrs)).unwrap();
        client.tpm.note_pcr_change(7);
        assert_eq!(client.rc(&request(session, b"", &pcrs)), Rc::PCR_CHANGED);
    }
}
