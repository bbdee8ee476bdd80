//! TPM2_NV_WriteLock: Part 3, clause 31.11, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, NvAttributes, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Locks an index for writing, until the next start or for good.
    #[doc(alias = "TPM2_NV_WriteLock")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.check_nv_mode(command.nv_index)?;
    match tpm.check_nv_write(command.auth_handle.handle(), command.nv_index.handle()) {
        // What is locked already needs nothing, whoever asks.
        Err(Rc::NV_LOCKED) => return Ok(Response {}),
        checked => checked?,
    }
    let lockable = NvAttributes::WRITE_DEFINE.with(NvAttributes::WRITE_ST_CLEAR);
    if !tpm.nv_index(command.nv_index)?.public.attributes.any(lockable) {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    tpm.lock_nv_write(command.nv_index)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, on, with_index, write};
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    #[test]
    fn a_locked_index_is_not_written_and_can_be_locked_again() {
        let mut client = with_index(ORDINARY.with(NvAttributes::WRITE_ST_CLEAR), 4);
        client.run(&write(INDEX, b"data", 0)).unwrap();
        let lock = on(Cc::NV_WRITE_LOCK, Handle::OWNER, b"", INDEX);
        client.run(&lock).unwrap();
        assert!(!client.outcome.durable);
        assert_eq!(client.rc(&write(INDEX, b"more", 0)), Rc::NV_LOCKED);
        client.run(&lock).unwrap();
    }

    #[test]
    fn an_index_without_a_lock_attribute_is_not_locked() {
        let mut client = with_index(ORDINARY, 4);
        let lock = on(Cc::NV_WRITE_LOCK, Handle::OWNER, b"", INDEX);
        assert_eq!(client.rc(&lock), Rc::ATTRIBUTES.handle(2));
    }

    #[test]
    fn who_may_not_write_may_not_lock() {
        let mut client = with_index(ORDINARY.with(NvAttributes::WRITE_ST_CLEAR), 4);
        let lock = on(Cc::NV_WRITE_LOCK, Handle::PLATFORM, b"", INDEX);
        assert_eq!(client.rc(&lock), Rc::NV_AUTHORIZATION);
    }
}
