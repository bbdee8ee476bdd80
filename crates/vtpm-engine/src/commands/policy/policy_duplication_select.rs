//! TPM2_PolicyDuplicationSelect: Part 3, clause 23.15, revision 1.59.

use crate::commands::command;
use crate::crypto::hash;
use crate::session::PolicyBinding;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Name, Rc, ShPolicy};

command! {
    /// Binds a policy to the duplication to one new parent.
    #[doc(alias = "TPM2_PolicyDuplicationSelect")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The object.
            object_name: Name,
            /// The new parent.
            new_parent_name: Name,
            /// Whether the policy names the object too.
            include_object: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session_mut(command.policy_session)?;
    if session.policy.binding != PolicyBinding::None {
        return Err(Rc::CPHASH);
    }
    if session.policy.command.is_some() {
        return Err(Rc::COMMAND_CODE);
    }
    let names: [&[u8]; 2] = [&command.object_name, &command.new_parent_name];
    let name_hash = Digest::from_slice(&hash::hash(session.hash, &names));
    let object_name: &[u8] = if command.include_object { &command.object_name } else { &[] };
    let include_object = [u8::from(command.include_object)];
    session.extend_policy(
        Cc::POLICY_DUPLICATION_SELECT,
        &[object_name, &command.new_parent_name, &include_object],
    );
    session.policy.binding = PolicyBinding::NameHash(name_hash);
    session.policy.command = Some(Cc::DUPLICATE);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, on, started};
    use crate::wire::{Cc, Name, Rc, Se};

    #[test]
    fn the_object_is_named_on_request() {
        for (include, object) in [(true, &b"object"[..]), (false, b"")] {
            let (mut client, session) = started(Se::POLICY);
            let request = on(Cc::POLICY_DUPLICATION_SELECT, session)
                .put(Name::from_slice(b"object"))
                .put(Name::from_slice(b"parent"))
                .put(include);
            client.run(&request).unwrap();
            let arguments: [&[u8]; 3] = [object, b"parent", &[u8::from(include)]];
            let expected = extended(&ZEROS, Cc::POLICY_DUPLICATION_SELECT, &arguments);
            assert_eq!(digest(&mut client, session), expected);
            assert_eq!(client.rc(&request), Rc::CPHASH);
        }
    }

    #[test]
    fn a_policy_for_a_command_is_refused() {
        let (mut client, session) = started(Se::POLICY);
        client.run(&on(Cc::POLICY_COMMAND_CODE, session).put(Cc::DUPLICATE)).unwrap();
        let request = on(Cc::POLICY_DUPLICATION_SELECT, session)
            .put(Name::empty())
            .put(Name::empty())
            .put(true);
        assert_eq!(client.rc(&request), Rc::COMMAND_CODE);
    }
}
