//! The authorization area of a response, and the audits (Part 1, clauses 17.4, 17.6.6 and 34).

use super::authorize::{Authorized, Entry};
use super::crypt;
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::hmac::hmac;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Handle, HandleType, Marshal, Nonce, Rc, SessionAttributes};

impl Tpm {
    /// Rolls the nonces, encrypts the first response parameter, audits, and appends the response's
    /// authorization area to `area`.
    pub(crate) fn respond(
        &mut self,
        mut authorized: Authorized,
        parameters: &mut [u8],
        no_sessions: bool,
        area: &mut Vec<u8>,
    ) -> Result<(), Rc> {
        self.roll_nonces(&authorized)?;
        self.encrypt_parameter(&authorized, parameters)?;
        let parameters = &*parameters;
        self.audit_sessions(&mut authorized, parameters, no_sessions);
        self.audit_command(&authorized, parameters);
        for entry in &mut authorized.entries {
            self.respond_entry(authorized.code, entry, parameters, area)?;
        }
        Ok(())
    }

    fn roll_nonces(&mut self, authorized: &Authorized) -> Result<(), Rc> {
        for entry in &authorized.entries {
            let Some(session) = self.sessions.get(entry.handle) else { continue };
            let nonce = Nonce::from_slice(&self.random(session.nonce_tpm.len()));
            self.sessions.get_mut(entry.handle).ok_or(Rc::FAILURE)?.nonce_tpm = nonce;
        }
        Ok(())
    }

    fn encrypt_parameter(&self, authorized: &Authorized, parameters: &mut [u8]) -> Result<(), Rc> {
        let Some(position) = authorized.encrypt else { return Ok(()) };
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let extra = self.entry_auth(entry);
        let (size, rest) = parameters.split_first_chunk_mut::<2>().ok_or(Rc::FAILURE)?;
        let size = usize::from(u16::from_be_bytes(*size));
        let data = rest.get_mut(..size).ok_or(Rc::FAILURE)?;
        crypt::transform(session, &extra, &session.nonce_tpm, &entry.nonce_caller, true, data)
    }

    fn audit_sessions(
        &mut self,
        authorized: &mut Authorized,
        parameters: &[u8],
        no_sessions: bool,
    ) {
        let code = authorized.code;
        let position =
            authorized.entries.iter().position(|e| e.attributes.has(SessionAttributes::AUDIT));
        let Some(position) = position else {
            if !no_sessions {
                self.sessions.exclusive = None;
            }
            return;
        };
        let cp_hashes = core::mem::take(&mut authorized.cp_hashes);
        if let Some(entry) = authorized.entries.get_mut(position) {
            self.audit_session(entry, code, &cp_hashes, parameters);
        }
        authorized.cp_hashes = cp_hashes;
    }

    fn audit_session(
        &mut self,
        entry: &mut Entry,
        code: Cc,
        cp_hashes: &[(HashAlg, hash::Digest)],
        parameters: &[u8],
    ) {
        let handle = entry.handle;
        let Some(session) = self.sessions.get_mut(handle) else { return };
        let alg = session.hash;
        let previous = match &session.audit {
            Some(digest) if !entry.attributes.has(SessionAttributes::AUDIT_RESET) => {
                let digest = digest.clone();
                if self.sessions.exclusive != Some(handle) {
                    self.sessions.exclusive = None;
                }
                digest
            }
            _ => {
                session.bound = None;
                self.sessions.exclusive = Some(handle);
                Digest::from(vec![0; alg.digest_size()])
            }
        };
        entry.attributes = if self.sessions.exclusive == Some(handle) {
            entry.attributes.with(SessionAttributes::AUDIT_EXCLUSIVE)
        } else {
            entry.attributes.without(SessionAttributes::AUDIT_EXCLUSIVE)
        };
        let Some((_, cp_hash)) = cp_hashes.iter().find(|(a, _)| *a == alg) else { return };
        let rp_hash = rp_hash(alg, code, parameters);
        let digest = hash::hash(alg, &[&previous, cp_hash, &rp_hash]);
        if let Some(session) = self.sessions.get_mut(handle) {
            session.audit = Some(Digest::from_slice(&digest));
        }
    }

    /// Whether a command is in the list of audited commands.
    pub(crate) fn is_audited(&self, code: Cc) -> bool {
        self.permanent.audit.commands.binary_search(&code).is_ok()
    }

    fn audit_command(&mut self, authorized: &Authorized, parameters: &[u8]) {
        let alg = self.permanent.audit.alg;
        // The command that changed the algorithm is not audited itself: the digest starts anew
        // with the next one.
        if authorized.audit != Some(alg) {
            return;
        }
        let Some(cp_hash) = authorized.cp_hash(alg) else { return };
        if self.reset.command_audit_digest.is_empty() {
            self.reset.command_audit_digest = Digest::from(vec![0; alg.digest_size()]);
            self.permanent.audit.counter = self.permanent.audit.counter.wrapping_add(1);
            self.persist();
        }
        let rp_hash = rp_hash(alg, authorized.code, parameters);
        let digest = hash::hash(alg, &[&self.reset.command_audit_digest, cp_hash, &rp_hash]);
        self.reset.command_audit_digest = Digest::from_slice(&digest);
        self.clear_orderly();
    }

    fn respond_entry(
        &mut self,
        code: Cc,
        entry: &mut Entry,
        parameters: &[u8],
        area: &mut Vec<u8>,
    ) -> Result<(), Rc> {
        if entry.handle == Handle::PASSWORD {
            entry.attributes = entry.attributes.with(SessionAttributes::CONTINUE_SESSION);
            Digest::empty().marshal(area);
            entry.attributes.marshal(area);
            Digest::empty().marshal(area);
            return Ok(());
        }
        let continues = entry.attributes.has(SessionAttributes::CONTINUE_SESSION);
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let policy = entry.handle.is(HandleType::PolicySession);
        let auth = if policy && session.policy.password_needed {
            Digest::empty()
        } else {
            self.response_hmac(code, entry, parameters)?
        };
        let session = self.sessions.get_mut(entry.handle).ok_or(Rc::FAILURE)?;
        session.nonce_tpm.marshal(area);
        entry.attributes.marshal(area);
        auth.marshal(area);
        if !continues {
            self.sessions.flush(entry.handle);
        } else if policy {
            // A rolled nonce starts a new policy.
            session.policy =
                super::PolicyState::new(session.hash, self.clock.time, self.clock.epoch);
        }
        Ok(())
    }

    fn response_hmac(&self, code: Cc, entry: &Entry, parameters: &[u8]) -> Result<Digest, Rc> {
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let key = self.hmac_key(entry, session);
        if key.is_empty() && entry.auth.is_empty() {
            return Ok(Digest::empty());
        }
        let rp_hash = rp_hash(session.hash, code, parameters);
        let parts: [&[u8]; 4] =
            [&rp_hash, &session.nonce_tpm, &entry.nonce_caller, &[entry.attributes.0]];
        Ok(Digest::from_slice(&hmac(session.hash, &key, &parts)))
    }
}

/// `rpHash` of a successful response (Part 1, clause 16.8).
fn rp_hash(alg: HashAlg, code: Cc, parameters: &[u8]) -> hash::Digest {
    hash::hash(alg, &[&[0; 4], &code.0.to_be_bytes(), parameters])
}
