//! TPM2_Create: Part 3, clause 12.1, revision 1.59.

use crate::commands::command;
use crate::object::create::Above;
use crate::object::template;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    CreationData, Data, DhObject, Digest, PcrSelections, Private, Rc, Sized2b, Ticket, Tpm2bPublic,
    Tpm2bSensitiveCreate,
};

command! {
    /// Makes an object below a storage key, to be loaded with `TPM2_Load`.
    #[doc(alias = "TPM2_Create")]
    Command {
        handles {
            /// The storage key.
            parent_handle: DhObject,
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
        parameters {
            /// The protected sensitive area.
            out_private: Private,
            /// The public area.
            out_public: Tpm2bPublic,
            /// What was the case at the creation.
            creation_data: Sized2b<CreationData>,
            /// Digest of the creation data.
            creation_hash: Digest,
            /// Proves that this TPM made the object.
            creation_ticket: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(1));
    }
    // The object is not loaded, but the specification lets a TPM need the slot for its making.
    tpm.objects.check_free()?;
    let (mut create, public) = (command.in_sensitive.0, command.in_public.0);
    template::check_creation(Some(&parent), &public, create.data.len())
        .map_err(|rc| rc.parameter(2))?;
    template::adjust_auth(&mut create.user_auth, public.name_alg).map_err(|rc| rc.parameter(1))?;
    let new = tpm.generate_random(public, &create)?;
    let (creation_data, creation_hash, creation_ticket) =
        tpm.creation(Above::Parent(&parent), &new, command.creation_pcr, command.outside_info)?;
    let out_private =
        tpm.sensitive_to_private(&new.sensitive, &new.name, new.public.name_alg, &parent)?;
    let out_public = Sized2b(new.public);
    Ok(Response { out_private, out_public, creation_data, creation_hash, creation_ticket })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::object::samples::{
        FIXED, OWN, creation, derivation_parent, ecc, ecc_signing, ecc_storage, hmac_key,
        keyed_hash, rsa, sealed, sensitive, sym_cipher,
    };
    use crate::test_util::Client;
    use crate::wire::{
        Aes, Cc, Handle, KeyedHashScheme, ObjectAttributes as Attr, Public, PublicParms, Rc,
        Scheme, SymMode,
    };

    fn client() -> (Client, Handle) {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        (client, parent)
    }

    #[test]
    fn every_kind_of_object_can_be_made_and_loaded() {
        let (mut client, parent) = client();
        let user = FIXED.with(OWN);
        let templates = [
            ecc_storage(),
            ecc_signing(),
            ecc(user.with(Attr::DECRYPT), Scheme::Ecdh(HashAlg::Sha256), None),
            rsa(1024, user.with(Attr::SIGN), Scheme::Rsapss(HashAlg::Sha256), None),
            rsa(1024, user.with(Attr::DECRYPT), Scheme::Oaep(HashAlg::Sha1), None),
            rsa(1024, user.with(Attr::SIGN).with(Attr::DECRYPT), Scheme::Null, None),
            hmac_key(),
            derivation_parent(),
            keyed_hash(user.with(Attr::DECRYPT), KeyedHashScheme::Xor(HashAlg::Sha1, None)),
            sym_cipher(user.with(Attr::DECRYPT), None),
            sym_cipher(user.with(Attr::SIGN), Some(SymMode::Cmac)),
            sym_cipher(user.with(Attr::RESTRICTED).with(Attr::DECRYPT), Some(SymMode::Cfb)),
        ];
        for template in templates {
            let stored = client.create(parent, b"", b"", &template).unwrap();
            let handle = client.load_stored(parent, &stored).unwrap();
            let object = client.tpm.object(handle).unwrap();
            assert_eq!(object.public, stored.public);
            assert_eq!(object.public.attributes, template.attributes);
            client.flush(handle);
        }
    }

    #[test]
    fn two_objects_of_one_template_differ() {
        let (mut client, parent) = client();
        let first = client.create(parent, b"", b"", &ecc_signing()).unwrap();
        let second = client.create(parent, b"", b"", &ecc_signing()).unwrap();
        assert_ne!(first.public.unique, second.public.unique);
    }

    #[test]
    fn only_a_storage_key_is_a_parent() {
        let (mut client, parent) = client();
        for template in [hmac_key(), derivation_parent()] {
            let other = client.child(parent, &template, b"");
            let rc = client.create(other, b"", b"", &hmac_key()).unwrap_err();
            assert_eq!(rc, Rc::TYPE.handle(1));
            client.flush(other);
        }
    }

    #[test]
    fn data_comes_from_the_caller_or_from_the_tpm() {
        let (mut client, parent) = client();
        let mut refused = |template: &Public, data: &[u8], rc: Rc| {
            assert_eq!(client.create(parent, b"", data, template).unwrap_err(), rc);
        };
        refused(&sealed(), b"", Rc::ATTRIBUTES.parameter(2));
        refused(&hmac_key(), b"data", Rc::ATTRIBUTES.parameter(2));
        let mut template = sealed();
        template.attributes = template.attributes.with(Attr::SENSITIVE_DATA_ORIGIN);
        refused(&template, b"", Rc::ATTRIBUTES.parameter(2));
        let mut template = ecc_signing();
        template.attributes = template.attributes.without(Attr::SENSITIVE_DATA_ORIGIN);
        refused(&template, b"data", Rc::ATTRIBUTES.parameter(2));
        let mut template = derivation_parent();
        template.attributes = template.attributes.without(Attr::SENSITIVE_DATA_ORIGIN);
        refused(&template, b"data", Rc::ATTRIBUTES.parameter(2));
    }

    #[test]
    fn a_key_of_the_caller_must_have_a_fitting_length() {
        let (mut client, parent) = client();
        let imported = FIXED.with(Attr::USER_WITH_AUTH);
        let aes = sym_cipher(imported.with(Attr::DECRYPT), None);
        assert_eq!(client.create(parent, b"", &[1; 15], &aes).unwrap_err(), Rc::KEY_SIZE);
        client.create(parent, b"", &[1; 16], &aes).unwrap();
        let hmac = keyed_hash(imported.with(Attr::SIGN), KeyedHashScheme::Hmac(HashAlg::Sha256));
        assert_eq!(client.create(parent, b"", &[1; 65], &hmac).unwrap_err(), Rc::SIZE);
        client.create(parent, b"", &[1; 64], &hmac).unwrap();
        client.create(parent, b"", &[1; 128], &sealed()).unwrap();
    }

    #[test]
    fn sensitive_data_longer_than_can_be_sealed_is_refused() {
        let (mut client, parent) = client();
        let create = crate::test_util::command(Cc::CREATE)
            .handle(parent)
            .password(b"")
            .put(133u16)
            .put(0u16)
            .bytes(&[0, 129])
            .bytes(&[1; 129]);
        assert_eq!(client.rc(&create), Rc::SIZE.parameter(1));
    }

    #[test]
    fn a_fixed_storage_key_protects_as_its_parent_does() {
        let (mut client, parent) = client();
        let mut template = ecc_storage();
        if let PublicParms::Ecc(parms) = &mut template.parms {
            parms.symmetric = Some(Aes::cfb(256));
        }
        let rc = client.create(parent, b"", b"", &template).unwrap_err();
        assert_eq!(rc, Rc::SYMMETRIC.parameter(2));
        let mut template = ecc_storage();
        template.name_alg = Some(HashAlg::Sha384);
        let rc = client.create(parent, b"", b"", &template).unwrap_err();
        assert_eq!(rc, Rc::HASH.parameter(2));
        // One that can go elsewhere need not.
        template.attributes = template.attributes.without(FIXED);
        client.create(parent, b"", b"", &template).unwrap();
    }

    #[test]
    fn a_scheme_must_fit_the_use() {
        let (mut client, parent) = client();
        let user = FIXED.with(OWN);
        let sha = HashAlg::Sha256;
        let mut ecc_kdf = ecc_signing();
        if let PublicParms::Ecc(parms) = &mut ecc_kdf.parms {
            parms.kdf = Some(crate::wire::KdfScheme { kdf: crate::wire::Alg::MGF1, hash: sha });
        }
        let both = user.with(Attr::SIGN).with(Attr::DECRYPT);
        let cases = [
            (ecc(both, Scheme::Ecdsa(sha), None), Rc::SCHEME),
            (ecc(user.with(Attr::SIGN), Scheme::Ecdh(sha), None), Rc::SCHEME),
            (ecc(user.with(Attr::DECRYPT), Scheme::Ecdsa(sha), None), Rc::SCHEME),
            (rsa(1024, user.with(Attr::SIGN), Scheme::Rsaes, None), Rc::SCHEME),
            (rsa(1024, user.with(Attr::DECRYPT), Scheme::Rsassa(sha), None), Rc::SCHEME),
            (ecc(user.with(Attr::SIGN), Scheme::Null, Some(Aes::cfb(128))), Rc::SYMMETRIC),
            (ecc_kdf, Rc::KDF),
            (keyed_hash(user.with(Attr::SIGN), KeyedHashScheme::Null), Rc::SCHEME),
            (keyed_hash(both, KeyedHashScheme::Hmac(sha)), Rc::SCHEME),
            (keyed_hash(user.with(Attr::DECRYPT), KeyedHashScheme::Hmac(sha)), Rc::SCHEME),
            (sym_cipher(user.with(Attr::DECRYPT), Some(SymMode::Cmac)), Rc::SCHEME),
            (sym_cipher(user, None), Rc::ATTRIBUTES),
            (hmac_with(Attr::ENCRYPTED_DUPLICATION), Rc::ATTRIBUTES),
            (hmac_with(Attr::FIRMWARE_LIMITED), Rc::RESERVED_BITS),
        ];
        for (template, rc) in cases {
            let found = client.create(parent, b"", b"", &template).unwrap_err();
            assert_eq!(found, rc.parameter(2), "{template:?}");
        }
        // A derivation parent needs its key derivation function.
        let storage = derivation_parent().attributes;
        let parent_template = keyed_hash(storage, KeyedHashScheme::Xor(sha, None));
        let rc = client.create(parent, b"", b"", &parent_template).unwrap_err();
        assert_eq!(rc, Rc::SCHEME.parameter(2));
    }

    fn hmac_with(attributes: Attr) -> Public {
        let mut template = hmac_key();
        template.attributes = template.attributes.with(attributes);
        template
    }

    #[test]
    fn a_restricted_key_signs_or_decrypts() {
        let (mut client, parent) = client();
        for attributes in [Attr::NONE, Attr::SIGN.with(Attr::DECRYPT)] {
            let attributes = FIXED.with(OWN).with(Attr::RESTRICTED).with(attributes);
            let template = keyed_hash(attributes, KeyedHashScheme::Null);
            let rc = client.create(parent, b"", b"", &template).unwrap_err();
            assert_eq!(rc, Rc::ATTRIBUTES.parameter(2));
        }
    }

    #[test]
    fn what_is_below_a_key_that_can_leave_is_not_fixed_to_the_tpm() {
        let (mut client, parent) = client();
        let mut movable = ecc_storage();
        movable.attributes = movable.attributes.without(FIXED).with(Attr::ENCRYPTED_DUPLICATION);
        let movable = client.child(parent, &movable, b"");
        let rc = client.create(movable, b"", b"", &hmac_key()).unwrap_err();
        assert_eq!(rc, Rc::ATTRIBUTES.parameter(2));
        let mut template = hmac_key();
        template.attributes = template.attributes.without(Attr::FIXED_TPM);
        let rc = client.create(movable, b"", b"", &template).unwrap_err();
        assert_eq!(rc, Rc::ATTRIBUTES.parameter(2));
        template.attributes = template.attributes.with(Attr::ENCRYPTED_DUPLICATION);
        client.create(movable, b"", b"", &template).unwrap();
    }

    #[test]
    fn an_authorization_value_longer_than_the_name_algorithm_is_refused() {
        let (mut client, parent) = client();
        let rc = client.create(parent, &[1; 33], b"", &hmac_key()).unwrap_err();
        assert_eq!(rc, Rc::SIZE.parameter(1));
    }

    #[test]
    fn a_free_slot_is_needed() {
        let (mut client, parent) = client();
        client.primary(Handle::OWNER, &hmac_key());
        client.primary(Handle::OWNER, &hmac_key());
        let rc = client.create(parent, b"", b"", &hmac_key()).unwrap_err();
        assert_eq!(rc, Rc::OBJECT_MEMORY);
    }

    #[test]
    fn the_parents_authorization_is_needed() {
        let mut client = Client::started();
        let code = Cc::CREATE_PRIMARY;
        let parent = creation(code, Handle::OWNER, sensitive(b"secret", b""), &ecc_storage());
        let parent = client.run(&parent).unwrap().handle.unwrap();
        let rc = client.create(parent, b"", b"", &hmac_key()).unwrap_err();
        assert_eq!(rc, Rc::BAD_AUTH.session(1));
    }
}
