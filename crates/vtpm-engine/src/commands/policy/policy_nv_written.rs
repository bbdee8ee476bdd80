//! TPM2_PolicyNvWritten: Part 3, clause 23.20, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Rc, ShPolicy};

command! {
    /// Binds a policy to whether an NV index was written.
    #[doc(alias = "TPM2_PolicyNvWritten")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// Whether it must have been written.
            written_set: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let written = command.written_set;
    let session = tpm.policy_session_mut(command.policy_session)?;
    if session.policy.nv_written == Some(!written) {
        return Err(Rc::VALUE.parameter(1));
    }
    session.policy.nv_written = Some(written);
    session.extend_policy(Cc::POLICY_NV_WRITTEN, &[&[u8::from(written)]]);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Rc, Se};

    #[test]
    fn the_wanted_state_can_be_repeated_but_not_changed() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_NV_WRITTEN, session).put(true)).unwrap();
        let expected = extended(&ZEROS, Cc::POLICY_NV_WRITTEN, &[&[1]]);
        assert_eq!(digest(&mut client, session), expected);
        client.run(&on(Cc::POLICY_NV_WRITTEN, session).put(true)).unwrap();
        let request = on(Cc::POLICY_NV_WRITTEN, session).put(false);
        assert_eq!(client.rc(&request), Rc::VALUE.parameter(1));
    }
}
