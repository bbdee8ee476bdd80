//! TPM2_PolicyRestart: Part 3, clause 11.2, revision 1.59.

use crate::commands::command;
use crate::session::PolicyState;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, ShPolicy};

command! {
    /// Starts a policy anew: its nonce and the start of its time stay.
    #[doc(alias = "TPM2_PolicyRestart")]
    Command {
        handles {
            /// The session.
            session_handle: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.session_handle)?;
    let (start_time, epoch) = (session.policy.start_time, session.policy.epoch);
    session.policy = PolicyState::new(session.hash, start_time, epoch);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, on, session_with_nonce};
    use crate::session::PolicyBinding;
    use crate::test_util::Client;
    use crate::wire::{Cc, Digest, Se};

    #[test]
    fn what_was_gathered_is_forgotten_but_nonce_and_start_stay() {
        let mut client = Client::started();
        client.sleep_ms(5);
        let (session, nonce) = session_with_nonce(&mut client, Se::POLICY);
        let bound = on(Cc::POLICY_CP_HASH, session).put(Digest::from_slice(&[1; 32]));
        client.run(&bound).unwrap();
        client.run(&on(Cc::POLICY_PASSWORD, session)).unwrap();
        client.sleep_ms(5);
        client.run(&on(Cc::POLICY_RESTART, session)).unwrap();
        assert_eq!(digest(&mut client, session), ZEROS);
        let session = client.tpm.sessions.get(session).unwrap();
        assert_eq!(session.nonce_tpm, nonce);
        assert_eq!(session.policy.start_time, 5);
        assert_eq!(session.policy.binding, PolicyBinding::None);
        assert!(!session.policy.password_needed);
    }
}
