//! TPM2_HierarchyChangeAuth: Part 3, clause 24.8, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, Handle, HandleInterface, Rc, RhHierarchyAuth};

command! {
    /// Changes the authorization value of a hierarchy or of lockout.
    #[doc(alias = "TPM2_HierarchyChangeAuth")]
    Command {
        handles {
            /// What to change.
            auth_handle: RhHierarchyAuth,
        }
        parameters {
            /// The new value.
            new_auth: Auth,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let mut new_auth = command.new_auth;
    new_auth.trim_trailing_zeros();
    // The value must not be longer than the digest that protects the hierarchy's integrity.
    if new_auth.len() > tpm.context_integrity_hash().digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    let hierarchies = &mut tpm.permanent.hierarchies;
    match command.auth_handle.handle() {
        Handle::OWNER => hierarchies.owner_auth.auth = new_auth,
        Handle::ENDORSEMENT => hierarchies.endorsement_auth.auth = new_auth,
        Handle::LOCKOUT => hierarchies.lockout_auth.auth = new_auth,
        // platformAuth lives until the next TPM Reset or Restart.
        _ => {
            tpm.clear.platform_auth = new_auth;
            return Ok(Response {});
        }
    }
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, Rc};

    fn change(auth_handle: Handle, old: &[u8], new: &[u8]) -> crate::test_util::CommandBuilder {
        command(Cc::HIERARCHY_CHANGE_AUTH)
            .handle(auth_handle)
            .password(old)
            .put(Auth::from_slice(new))
    }

    #[test]
    fn the_new_value_is_needed_afterwards() {
        for handle in [Handle::OWNER, Handle::ENDORSEMENT, Handle::PLATFORM] {
            let mut client = Client::started();
            client.run(&change(handle, b"", b"new")).unwrap();
            assert_eq!(client.rc(&change(handle, b"", b"x")), Rc::BAD_AUTH.session(1));
            client.run(&change(handle, b"new", b"")).unwrap();
        }
    }

    #[test]
    fn a_wrong_lockout_value_locks_lockout() {
        let mut client = Client::started();
        client.run(&change(Handle::LOCKOUT, b"", b"new")).unwrap();
        assert_eq!(client.rc(&change(Handle::LOCKOUT, b"", b"")), Rc::AUTH_FAIL.session(1));
        assert_eq!(client.rc(&change(Handle::LOCKOUT, b"new", b"")), Rc::LOCKOUT);
    }

    #[test]
    fn trailing_zeros_do_not_count() {
        let mut client = Client::started();
        client.run(&change(Handle::OWNER, b"", b"a\0\0")).unwrap();
        client.run(&change(Handle::OWNER, b"a", b"")).unwrap();
    }

    #[test]
    fn only_hierarchies_and_lockout_have_a_value_to_change() {
        let mut client = Client::started();
        assert_eq!(client.rc(&change(Handle::NULL, b"", b"")), Rc::VALUE.handle(1));
    }

    #[test]
    fn only_a_platform_change_need_not_be_durable() {
        let mut client = Client::started();
        client.run(&change(Handle::OWNER, b"", b"1")).unwrap();
        assert!(client.outcome.durable);
        client.run(&change(Handle::PLATFORM, b"", b"1")).unwrap();
        assert!(!client.outcome.durable);
    }
}
