//! TPM2_FlushContext: Part 3, clause 28.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhContext, HandleInterface, Rc};

command! {
    /// Removes a loaded object, sequence or session, or a saved session.
    #[doc(alias = "TPM2_FlushContext")]
    Command {
        handles {}
        parameters {
            /// What goes. A parameter, because a saved session has no loaded handle.
            flush_handle: DhContext,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let handle = command.flush_handle.handle();
    let flushed =
        if handle.is_session() { tpm.sessions.flush(handle) } else { tpm.objects.remove(handle) };
    if flushed { Ok(Response {}) } else { Err(Rc::HANDLE.parameter(1)) }
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{create, flush, name, save, start_policy, start_session};
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle, ObjectAttributes, Rc};

    #[test]
    fn an_object_is_gone() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        client.run(&flush(object)).unwrap();
        assert_eq!(client.rc(&name(object)), Rc::reference_handle(0));
        assert_eq!(client.rc(&flush(object)), Rc::HANDLE.parameter(1));
    }

    #[test]
    fn a_session_is_gone_whether_loaded_or_saved() {
        let mut client = Client::started();
        for start in [start_session, start_policy] {
            let session = start(&mut client);
            client.run(&flush(session)).unwrap();
            assert_eq!(client.rc(&flush(session)), Rc::HANDLE.parameter(1));
            let session = start(&mut client);
            client.run(&save(session)).unwrap();
            client.run(&flush(session)).unwrap();
            assert_eq!(client.tpm.sessions.active(), 0);
        }
    }

    #[test]
    fn the_exclusive_audit_session_is_no_longer_exclusive() {
        let mut client = Client::started();
        let session = start_session(&mut client);
        client.tpm.sessions.exclusive = Some(session);
        client.run(&flush(session)).unwrap();
        assert_eq!(client.tpm.sessions.exclusive, None);
    }

    #[test]
    fn what_was_never_there_is_not_flushed() {
        let mut client = Client::started();
        for handle in [0x8000_0000, 0x0200_0000, 0x0300_0001] {
            assert_eq!(client.rc(&flush(Handle(handle))), Rc::HANDLE.parameter(1));
        }
        let beyond = [Handle(0x80ff_ffff), Handle(0x02ff_ffff)];
        let other = [Handle::OWNER, Handle(0), Handle(0x8100_0000), Handle::PASSWORD];
        for handle in beyond.into_iter().chain(other) {
            assert_eq!(client.rc(&flush(handle)), Rc::VALUE.parameter(1), "{handle:?}");
        }
    }

    #[test]
    fn a_handle_beyond_all_places_is_told_before_bytes_left_over() {
        let mut client = Client::started();
        let rc = client.rc(&command(Cc::FLUSH_CONTEXT).put(Handle(0x03ff_0000)).put(0u8));
        assert_eq!(rc, Rc::VALUE.parameter(1));
        let rc = client.rc(&command(Cc::FLUSH_CONTEXT).put(Handle(0x8000_0000)).put(0u8));
        assert_eq!(rc, Rc::SIZE);
    }

    #[test]
    fn sessions_are_not_allowed() {
        let mut client = Client::started();
        let command = command(Cc::FLUSH_CONTEXT).password(b"").put(Handle(0x8000_0000));
        assert_eq!(client.rc(&command), Rc::AUTH_CONTEXT);
    }
}
