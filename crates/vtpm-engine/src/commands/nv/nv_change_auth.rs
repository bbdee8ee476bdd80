//! TPM2_NV_ChangeAuth: Part 3, clause 31.15, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, Rc, RhNvIndex};

command! {
    /// Changes the authorization value of an index.
    #[doc(alias = "TPM2_NV_ChangeAuth")]
    Command {
        handles {
            /// The index, authorized by its policy.
            nv_index: RhNvIndex,
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
    let index = tpm.nv_index_mut(command.nv_index)?;
    if new_auth.len() > index.public.name_alg.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    index.auth = new_auth;
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{self, INDEX, ORDINARY, define_as, on, public, write};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Auth, Cc, Handle, Rc};

    fn with_policy() -> (Client, Handle) {
        let mut client = Client::started();
        let (session, digest) = test_util::policy_for(&mut client, Cc::NV_CHANGE_AUTH);
        let mut info = public(INDEX, ORDINARY, 4);
        info.auth_policy = digest;
        client.run(&define_as(Handle::OWNER, info)).unwrap();
        client.run(&write(INDEX, b"data", 0)).unwrap();
        (client, session)
    }

    fn change(session: Handle, auth: &[u8]) -> CommandBuilder {
        command(Cc::NV_CHANGE_AUTH)
            .handle(Handle(INDEX))
            .session(session, &[], 1, &[])
            .put(Auth::from_slice(auth))
    }

    #[test]
    fn the_new_value_is_needed_afterwards() {
        let (mut client, session) = with_policy();
        client.run(&change(session, b"new\0")).unwrap();
        assert!(client.outcome.durable);
        let read = |password| on(Cc::NV_READ, Handle(INDEX), password, INDEX).put(4u16).put(0u16);
        assert_eq!(client.rc(&read(b"index")), Rc::BAD_AUTH.session(1));
        client.run(&read(b"new")).unwrap();
    }

    #[test]
    fn a_value_longer_than_the_name_algorithms_digest_is_refused() {
        let (mut client, session) = with_policy();
        assert_eq!(client.rc(&change(session, &[1; 33])), Rc::SIZE.parameter(1));
    }

    #[test]
    fn the_old_value_does_not_authorize_the_change() {
        let (mut client, _) = with_policy();
        let change = command(Cc::NV_CHANGE_AUTH)
            .handle(Handle(INDEX))
            .password(b"index")
            .put(Auth::from_slice(b"new"));
        assert_eq!(client.rc(&change), Rc::AUTH_TYPE.session(1));
    }
}
