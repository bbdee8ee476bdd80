//! TPM2_NV_Read: Part 3, clause 31.13, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, MAX_NV_BUFFER, MaxNvBuffer, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Reads an index.
    #[doc(alias = "TPM2_NV_Read")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {
            /// How many bytes.
            size: u16,
            /// Where, in bytes from the start.
            offset: u16,
        }
    }
    Response {
        parameters {
            /// The bytes.
            data: MaxNvBuffer,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.check_nv_read(command.auth_handle.handle(), command.nv_index.handle())?;
    let size = usize::from(command.size);
    if size > MAX_NV_BUFFER {
        return Err(Rc::VALUE.parameter(1));
    }
    let index = tpm.nv_index(command.nv_index)?;
    let tail = index.data.get(usize::from(command.offset)..).ok_or(Rc::VALUE.parameter(2))?;
    let data = tail.get(..size).ok_or(Rc::NV_RANGE)?;
    Ok(Response { data: MaxNvBuffer::from_slice(data) })
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{
        INDEX, ORDINARY, contents, of_kind, on, read, with_index, write,
    };
    use crate::test_util::Client;
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    fn written(attributes: NvAttributes) -> Client {
        let mut client = with_index(attributes, 4);
        client.run(&write(INDEX, b"data", 0)).unwrap();
        client
    }

    #[test]
    fn any_part_can_be_read() {
        let mut client = written(ORDINARY);
        assert_eq!(client.run(&read(INDEX, 2, 1)).unwrap().parameters, b"\0\x02at");
        assert_eq!(client.run(&read(INDEX, 0, 4)).unwrap().parameters, b"\0\0");
        assert!(!client.outcome.durable);
    }

    #[test]
    fn a_read_beyond_the_end_is_refused() {
        let mut client = written(ORDINARY);
        assert_eq!(client.rc(&read(INDEX, 0, 5)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&read(INDEX, 3, 2)), Rc::NV_RANGE);
        assert_eq!(client.rc(&read(INDEX, 1025, 5)), Rc::VALUE.parameter(1));
    }

    #[test]
    fn an_index_that_was_not_written_is_not_read() {
        let mut client = with_index(ORDINARY, 4);
        assert_eq!(client.rc(&read(INDEX, 4, 0)), Rc::NV_UNINITIALIZED);
    }

    #[test]
    fn owner_platform_and_the_index_itself_read_if_the_attributes_allow_it() {
        let by = [
            (Handle::OWNER, NvAttributes::OWNER_READ, Rc::NV_AUTHORIZATION, &b""[..]),
            (Handle::PLATFORM, NvAttributes::PP_READ, Rc::NV_AUTHORIZATION, b""),
            (Handle(INDEX), NvAttributes::AUTH_READ, Rc::AUTH_UNAVAILABLE.session(1), b"index"),
        ];
        for (auth, attribute, refusal, password) in by {
            let read = on(Cc::NV_READ, auth, password, INDEX).put(4u16).put(0u16);
            let writable = NvAttributes::OWNER_WRITE.with(NvAttributes::NO_DA);
            assert_eq!(written(writable.with(attribute)).run(&read).unwrap().parameters.len(), 6);
            let other = writable.with(NvAttributes::POLICY_READ);
            assert_eq!(written(other).rc(&read), refusal);
        }
    }

    fn pin(kind: u32, count: u32, limit: u32) -> Client {
        let mut client = with_index(of_kind(kind), 8);
        let data = [count.to_be_bytes(), limit.to_be_bytes()].concat();
        client.run(&write(INDEX, &data, 0)).unwrap();
        client
    }

    fn count(client: &mut Client) -> u8 {
        contents(client, INDEX, 8).unwrap()[3]
    }

    #[test]
    fn a_pin_pass_index_can_be_used_as_often_as_its_limit_says() {
        let mut client = pin(9, 0, 2);
        let read = |password| on(Cc::NV_READ, Handle(INDEX), password, INDEX).put(8u16).put(0u16);
        assert_eq!(client.rc(&read(b"wrong")), Rc::BAD_AUTH.session(1));
        assert_eq!(count(&mut client), 0);
        for used in 1..=2 {
            client.run(&read(b"index")).unwrap();
            assert!(client.outcome.durable);
            assert_eq!(count(&mut client), used);
        }
        assert_eq!(client.rc(&read(b"index")), Rc::AUTH_UNAVAILABLE.session(1));
    }

    #[test]
    fn a_pin_fail_index_counts_failures_until_it_is_used_up() {
        let mut client = pin(8, 0, 2);
        let read = |password| on(Cc::NV_READ, Handle(INDEX), password, INDEX).put(8u16).put(0u16);
        assert_eq!(client.rc(&read(b"wrong")), Rc::BAD_AUTH.session(1));
        assert!(client.outcome.durable);
        assert_eq!(count(&mut client), 1);
        client.run(&read(b"index")).unwrap();
        assert_eq!(count(&mut client), 0);
        for _ in 0..2 {
            assert_eq!(client.rc(&read(b"wrong")), Rc::BAD_AUTH.session(1));
        }
        assert_eq!(client.rc(&read(b"index")), Rc::AUTH_UNAVAILABLE.session(1));
    }

    #[test]
    fn a_pin_whose_limit_was_not_written_cannot_be_used() {
        let mut client = with_index(of_kind(9), 8);
        client.run(&write(INDEX, &[0; 4], 0)).unwrap();
        let read = on(Cc::NV_READ, Handle(INDEX), b"index", INDEX).put(8u16).put(0u16);
        assert_eq!(client.rc(&read), Rc::AUTH_UNAVAILABLE.session(1));
    }

    #[test]
    fn a_pin_that_was_not_written_cannot_be_used() {
        let mut client = with_index(of_kind(9), 8);
        let read = on(Cc::NV_READ, Handle(INDEX), b"index", INDEX).put(8u16).put(0u16);
        assert_eq!(client.rc(&read), Rc::AUTH_UNAVAILABLE.session(1));
    }
}
