//! TPM2_PolicyGetDigest: Part 3, clause 23.19, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Digest, Rc, ShPolicy};

command! {
    /// Tells the policy so far.
    #[doc(alias = "TPM2_PolicyGetDigest")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The policy.
            policy_digest: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let policy_digest = tpm.policy_session(command.policy_session)?.policy.digest.clone();
    Ok(Response { policy_digest })
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, on, started};
    use crate::wire::{Cc, Handle, Rc, Se};

    #[test]
    fn a_policy_starts_with_zeros() {
        let (mut client, session) = started(Se::POLICY);
        assert_eq!(digest(&mut client, session), ZEROS);
    }

    #[test]
    fn an_hmac_session_has_no_policy() {
        let (mut client, session) = started(Se::HMAC);
        assert_eq!(client.rc(&on(Cc::POLICY_GET_DIGEST, session)), Rc::VALUE.handle(1));
        let policy = Handle(0x0300_0000 | session.index());
        assert_eq!(client.rc(&on(Cc::POLICY_GET_DIGEST, policy)), Rc::HANDLE.handle(1));
        let missing = on(Cc::POLICY_GET_DIGEST, Handle(0x0300_0001));
        assert_eq!(client.rc(&missing), Rc::reference_handle(0));
    }
}
