//! TPM2_PolicyTemplate: Part 3, clause 23.21, revision 1.59.

use crate::commands::command;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Rc, ShPolicy};

command! {
    /// Binds a policy to the creation of objects of one template.
    #[doc(alias = "TPM2_PolicyTemplate")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The digest of the template.
            template_hash: Digest,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    match &session.policy.binding {
        PolicyBinding::None => {}
        PolicyBinding::Template(earlier) if *earlier == command.template_hash => {}
        PolicyBinding::Template(_) => return Err(Rc::VALUE.parameter(1)),
        _ => return Err(Rc::CPHASH),
    }
    if command.template_hash.len() != session.hash.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    session.extend_policy(Cc::POLICY_TEMPLATE, &[&command.template_hash]);
    session.policy.binding = PolicyBinding::Template(command.template_hash);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Digest, Rc, Se};

    #[test]
    fn the_same_template_can_be_repeated_but_no_other() {
        let (mut client, session) = started(Se::POLICY);
        let request =
            |digest: &[u8]| on(Cc::POLICY_TEMPLATE, session).put(Digest::from_slice(digest));
        assert_eq!(client.rc(&request(&[1; 20])), Rc::SIZE.parameter(1));
        client.run(&request(&[1; 32])).unwrap();
        assert_eq!(client.rc(&request(&[2; 32])), Rc::VALUE.parameter(1));
        client.run(&request(&[1; 32])).unwrap();
        let first = extended(&ZEROS, Cc::POLICY_TEMPLATE, &[&[1; 32]]);
        let expected = extended(&first, Cc::POLICY_TEMPLATE, &[&[1; 32]]);
        assert_eq!(digest(&mut client, session), expected);
    }
}
