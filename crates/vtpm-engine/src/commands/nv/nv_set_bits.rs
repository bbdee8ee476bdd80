//! TPM2_NV_SetBits: Part 3, clause 31.10, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, NvAttributes, NvType, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Sets bits of a bit field.
    #[doc(alias = "TPM2_NV_SetBits")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The bit field.
            nv_index: RhNvIndex,
        }
        parameters {
            /// The bits to set.
            bits: u64,
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
    if index.kind() != NvType::Bits {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    let old = if index.has(NvAttributes::WRITTEN) { index.number() } else { 0 };
    tpm.write_nv(command.nv_index, 0, &(old | command.bits).to_be_bytes())?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, contents, of_kind, on, with_index};
    use crate::wire::{Cc, Handle, Rc};

    #[test]
    fn bits_are_set_and_never_cleared() {
        let mut client = with_index(of_kind(2), 8);
        for (bits, expected) in [
            (0u64, 0u64),
            (0x8000_0000_0000_0001, 0x8000_0000_0000_0001),
            (6, 0x8000_0000_0000_0007),
        ] {
            client.run(&on(Cc::NV_SET_BITS, Handle::OWNER, b"", INDEX).put(bits)).unwrap();
            assert!(client.outcome.durable);
            assert_eq!(contents(&mut client, INDEX, 8).unwrap(), expected.to_be_bytes());
        }
    }

    #[test]
    fn only_a_bit_field_has_bits() {
        let mut client = with_index(ORDINARY, 8);
        let set = on(Cc::NV_SET_BITS, Handle::OWNER, b"", INDEX).put(1u64);
        assert_eq!(client.rc(&set), Rc::ATTRIBUTES.handle(2));
    }
}
