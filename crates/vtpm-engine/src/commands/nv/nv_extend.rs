//! TPM2_NV_Extend: Part 3, clause 31.9, revision 1.59.

use crate::commands::command;
use crate::crypto::hash;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, MaxNvBuffer, NvAttributes, NvType, Rc, RhNvAuth, RhNvIndex};

command! {
    /// Extends an index as a PCR is extended.
    #[doc(alias = "TPM2_NV_Extend")]
    Command {
        handles {
            /// Who authorizes it.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {
            /// What to extend it with.
            data: MaxNvBuffer,
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
    if index.kind() != NvType::Extend {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    let alg = index.public.name_alg;
    let zeros = vec![0; alg.digest_size()];
    let old = if index.has(NvAttributes::WRITTEN) { &index.data } else { &zeros };
    let new = hash::hash(alg, &[old, &command.data]);
    tpm.write_nv(command.nv_index, 0, &new)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, contents, of_kind, on, with_index};
    use crate::crypto::hash::{HashAlg, hash};
    use crate::wire::{Cc, Handle, MaxNvBuffer, Rc};

    #[test]
    fn the_first_value_is_the_digest_of_zeros_and_data() {
        let mut client = with_index(of_kind(4), 32);
        let extend = on(Cc::NV_EXTEND, Handle::OWNER, b"", INDEX)
            .put(MaxNvBuffer::from_slice(b"measurement"));
        client.run(&extend).unwrap();
        let first = hash(HashAlg::Sha256, &[&[0; 32], b"measurement"]);
        assert_eq!(contents(&mut client, INDEX, 32).unwrap(), first[..]);
        client.run(&extend).unwrap();
        let second = hash(HashAlg::Sha256, &[&first, b"measurement"]);
        assert_eq!(contents(&mut client, INDEX, 32).unwrap(), second[..]);
    }

    #[test]
    fn only_an_extend_index_is_extended() {
        let mut client = with_index(ORDINARY, 32);
        let extend =
            on(Cc::NV_EXTEND, Handle::OWNER, b"", INDEX).put(MaxNvBuffer::from_slice(b"a"));
        assert_eq!(client.rc(&extend), Rc::ATTRIBUTES.handle(2));
    }
}
