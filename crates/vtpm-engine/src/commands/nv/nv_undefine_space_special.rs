//! TPM2_NV_UndefineSpaceSpecial: Part 3, clause 31.5, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{HandleInterface, NvAttributes, Rc, RhNvIndex, RhPlatform};

command! {
    /// Deletes an NV index that needs its policy to be deleted.
    #[doc(alias = "TPM2_NV_UndefineSpaceSpecial")]
    Command {
        handles {
            /// The index, authorized by its policy.
            nv_index: RhNvIndex,
            /// The platform.
            platform: RhPlatform,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if !tpm.nv_index(command.nv_index)?.has(NvAttributes::POLICY_DELETE) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    tpm.undefine_nv(command.nv_index.handle());
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{self, INDEX, ORDINARY, define_as, public};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    fn special(session: Handle) -> CommandBuilder {
        command(Cc::NV_UNDEFINE_SPACE_SPECIAL)
            .handle(Handle(INDEX))
            .handle(Handle::PLATFORM)
            .session(session, &[], 1, &[])
            .password(b"")
    }

    fn with_policy(attributes: NvAttributes) -> (Client, Handle) {
        let mut client = Client::started();
        let attributes = ORDINARY.with(NvAttributes::PLATFORM_CREATE).with(attributes);
        let (session, digest) = test_util::policy_for(&mut client, Cc::NV_UNDEFINE_SPACE_SPECIAL);
        let mut info = public(INDEX, attributes, 4);
        info.auth_policy = digest;
        client.run(&define_as(Handle::PLATFORM, info)).unwrap();
        (client, session)
    }

    #[test]
    fn the_policy_deletes_the_index() {
        let (mut client, session) = with_policy(NvAttributes::POLICY_DELETE);
        client.run(&special(session)).unwrap();
        assert!(client.outcome.durable);
        assert!(client.tpm.nv.indices.is_empty());
    }

    #[test]
    fn an_index_that_the_platform_can_delete_alone_stays() {
        let (mut client, session) = with_policy(NvAttributes::NONE);
        assert_eq!(client.rc(&special(session)), Rc::ATTRIBUTES.handle(1));
    }

    #[test]
    fn the_indexs_authorization_value_is_not_enough() {
        let (mut client, _) = with_policy(NvAttributes::POLICY_DELETE);
        assert_eq!(client.rc(&special(Handle::PASSWORD)), Rc::AUTH_TYPE.session(1));
    }
}
