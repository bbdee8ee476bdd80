//! The caller's side of sessions, for tests: nonces, HMAC, encryption and decryption of parameters
//! (Part 1, clauses 17 and 19).

use crate::crypto::hash::{HashAlg, hash};
use crate::crypto::hmac::hmac;
use crate::crypto::{kdf, sym};
use crate::test_util::{Client, Reply, command};
use crate::wire::{
    Cc, EncryptedSecret, Handle, Marshal, Nonce, Rc, Se, SessionAttributes, SymDef, Tag,
};

pub(crate) const CONTINUE: SessionAttributes = SessionAttributes::CONTINUE_SESSION;
pub(crate) const DECRYPT: SessionAttributes = CONTINUE.with(SessionAttributes::DECRYPT);
pub(crate) const ENCRYPT: SessionAttributes = CONTINUE.with(SessionAttributes::ENCRYPT);
pub(crate) const AUDIT: SessionAttributes = CONTINUE.with(SessionAttributes::AUDIT);

/// How a session is started.
pub(crate) struct Start<'a> {
    pub(crate) kind: Se,
    pub(crate) hash: HashAlg,
    pub(crate) symmetric: SymDef,
    /// The entity and its authorization value.
    pub(crate) bind: Option<(Handle, &'a [u8])>,
    /// The key, the encrypted salt, and the salt.
    pub(crate) salt: Option<(Handle, EncryptedSecret, &'a [u8])>,
}

impl Start<'_> {
    /// Neither bound nor salted.
    pub(crate) fn plain(kind: Se) -> Self {
        Self { kind, hash: HashAlg::Sha256, symmetric: SymDef::Null, bind: None, salt: None }
    }
}

/// What the caller knows of a session.
pub(crate) struct ClientSession {
    pub(crate) handle: Handle,
    pub(crate) hash: HashAlg,
    pub(crate) symmetric: SymDef,
    pub(crate) key: Vec<u8>,
    pub(crate) nonce_tpm: Vec<u8>,
    /// Attributes in the last response.
    pub(crate) attributes: SessionAttributes,
}

impl ClientSession {
    /// Starts a session and derives its key as a caller does.
    pub(crate) fn start(client: &mut Client, start: &Start<'_>) -> Self {
        let nonce_caller = vec![0x5a; start.hash.digest_size()];
        let salt = start.salt.as_ref();
        let request = command(Cc::START_AUTH_SESSION)
            .handle(salt.map_or(Handle::NULL, |(key, ..)| *key))
            .handle(start.bind.map_or(Handle::NULL, |(entity, _)| entity))
            .put(Nonce::from_slice(&nonce_caller))
            .put(salt.map_or_else(EncryptedSecret::empty, |(_, encrypted, _)| encrypted.clone()))
            .put(start.kind)
            .put(start.symmetric)
            .put(start.hash);
        let reply = client.run(&request).unwrap();
        let nonce_tpm = reply.parameters[2..].to_vec();
        let mut key = Vec::new();
        if start.bind.is_some() || salt.is_some() {
            let mut secret = start.bind.map_or(Vec::new(), |(_, auth)| auth.to_vec());
            secret.extend_from_slice(salt.map_or(&[], |(_, _, salt)| salt));
            let bits = start.hash.digest_size() as u32 * 8;
            key = kdf::kdfa(start.hash, &secret, b"ATH", &nonce_tpm, &nonce_caller, bits).to_vec();
        }
        Self {
            handle: reply.handle.unwrap(),
            hash: start.hash,
            symmetric: start.symmetric,
            key,
            nonce_tpm,
            attributes: SessionAttributes::NONE,
        }
    }

    fn transform(&self, auth: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
        let key = [&self.key, auth].concat();
        match self.symmetric {
            SymDef::Null => panic!("the session has no cipher"),
            SymDef::Xor(_) => sym::xor_obfuscate(self.hash, &key, newer, older, data),
            SymDef::Aes(aes) => {
                let bits = u32::from(aes.bits) + 128;
                let material = kdf::kdfa(self.hash, &key, b"CFB", newer, older, bits);
                let (key, iv) = material.split_at(aes.key_bytes());
                let iv = iv.try_into().unwrap();
                let result = if encrypt {
                    sym::cfb_encrypt(key, iv, data)
                } else {
                    sym::cfb_decrypt(key, iv, data)
                };
                result.unwrap();
            }
        }
    }
}

/// A session in a command.
pub(crate) struct Use<'a> {
    pub(crate) session: &'a mut ClientSession,
    pub(crate) attributes: SessionAttributes,
    /// The authorization value of the entity that the session authorizes; part of the key of
    /// encryption, and if `include_auth` of that of the HMAC.
    pub(crate) auth: &'a [u8],
    /// As `auth`, when the command has run.
    pub(crate) response_auth: &'a [u8],
    pub(crate) include_auth: bool,
    /// Stands in the place of the HMAC (`TPM2_PolicyPassword`).
    pub(crate) password: Option<&'a [u8]>,
}

impl<'a> Use<'a> {
    /// A session that authorizes nothing.
    pub(crate) fn extra(session: &'a mut ClientSession, attributes: SessionAttributes) -> Self {
        Self {
            session,
            attributes,
            auth: &[],
            response_auth: &[],
            include_auth: false,
            password: None,
        }
    }

    /// A session that authorizes an entity with this authorization value.
    pub(crate) fn authorize(session: &'a mut ClientSession, auth: &'a [u8]) -> Self {
        Self {
            session,
            attributes: CONTINUE,
            auth,
            response_auth: auth,
            include_auth: true,
            password: None,
        }
    }

    /// With other attributes.
    pub(crate) fn with(mut self, attributes: SessionAttributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// The authorization value is not in the HMAC: the session is bound, or a policy does without.
    pub(crate) fn without_auth(mut self) -> Self {
        self.include_auth = false;
        self
    }

    fn hmac_key(&self, auth: &[u8]) -> Vec<u8> {
        let auth = if self.include_auth { auth } else { &[] };
        [&self.session.key, auth].concat()
    }
}

/// A command with sessions other than passwords.
pub(crate) struct Call {
    pub(crate) code: Cc,
    pub(crate) handles: Vec<Handle>,
    pub(crate) parameters: Vec<u8>,
    /// Applied to the parameters after encryption, before the HMAC: what a hostile caller does.
    pub(crate) mangle: fn(&mut Vec<u8>),
}

/// Starts a call.
pub(crate) fn call(code: Cc, handles: &[Handle], parameters: &[u8]) -> Call {
    let (handles, parameters) = (handles.to_vec(), parameters.to_vec());
    Call { code, handles, parameters, mangle: |_| {} }
}

impl Call {
    /// Runs the command, checks the HMAC of every session of the response, and decrypts its first
    /// parameter.
    pub(crate) fn run(&self, client: &mut Client, uses: &mut [Use<'_>]) -> Result<Reply, Rc> {
        let nonces: Vec<Vec<u8>> = (0..uses.len()).map(|n| vec![0xc0 + n as u8; 16 + n]).collect();
        let command = self.build(client, uses, &nonces);
        let response = client.raw(&command);
        let code = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if code != 0 {
            return Err(Rc::from_code(code));
        }
        let mut body = &response[10..];
        let handle = crate::commands::find(self.code).unwrap().response_handle.then(|| {
            let (handle, rest) = body.split_first_chunk::<4>().unwrap();
            body = rest;
            Handle(u32::from_be_bytes(*handle))
        });
        let (size, rest) = body.split_first_chunk::<4>().unwrap();
        let (parameters, mut area) = rest.split_at(u32::from_be_bytes(*size) as usize);
        let mut parameters = parameters.to_vec();
        for (entry, nonce_caller) in uses.iter_mut().zip(&nonces) {
            self.check_response(entry, nonce_caller, &parameters, &mut area);
        }
        assert!(area.is_empty());
        for (entry, nonce_caller) in uses.iter().zip(&nonces) {
            if entry.attributes.has(SessionAttributes::ENCRYPT) {
                let session = &entry.session;
                let size = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
                let data = &mut parameters[2..2 + size];
                session.transform(entry.auth, &session.nonce_tpm, nonce_caller, false, data);
            }
        }
        Ok(Reply { handle, parameters })
    }

    fn build(&self, client: &Client, uses: &[Use<'_>], nonces: &[Vec<u8>]) -> Vec<u8> {
        let mut parameters = self.parameters.clone();
        for (entry, nonce) in uses.iter().zip(nonces) {
            if entry.attributes.has(SessionAttributes::DECRYPT) && parameters.len() >= 2 {
                let size = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
                let end = parameters.len().min(2 + size);
                let data = &mut parameters[2..end];
                entry.session.transform(entry.auth, nonce, &entry.session.nonce_tpm, true, data);
            }
        }
        (self.mangle)(&mut parameters);
        let area = self.authorizations(client, uses, nonces, &parameters);
        let mut out = Tag::SESSIONS.to_bytes();
        out.extend_from_slice(&[0; 4]);
        self.code.marshal(&mut out);
        self.handles.iter().for_each(|handle| handle.marshal(&mut out));
        (area.len() as u32).marshal(&mut out);
        out.extend_from_slice(&area);
        out.extend_from_slice(&parameters);
        let size = (out.len() as u32).to_be_bytes();
        out[2..6].copy_from_slice(&size);
        out
    }

    fn authorizations(
        &self,
        client: &Client,
        uses: &[Use<'_>],
        nonces: &[Vec<u8>],
        parameters: &[u8],
    ) -> Vec<u8> {
        let names: Vec<u8> =
            self.handles.iter().flat_map(|handle| client.tpm.name(*handle).to_vec()).collect();
        let code = self.code.to_bytes();
        let with = |attribute| uses.iter().position(|entry| entry.attributes.has(attribute));
        let decrypt = with(SessionAttributes::DECRYPT);
        let encrypt = with(SessionAttributes::ENCRYPT).filter(|at| Some(*at) != decrypt);
        let authorizes = !crate::commands::find(self.code).unwrap().roles.is_empty();
        let mut area = Vec::new();
        for (position, (entry, nonce)) in uses.iter().zip(nonces).enumerate() {
            let session = &entry.session;
            let mut extra = Vec::new();
            if position == 0 && authorizes {
                for other in [decrypt, encrypt].into_iter().flatten().filter(|at| *at != 0) {
                    extra.extend_from_slice(&uses[other].session.nonce_tpm);
                }
            }
            let key = entry.hmac_key(entry.auth);
            let auth = match entry.password {
                Some(password) => password.to_vec(),
                None if key.is_empty() => Vec::new(),
                None => {
                    let cp_hash = hash(session.hash, &[&code, &names, parameters]);
                    let attributes = [entry.attributes.0];
                    let parts: [&[u8]; 5] =
                        [&cp_hash, nonce, &session.nonce_tpm, &extra, &attributes];
                    hmac(session.hash, &key, &parts).to_vec()
                }
            };
            session.handle.marshal(&mut area);
            Nonce::from_slice(nonce).marshal(&mut area);
            entry.attributes.marshal(&mut area);
            Nonce::from_slice(&auth).marshal(&mut area);
        }
        area
    }

    fn check_response(
        &self,
        entry: &mut Use<'_>,
        nonce_caller: &[u8],
        parameters: &[u8],
        area: &mut &[u8],
    ) {
        let mut sized = || {
            let (size, rest) = area.split_first_chunk::<2>().unwrap();
            let (bytes, rest) = rest.split_at(usize::from(u16::from_be_bytes(*size)));
            *area = rest;
            bytes.to_vec()
        };
        let nonce_tpm = sized();
        assert_ne!(nonce_tpm, entry.session.nonce_tpm, "the nonce did not roll");
        assert_eq!(nonce_tpm.len(), entry.session.nonce_tpm.len());
        entry.session.nonce_tpm = nonce_tpm;
        let (attributes, rest) = area.split_first().unwrap();
        entry.session.attributes = SessionAttributes(*attributes);
        *area = rest;
        let (size, rest) = area.split_first_chunk::<2>().unwrap();
        let (auth, rest) = rest.split_at(usize::from(u16::from_be_bytes(*size)));
        *area = rest;
        let key = entry.hmac_key(entry.response_auth);
        if entry.password.is_some() || key.is_empty() {
            assert!(auth.is_empty());
            return;
        }
        let alg = entry.session.hash;
        let rp_hash = hash(alg, &[&[0; 4], &self.code.to_bytes(), parameters]);
        let attributes = [*attributes];
        let parts: [&[u8]; 4] = [&rp_hash, &entry.session.nonce_tpm, nonce_caller, &attributes];
        assert_eq!(auth, &hmac(alg, &key, &parts)[..], "the response's HMAC");
    }
}
