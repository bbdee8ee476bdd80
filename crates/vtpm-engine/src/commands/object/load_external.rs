//! TPM2_LoadExternal: Part 3, clause 12.3, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::load::{self, Blame};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    HandleInterface, Name, ObjectAttributes, OptionalSensitive, Rc, RhHierarchy, Tpm2bPublicPlus,
};

command! {
    /// Loads an object that is not protected by this TPM: a public area, or both areas in the
    /// clear.
    #[doc(alias = "TPM2_LoadExternal")]
    Command {
        handles {}
        parameters {
            /// The sensitive area; may be empty.
            in_private: OptionalSensitive,
            /// The public area.
            in_public: Tpm2bPublicPlus,
            /// The hierarchy that the object shall belong to.
            hierarchy: Option<RhHierarchy>,
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
    let hierarchy = Hierarchy::of(command.hierarchy.handle()).ok_or(Rc::VALUE.parameter(3))?;
    let (sensitive, public) = (command.in_private.0, command.in_public.0);
    tpm.objects.check_free()?;
    tpm.check_enabled(hierarchy).map_err(|rc| rc.parameter(3))?;
    if sensitive.is_some() {
        if hierarchy != Hierarchy::Null {
            return Err(Rc::HIERARCHY.parameter(3));
        }
        // It must not look like a key that a TPM made.
        let own = ObjectAttributes::FIXED_TPM
            .with(ObjectAttributes::FIXED_PARENT)
            .with(ObjectAttributes::RESTRICTED);
        if public.attributes.any(own) {
            return Err(Rc::ATTRIBUTES.parameter(2));
        }
    }
    let object = load::external(hierarchy, public, sensitive, Blame { public: 2, sensitive: 1 })?;
    let name = object.name.clone();
    let object_handle = tpm.load_object(object)?;
    Ok(Response { object_handle, name })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::object::samples::{
        FIXED, OWN, ecc, ecc_signing, ecc_storage, hmac_key, rsa, sym_cipher,
    };
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Auth, Cc, Digest, Handle, Marshal, ObjectAttributes as Attr, Public, PublicId, Rc, Scheme,
        Sensitive, SensitiveComposite, Sized2b,
    };

    fn load(sensitive: Option<&Sensitive>, public: &Public, hierarchy: Handle) -> CommandBuilder {
        let command = command(Cc::LOAD_EXTERNAL);
        let command = match sensitive {
            Some(sensitive) => command.put(Sized2b(sensitive.clone())),
            None => command.put(0u16),
        };
        command.put(Sized2b(public.clone())).put(hierarchy)
    }

    /// Both areas of a key that the TPM made, as if it had come from outside.
    fn areas(template: &Public) -> (Public, Sensitive) {
        let mut client = Client::started();
        let handle = client.primary(Handle::OWNER, template);
        let object = client.tpm.object(handle).unwrap();
        let mut public = object.public.clone();
        public.attributes = public.attributes.without(FIXED);
        (public, object.sensitive.clone().unwrap())
    }

    /// An HMAC key with both areas.
    fn hmac() -> (Public, Sensitive) {
        let mut public = hmac_key();
        public.attributes = Attr::SIGN.with(Attr::USER_WITH_AUTH);
        let sensitive = Sensitive {
            alg: public.parms.alg(),
            auth: Auth::from_slice(b"auth"),
            seed: Auth::from_slice(&[1; 32]),
            composite: SensitiveComposite::from_slice(b"key"),
        };
        let unique = hash(HashAlg::Sha256, &[&[1; 32], b"key"]);
        public.unique = PublicId::Digest(Digest::from_slice(&unique));
        (public, sensitive)
    }

    fn rsa_key() -> Public {
        rsa(1024, FIXED.with(OWN).with(Attr::SIGN), Scheme::Null, None)
    }

    #[test]
    fn both_areas_are_loaded_into_the_null_hierarchy() {
        let mut client = Client::started();
        for (public, sensitive) in [areas(&ecc_signing()), areas(&rsa_key()), hmac()] {
            let reply = client.run(&load(Some(&sensitive), &public, Handle::NULL)).unwrap();
            let object = client.tpm.object(reply.handle.unwrap()).unwrap();
            assert_eq!(reply.parameters, public.name().to_bytes());
            assert!(object.external && object.sensitive.is_some());
            assert_eq!(object.qualified_name, object.name);
            client.flush(reply.handle.unwrap());
            for hierarchy in [Handle::OWNER, Handle::PLATFORM, Handle::ENDORSEMENT] {
                let rc = client.rc(&load(Some(&sensitive), &public, hierarchy));
                assert_eq!(rc, Rc::HIERARCHY.parameter(3));
            }
        }
    }

    #[test]
    fn a_public_area_is_loaded_into_any_enabled_hierarchy() {
        let mut client = Client::started();
        let (public, _) = areas(&ecc_storage());
        for hierarchy in [Handle::OWNER, Handle::PLATFORM, Handle::ENDORSEMENT, Handle::NULL] {
            let handle = client.run(&load(None, &public, hierarchy)).unwrap().handle.unwrap();
            let object = client.tpm.object(handle).unwrap();
            assert!(object.sensitive.is_none() && !object.is_parent());
            assert_eq!(object.hierarchy.handle(), hierarchy);
            client.flush(handle);
        }
        client.tpm.clear.storage_enabled = false;
        let rc = client.rc(&load(None, &public, Handle::OWNER));
        assert_eq!(rc, Rc::HIERARCHY.parameter(3));
    }

    #[test]
    fn a_key_without_name_algorithm_has_no_name() {
        let mut client = Client::started();
        let (mut public, sensitive) = hmac();
        public.name_alg = None;
        public.unique = PublicId::Digest(Digest::empty());
        let reply = client.run(&load(Some(&sensitive), &public, Handle::NULL)).unwrap();
        assert_eq!(reply.parameters, [0, 0]);
        client.run(&load(None, &public, Handle::NULL)).unwrap();
    }

    #[test]
    fn a_key_with_its_secret_must_not_look_like_the_tpms_own() {
        let mut client = Client::started();
        let (public, sensitive) = hmac();
        for attribute in [Attr::FIXED_TPM, Attr::FIXED_PARENT, Attr::RESTRICTED] {
            let mut own = public.clone();
            own.attributes = own.attributes.with(attribute);
            let rc = client.rc(&load(Some(&sensitive), &own, Handle::NULL));
            assert_eq!(rc, Rc::ATTRIBUTES.parameter(2));
        }
    }

    #[test]
    fn areas_that_do_not_belong_together_are_refused() {
        let mut client = Client::started();
        let mut refused = |(public, sensitive): (Public, Sensitive), rc: Rc| {
            let found = client.rc(&load(Some(&sensitive), &public, Handle::NULL));
            assert_eq!(found, rc, "{public:?}");
        };
        let change = |(public, mut sensitive): (Public, Sensitive), composite: &[u8]| {
            sensitive.composite = SensitiveComposite::from_slice(composite);
            (public, sensitive)
        };
        refused(change(hmac(), b"yek"), Rc::BINDING);
        refused(change(hmac(), &[1; 65]), Rc::KEY_SIZE.parameter(1));
        refused(change(areas(&ecc_signing()), &[1; 32]), Rc::BINDING);
        refused(change(areas(&ecc_signing()), &[0; 32]), Rc::KEY_SIZE);
        refused(change(areas(&rsa_key()), &[0xff; 64]), Rc::BINDING);
        refused(change(areas(&rsa_key()), &[0x7f; 64]), Rc::KEY_SIZE.parameter(1));
        refused(change(areas(&rsa_key()), &[0xff; 63]), Rc::KEY_SIZE.parameter(1));
        let (public, mut sensitive) = hmac();
        sensitive.seed = Auth::from_slice(&[1; 31]);
        refused((public, sensitive), Rc::KEY_SIZE.parameter(1));
        let (public, mut sensitive) = hmac();
        sensitive.auth = Auth::from_slice(&[1; 33]);
        refused((public, sensitive), Rc::SIZE.parameter(1));
        refused((hmac().0, areas(&ecc_signing()).1), Rc::TYPE.parameter(1));
    }

    #[test]
    fn a_public_area_of_the_wrong_size_is_refused() {
        let mut client = Client::started();
        let mut refused = |public: &Public, rc: Rc| {
            assert_eq!(client.rc(&load(None, public, Handle::NULL)), rc, "{public:?}");
        };
        refused(&hmac_key(), Rc::KEY.parameter(2));
        refused(&sym_cipher(Attr::DECRYPT, None), Rc::KEY.parameter(2));
        refused(&rsa_key(), Rc::KEY.parameter(2));
        let (mut public, _) = areas(&ecc_signing());
        if let PublicId::Ecc(point) = &mut public.unique {
            point.x = point.y.clone();
        }
        refused(&public, Rc::ECC_POINT.parameter(2));
        refused(&ecc_signing(), Rc::KEY.parameter(2));
        let scheme = ecc(Attr::SIGN, Scheme::Ecdh(HashAlg::Sha256), None);
        refused(&scheme, Rc::SCHEME.parameter(2));
    }

    #[test]
    fn a_tiny_rsa_exponent_is_refused() {
        let mut client = Client::started();
        let (mut public, _) = areas(&rsa_key());
        if let crate::wire::PublicParms::Rsa(parms) = &mut public.parms {
            parms.exponent = 5;
        }
        assert_eq!(client.rc(&load(None, &public, Handle::NULL)), Rc::VALUE.parameter(2));
    }

    #[test]
    fn lockout_is_no_hierarchy() {
        let mut client = Client::started();
        let (public, _) = hmac();
        assert_eq!(client.rc(&load(None, &public, Handle::LOCKOUT)), Rc::VALUE.parameter(3));
    }
}
