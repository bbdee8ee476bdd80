//! What the tests of contexts and of saved state share.

use crate::crypto::ecc::Curve;
use crate::crypto::hash::HashAlg;
use crate::test_util::{Client, CommandBuilder, command};
use crate::wire::{
    Auth, Cc, Data, Digest, EccParms, EccPoint, EccScheme, EncryptedSecret, Handle, Nonce,
    ObjectAttributes, PcrSelections, Public, PublicId, PublicParms, Scheme, Se, SensitiveCreate,
    SensitiveData, Sized2b, SymDef,
};

/// Makes a primary P-256 signing key with empty authorization value.
pub(crate) fn create(client: &mut Client, hierarchy: Handle, extra: ObjectAttributes) -> Handle {
    client.run(&create_command(hierarchy, extra)).unwrap().handle.unwrap()
}

/// `TPM2_CreatePrimary` of a P-256 signing key.
pub(crate) fn create_command(hierarchy: Handle, extra: ObjectAttributes) -> CommandBuilder {
    let public = Public {
        name_alg: Some(HashAlg::Sha256),
        attributes: ObjectAttributes::FIXED_TPM
            .with(ObjectAttributes::FIXED_PARENT)
            .with(ObjectAttributes::SENSITIVE_DATA_ORIGIN)
            .with(ObjectAttributes::USER_WITH_AUTH)
            .with(ObjectAttributes::NO_DA)
            .with(ObjectAttributes::SIGN)
            .with(extra),
        auth_policy: Digest::empty(),
        parms: PublicParms::Ecc(EccParms {
            symmetric: None,
            scheme: EccScheme(Scheme::Ecdsa(HashAlg::Sha256)),
            curve: Curve::P256,
            kdf: None,
        }),
        unique: PublicId::Ecc(EccPoint::default()),
    };
    let sensitive = SensitiveCreate { user_auth: Auth::empty(), data: SensitiveData::empty() };
    let mut parameters = Vec::new();
    crate::wire::marshal_sized(&mut parameters, |out| {
        crate::wire::Marshal::marshal(&sensitive.user_auth, out);
        crate::wire::Marshal::marshal(&sensitive.data, out);
    });
    command(Cc::CREATE_PRIMARY)
        .handle(hierarchy)
        .password(b"")
        .bytes(&parameters)
        .put(Sized2b(public))
        .put(Data::empty())
        .put(PcrSelections::default())
}

/// `TPM2_ReadPublic`, whose response has both names.
pub(crate) fn name(handle: Handle) -> CommandBuilder {
    command(Cc::READ_PUBLIC).handle(handle)
}

/// `TPM2_FlushContext`.
pub(crate) fn flush(handle: Handle) -> CommandBuilder {
    command(Cc::FLUSH_CONTEXT).put(handle)
}

/// `TPM2_ContextSave`.
pub(crate) fn save(handle: Handle) -> CommandBuilder {
    command(Cc::CONTEXT_SAVE).handle(handle)
}

/// `TPM2_ContextLoad`.
pub(crate) fn load(saved: &Saved) -> CommandBuilder {
    command(Cc::CONTEXT_LOAD).bytes(&saved.0)
}

/// A saved context.
#[derive(Clone)]
pub(crate) struct Saved(pub(crate) Vec<u8>);

impl Saved {
    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn sequence(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().unwrap())
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle(self.word(8))
    }

    pub(crate) fn hierarchy(&self) -> Handle {
        Handle(self.word(12))
    }
}

/// Saves a context.
pub(crate) fn save_context(client: &mut Client, handle: Handle) -> Saved {
    Saved(client.run(&save(handle)).unwrap().parameters)
}

/// `TPM2_StartAuthSession`, neither salted nor bound.
pub(crate) fn start(kind: Se) -> CommandBuilder {
    command(Cc::START_AUTH_SESSION)
        .handle(Handle::NULL)
        .handle(Handle::NULL)
        .put(Nonce::from_slice(&[1; 16]))
        .put(EncryptedSecret::empty())
        .put(kind)
        .put(SymDef::Null)
        .put(HashAlg::Sha256)
}

/// Starts an HMAC session.
pub(crate) fn start_session(client: &mut Client) -> Handle {
    client.run(&start(Se::HMAC)).unwrap().handle.unwrap()
}

/// Starts a policy session.
pub(crate) fn start_policy(client: &mut Client) -> Handle {
    client.run(&start(Se::POLICY)).unwrap().handle.unwrap()
}
