//! TPM2_NV_ReadLock: Part 3, clause 31.14, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, NvAttributes, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Locks an index for reading until the next reset or restart.
    #[doc(alias = "TPM2_NV_ReadLock")]
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
    match tpm.check_nv_read(command.auth_handle.handle(), command.nv_index.handle()) {
        // What is locked already needs nothing, whoever asks.
        Err(Rc::NV_LOCKED) => return Ok(Response {}),
        // What was not written can be locked as well.
        Err(Rc::NV_UNINITIALIZED) => {}
        checked => checked?,
    }
    if !tpm.nv_index(command.nv_index)?.has(NvAttributes::READ_ST_CLEAR) {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    tpm.lock_nv_read(command.nv_index)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, on, read, with_index, write};
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    #[test]
    fn a_locked_index_is_not_read_and_can_be_locked_again() {
        let mut client = with_index(ORDINARY.with(NvAttributes::READ_ST_CLEAR), 4);
        let lock = on(Cc::NV_READ_LOCK, Handle::OWNER, b"", INDEX);
        client.run(&lock).unwrap();
        assert!(!client.outcome.durable);
        client.run(&write(INDEX, b"data", 0)).unwrap();
        assert_eq!(client.rc(&read(INDEX, 4, 0)), Rc::NV_LOCKED);
        client.run(&lock).unwrap();
    }

    #[test]
    fn an_index_without_the_lock_attribute_is_not_locked() {
        let mut client = with_index(ORDINARY, 4);
        let lock = on(Cc::NV_READ_LOCK, Handle::OWNER, b"", INDEX);
        assert_eq!(client.rc(&lock), Rc::ATTRIBUTES.handle(2));
    }

    #[test]
    fn who_may_not_read_may_not_lock() {
        let mut client = with_index(ORDINARY.with(NvAttributes::READ_ST_CLEAR), 4);
        let lock = on(Cc::NV_READ_LOCK, Handle::PLATFORM, b"", INDEX);
        assert_eq!(client.rc(&lock), Rc::NV_AUTHORIZATION);
    }
}
