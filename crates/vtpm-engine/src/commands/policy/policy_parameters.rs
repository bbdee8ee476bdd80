//! TPM2_PolicyParameters: Part 3, clause 23.25, revision 1.83.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to one command with its parameters, whatever its handles.
    #[doc(alias = "TPM2_PolicyParameters")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The digest of command code and parameters.
            p_hash: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.bind_once(Cc::POLICY_PARAMETERS, command.p_hash, PolicyBinding::Parameters)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Digest, Rc, Se};

    #[test]
    fn the_digest_extends_the_policy() {
        let (mut client, session) = started(Se::POLICY);
        let request = on(Cc::POLICY_PARAMETERS, session).put(Digest::from_slice(&[1; 32]));
        client.run(&request).unwrap();
        let expected = extended(&ZEROS, Cc::POLICY_PARAMETERS, &[&[1; 32]]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn a_digest_of_another_hash_is_refused() {
        let (mut client, session) = started(Se::POLICY);
        let request = on(Cc::POLICY_PARAMETERS, session).put(Digest::from_slice(&[1; 20]));
        assert_eq!(client.rc(&request), Rc::SIZE.parameter(1));
    }

    #[test]
    fn a_policy_is_bound_to_one_thing_only() {
        let (mut client, session) = started(Se::POLICY);
        let request = on(Cc::POLICY_PARAMETERS, session).put(Digest::from_slice(&[1; 32]));
        client.run(&request).unwrap();
        let other = on(Cc::POLICY_PARAMETERS, session).put(Digest::from_slice(&[2; 32]));
        assert_eq!(client.rc(&other), Rc::CPHASH);
        let template = on(Cc::POLICY_TEMPLATE, session).put(Digest::from_slice(&[1; 32]));
        assert_eq!(client.rc(&template), Rc::CPHASH);
        assert_eq!(client.rc(&request), Rc::CPHASH);
    }
}
