//! TPM2_StartAuthSession: Part 3, clause 11.1, revision 1.59.

use zeroize::Zeroizing;

use crate::commands::command;
use crate::crypto::hash::HashAlg;
use crate::crypto::kdf;
use crate::object::Slot;
use crate::session::authorize::Authorized;
use crate::session::{PolicyState, Session, SessionKey, SessionKind};
use crate::tpm::Tpm;
use crate::wire::{
    Aes, DhEntity, DhObject, EncryptedSecret, Handle, HandleInterface, HandleType, Nonce, NvType,
    ObjectAttributes, PublicParms, Rc, Reader, Se, SymDef, SymMode, Unmarshal,
};

/// The least bytes of a caller's nonce.
const MIN_NONCE: usize = 16;

/// `TPM_SE` as a parameter: an unknown one is `TPM_RC_VALUE`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionType(SessionKind);

impl Unmarshal for SessionType {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get()? {
            Se::HMAC => Ok(Self(SessionKind::Hmac)),
            Se::POLICY => Ok(Self(SessionKind::Policy)),
            Se::TRIAL => Ok(Self(SessionKind::Trial)),
            _ => Err(Rc::VALUE),
        }
    }
}

command! {
    /// Starts a session.
    #[doc(alias = "TPM2_StartAuthSession")]
    Command {
        handles {
            /// The key that the salt is encrypted for.
            tpm_key: Option<DhObject>,
            /// The entity whose authorization value goes into the session key.
            bind: Option<DhEntity>,
        }
        parameters {
            /// The caller's nonce; its size is that of all the session's nonces.
            nonce_caller: Nonce,
            /// The salt; empty without a key.
            encrypted_salt: EncryptedSecret,
            /// The kind of session.
            session_type: SessionType,
            /// How parameters are encrypted.
            symmetric: SymDef,
            /// The session's hash.
            auth_hash: HashAlg,
        }
    }
    Response {
        handle {
            /// The session.
            session_handle
        }
        parameters {
            /// The TPM's first nonce.
            nonce_tpm: Nonce,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let hash = command.auth_hash;
    if !(MIN_NONCE..=hash.digest_size()).contains(&command.nonce_caller.len()) {
        return Err(Rc::SIZE.parameter(1));
    }
    let salt = decrypt_salt(tpm, &command)?;
    let bind = command.bind.as_ref().map(HandleInterface::handle);
    if let Some(bind) = bind {
        check_bind(tpm, bind)?;
    }
    if let SymDef::Aes(Aes { mode, .. }) = command.symmetric
        && mode != Some(SymMode::Cfb)
    {
        return Err(Rc::MODE.parameter(4));
    }
    let nonce_tpm = Nonce::from_slice(&tpm.random(command.nonce_caller.len()));
    let mut session = Session {
        kind: command.session_type.0,
        hash,
        symmetric: command.symmetric,
        nonce_tpm: nonce_tpm.clone(),
        key: SessionKey::empty(),
        bound: None,
        bound_da: false,
        bound_lockout: false,
        audit: None,
        policy: PolicyState::new(hash, tpm.clock.time, tpm.clock.epoch),
    };
    if bind.is_some() || !salt.is_empty() {
        let auth = bind.map(|bind| tpm.auth_value(bind)).unwrap_or_default();
        session.key = session_key(hash, &auth, &salt, &nonce_tpm, &command.nonce_caller);
    }
    if let Some(bind) = bind {
        // Whatever its kind, a session whose key depends on a protected value is protected.
        session.bound_da = !tpm.is_da_exempt(bind);
        session.bound_lockout = bind == Handle::LOCKOUT;
        if session.kind == SessionKind::Hmac {
            session.bound = Some(tpm.bound_value(bind));
        }
    }
    let session_handle = tpm.sessions.insert(session)?;
    Ok(Response { session_handle, nonce_tpm })
}

/// `sessionKey` (Part 1, clause 17.6.8).
fn session_key(
    hash: HashAlg,
    auth: &[u8],
    salt: &[u8],
    nonce_tpm: &[u8],
    nonce_caller: &[u8],
) -> SessionKey {
    let mut key = Zeroizing::new(auth.to_vec());
    key.extend_from_slice(salt);
    let bits = hash.digest_size().saturating_mul(8) as u32;
    SessionKey::from_slice(&kdf::kdfa(hash, &key, b"ATH", nonce_tpm, nonce_caller, bits))
}

fn decrypt_salt(tpm: &mut Tpm, command: &Command) -> Result<Zeroizing<Vec<u8>>, Rc> {
    let Some(handle) = command.tpm_key else {
        return if command.encrypted_salt.is_empty() {
            Ok(Zeroizing::default())
        } else {
            Err(Rc::VALUE.parameter(2))
        };
    };
    // A sequence is no key either.
    let key = tpm.object(handle).map_err(|_| Rc::KEY.handle(1))?;
    if !matches!(key.public.parms, PublicParms::Rsa(_) | PublicParms::Ecc(_)) {
        return Err(Rc::KEY.handle(1));
    }
    if command.encrypted_salt.is_empty() {
        return Err(Rc::VALUE.parameter(2));
    }
    if key.sensitive.is_none() {
        return Err(Rc::HANDLE.handle(1));
    }
    if !key.public.has(ObjectAttributes::DECRYPT) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let salt = tpm.decrypt_secret(&key, b"SECRET", &command.encrypted_salt);
    salt.map_err(|_| Rc::VALUE.parameter(2))
}

/// An object without its sensitive area has no value to bind to, and that of a PIN index is not
/// to be used without being counted.
fn check_bind(tpm: &Tpm, bind: Handle) -> Result<(), Rc> {
    let fits = match bind.kind() {
        Some(HandleType::Transient | HandleType::Persistent) => match tpm.objects.get(bind) {
            Some(Slot::Sequence(_)) => true,
            _ => tpm.object(bind).is_ok_and(|object| object.sensitive.is_some()),
        },
        Some(HandleType::Nv) => {
            let kind = tpm.nv_index(bind)?.kind();
            !matches!(kind, NvType::PinFail | NvType::PinPass)
        }
        _ => true,
    };
    if fits { Ok(()) } else { Err(Rc::HANDLE.handle(2)) }
}
