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
