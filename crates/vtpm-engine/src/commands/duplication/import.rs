//! TPM2_Import: Part 3, clause 13.3, revision 1.59.

use crate::commands::command;
use crate::object::load::{self, Blame};
use crate::object::protect::{Inner, Outer};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Aes, Data, DhObject, EncryptedSecret, ObjectAttributes, Private, PublicParms, Rc, Tpm2bPublic,
};

command! {
    /// Brings a duplicated object below a storage key, to be loaded with `TPM2_Load`.
    #[doc(alias = "TPM2_Import")]
    Command {
        handles {
            /// The storage key.
            parent_handle: DhObject,
        }
        parameters {
            /// Key of the inner wrapper; empty when there is none.
            encryption_key: Data,
            /// The public area.
            object_public: Tpm2bPublic,
            /// The sensitive area in its wrappers.
            duplicate: Private,
            /// Seed of the outer wrapper, encrypted to the storage key; empty when there is none.
            in_sym_seed: EncryptedSecret,
            /// Algorithm of the inner wrapper; absent when there is none.
            symmetric_alg: Option<Aes>,
        }
    }
    Response {
        parameters {
            /// The protected sensitive area.
            out_private: Private,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let public = command.object_public.0;
    let fixed = ObjectAttributes::FIXED_TPM.with(ObjectAttributes::FIXED_PARENT);
    if public.attributes.any(fixed) {
        return Err(Rc::ATTRIBUTES.parameter(2));
    }
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(1));
    }
    if command.encryption_key.len() != command.symmetric_alg.map_or(0, Aes::key_bytes) {
        return Err(Rc::SIZE.parameter(1));
    }
    let encrypted = public.has(ObjectAttributes::ENCRYPTED_DUPLICATION);
    if command.symmetric_alg.is_none() && encrypted {
        return Err(Rc::ATTRIBUTES.parameter(1));
    }
    let seed = if command.in_sym_seed.is_empty() {
        if encrypted {
            return Err(Rc::ATTRIBUTES.parameter(4));
        }
        None
    } else {
        // A symmetric key can't agree on a seed.
        if matches!(parent.public.parms, PublicParms::SymCipher(_)) {
            return Err(Rc::TYPE.handle(1));
        }
        let seed = tpm.decrypt_secret(&parent, b"DUPLICATE", &command.in_sym_seed);
        Some(seed.map_err(|rc| rc.parameter(4))?)
    };
    let outer = match &seed {
        Some(seed) => Some(Outer::with_seed(&parent, seed).map_err(|rc| rc.handle(1))?),
        None => None,
    };
    let alg = public.name_alg.ok_or(Rc::HASH.parameter(2))?;
    let inner = command.symmetric_alg.map(|_| Inner { alg, key: &command.encryption_key });
    let name = public.name();
    let sensitive = tpm
        .duplicate_to_sensitive(&command.duplicate, &name, inner.as_ref(), outer.as_ref())
        .map_err(|rc| rc.parameter(3))?;
    // Below a fixed parent, TPM2_Load checks no more.
    if parent.public.has(ObjectAttributes::FIXED_TPM) {
        let blame = Blame { public: 2, sensitive: 3 };
        load::check_loadable(None, &public, Some(&sensitive), true, blame)?;
    }
    let out_private = tpm.sensitive_to_private(&sensitive, &name, Some(alg), &parent)?;
    Ok(Response { out_private })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{
        FIXED, OWN, POLICY, Stored, derivation_parent, ecc_storage, hmac_key, import_clear, next,
        rsa_storage, sym_cipher,
    };
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Aes, Auth, Cc, Data, Digest, EncryptedSecret, Handle, ObjectAttributes as Attr, Private,
        Public, PublicId, Rc, Sensitive, Sized2b,
    };

    fn movable() -> Public {
        let mut template = hmac_key();
        template.attributes = template.attributes.without(FIXED);
        template.auth_policy = Digest::from_slice(&POLICY);
        template
    }

    /// What `TPM2_Duplicate` gave, and `TPM2_Import` takes.
    #[derive(Clone)]
    struct Travelling {
        key: Data,
        public: Public,
        duplicate: Private,
        seed: EncryptedSecret,
        alg: Option<Aes>,
    }

    fn send(
        client: &mut Client,
        object: Handle,
        new_parent: Handle,
        key: &[u8],
        alg: Option<Aes>,
    ) -> Travelling {
        let session = client.policy_for(Cc::DUPLICATE);
        let duplicate = command(Cc::DUPLICATE)
            .handle(object)
            .handle(new_parent)
            .session(session, &[], 0, &[])
            .put(Data::from_slice(key))
            .put(alg);
        let mut rest = client.run(&duplicate).unwrap().parameters;
        let out = next::<Data>(client, &mut rest);
        assert_eq!(out.is_empty(), alg.is_none() || !key.is_empty());
        let public = client.tpm.object(object).unwrap().public.clone();
        Travelling {
            key: if out.is_empty() { Data::from_slice(key) } else { out },
            public,
            duplicate: next(client, &mut rest),
            seed: next(client, &mut rest),
            alg,
        }
    }

    fn import(parent: Handle, sent: &Travelling) -> CommandBuilder {
        command(Cc::IMPORT)
            .handle(parent)
            .password(b"")
            .put(&sent.key)
            .put(Sized2b(sent.public.clone()))
            .put(&sent.duplicate)
            .put(&sent.seed)
            .put(sent.alg)
    }

    fn arrive(client: &mut Client, parent: Handle, sent: &Travelling) -> Handle {
        let mut rest = client.run(&import(parent, sent)).unwrap().parameters;
        let private = next::<Private>(client, &mut rest);
        client.load_stored(parent, &Stored { private, public: sent.public.clone() }).unwrap()
    }

    #[test]
    fn a_key_arrives_in_every_combination_of_wrappers() {
        for storage in [ecc_storage(), rsa_storage(1024)] {
            let mut client = Client::started();
            let parent = client.primary(Handle::PLATFORM, &storage);
            let object = client.primary(Handle::OWNER, &movable());
            let inner =
                [(&b""[..], None), (b"", Some(Aes::cfb(256))), (&[9; 16], Some(Aes::cfb(128)))];
            for (key, alg) in inner {
                for outer in [parent, Handle::NULL] {
                    let sent = send(&mut client, object, outer, key, alg);
                    let arrived = arrive(&mut client, parent, &sent);
                    let (from, to) =
                        (client.tpm.object(object).unwrap(), client.tpm.object(arrived).unwrap());
                    assert_eq!(from.sensitive, to.sensitive);
                    assert_eq!(from.name, to.name);
                    assert_ne!(from.qualified_name, to.qualified_name);
                    client.flush(arrived);
                }
            }
        }
    }

    #[test]
    fn a_damaged_wrapper_is_refused() {
        let mut client = Client::started();
        let parent = client.primary(Handle::PLATFORM, &ecc_storage());
        let object = client.primary(Handle::OWNER, &movable());
        for outer in [parent, Handle::NULL] {
            let sent = send(&mut client, object, outer, b"", Some(Aes::cfb(128)));
            for position in 2..sent.duplicate.len() {
                let mut bytes = sent.duplicate.to_vec();
                bytes[position] ^= 1;
                let damaged = Travelling { duplicate: Private::from_slice(&bytes), ..sent.clone() };
                let rc = client.rc(&import(parent, &damaged));
                assert_eq!(rc, Rc::INTEGRITY.parameter(3));
            }
        }
    }

    #[test]
    fn parameters_that_contradict_each_other_are_named() {
        let mut client = Client::started();
        let parent = client.primary(Handle::PLATFORM, &ecc_storage());
        let object = client.primary(Handle::OWNER, &movable());
        let sent = send(&mut client, object, parent, b"", Some(Aes::cfb(128)));
        let mut refused = |change: &dyn Fn(&mut Travelling), rc: Rc| {
            let mut changed = sent.clone();
            change(&mut changed);
            assert_eq!(client.rc(&import(parent, &changed)), rc);
        };
        refused(&|sent| sent.key = Data::empty(), Rc::SIZE.parameter(1));
        refused(&|sent| sent.alg = None, Rc::SIZE.parameter(1));
        let fixed = |attribute| {
            move |sent: &mut Travelling| {
                sent.public.attributes = sent.public.attributes.with(attribute);
            }
        };
        refused(&fixed(Attr::FIXED_TPM), Rc::ATTRIBUTES.parameter(2));
        refused(&fixed(Attr::FIXED_PARENT), Rc::ATTRIBUTES.parameter(2));
        let bare = |sent: &mut Travelling| {
            fixed(Attr::ENCRYPTED_DUPLICATION)(sent);
            sent.alg = None;
            sent.key = Data::empty();
        };
        refused(&bare, Rc::ATTRIBUTES.parameter(1));
        let half = |sent: &mut Travelling| {
            fixed(Attr::ENCRYPTED_DUPLICATION)(sent);
            sent.seed = EncryptedSecret::empty();
        };
        refused(&half, Rc::ATTRIBUTES.parameter(4));
        refused(
            &|sent| sent.seed = EncryptedSecret::from_slice(&[0]),
            Rc::INSUFFICIENT.parameter(4),
        );
        refused(&|sent| sent.public.name_alg = None, Rc::HASH.parameter(2));
    }

    #[test]
    fn only_a_storage_key_is_a_parent_and_only_an_asymmetric_one_agrees_on_a_seed() {
        let mut client = Client::started();
        let parent = client.primary(Handle::PLATFORM, &ecc_storage());
        let object = client.primary(Handle::OWNER, &movable());
        let sent = send(&mut client, object, parent, b"", None);
        client.flush(parent);
        let derivation = client.primary(Handle::OWNER, &derivation_parent());
        assert_eq!(client.rc(&import(derivation, &sent)), Rc::TYPE.handle(1));
        client.flush(derivation);
        let restricted = FIXED.with(OWN).with(Attr::RESTRICTED).with(Attr::DECRYPT);
        let symmetric =
            client.primary(Handle::OWNER, &sym_cipher(restricted, Some(crate::wire::SymMode::Cfb)));
        assert_eq!(client.rc(&import(symmetric, &sent)), Rc::TYPE.handle(1));
        let plain = send(&mut client, object, Handle::NULL, b"", None);
        arrive(&mut client, symmetric, &plain);
    }

    #[test]
    fn areas_that_do_not_belong_together_are_refused() {
        let mut client = Client::started();
        let parent = client.primary(Handle::PLATFORM, &ecc_storage());
        let object = client.primary(Handle::OWNER, &movable());
        let object = client.tpm.object(object).unwrap();
        let sensitive = object.sensitive.clone().unwrap();
        client.run(&import_clear(parent, &object.public, &sensitive)).unwrap();
        let mut public = object.public.clone();
        public.unique = PublicId::Digest(Digest::from_slice(&[1; 32]));
        assert_eq!(client.rc(&import_clear(parent, &public, &sensitive)), Rc::BINDING);
        let short = Sensitive { seed: Auth::from_slice(&[1; 8]), ..sensitive };
        let rc = client.rc(&import_clear(parent, &object.public, &short));
        assert_eq!(rc, Rc::KEY_SIZE.parameter(3));
    }

    #[test]
    fn an_area_of_the_wrong_size_is_refused() {
        let mut client = Client::started();
        let parent = client.primary(Handle::PLATFORM, &ecc_storage());
        let object = client.primary(Handle::OWNER, &movable());
        let mut sent = send(&mut client, object, Handle::NULL, b"", None);
        let mut bytes = sent.duplicate.to_vec();
        bytes.push(0);
        sent.duplicate = Private::from_slice(&bytes);
        assert_eq!(client.rc(&import(parent, &sent)), Rc::SIZE.parameter(3));
    }
}
