//! TPM2_CreatePrimary: Part 3, clause 24.1, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::create::Above;
use crate::object::template;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    CreationData, Data, Digest, HandleInterface, Name, PcrSelections, Rc, RhHierarchy, Sized2b,
    Ticket, Tpm2bPublic, Tpm2bSensitiveCreate,
};

command! {
    /// Makes an object from the seed of a hierarchy, the same one for the same template, and loads
    /// it.
    #[doc(alias = "TPM2_CreatePrimary")]
    Command {
        handles {
            /// The hierarchy.
            primary_handle: Option<RhHierarchy>,
        }
        parameters {
            /// Authorization value and data.
            in_sensitive: Tpm2bSensitiveCreate,
            /// The template.
            in_public: Tpm2bPublic,
            /// Goes into the creation data.
            outside_info: Data,
            /// PCR that go into the creation data.
            creation_pcr: PcrSelections,
        }
    }
    Response {
        handle {
            /// The loaded object.
            object_handle
        }
        parameters {
            /// The public area.
            out_public: Tpm2bPublic,
            /// What was the case at the creation.
            creation_data: Sized2b<CreationData>,
            /// Digest of the creation data.
            creation_hash: Digest,
            /// Proves that this TPM made the object.
            creation_ticket: Ticket,
            /// The name.
            name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let hierarchy = Hierarchy::of(command.primary_handle.handle()).ok_or(Rc::VALUE.handle(1))?;
    let (mut create, public) = (command.in_sensitive.0, command.in_public.0);
    tpm.objects.check_free()?;
    template::check_creation(None, &public, create.data.len()).map_err(|rc| rc.parameter(2))?;
    template::adjust_auth(&mut create.user_auth, public.name_alg).map_err(|rc| rc.parameter(1))?;
    let mut source = tpm.primary_source(hierarchy, &public, &create.data);
    let new = tpm.generate_from(public, &create, &mut source)?;
    let above = Above::Hierarchy(hierarchy);
    let (creation_data, creation_hash, creation_ticket) =
        tpm.creation(above, &new, command.creation_pcr, command.outside_info)?;
    let (out_public, name) = (Sized2b(new.public.clone()), new.name.clone());
    let object_handle = tpm.load_object(new.below(above))?;
    Ok(Response { object_handle, out_public, creation_data, creation_hash, creation_ticket, name })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::object::samples::{
        FIXED, OWN, creation, ecc_signing, ecc_storage, hmac_key, next, rsa, sealed, sensitive,
    };
    use crate::test_util::{Client, command};
    use crate::wire::{
        Cc, CreationData, Data, Digest, Handle, Marshal, Name, ObjectAttributes, PcrSelection,
        PcrSelections, Public, PublicId, PublicParms, Rc, Scheme, Sized2b, Tag, Ticket,
    };

    const HIERARCHIES: [Handle; 4] =
        [Handle::OWNER, Handle::ENDORSEMENT, Handle::PLATFORM, Handle::NULL];

    #[test]
    fn the_same_template_gives_the_same_object() {
        let mut client = Client::started();
        let first = client.primary(Handle::OWNER, &ecc_storage());
        let second = client.primary(Handle::OWNER, &ecc_storage());
        let (first, second) =
            (client.tpm.object(first).unwrap(), client.tpm.object(second).unwrap());
        assert_eq!(first.name, second.name);
        assert_eq!(first.sensitive, second.sensitive);
        assert!(first.primary && first.is_storage_parent());
    }

    #[test]
    fn another_hierarchy_unique_or_datum_gives_another_object() {
        let mut client = Client::started();
        let mut names = Vec::new();
        let mut add = |client: &mut Client, hierarchy, data: &[u8], template: &Public| {
            let create = creation(Cc::CREATE_PRIMARY, hierarchy, sensitive(b"", data), template);
            let handle = client.run(&create).unwrap().handle.unwrap();
            names.push(client.tpm.name(handle));
            client.flush(handle);
        };
        for hierarchy in HIERARCHIES {
            add(&mut client, hierarchy, b"", &ecc_storage());
        }
        add(&mut client, Handle::OWNER, b"x", &ecc_storage());
        let mut template = ecc_storage();
        if let PublicId::Ecc(point) = &mut template.unique {
            point.x = vec![1].into();
        }
        add(&mut client, Handle::OWNER, b"", &template);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn the_response_says_what_was_created() {
        let mut client = Client::started();
        client.locality = 3;
        let mut select = PcrSelection::none(HashAlg::Sha256);
        select.set(1);
        let selections: PcrSelections = crate::wire::List(vec![select]);
        let create = command(Cc::CREATE_PRIMARY)
            .handle(Handle::OWNER)
            .password(b"")
            .put(sensitive(b"auth", b""))
            .put(Sized2b(ecc_signing()))
            .put(Data::from_slice(b"outside"))
            .put(&selections);
        let reply = client.run(&create).unwrap();
        let mut rest = reply.parameters;
        let public = next::<Sized2b<Public>>(&client, &mut rest).0;
        let (size, data) = rest.split_first_chunk::<2>().unwrap();
        let (data, tail) = data.split_at(usize::from(u16::from_be_bytes(*size)));
        let expected = CreationData {
            pcr_select: selections,
            pcr_digest: Digest::from_slice(&hash(HashAlg::Sha256, &[&[0; 32]])),
            locality: crate::wire::LocalityAttributes::THREE,
            parent_name_alg: crate::wire::Alg::NULL,
            parent_name: Name::from(Handle::OWNER.to_bytes()),
            parent_qualified_name: Name::from(Handle::OWNER.to_bytes()),
            outside_info: Data::from_slice(b"outside"),
        };
        assert_eq!(data, expected.to_bytes());
        let mut rest = tail.to_vec();
        let digest = next::<Digest>(&client, &mut rest);
        assert_eq!(digest.as_bytes(), hash(HashAlg::Sha256, &[data]).as_bytes());
        let ticket = next::<crate::wire::CreationTicket>(&client, &mut rest).0;
        let name = next::<Name>(&client, &mut rest);
        assert_eq!(name, public.name());
        assert!(rest.is_empty());
        assert_eq!((ticket.tag, ticket.hierarchy), (Tag::CREATION, Handle::OWNER));
        assert!(client.tpm.is_ticket_valid(&ticket, &[&name, &digest]));
        let forged = Ticket { hierarchy: Handle::PLATFORM, ..ticket };
        assert!(!client.tpm.is_ticket_valid(&forged, &[&name, &digest]));
    }

    #[test]
    fn the_null_hierarchy_forgets_its_objects_at_a_reset() {
        let mut client = Client::started();
        let handle = client.primary(Handle::NULL, &ecc_storage());
        let before = client.tpm.name(handle);
        client.tpm.reset.null_seed = client.tpm.fresh_seed();
        let handle = client.primary(Handle::NULL, &ecc_storage());
        assert_ne!(client.tpm.name(handle), before);
    }

    #[test]
    fn the_seed_of_an_endorsement_key_changes_with_the_owners_proof_and_the_key_does_not() {
        let mut client = Client::started();
        let first = client.primary(Handle::ENDORSEMENT, &ecc_storage());
        client.tpm.permanent.hierarchies.owner.proof = client.tpm.fresh_seed();
        let second = client.primary(Handle::ENDORSEMENT, &ecc_storage());
        let (first, second) =
            (client.tpm.object(first).unwrap(), client.tpm.object(second).unwrap());
        let (left, right) = (first.sensitive.as_ref(), second.sensitive.as_ref());
        assert_eq!(first.name, second.name);
        assert_eq!(left.unwrap().composite, right.unwrap().composite);
        assert_ne!(left.unwrap().seed, right.unwrap().seed);
    }

    #[test]
    fn a_full_memory_is_reported_first() {
        let mut client = Client::started();
        for _ in 0..3 {
            client.primary(Handle::OWNER, &hmac_key());
        }
        let create = creation(Cc::CREATE_PRIMARY, Handle::OWNER, sensitive(b"", b""), &sealed());
        assert_eq!(client.rc(&create), Rc::OBJECT_MEMORY);
    }

    #[test]
    fn a_template_that_does_not_fit_is_named() {
        let mut client = Client::started();
        let mut refused = |template: &Public, data: &[u8], rc: Rc| {
            let code = Cc::CREATE_PRIMARY;
            let create = creation(code, Handle::OWNER, sensitive(b"", data), template);
            assert_eq!(client.rc(&create), rc, "{template:?}");
        };
        refused(&sealed(), b"", Rc::ATTRIBUTES.parameter(2));
        let mut template = ecc_storage();
        template.auth_policy = Digest::from_slice(&[1; 20]);
        refused(&template, b"", Rc::SIZE.parameter(2));
        let mut template = ecc_storage();
        template.attributes = template.attributes.without(ObjectAttributes::FIXED_PARENT);
        refused(&template, b"", Rc::ATTRIBUTES.parameter(2));
        let mut template = ecc_storage();
        if let PublicParms::Ecc(parms) = &mut template.parms {
            parms.symmetric = None;
        }
        refused(&template, b"", Rc::SYMMETRIC.parameter(2));
        let mut template = ecc_signing();
        template.attributes = template.attributes.with(ObjectAttributes::RESTRICTED);
        refused(&template, b"", Rc::SCHEME.parameter(2));
        let mut template = hmac_key();
        template.name_alg = None;
        refused(&template, b"", Rc::HASH.parameter(2));
    }

    #[test]
    fn an_rsa_exponent_must_be_a_prime_above_65536() {
        let mut client = Client::started();
        for exponent in [3, 17, 65539 * 5, 65538, u32::MAX] {
            let mut template =
                rsa(1024, FIXED.with(OWN).with(ObjectAttributes::SIGN), Scheme::Null, None);
            if let PublicParms::Rsa(parms) = &mut template.parms {
                parms.exponent = exponent;
            }
            let create =
                creation(Cc::CREATE_PRIMARY, Handle::OWNER, sensitive(b"", b""), &template);
            assert_eq!(client.rc(&create), Rc::RANGE, "{exponent}");
        }
    }

    #[test]
    fn the_making_of_an_rsa_key_can_be_canceled() {
        let mut client = Client::started();
        client.controls.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let template = rsa(2048, FIXED.with(OWN).with(ObjectAttributes::SIGN), Scheme::Null, None);
        let create = creation(Cc::CREATE_PRIMARY, Handle::OWNER, sensitive(b"", b""), &template);
        assert_eq!(client.rc(&create), Rc::CANCELED);
    }

    #[test]
    fn an_authorization_value_longer_than_the_name_algorithm_is_refused() {
        let mut client = Client::started();
        let mut create = |auth: &[u8]| {
            let code = Cc::CREATE_PRIMARY;
            client.run(&creation(code, Handle::OWNER, sensitive(auth, b""), &hmac_key()))
        };
        assert_eq!(create(&[1; 33]).unwrap_err(), Rc::SIZE.parameter(1));
        let mut padded = [0; 40];
        padded[0] = 1;
        create(&padded).unwrap();
    }

    #[test]
    fn only_hierarchies_have_primary_objects() {
        let mut client = Client::started();
        let lockout = creation(Cc::CREATE_PRIMARY, Handle::LOCKOUT, sensitive(b"", b""), &sealed());
        assert_eq!(client.rc(&lockout), Rc::VALUE.handle(1));
    }

    #[test]
    fn a_disabled_hierarchy_makes_nothing() {
        let mut client = Client::started();
        client.tpm.clear.storage_enabled = false;
        let create = creation(Cc::CREATE_PRIMARY, Handle::OWNER, sensitive(b"", b""), &hmac_key());
        assert_eq!(client.rc(&create), Rc::HIERARCHY.handle(1));
    }
}
