//! TPM2_Duplicate: Part 3, clause 13.1, revision 1.59.

use zeroize::Zeroizing;

use super::is_new_parent;
use crate::commands::command;
use crate::object::protect::{Inner, Outer};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Aes, Data, DhObject, EncryptedSecret, ObjectAttributes, Private, Rc};

command! {
    /// Prepares an object for another parent, of this or another TPM.
    #[doc(alias = "TPM2_Duplicate")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
            /// The new parent; `TPM_RH_NULL` for no outer wrapper.
            new_parent_handle: Option<DhObject>,
        }
        parameters {
            /// Key of the inner wrapper; empty for one that the TPM makes.
            encryption_key_in: Data,
            /// Algorithm of the inner wrapper; absent for no inner wrapper.
            symmetric_alg: Option<Aes>,
        }
    }
    Response {
        parameters {
            /// Key of the inner wrapper, when the TPM made it.
            encryption_key_out: Data,
            /// The sensitive area in its wrappers.
            duplicate: Private,
            /// Seed of the outer wrapper, encrypted to the new parent.
            out_sym_seed: EncryptedSecret,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let object = tpm.object(command.object_handle).map_err(|_| Rc::TYPE.handle(1))?;
    if object.public.has(ObjectAttributes::FIXED_PARENT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let alg = object.public.name_alg.ok_or(Rc::TYPE.handle(1))?;
    let new_parent = match command.new_parent_handle {
        Some(handle) => {
            let parent = tpm.object(handle).map_err(|_| Rc::TYPE.handle(2))?;
            if !is_new_parent(&parent) {
                return Err(Rc::TYPE.handle(2));
            }
            Some(parent)
        }
        None => None,
    };
    if object.public.has(ObjectAttributes::ENCRYPTED_DUPLICATION) {
        if command.symmetric_alg.is_none() {
            return Err(Rc::SYMMETRIC.parameter(2));
        }
        if new_parent.is_none() {
            return Err(Rc::HIERARCHY.handle(2));
        }
    }
    let given = &command.encryption_key_in;
    let key_size = command.symmetric_alg.map_or(0, Aes::key_bytes);
    if !given.is_empty() && given.len() != key_size {
        return Err(Rc::SIZE.parameter(1));
    }
    let (seed, out_sym_seed) = match &new_parent {
        Some(parent) => tpm.encrypt_secret(parent, b"DUPLICATE")?,
        None => Default::default(),
    };
    let (key, encryption_key_out) = if given.is_empty() {
        let fresh = tpm.random(key_size);
        let out = Data::from_slice(&fresh);
        (fresh, out)
    } else {
        (Zeroizing::new(given.to_vec()), Data::empty())
    };
    let inner = command.symmetric_alg.map(|_| Inner { alg, key: &key });
    let outer = match &new_parent {
        Some(parent) => Some(Outer::with_seed(parent, &seed).map_err(|rc| rc.handle(2))?),
        None => None,
    };
    let duplicate = tpm.sensitive_to_duplicate(&object, inner.as_ref(), outer.as_ref())?;
    Ok(Response { encryption_key_out, duplicate, out_sym_seed })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{FIXED, POLICY, ecc_signing, ecc_storage, hmac_key};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Aes, Cc, Data, Digest, Handle, ObjectAttributes as Attr, Public, Rc, SymMode,
    };

    /// A key that can be duplicated under the policy.
    fn movable() -> Public {
        let mut template = hmac_key();
        template.attributes = template.attributes.without(FIXED);
        template.auth_policy = Digest::from_slice(&POLICY);
        template
    }

    fn duplicate(
        client: &mut Client,
        object: Handle,
        new_parent: Handle,
        key: &[u8],
        alg: Option<Aes>,
    ) -> CommandBuilder {
        let session = client.policy_for(Cc::DUPLICATE);
        command(Cc::DUPLICATE)
            .handle(object)
            .handle(new_parent)
            .session(session, &[], 0, &[])
            .put(Data::from_slice(key))
            .put(alg)
    }

    #[test]
    fn an_object_that_is_fixed_stays() {
        let mut client = Client::started();
        let mut template = hmac_key();
        template.auth_policy = Digest::from_slice(&POLICY);
        let object = client.primary(Handle::OWNER, &template);
        let duplicate = duplicate(&mut client, object, Handle::NULL, b"", None);
        assert_eq!(client.rc(&duplicate), Rc::ATTRIBUTES.handle(1));
    }

    #[test]
    fn the_new_parent_must_be_an_asymmetric_storage_key() {
        let mut client = Client::started();
        let object = client.primary(Handle::OWNER, &movable());
        let signing = client.primary(Handle::OWNER, &ecc_signing());
        for new_parent in [object, signing] {
            let duplicate = duplicate(&mut client, object, new_parent, b"", None);
            assert_eq!(client.rc(&duplicate), Rc::TYPE.handle(2));
            client.tpm.sessions.drop_loaded();
        }
    }

    #[test]
    fn the_inner_key_must_fit_its_algorithm() {
        let mut client = Client::started();
        let object = client.primary(Handle::OWNER, &movable());
        for (key, alg) in [(&[1; 16][..], None), (&[1; 15], Some(Aes::cfb(128)))] {
            let duplicate = duplicate(&mut client, object, Handle::NULL, key, alg);
            assert_eq!(client.rc(&duplicate), Rc::SIZE.parameter(1));
            client.tpm.sessions.drop_loaded();
        }
    }

    #[test]
    fn encrypted_duplication_needs_both_wrappers() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        let mut template = movable();
        template.attributes = template.attributes.with(Attr::ENCRYPTED_DUPLICATION);
        let object = client.primary(Handle::OWNER, &template);
        let plain = duplicate(&mut client, object, parent, b"", None);
        assert_eq!(client.rc(&plain), Rc::SYMMETRIC.parameter(2));
        client.tpm.sessions.drop_loaded();
        let alg = Some(Aes { bits: 128, mode: Some(SymMode::Cfb) });
        let homeless = duplicate(&mut client, object, Handle::NULL, b"", alg);
        assert_eq!(client.rc(&homeless), Rc::HIERARCHY.handle(2));
        client.tpm.sessions.drop_loaded();
        let both = duplicate(&mut client, object, parent, b"", alg);
        client.run(&both).unwrap();
    }

    #[test]
    fn a_password_does_not_duplicate() {
        let mut client = Client::started();
        let object = client.primary(Handle::OWNER, &movable());
        let duplicate = command(Cc::DUPLICATE)
            .handle(object)
            .handle(Handle::NULL)
            .password(b"")
            .put(Data::empty())
            .put(None::<Aes>);
        assert_eq!(client.rc(&duplicate), Rc::AUTH_TYPE);
    }
}
