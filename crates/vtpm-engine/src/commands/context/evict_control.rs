//! TPM2_EvictControl: Part 3, clause 28.5, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, DhPersistent, Handle, HandleInterface, HandleType, Rc, RhProvision};

/// The first persistent handle of the platform; those below are the owner's.
const PLATFORM_FIRST: Handle = Handle(0x8180_0000);

command! {
    /// Makes a loaded object persistent, or deletes a persistent one.
    #[doc(alias = "TPM2_EvictControl")]
    Command {
        handles {
            /// Owner or platform.
            auth: RhProvision,
            /// A loaded object to keep, or a persistent one to delete.
            object_handle: DhObject,
        }
        parameters {
            /// The new handle, or that of the object again.
            persistent_handle: DhPersistent,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let (auth, handle) = (command.auth.handle(), command.object_handle.handle());
    let persistent = command.persistent_handle.handle();
    // A sequence is as temporary as an object of the null hierarchy.
    let object = tpm.object(handle).map_err(|_| Rc::ATTRIBUTES.handle(2))?;
    if object.hierarchy == Hierarchy::Null || object.st_clear || object.sensitive.is_none() {
        return Err(Rc::ATTRIBUTES.handle(2));
    }
    let delete = handle.is(HandleType::Persistent);
    if delete && handle != persistent {
        return Err(Rc::HANDLE.handle(2));
    }
    check_authority(auth, object.hierarchy, (!delete).then_some(persistent))?;
    if delete {
        tpm.nv.objects.remove(&handle.0);
    } else {
        if tpm.nv.objects.contains_key(&persistent.0) {
            return Err(Rc::NV_DEFINED);
        }
        tpm.check_object_space()?;
        tpm.nv.objects.insert(persistent.0, object);
    }
    tpm.persist();
    Ok(Response {})
}

/// Checks that owner or platform may keep an object of this hierarchy under the new handle, or, if
/// there is none, delete it. The platform may delete any.
fn check_authority(auth: Handle, hierarchy: Hierarchy, new: Option<Handle>) -> Result<(), Rc> {
    let by_platform = auth == Handle::PLATFORM;
    if by_platform && new.is_none() {
        return Ok(());
    }
    if by_platform != (hierarchy == Hierarchy::Platform) {
        return Err(Rc::HIERARCHY.handle(2));
    }
    match new {
        Some(new) if (new.0 >= PLATFORM_FIRST.0) != by_platform => Err(Rc::RANGE.parameter(1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::test_util::{create, flush, name};
    use crate::Profile;
    use crate::crypto::hash::HashAlg;
    use crate::object::sequence::{Sequence, SequenceState};
    use crate::object::{Object, Slot};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Auth, Cc, Handle, ObjectAttributes, Rc};

    const OWNERS: Handle = Handle(0x8100_0001);
    const PLATFORMS: Handle = Handle(0x8180_0001);

    fn evict(auth: Handle, object: Handle, persistent: Handle) -> CommandBuilder {
        command(Cc::EVICT_CONTROL).handle(auth).handle(object).password(b"").put(persistent)
    }

    #[test]
    fn a_persistent_object_survives_a_reset_until_it_is_deleted() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let before = client.run(&name(object)).unwrap().parameters;
        client.run(&evict(Handle::OWNER, object, OWNERS)).unwrap();
        assert!(client.outcome.durable);
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        assert_eq!(client.run(&name(OWNERS)).unwrap().parameters, before);
        client.run(&evict(Handle::OWNER, OWNERS, OWNERS)).unwrap();
        assert_eq!(client.rc(&name(OWNERS)), Rc::HANDLE.handle(1));
    }

    #[test]
    fn each_keeps_objects_of_its_hierarchies_in_its_range() {
        let mut client = Client::started();
        let owner = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let endorsement = create(&mut client, Handle::ENDORSEMENT, ObjectAttributes::NONE);
        let platform = create(&mut client, Handle::PLATFORM, ObjectAttributes::NONE);
        let cases = [
            (Handle::OWNER, owner, PLATFORMS, Rc::RANGE.parameter(1)),
            (Handle::OWNER, endorsement, PLATFORMS, Rc::RANGE.parameter(1)),
            (Handle::OWNER, platform, OWNERS, Rc::HIERARCHY.handle(2)),
            (Handle::PLATFORM, platform, OWNERS, Rc::RANGE.parameter(1)),
            (Handle::PLATFORM, owner, PLATFORMS, Rc::HIERARCHY.handle(2)),
            (Handle::PLATFORM, endorsement, PLATFORMS, Rc::HIERARCHY.handle(2)),
        ];
        for (auth, object, persistent, expected) in cases {
            assert_eq!(client.rc(&evict(auth, object, persistent)), expected);
        }
        client.run(&evict(Handle::OWNER, endorsement, OWNERS)).unwrap();
        client.run(&evict(Handle::OWNER, owner, Handle(0x817f_ffff))).unwrap();
        client.run(&evict(Handle::PLATFORM, platform, PLATFORMS)).unwrap();
    }

    #[test]
    fn the_platform_deletes_any_and_the_owner_not_the_platforms() {
        let mut client = Client::started();
        let owner = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let platform = create(&mut client, Handle::PLATFORM, ObjectAttributes::NONE);
        client.run(&evict(Handle::OWNER, owner, OWNERS)).unwrap();
        client.run(&evict(Handle::PLATFORM, platform, PLATFORMS)).unwrap();
        assert_eq!(client.rc(&evict(Handle::OWNER, PLATFORMS, PLATFORMS)), Rc::HIERARCHY.handle(2));
        client.run(&evict(Handle::PLATFORM, OWNERS, OWNERS)).unwrap();
        client.run(&evict(Handle::PLATFORM, PLATFORMS, PLATFORMS)).unwrap();
    }

    #[test]
    fn temporary_public_and_st_clear_objects_are_not_kept() {
        let mut client = Client::started();
        let null = create(&mut client, Handle::NULL, ObjectAttributes::NONE);
        let st_clear = create(&mut client, Handle::OWNER, ObjectAttributes::ST_CLEAR);
        for object in [null, st_clear] {
            assert_eq!(client.rc(&evict(Handle::OWNER, object, OWNERS)), Rc::ATTRIBUTES.handle(2));
            client.run(&flush(object)).unwrap();
        }
        let whole = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        let whole = client.tpm.object(whole).unwrap();
        let public = Object {
            public: whole.public.clone(),
            sensitive: None,
            name: whole.name.clone(),
            qualified_name: whole.qualified_name.clone(),
            hierarchy: whole.hierarchy,
            primary: false,
            external: true,
            st_clear: false,
            prepared: Default::default(),
        };
        let state = SequenceState::hash(HashAlg::Sha256);
        let sequence = Sequence { auth: Auth::empty(), state };
        for slot in [Slot::Object(Arc::new(public)), Slot::Sequence(Box::new(sequence))] {
            let handle = client.tpm.objects.insert(slot).unwrap();
            assert_eq!(client.rc(&evict(Handle::OWNER, handle, OWNERS)), Rc::ATTRIBUTES.handle(2));
        }
    }

    #[test]
    fn a_handle_is_used_once_and_named_right() {
        let mut client = Client::started();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        client.run(&evict(Handle::OWNER, object, OWNERS)).unwrap();
        assert_eq!(client.rc(&evict(Handle::OWNER, object, OWNERS)), Rc::NV_DEFINED);
        let other = Handle(OWNERS.0 + 1);
        assert_eq!(client.rc(&evict(Handle::OWNER, OWNERS, other)), Rc::HANDLE.handle(2));
        assert_eq!(client.rc(&evict(Handle::OWNER, other, other)), Rc::HANDLE.handle(2));
        assert_eq!(client.rc(&evict(Handle::OWNER, object, object)), Rc::VALUE.parameter(1));
        assert_eq!(client.rc(&evict(Handle::LOCKOUT, object, OWNERS)), Rc::VALUE.handle(1));
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let mut profile = Profile::few_slots();
        profile.limits.persistent_objects = 2;
        let mut client = Client::with_profile(profile);
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
        for number in 0..2 {
            client.run(&evict(Handle::OWNER, object, Handle(OWNERS.0 + number))).unwrap();
        }
        let third = Handle(OWNERS.0 + 2);
        assert_eq!(client.rc(&evict(Handle::OWNER, object, third)), Rc::NV_SPACE);
        client.run(&evict(Handle::OWNER, OWNERS, OWNERS)).unwrap();
        client.run(&evict(Handle::OWNER, object, third)).unwrap();
    }
}
