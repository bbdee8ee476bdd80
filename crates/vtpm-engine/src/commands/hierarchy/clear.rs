//! TPM2_Clear: Part 3, clause 24.6, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhClear};

command! {
    /// Removes everything of an owner: storage and endorsement objects, NV indices, authorizations.
    #[doc(alias = "TPM2_Clear")]
    Command {
        handles {
            /// Lockout or platform.
            auth_handle: RhClear,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    if tpm.permanent.disable_clear {
        return Err(Rc::DISABLED);
    }
    tpm.clear_owner();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, Rc};

    #[test]
    fn authorizations_are_empty_afterwards() {
        let mut client = Client::started();
        for handle in [Handle::OWNER, Handle::ENDORSEMENT, Handle::LOCKOUT] {
            let change = command(Cc::HIERARCHY_CHANGE_AUTH).handle(handle).password(b"");
            client.run(&change.put(Auth::from_slice(b"x"))).unwrap();
        }
        client.run(&command(Cc::CLEAR).handle(Handle::LOCKOUT).password(b"x")).unwrap();
        for handle in [Handle::OWNER, Handle::ENDORSEMENT, Handle::LOCKOUT] {
            assert!(client.tpm.auth_value(handle).is_empty());
        }
    }

    #[test]
    fn clear_control_disables_it() {
        let mut client = Client::started();
        let control =
            |handle, disable| command(Cc::CLEAR_CONTROL).handle(handle).password(b"").put(disable);
        client.run(&control(Handle::LOCKOUT, true)).unwrap();
        let clear = command(Cc::CLEAR).handle(Handle::PLATFORM).password(b"");
        assert_eq!(client.rc(&clear), Rc::DISABLED);
        assert_eq!(client.rc(&control(Handle::LOCKOUT, false)), Rc::AUTH_FAIL);
        client.run(&control(Handle::PLATFORM, false)).unwrap();
        client.run(&clear).unwrap();
    }
}
