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

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, of_kind, with_index};
    use crate::commands::policy::test_util::start;
    use crate::crypto::hash::HashAlg;
    use crate::sign::test_keys;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Aes, Cc, EncryptedSecret, Handle, KeyedHashScheme, Marshal, Nonce, ObjectAttributes, Rc,
        Scheme, Se, SymDef, SymMode,
    };

    struct Start {
        key: Handle,
        bind: Handle,
        nonce: usize,
        salt: usize,
        symmetric: SymDef,
    }

    const PLAIN: Start = Start {
        key: Handle::NULL,
        bind: Handle::NULL,
        nonce: 16,
        salt: 0,
        symmetric: SymDef::Null,
    };

    impl Start {
        fn build(&self) -> CommandBuilder {
            command(Cc::START_AUTH_SESSION)
                .handle(self.key)
                .handle(self.bind)
                .put(Nonce::from_slice(&vec![1; self.nonce]))
                .put(EncryptedSecret::from_slice(&vec![1; self.salt]))
                .put(Se::HMAC)
                .put(self.symmetric)
                .put(HashAlg::Sha256)
        }
    }

    #[test]
    fn a_vendors_authorization_is_told_after_a_key_that_is_not_there() {
        let mut client = Client::started();
        let bind = Handle(0x4000_0010);
        assert_eq!(client.rc(&Start { bind, ..PLAIN }.build()), Rc::VALUE.handle(2));
        let both = Start { key: Handle(0x8000_0000), bind, ..PLAIN };
        assert_eq!(client.rc(&both.build()), Rc::reference_handle(0));
    }

    #[test]
    fn the_nonce_has_the_size_of_the_callers() {
        let mut client = Client::started();
        for nonce in [16, 31, 32] {
            let reply = client.run(&Start { nonce, ..PLAIN }.build()).unwrap();
            assert_eq!(reply.parameters.len(), 2 + nonce);
        }
    }

    #[test]
    fn a_nonce_that_is_short_or_longer_than_the_digest_is_refused() {
        let mut client = Client::started();
        for nonce in [0, 15, 33, 64] {
            let request = Start { nonce, ..PLAIN }.build();
            assert_eq!(client.rc(&request), Rc::SIZE.parameter(1));
        }
    }

    #[test]
    fn the_handle_says_the_kind() {
        let mut client = Client::started();
        for (kind, handle) in
            [(Se::HMAC, 0x0200_0000), (Se::POLICY, 0x0300_0001), (Se::TRIAL, 0x0300_0002)]
        {
            assert_eq!(client.run(&start(kind)).unwrap().handle, Some(Handle(handle)));
        }
        assert_eq!(client.rc(&start(Se::HMAC)), Rc::SESSION_MEMORY);
        assert_eq!(client.rc(&start(Se(2))), Rc::VALUE.parameter(3));
    }

    #[test]
    fn a_salt_needs_a_key_and_a_key_a_salt() {
        let mut client = Client::started();
        let request = Start { salt: 32, ..PLAIN }.build();
        assert_eq!(client.rc(&request), Rc::VALUE.parameter(2));
        let decrypt = ObjectAttributes::DECRYPT;
        let key = client.load(test_keys::with(test_keys::rsa(Scheme::Null), decrypt));
        let request = Start { key, ..PLAIN }.build();
        assert_eq!(client.rc(&request), Rc::VALUE.parameter(2));
        let request = Start { key, salt: 128, ..PLAIN }.build();
        assert_eq!(client.rc(&request), Rc::VALUE.parameter(2));
    }

    #[test]
    fn the_key_must_be_asymmetric_complete_and_for_decryption() {
        let mut client = Client::started();
        let signing = client.load(test_keys::rsa(Scheme::Null));
        let public = client.load(test_keys::public_only(test_keys::rsa(Scheme::Null)));
        let hmac = client.load(test_keys::hmac(KeyedHashScheme::Null));
        let keys = [(signing, Rc::ATTRIBUTES), (public, Rc::HANDLE), (hmac, Rc::KEY)];
        for (key, rc) in keys {
            let request = Start { key, salt: 32, ..PLAIN }.build();
            assert_eq!(client.rc(&request), rc.handle(1));
        }
        let request = Start { bind: public, ..PLAIN }.build();
        assert_eq!(client.rc(&request), Rc::HANDLE.handle(2));
    }

    #[test]
    fn a_pin_index_binds_no_session() {
        let mut client = with_index(of_kind(9), 8);
        let request = Start { bind: Handle(INDEX), ..PLAIN }.build();
        assert_eq!(client.rc(&request), Rc::HANDLE.handle(2));
    }

    #[test]
    fn a_block_cipher_works_in_cfb_mode() {
        let mut client = Client::started();
        for mode in [None, Some(SymMode::Cbc), Some(SymMode::Ctr)] {
            let symmetric = SymDef::Aes(Aes { bits: 128, mode });
            let request = Start { symmetric, ..PLAIN }.build();
            assert_eq!(client.rc(&request), Rc::MODE.parameter(4));
        }
        client.run(&Start { symmetric: SymDef::Aes(Aes::cfb(256)), ..PLAIN }.build()).unwrap();
    }

    #[test]
    fn an_unknown_hash_is_refused() {
        let mut client = Client::started();
        let mut bytes = start(Se::HMAC).build();
        let end = bytes.len();
        bytes[end - 2..].copy_from_slice(&crate::wire::Alg::NULL.to_bytes());
        let response = client.raw(&bytes);
        assert_eq!(response[6..10], Rc::HASH.parameter(5).code().to_be_bytes());
    }
}
