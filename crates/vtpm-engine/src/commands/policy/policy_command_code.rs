//! TPM2_PolicyCommandCode: Part 3, clause 23.11, revision 1.59.

use crate::commands::{self, command};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Marshal, Rc, ShPolicy};

command! {
    /// Limits a policy to one command.
    #[doc(alias = "TPM2_PolicyCommandCode")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The command.
            code: Cc,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if session.policy.command.is_some_and(|earlier| earlier != command.code) {
        return Err(Rc::VALUE.parameter(1));
    }
    if commands::find(command.code).is_none() {
        return Err(Rc::POLICY_CC.parameter(1));
    }
    session.extend_policy(Cc::POLICY_COMMAND_CODE, &[&command.code.to_bytes()]);
    session.policy.command = Some(command.code);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{digest, hex, on, started};
    use crate::wire::{Cc, Rc, Se};

    #[test]
    fn the_digest_is_the_known_one() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_COMMAND_CODE, session).put(Cc::DUPLICATE)).unwrap();
        let known = "bef56b8c1cc84e11edd717528d2cd99356bd2bbf8f015209c3f84aeeaba8e8a2";
        assert_eq!(digest(&mut client, session), hex(known));
    }

    #[test]
    fn another_command_is_refused_and_so_is_an_unknown_one() {
        let (mut client, session) = started(Se::POLICY);
        let unknown = on(Cc::POLICY_COMMAND_CODE, session).put(Cc(0x1ff));
        assert_eq!(client.rc(&unknown), Rc::POLICY_CC.parameter(1));
        client.run(&on(Cc::POLICY_COMMAND_CODE, session).put(Cc::DUPLICATE)).unwrap();
        client.run(&on(Cc::POLICY_COMMAND_CODE, session).put(Cc::DUPLICATE)).unwrap();
        assert_eq!(client.rc(&unknown), Rc::VALUE.parameter(1));
    }
}
