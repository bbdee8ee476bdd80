//! TPM2_PolicyPassword: Part 3, clause 23.18, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Rc, ShPolicy};

command! {
    /// Demands the entity's authorization value in the clear when the policy is used.
    #[doc(alias = "TPM2_PolicyPassword")]
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
    // The same digest as of TPM2_PolicyAuthValue: a policy leaves open how the value is shown.
    session.extend_policy(Cc::POLICY_AUTH_VALUE, &[]);
    session.policy.password_needed = true;
    session.policy.auth_value_needed = false;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{digest, on, session, started};
    use crate::wire::{Cc, Se};

    #[test]
    fn the_digest_is_that_of_an_authorization_value() {
        let (mut client, password) = started(Se::POLICY);
        let value = session(&mut client, Se::POLICY);
        client.run(&on(Cc::POLICY_PASSWORD, password)).unwrap();
        client.run(&on(Cc::POLICY_AUTH_VALUE, value)).unwrap();
        assert_eq!(digest(&mut client, password), digest(&mut client, value));
        let policy = &client.tpm.sessions.get(password).unwrap().policy;
        assert!(policy.password_needed && !policy.auth_value_needed);
    }
}
