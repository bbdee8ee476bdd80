//! TPM2_NV_Increment: Part 3, clause 31.8, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, NvAttributes, NvType, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Adds one to a counter.
    #[doc(alias = "TPM2_NV_Increment")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The counter.
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
    tpm.check_nv_write(command.auth_handle.handle(), command.nv_index.handle())?;
    let index = tpm.nv_index(command.nv_index)?;
    if index.kind() != NvType::Counter {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    // A new counter goes on where the highest deleted one ended.
    let value = if index.has(NvAttributes::WRITTEN) { index.number() } else { tpm.nv.max_counter };
    tpm.write_nv(command.nv_index, 0, &value.saturating_add(1).to_be_bytes())?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, contents, of_kind, on, with_index};
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    #[test]
    fn each_increment_adds_one_durably() {
        let mut client = with_index(of_kind(1), 8);
        assert_eq!(contents(&mut client, INDEX, 8), Err(Rc::NV_UNINITIALIZED));
        for value in 1u64..4 {
            client.run(&on(Cc::NV_INCREMENT, Handle::OWNER, b"", INDEX)).unwrap();
            assert!(client.outcome.durable);
            assert_eq!(contents(&mut client, INDEX, 8).unwrap(), value.to_be_bytes());
        }
    }

    #[test]
    fn only_a_counter_is_incremented() {
        let mut client = with_index(ORDINARY, 8);
        let increment = on(Cc::NV_INCREMENT, Handle::OWNER, b"", INDEX);
        assert_eq!(client.rc(&increment), Rc::ATTRIBUTES.handle(2));
    }

    #[test]
    fn a_locked_counter_is_not_incremented() {
        let mut client = with_index(of_kind(1).with(NvAttributes::WRITE_ST_CLEAR), 8);
        client.run(&on(Cc::NV_WRITE_LOCK, Handle::OWNER, b"", INDEX)).unwrap();
        let increment = on(Cc::NV_INCREMENT, Handle::OWNER, b"", INDEX);
        assert_eq!(client.rc(&increment), Rc::NV_LOCKED);
    }
}
