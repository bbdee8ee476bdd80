//! TPM2_NV_GlobalWriteLock: Part 3, clause 31.12, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhProvision};

command! {
    /// Locks for writing all indices that have `TPMA_NV_GLOBALLOCK`.
    #[doc(alias = "TPM2_NV_GlobalWriteLock")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhProvision,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    tpm.lock_nv_globally()?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, define, with_index, write};
    use crate::test_util::command;
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    #[test]
    fn the_indices_that_ask_for_it_are_locked_until_the_next_start() {
        let mut client = with_index(ORDINARY.with(NvAttributes::GLOBAL_LOCK), 4);
        let orderly = NvAttributes::GLOBAL_LOCK.with(NvAttributes::ORDERLY);
        client.run(&define(INDEX + 1, ORDINARY.with(orderly), 4)).unwrap();
        client.run(&define(INDEX + 2, ORDINARY, 4)).unwrap();
        let lock = command(Cc::NV_GLOBAL_WRITE_LOCK).handle(Handle::OWNER).password(b"");
        client.run(&lock).unwrap();
        for index in [INDEX, INDEX + 1] {
            assert_eq!(client.rc(&write(index, b"data", 0)), Rc::NV_LOCKED);
        }
        client.run(&write(INDEX + 2, b"data", 0)).unwrap();
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        for index in [INDEX, INDEX + 1] {
            client.run(&write(index, b"data", 0)).unwrap();
        }
    }
}
