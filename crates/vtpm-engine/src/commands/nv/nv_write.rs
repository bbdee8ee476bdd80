//! TPM2_NV_Write: Part 3, clause 31.7, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, MaxNvBuffer, NvAttributes, NvType, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Writes an ordinary or a PIN index.
    #[doc(alias = "TPM2_NV_Write")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {
            /// What to write.
            data: MaxNvBuffer,
            /// Where, in bytes from the start.
            offset: u16,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.check_nv_mode(command.nv_index)?;
    tpm.check_nv_write(command.auth_handle.handle(), command.nv_index.handle())?;
    let index = tpm.nv_index(command.nv_index)?;
    if matches!(index.kind(), NvType::Counter | NvType::Bits | NvType::Extend) {
        return Err(Rc::ATTRIBUTES);
    }
    let index_size = usize::from(index.public.data_size.0);
    let room = index_size.checked_sub(usize::from(command.offset));
    let room = room.ok_or(Rc::VALUE.parameter(2))?;
    let size = command.data.len();
    if size > room || index.has(NvAttributes::WRITE_ALL) && size < index_size {
        return Err(Rc::NV_RANGE);
    }
    tpm.write_nv(command.nv_index, command.offset, &command.data)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{
        INDEX, ORDINARY, contents, define, of_kind, on, with_index, write,
    };
    use crate::test_util::command;
    use crate::wire::{Cc, Handle, MaxNvBuffer, NvAttributes, Rc};

    #[test]
    fn what_a_first_write_leaves_out_is_ones_or_in_an_orderly_index_zeros() {
        for (attributes, e) in [(ORDINARY, 0xff), (ORDINARY.with(NvAttributes::ORDERLY), 0)] {
            let mut client = with_index(attributes, 6);
            client.run(&write(INDEX, b"ab", 2)).unwrap();
            assert_eq!(contents(&mut client, INDEX, 6).unwrap(), [e, e, b'a', b'b', e, e]);
            client.run(&write(INDEX, b"xy", 3)).unwrap();
            assert_eq!(contents(&mut client, INDEX, 6).unwrap(), [e, e, b'a', b'x', b'y', e]);
        }
    }

    #[test]
    fn contents_that_a_start_cleared_do_not_come_back() {
        let mut client = with_index(ORDINARY.with(NvAttributes::CLEAR_ST_CLEAR), 4);
        client.run(&write(INDEX, b"data", 0)).unwrap();
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        client.run(&write(INDEX, b"a", 0)).unwrap();
        assert_eq!(contents(&mut client, INDEX, 4).unwrap(), b"a\xff\xff\xff");
    }

    #[test]
    fn only_a_write_that_changes_something_must_be_durable() {
        let mut client = with_index(ORDINARY, 2);
        for (data, durable) in [(b"\0\0", true), (b"ab", true), (b"ab", false)] {
            client.run(&write(INDEX, data, 0)).unwrap();
            assert_eq!(client.outcome.durable, durable, "{data:?}");
        }
    }

    #[test]
    fn owner_platform_and_the_index_itself_write_if_the_attributes_allow_it() {
        let by = [
            (Handle::OWNER, NvAttributes::OWNER_WRITE, Rc::NV_AUTHORIZATION, &b""[..]),
            (Handle::PLATFORM, NvAttributes::PP_WRITE, Rc::NV_AUTHORIZATION, b""),
            (Handle(INDEX), NvAttributes::AUTH_WRITE, Rc::AUTH_UNAVAILABLE.session(1), b"index"),
        ];
        for (auth, attribute, refusal, password) in by {
            let write = on(Cc::NV_WRITE, auth, password, INDEX)
                .put(MaxNvBuffer::from_slice(b"a"))
                .put(0u16);
            let readable = NvAttributes::OWNER_READ.with(NvAttributes::NO_DA);
            let mut client = with_index(readable.with(attribute), 1);
            client.run(&write).unwrap();
            let other = readable.with(NvAttributes::POLICY_WRITE);
            assert_eq!(with_index(other, 1).rc(&write), refusal);
        }
    }

    #[test]
    fn another_index_does_not_authorize() {
        let mut client = with_index(ORDINARY, 1);
        client.run(&define(INDEX + 1, ORDINARY, 1)).unwrap();
        let write = on(Cc::NV_WRITE, Handle(INDEX + 1), b"index", INDEX)
            .put(MaxNvBuffer::from_slice(b"a"))
            .put(0u16);
        assert_eq!(client.rc(&write), Rc::NV_AUTHORIZATION);
    }

    #[test]
    fn counters_bits_and_digests_are_not_written_directly() {
        for (kind, size) in [(1, 8), (2, 8), (4, 32)] {
            let mut client = with_index(of_kind(kind), size);
            assert_eq!(client.rc(&write(INDEX, &[0; 8], 0)), Rc::ATTRIBUTES);
        }
    }

    #[test]
    fn a_write_beyond_the_end_is_refused() {
        let mut client = with_index(ORDINARY, 4);
        assert_eq!(client.rc(&write(INDEX, b"", 5)), Rc::VALUE.parameter(2));
        assert_eq!(client.rc(&write(INDEX, b"ab", 3)), Rc::NV_RANGE);
        client.run(&write(INDEX, b"", 4)).unwrap();
    }

    #[test]
    fn an_index_that_wants_all_gets_all() {
        let mut client = with_index(ORDINARY.with(NvAttributes::WRITE_ALL), 4);
        assert_eq!(client.rc(&write(INDEX, b"abc", 0)), Rc::NV_RANGE);
        client.run(&write(INDEX, b"abcd", 0)).unwrap();
    }

    #[test]
    fn more_than_one_write_moves_is_refused() {
        let mut client = with_index(ORDINARY, 2048);
        let mut data = vec![4, 1];
        data.extend([0; 1025]);
        let write = on(Cc::NV_WRITE, Handle::OWNER, b"", INDEX).bytes(&data).put(0u16);
        assert_eq!(client.rc(&write), Rc::SIZE.parameter(1));
    }
}
