//! TPM2_Load: Part 3, clause 12.2, revision 1.59.

use crate::commands::command;
use crate::object::load::{self, Blame};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Name, Private, Rc, Tpm2bPublic};

command! {
    /// Loads an object below its parent.
    #[doc(alias = "TPM2_Load")]
    Command {
        handles {
            /// The storage key.
            parent_handle: DhObject,
        }
        parameters {
            /// The protected sensitive area.
            in_private: Private,
            /// The public area.
            in_public: Tpm2bPublic,
        }
    }
    Response {
        handle {
            /// The loaded object.
            object_handle
        }
        parameters {
            /// The name.
            name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.objects.check_free()?;
    if command.in_private.is_empty() {
        return Err(Rc::SIZE.parameter(1));
    }
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(1));
    }
    let public = command.in_public.0;
    let name = public.name();
    let sensitive = tpm
        .private_to_sensitive(&command.in_private, &name, &parent)
        .map_err(|rc| rc.parameter(1))?;
    let blame = Blame { public: 2, sensitive: 1 };
    let object = load::below_parent(&parent, public, sensitive, name.clone(), blame)?;
    let object_handle = tpm.load_object(object)?;
    Ok(Response { object_handle, name })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{
        FIXED, Stored, creation, derivation_parent, ecc_signing, ecc_storage, hmac_key, rsa,
        rsa_storage, sealed, sensitive,
    };
    use crate::test_util::{Client, command};
    use crate::wire::{
        Cc, Digest, Handle, ObjectAttributes as Attr, Private, PublicId, Rc, Scheme, Sized2b,
    };

    fn client() -> (Client, Handle) {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        (client, parent)
    }

    #[test]
    fn a_loaded_object_is_the_one_that_was_made() {
        let (mut client, parent) = client();
        let stored = client.create(parent, b"pass", b"data", &sealed()).unwrap();
        let handle = client.load_stored(parent, &stored).unwrap();
        let object = client.tpm.object(handle).unwrap();
        let secret = object.sensitive.as_ref().unwrap();
        assert_eq!(secret.composite.as_bytes(), b"data");
        assert_eq!(client.tpm.auth_value(handle).as_bytes(), b"pass");
        assert_eq!(object.name, stored.public.name());
        assert!(!object.primary && !object.external);
        let above = client.tpm.object(parent).unwrap();
        assert_eq!(
            object.qualified_name,
            crate::object::qualified_name(&above.qualified_name, &object.public, &object.name)
        );
    }

    #[test]
    fn an_rsa_storage_key_has_children_too() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &rsa_storage(1024));
        let sign = FIXED.with(crate::object::samples::OWN).with(Attr::SIGN);
        client.child(parent, &rsa(1024, sign, Scheme::Null, None), b"");
    }

    #[test]
    fn every_bit_of_the_private_area_is_protected() {
        let (mut client, parent) = client();
        let stored = client.create(parent, b"", b"", &hmac_key()).unwrap();
        for position in 2..stored.private.len() {
            let mut bytes = stored.private.to_vec();
            bytes[position] ^= 1;
            let private = Private::from_slice(&bytes);
            let damaged = Stored { private, public: stored.public.clone() };
            let rc = client.load_stored(parent, &damaged).unwrap_err();
            assert_eq!(rc, Rc::INTEGRITY.parameter(1));
        }
    }

    #[test]
    fn an_area_cut_short_is_refused() {
        let (mut client, parent) = client();
        let stored = client.create(parent, b"", b"", &hmac_key()).unwrap();
        for (size, rc) in [(0, Rc::SIZE), (1, Rc::INSUFFICIENT), (20, Rc::INSUFFICIENT)] {
            let private = Private::from_slice(&stored.private[..size]);
            let short = Stored { private, public: stored.public.clone() };
            assert_eq!(client.load_stored(parent, &short).unwrap_err(), rc.parameter(1));
        }
    }

    #[test]
    fn another_public_area_breaks_the_integrity() {
        let (mut client, parent) = client();
        let mut stored = client.create(parent, b"", b"data", &sealed()).unwrap();
        stored.public.unique = PublicId::Digest(Digest::from_slice(&[1; 32]));
        assert_eq!(client.load_stored(parent, &stored).unwrap_err(), Rc::INTEGRITY.parameter(1));
    }

    #[test]
    fn another_parent_can_not_load() {
        let (mut client, parent) = client();
        let stored = client.create(parent, b"", b"data", &sealed()).unwrap();
        let other = client.primary(Handle::PLATFORM, &ecc_storage());
        assert_eq!(client.load_stored(other, &stored).unwrap_err(), Rc::INTEGRITY.parameter(1));
        client.flush(other);
        let key = client.child(parent, &derivation_parent(), b"");
        assert_eq!(client.load_stored(key, &stored).unwrap_err(), Rc::TYPE.handle(1));
    }

    #[test]
    fn a_name_algorithm_is_needed() {
        let (mut client, parent) = client();
        let mut stored = client.create(parent, b"", b"data", &sealed()).unwrap();
        stored.public.name_alg = None;
        assert_eq!(client.load_stored(parent, &stored).unwrap_err(), Rc::HASH.parameter(2));
    }

    #[test]
    fn a_full_memory_is_reported_before_anything_else() {
        let (mut client, parent) = client();
        let stored = client.create(parent, b"", b"data", &sealed()).unwrap();
        client.load_stored(parent, &stored).unwrap();
        client.load_stored(parent, &stored).unwrap();
        let load = command(Cc::LOAD)
            .handle(parent)
            .password(b"")
            .put(Private::empty())
            .put(Sized2b(stored.public.clone()));
        assert_eq!(client.rc(&load), Rc::OBJECT_MEMORY);
    }

    #[test]
    fn an_object_below_one_that_a_restart_clears_is_cleared_too() {
        let mut client = Client::started();
        let mut template = ecc_storage();
        template.attributes = template.attributes.with(Attr::ST_CLEAR);
        let parent = client.primary(Handle::OWNER, &template);
        let key = client.child(parent, &ecc_signing(), b"");
        assert!(client.tpm.object(key).unwrap().st_clear);
    }

    #[test]
    fn the_hierarchy_is_that_of_the_parent() {
        let mut client = Client::started();
        for hierarchy in [Handle::OWNER, Handle::ENDORSEMENT, Handle::PLATFORM, Handle::NULL] {
            let create =
                creation(Cc::CREATE_PRIMARY, hierarchy, sensitive(b"", b""), &ecc_storage());
            let parent = client.run(&create).unwrap().handle.unwrap();
            let key = client.child(parent, &hmac_key(), b"");
            assert_eq!(client.tpm.object(key).unwrap().hierarchy.handle(), hierarchy);
            client.flush(key);
            client.flush(parent);
        }
    }
}
