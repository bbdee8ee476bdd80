//! TPM2_PolicyCounterTimer: Part 3, clause 23.10, revision 1.59.

use crate::commands::command;
use crate::policy::Comparison;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Marshal, Rc, ShPolicy};

command! {
    /// Binds a policy to the contents of `TPMS_TIME_INFO`.
    #[doc(alias = "TPM2_PolicyCounterTimer")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// What the contents are compared with.
            operand_b: Digest,
            /// Where in the structure.
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
    let info = tpm.time_info().to_bytes();
    // A trial as well must stay inside the structure: the policy could never be fulfilled.
    let rest = info.get(usize::from(command.offset)..).ok_or(Rc::VALUE.parameter(2))?;
    if command.operand_b.len() > rest.len() {
        return Err(Rc::RANGE);
    }
    let session = tpm.policy_session_mut(command.policy_session)?;
    if !session.is_trial() {
        command.operation.check(&info, command.offset, &command.operand_b)?;
    }
    let arguments = command.operation.arguments(session, &command.operand_b, command.offset, &[]);
    session.extend_policy(Cc::POLICY_COUNTER_TIMER, &[&arguments]);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::CommandBuilder;
    use crate::wire::{Cc, Digest, Eo, Handle, Marshal, Rc, Se};

    fn request(session: Handle, operand: &[u8], offset: u16, operation: Eo) -> CommandBuilder {
        on(Cc::POLICY_COUNTER_TIMER, session)
            .put(Digest::from_slice(operand))
            .put(offset)
            .put(operation)
    }

    #[test]
    fn time_is_compared() {
        let (mut client, session) = started(Se::POLICY);
        let limit = 60_000u64.to_be_bytes();
        let before = request(session, &limit, 0, Eo::UNSIGNED_LT);
        client.run(&before).unwrap();
        client.sleep_ms(60_001);
        assert_eq!(client.rc(&before), Rc::POLICY);
        let parts: [&[u8]; 3] = [&limit, &0u16.to_bytes(), &Eo::UNSIGNED_LT.to_bytes()];
        let arguments = hash(HashAlg::Sha256, &parts);
        let expected = extended(&ZEROS, Cc::POLICY_COUNTER_TIMER, &[&arguments]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn even_a_trial_must_stay_inside_the_structure() {
        let (mut client, session) = started(Se::TRIAL);
        let inside = request(session, &[0], 24, Eo::SIGNED_GT);
        client.run(&inside).unwrap();
        assert_eq!(client.rc(&request(session, &[0], 26, Eo::EQ)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&request(session, &[0, 0], 24, Eo::EQ)), Rc::RANGE);
        assert_eq!(client.rc(&request(session, &[0], 0, Eo(99))), Rc::VALUE.parameter(3));
    }
}
