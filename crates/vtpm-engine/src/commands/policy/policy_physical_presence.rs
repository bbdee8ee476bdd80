//! TPM2_PolicyPhysicalPresence: Part 3, clause 23.12, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Rc, ShPolicy};

command! {
    /// Demands physical presence when the policy is used.
    #[doc(alias = "TPM2_PolicyPhysicalPresence")]
    Command {
        handles {
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
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.extend_policy(Cc::POLICY_PHYSICAL_PRESENCE, &[]);
    session.policy.presence_needed = true;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Se};

    #[test]
    fn presence_is_demanded_and_named_in_the_policy() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_PHYSICAL_PRESENCE, session)).unwrap();
        assert!(client.tpm.sessions.get(session).unwrap().policy.presence_needed);
        let expected = extended(&ZEROS, Cc::POLICY_PHYSICAL_PRESENCE, &[]);
        assert_eq!(digest(&mut client, session), expected);
    }
}
