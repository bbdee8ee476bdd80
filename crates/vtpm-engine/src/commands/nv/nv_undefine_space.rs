//! TPM2_NV_UndefineSpace: Part 3, clause 31.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleInterface, NvAttributes, Rc, RhNvIndex, RhProvision};

command! {
    /// Deletes an NV index.
    #[doc(alias = "TPM2_NV_UndefineSpace")]
    Command {
        handles {
            /// Who deletes it: the owner only its own, the platform any.
            auth_handle: RhProvision,
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
    let index = tpm.nv_index(command.nv_index)?;
    if index.has(NvAttributes::POLICY_DELETE) {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    if command.auth_handle.handle() == Handle::OWNER && index.has(NvAttributes::PLATFORM_CREATE) {
        return Err(Rc::NV_AUTHORIZATION);
    }
    tpm.undefine_nv(command.nv_index.handle());
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{
        INDEX, ORDINARY, contents, define, of_kind, on, undefine, with_index,
    };
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    #[test]
    fn a_deleted_index_is_gone() {
        let mut client = with_index(ORDINARY, 4);
        client.run(&undefine(INDEX)).unwrap();
        assert!(client.outcome.durable);
        assert_eq!(client.rc(&undefine(INDEX)), Rc::HANDLE.handle(2));
    }

    #[test]
    fn an_index_that_needs_its_policy_to_be_deleted_stays() {
        let platform = NvAttributes::PLATFORM_CREATE.with(NvAttributes::POLICY_DELETE);
        let mut client = with_index(ORDINARY.with(platform), 4);
        let undefine = on(Cc::NV_UNDEFINE_SPACE, Handle::PLATFORM, b"", INDEX);
        assert_eq!(client.rc(&undefine), Rc::ATTRIBUTES.handle(2));
    }

    #[test]
    fn the_owner_deletes_its_own_indices_only_and_the_platform_any() {
        let mut client = with_index(ORDINARY.with(NvAttributes::PLATFORM_CREATE), 4);
        client.run(&define(INDEX + 1, ORDINARY, 4)).unwrap();
        assert_eq!(client.rc(&undefine(INDEX)), Rc::NV_AUTHORIZATION);
        for index in [INDEX, INDEX + 1] {
            client.run(&on(Cc::NV_UNDEFINE_SPACE, Handle::PLATFORM, b"", index)).unwrap();
        }
    }

    #[test]
    fn a_new_counter_starts_above_any_deleted_one() {
        let mut client = with_index(of_kind(1), 8);
        let increment = on(Cc::NV_INCREMENT, Handle::OWNER, b"", INDEX);
        (0..5).for_each(|_| drop(client.run(&increment).unwrap()));
        client.run(&undefine(INDEX)).unwrap();
        client.run(&define(INDEX, of_kind(1), 8)).unwrap();
        client.run(&increment).unwrap();
        assert_eq!(contents(&mut client, INDEX, 8).unwrap(), 6u64.to_be_bytes());
    }
}
