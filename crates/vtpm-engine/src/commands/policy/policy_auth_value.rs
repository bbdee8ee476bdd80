//! TPM2_PolicyAuthValue: Part 3, clause 23.17, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Rc, ShPolicy};

command! {
    /// Demands the entity's authorization value in the HMAC key when the policy is used.
    #[doc(alias = "TPM2_PolicyAuthValue")]
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
    session.extend_policy(Cc::POLICY_AUTH_VALUE, &[]);
    session.policy.auth_value_needed = true;
    session.policy.password_needed = false;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, hex, on, started};
    use crate::wire::{Cc, Se};

    #[test]
    fn the_digest_is_the_known_one() {
        let (mut client, session) = started(Se::TRIAL);
        client.run(&on(Cc::POLICY_AUTH_VALUE, session)).unwrap();
        let known = "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e";
        assert_eq!(digest(&mut client, session), hex(known));
    }

    #[test]
    fn a_password_is_no_longer_needed() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_PASSWORD, session)).unwrap();
        client.run(&on(Cc::POLICY_AUTH_VALUE, session)).unwrap();
        let policy = client.tpm.sessions.get(session).unwrap().policy.clone();
        assert!(policy.auth_value_needed && !policy.password_needed);
        let once = extended(&ZEROS, Cc::POLICY_AUTH_VALUE, &[]);
        assert_eq!(policy.digest[..], extended(&once, Cc::POLICY_AUTH_VALUE, &[]));
    }
}
