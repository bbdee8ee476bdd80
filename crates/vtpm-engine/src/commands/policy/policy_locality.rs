//! TPM2_PolicyLocality: Part 3, clause 23.8, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, LocalityAttributes, Rc, ShPolicy};

command! {
    /// Limits a policy to localities.
    #[doc(alias = "TPM2_PolicyLocality")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The localities.
            locality: LocalityAttributes,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.policy.locality =
        restrict(session.policy.locality, command.locality).ok_or(Rc::RANGE.parameter(1))?;
    session.extend_policy(Cc::POLICY_LOCALITY, &[&[command.locality.0]]);
    Ok(Response {})
}

/// What both settings allow; an earlier setting of none allows all.
fn restrict(earlier: LocalityAttributes, wanted: LocalityAttributes) -> Option<LocalityAttributes> {
    if wanted == LocalityAttributes::NONE {
        return None;
    }
    if earlier == LocalityAttributes::NONE {
        return Some(wanted);
    }
    let allowed = match (earlier.is_extended(), wanted.is_extended()) {
        (false, false) => LocalityAttributes(earlier.0 & wanted.0),
        (true, true) if earlier == wanted => wanted,
        _ => LocalityAttributes::NONE,
    };
    (allowed != LocalityAttributes::NONE).then_some(allowed)
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Rc, Se};

    #[test]
    fn localities_are_narrowed_and_each_request_extends_the_policy() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_LOCALITY, session).put(0b00111u8)).unwrap();
        client.run(&on(Cc::POLICY_LOCALITY, session).put(0b01110u8)).unwrap();
        let policy = &client.tpm.sessions.get(session).unwrap().policy;
        assert_eq!(policy.locality.0, 0b00110);
        let first = extended(&ZEROS, Cc::POLICY_LOCALITY, &[&[0b00111]]);
        let expected = extended(&first, Cc::POLICY_LOCALITY, &[&[0b01110]]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn no_locality_and_ones_that_exclude_each_other_are_refused() {
        for (first, second) in [(1u8, 0u8), (1, 2), (1, 32), (32, 1), (32, 33)] {
            let (mut client, session) = started(Se::POLICY);
            client.run(&on(Cc::POLICY_LOCALITY, session).put(first)).unwrap();
            let request = on(Cc::POLICY_LOCALITY, session).put(second);
            assert_eq!(client.rc(&request), Rc::RANGE.parameter(1));
            assert_eq!(client.tpm.sessions.get(session).unwrap().policy.locality.0, first);
        }
    }

    #[test]
    fn an_extended_locality_can_be_repeated() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_LOCALITY, session).put(77u8)).unwrap();
        client.run(&on(Cc::POLICY_LOCALITY, session).put(77u8)).unwrap();
    }
}
