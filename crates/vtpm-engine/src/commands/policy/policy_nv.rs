//! TPM2_PolicyNV: Part 3, clause 23.9, revision 1.59.

use crate::commands::command;
use crate::policy::Comparison;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, HandleInterface, Rc, RhNvAuth, RhNvIndex, ShPolicy};

command! {
    /// Binds a policy to the contents of an NV index.
    #[doc(alias = "TPM2_PolicyNV")]
    Command {
        handles {
            /// Who authorizes the reading.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// What the contents are compared with.
            operand_b: Digest,
            /// Where in the contents.
            offset: u16,
            /// The comparison.
            operation: Comparison,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let nv_index = command.nv_index.handle();
    if !tpm.policy_session(command.policy_session)?.is_trial() {
        tpm.check_nv_read(command.auth_handle.handle(), nv_index)?;
        let data = &tpm.nv_index(nv_index)?.data;
        command.operation.check(data, command.offset, &command.operand_b)?;
    }
    let name = tpm.name(nv_index);
    let session = tpm.policy_session_mut(command.policy_session)?;
    let arguments = command.operation.arguments(session, &command.operand_b, command.offset, &[]);
    session.extend_policy(Cc::POLICY_NV, &[&arguments, &name]);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, with_index, write};
    use crate::commands::policy::test_util::{ZEROS, digest, extended, session};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, Eo, Handle, Marshal, Rc, Se};

    fn request(session: Handle, operand: &[u8], offset: u16, operation: Eo) -> CommandBuilder {
        command(Cc::POLICY_NV)
            .handle(Handle(INDEX))
            .handle(Handle(INDEX))
            .handle(session)
            .password(b"index")
            .put(Digest::from_slice(operand))
            .put(offset)
            .put(operation)
    }

    fn setup(kind: Se) -> (Client, Handle) {
        let mut client = with_index(ORDINARY, 4);
        client.run(&write(INDEX, &[1, 2, 3, 4], 0)).unwrap();
        let session = session(&mut client, kind);
        (client, session)
    }

    #[test]
    fn a_comparison_that_holds_extends_the_policy_by_the_index() {
        let (mut client, session) = setup(Se::POLICY);
        client.run(&request(session, &[2, 4], 1, Eo::UNSIGNED_LT)).unwrap();
        let parts: [&[u8]; 3] = [&[2, 4], &1u16.to_bytes(), &Eo::UNSIGNED_LT.to_bytes()];
        let arguments = hash(HashAlg::Sha256, &parts);
        let name = client.tpm.name(Handle(INDEX));
        let expected = extended(&ZEROS, Cc::POLICY_NV, &[&arguments, &name]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn one_that_does_not_or_reaches_too_far_is_refused() {
        let (mut client, session) = setup(Se::POLICY);
        assert_eq!(client.rc(&request(session, &[2, 2], 1, Eo::EQ)), Rc::POLICY);
        assert_eq!(client.rc(&request(session, &[2], 5, Eo::EQ)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&request(session, &[2, 2], 3, Eo::EQ)), Rc::SIZE.parameter(1));
        assert_eq!(client.rc(&request(session, &[2], 1, Eo(12))), Rc::VALUE.parameter(3));
        assert_eq!(digest(&mut client, session), ZEROS);
    }

    #[test]
    fn an_index_that_was_never_written_serves_a_trial_only() {
        let mut client = with_index(ORDINARY, 4);
        let policy = session(&mut client, Se::POLICY);
        assert_eq!(client.rc(&request(policy, &[1], 0, Eo::EQ)), Rc::NV_UNINITIALIZED);
        let trial = session(&mut client, Se::TRIAL);
        client.run(&request(trial, &[1], 9, Eo::EQ)).unwrap();
    }
}
