//! TPM2_HierarchyControl: Part 3, clause 24.2, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleInterface, Rc, RhEnables, RhHierarchy};

command! {
    /// Enables or disables a hierarchy, or the platform's NV indices.
    #[doc(alias = "TPM2_HierarchyControl")]
    Command {
        handles {
            /// Who asks.
            auth_handle: RhHierarchy,
        }
        parameters {
            /// What to switch.
            enable: RhEnables,
            /// Whether it is to be enabled.
            state: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let auth = command.auth_handle.handle();
    let target = command.enable.handle();
    let enabled = match target {
        Handle::OWNER => tpm.clear.storage_enabled,
        Handle::ENDORSEMENT => tpm.clear.endorsement_enabled,
        Handle::PLATFORM => tpm.platform_enabled,
        _ => tpm.clear.platform_nv_enabled,
    };
    // The platform may switch anything. A hierarchy may only switch itself off.
    let own = matches!(target, Handle::OWNER | Handle::ENDORSEMENT) && auth == target;
    let enables = command.state && !enabled;
    if auth != Handle::PLATFORM && (!own || enables) {
        return Err(Rc::AUTH_TYPE);
    }
    if enabled == command.state {
        return Ok(Response {});
    }
    match target {
        Handle::OWNER => tpm.clear.storage_enabled = command.state,
        Handle::ENDORSEMENT => tpm.clear.endorsement_enabled = command.state,
        Handle::PLATFORM => tpm.platform_enabled = command.state,
        _ => tpm.clear.platform_nv_enabled = command.state,
    }
    if !command.state
        && let Some(hierarchy) = Hierarchy::of(target)
    {
        tpm.flush_objects_of(hierarchy);
    }
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Auth, Cc, Handle, Rc};

    fn switch(auth: Handle, target: Handle, on: bool) -> CommandBuilder {
        command(Cc::HIERARCHY_CONTROL).handle(auth).password(b"").put(target).put(on)
    }

    #[test]
    fn a_hierarchy_can_switch_itself_off_but_not_on() {
        for handle in [Handle::OWNER, Handle::ENDORSEMENT] {
            let mut client = Client::started();
            client.run(&switch(handle, handle, false)).unwrap();
            assert_eq!(client.rc(&switch(handle, handle, true)), Rc::HIERARCHY.handle(1));
            client.run(&switch(Handle::PLATFORM, handle, true)).unwrap();
            client.run(&switch(handle, handle, true)).unwrap();
        }
    }

    #[test]
    fn the_owner_cannot_switch_what_is_not_the_owners() {
        let mut client = Client::started();
        for target in [Handle::PLATFORM, Handle::PLATFORM_NV, Handle::ENDORSEMENT] {
            assert_eq!(client.rc(&switch(Handle::OWNER, target, false)), Rc::AUTH_TYPE);
        }
    }

    #[test]
    fn a_disabled_platform_comes_back_only_with_the_next_start() {
        let mut client = Client::started();
        client.run(&switch(Handle::PLATFORM, Handle::PLATFORM, false)).unwrap();
        let on = switch(Handle::PLATFORM, Handle::PLATFORM, true);
        assert_eq!(client.rc(&on), Rc::HIERARCHY.handle(1));
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        client.run(&on).unwrap();
    }

    #[test]
    fn a_disabled_hierarchy_cannot_be_used() {
        let mut client = Client::started();
        client.run(&switch(Handle::OWNER, Handle::OWNER, false)).unwrap();
        let change = command(Cc::HIERARCHY_CHANGE_AUTH)
            .handle(Handle::OWNER)
            .password(b"")
            .put(Auth::empty());
        assert_eq!(client.rc(&change), Rc::HIERARCHY.handle(1));
    }

    #[test]
    fn only_hierarchies_can_be_switched() {
        let mut client = Client::started();
        let bad = switch(Handle::PLATFORM, Handle::LOCKOUT, true);
        assert_eq!(client.rc(&bad), Rc::VALUE.parameter(1));
        let bad = switch(Handle::LOCKOUT, Handle::OWNER, true);
        assert_eq!(client.rc(&bad), Rc::VALUE.handle(1));
    }
}
