//! The authorization area of a command (Part 1, clause 17.3; Part 3, clause 5.4 to 5.6).
//!
//! The order of the checks is the specification's, so that the response code is that of the
//! first failure: all sessions are parsed, then the handles are matched, then each session is
//! checked, and the first parameter is decrypted last.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{BoundValue, PolicyBinding, Session, crypt};
use crate::commands::Row;
use crate::crypto::hash::{self, HashAlg, Hasher};
use crate::crypto::hmac::hmac;
use crate::entity::{Access, Role};
use crate::tpm::Tpm;
use crate::wire::{
    Auth, Cc, Handle, HandleInterface, HandleType, LocalityAttributes, Marshal, Name, Nonce,
    NvAttributes, Rc, Reader, SessionAttributes, ShAuthSession,
};

/// `TPM_PT_CONTEXT_GAP_MAX`: how far the sequence numbers of two saved sessions may be apart.
pub(crate) const CONTEXT_GAP_MAX: u32 = 0xffff;

/// At most so many sessions can stand in a command.
const MAX_SESSIONS: usize = 3;

/// One session of a command.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) handle: Handle,
    pub(crate) nonce_caller: Nonce,
    pub(crate) attributes: SessionAttributes,
    pub(crate) auth: Auth,
    /// The handle that the session authorizes.
    pub(crate) entity: Option<Handle>,
    /// The entity's authorization value is part of the HMAC key.
    pub(crate) include_auth: bool,
    /// The authorization value of a transient entity: a sequence is gone when the response is
    /// authorized, but its value still counts.
    transient_auth: Auth,
}

impl Entry {
    fn is_password(&self) -> bool {
        self.handle == Handle::PASSWORD
    }

    fn has(&self, attributes: SessionAttributes) -> bool {
        self.attributes.has(attributes)
    }
}

/// Proof that a command's authorizations were checked. Only this module makes one, so no command
/// runs without its checks.
#[derive(Debug)]
pub(crate) struct Authorized {
    pub(crate) code: Cc,
    pub(crate) entries: Vec<Entry>,
    pub(crate) decrypt: Option<usize>,
    pub(crate) encrypt: Option<usize>,
    /// cpHash values that the audits need.
    pub(crate) cp_hashes: Vec<(HashAlg, hash::Digest)>,
    /// Hash of the command audit digest, when the command is audited.
    pub(crate) audit: Option<HashAlg>,
    _checked: Checked,
}

#[derive(Debug)]
struct Checked(());

impl Authorized {
    /// The cpHash in an algorithm that was asked for during the checks.
    pub(crate) fn cp_hash(&self, alg: HashAlg) -> Option<&hash::Digest> {
        self.cp_hashes.iter().find(|(a, _)| *a == alg).map(|(_, digest)| digest)
    }
}

/// A command whose handles were checked and whose authorization area is to be checked.
pub(crate) struct Request<'a> {
    pub(crate) row: &'a Row,
    pub(crate) handles: &'a [Handle],
    /// Still encrypted, when a session decrypts.
    pub(crate) parameters: &'a [u8],
}

impl Request<'_> {
    fn access(&self) -> Access {
        if crate::commands::is_nv_write(self.row.code) { Access::Write } else { Access::Read }
    }

    fn role(&self, position: usize) -> Role {
        self.row.roles.get(position).copied().unwrap_or(Role::None)
    }

    fn names(&self, tpm: &Tpm) -> Vec<Name> {
        self.handles.iter().map(|handle| tpm.name(*handle)).collect()
    }

    /// `cpHash` (Part 1, clause 16.7).
    fn cp_hash(&self, tpm: &Tpm, alg: HashAlg) -> hash::Digest {
        let mut hasher = Hasher::new(alg);
        hasher.update(&self.row.code.0.to_be_bytes());
        self.names(tpm).iter().for_each(|name| hasher.update(name));
        hasher.update(self.parameters);
        hasher.finish()
    }
}

impl Tpm {
    /// Checks the authorization area; `area` is absent in a command without sessions.
    pub(crate) fn authorize(
        &mut self,
        request: &Request<'_>,
        area: Option<&[u8]>,
    ) -> Result<Authorized, Rc> {
        let mut authorized = Authorized {
            code: request.row.code,
            entries: Vec::new(),
            decrypt: None,
            encrypt: None,
            cp_hashes: Vec::new(),
            audit: None,
            _checked: Checked(()),
        };
        match area {
            Some(area) => {
                if request.row.flags.no_sessions {
                    return Err(Rc::AUTH_CONTEXT);
                }
                self.parse_sessions(request, area, &mut authorized)?;
                self.match_handles(request, &mut authorized)?;
                for position in 0..authorized.entries.len() {
                    self.check_session(request, &mut authorized, position)?;
                }
            }
            None if request.row.roles.iter().any(|role| *role != Role::None) => {
                return Err(Rc::AUTH_MISSING);
            }
            None => {}
        }
        if self.is_audited(request.row.code) {
            let alg = self.permanent.audit.alg;
            self.remember_cp_hash(request, &mut authorized, alg);
            authorized.audit = Some(alg);
        }
        Ok(authorized)
    }

    fn remember_cp_hash(&self, request: &Request<'_>, authorized: &mut Authorized, alg: HashAlg) {
        if authorized.cp_hash(alg).is_none() {
            let digest = request.cp_hash(self, alg);
            authorized.cp_hashes.push((alg, digest));
        }
    }

    fn parse_sessions(
        &self,
        request: &Request<'_>,
        area: &[u8],
        authorized: &mut Authorized,
    ) -> Result<(), Rc> {
        let mut reader = Reader::new(area, &self.profile.algorithms).with_places(self.places());
        let mut audit = false;
        while !reader.is_empty() {
            let position = authorized.entries.len();
            let number = number_of(position);
            if position == MAX_SESSIONS {
                return Err(Rc::SIZE.session(number));
            }
            let entry = parse_entry(&mut reader).map_err(|rc| rc.session(number))?;
            self.check_entry(request, &entry, authorized, &mut audit)
                .map_err(|rc| rc.session(number))?;
            if entry.has(SessionAttributes::DECRYPT) {
                authorized.decrypt = Some(position);
            }
            if entry.has(SessionAttributes::ENCRYPT) {
                authorized.encrypt = Some(position);
            }
            authorized.entries.push(entry);
        }
        Ok(())
    }

    fn check_entry(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        earlier: &Authorized,
        audit: &mut bool,
    ) -> Result<(), Rc> {
        if entry.is_password() {
            if entry.attributes.without(SessionAttributes::CONTINUE_SESSION)
                != SessionAttributes::NONE
            {
                return Err(Rc::ATTRIBUTES);
            }
            return if entry.nonce_caller.is_empty() { Ok(()) } else { Err(Rc::NONCE) };
        }
        let position = earlier.entries.len();
        let session = self.sessions.get(entry.handle).ok_or(Rc::reference_session(position))?;
        let is_policy_handle = entry.handle.is(HandleType::PolicySession);
        if session.is_policy() != is_policy_handle
            || earlier.entries.iter().any(|other| other.handle == entry.handle)
        {
            return Err(Rc::HANDLE);
        }
        let ciphers = [
            (SessionAttributes::DECRYPT, request.row.decrypt, earlier.decrypt),
            (SessionAttributes::ENCRYPT, request.row.encrypt, earlier.encrypt),
        ];
        for (attribute, allowed, taken) in ciphers {
            if entry.has(attribute) {
                if !allowed || taken.is_some() {
                    return Err(Rc::ATTRIBUTES);
                }
                if session.symmetric == crate::wire::SymDef::Null {
                    return Err(Rc::SYMMETRIC);
                }
            }
        }
        if entry.has(SessionAttributes::AUDIT) {
            if *audit || is_policy_handle {
                return Err(Rc::ATTRIBUTES);
            }
            let continues = !entry.has(SessionAttributes::AUDIT_RESET) && session.audit.is_some();
            if continues
                && entry.has(SessionAttributes::AUDIT_EXCLUSIVE)
                && self.sessions.exclusive != Some(entry.handle)
            {
                return Err(Rc::EXCLUSIVE);
            }
            *audit = true;
        }
        Ok(())
    }

    fn match_handles(&self, request: &Request<'_>, authorized: &mut Authorized) -> Result<(), Rc> {
        for (position, handle) in request.handles.iter().enumerate() {
            if request.role(position) != Role::None {
                let entry = authorized.entries.get_mut(position).ok_or(Rc::AUTH_MISSING)?;
                entry.entity = Some(*handle);
            }
        }
        Ok(())
    }

    fn check_session(
        &mut self,
        request: &Request<'_>,
        authorized: &mut Authorized,
        position: usize,
    ) -> Result<(), Rc> {
        let number = number_of(position);
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let (handle, attributes, entity) = (entry.handle, entry.attributes, entry.entity);
        if entry.is_password() {
            if entity.is_none() {
                return Err(Rc::HANDLE.session(number));
            }
        } else {
            let session = self.sessions.get(handle).ok_or(Rc::FAILURE)?;
            if session.kind == super::SessionKind::Trial {
                return Err(Rc::ATTRIBUTES.session(number));
            }
            if session.bound_da {
                let lockout = session.bound_lockout;
                self.check_locked_out(lockout)?;
            }
            if attributes.has(SessionAttributes::AUDIT) {
                let alg = self.sessions.get(handle).ok_or(Rc::FAILURE)?.hash;
                self.remember_cp_hash(request, authorized, alg);
            }
        }
        let uses = SessionAttributes::AUDIT
            .with(SessionAttributes::DECRYPT)
            .with(SessionAttributes::ENCRYPT);
        let result = match entity {
            Some(entity) => self.check_authorization(request, authorized, position, entity),
            None if !attributes.any(uses) => Err(Rc::ATTRIBUTES),
            None => self.check_hmac(request, authorized, position),
        };
        result.map_err(|rc| rc.session(number))
    }

    /// Checks the authorization of one handle by one session.
    fn check_authorization(
        &mut self,
        request: &Request<'_>,
        authorized: &mut Authorized,
        position: usize,
        entity: Handle,
    ) -> Result<(), Rc> {
        let role = request.role(position);
        if entity == Handle::PLATFORM
            && self.is_presence_required(request.row)
            && !self.platform.physical_presence()
        {
            return Err(Rc::PP);
        }
        let entry = authorized.entries.get_mut(position).ok_or(Rc::FAILURE)?;
        let password = entry.is_password();
        let session = self.sessions.get(entry.handle);
        let policy = session.is_some_and(Session::is_policy);
        let password_policy =
            policy && session.is_some_and(|session| session.policy.password_needed);
        entry.include_auth = match session {
            None => true,
            Some(session) if policy => {
                session.policy.auth_value_needed || session.policy.password_needed
            }
            Some(session) => !self.is_bound_to(session, entity),
        };
        let auth_used = entry.include_auth;
        if entity.is(HandleType::Transient) {
            entry.transient_auth = self.auth_value(entity);
        }
        if auth_used && !self.is_da_exempt(entity) {
            self.check_locked_out(entity == Handle::LOCKOUT)?;
        }
        if policy {
            if !self.is_policy_available(entity, role, request.access()) {
                return Err(Rc::AUTH_UNAVAILABLE);
            }
            self.check_policy(request, authorized, position, entity)?;
        } else {
            if self.is_policy_required(entity, role) {
                return Err(Rc::AUTH_TYPE);
            }
            if !self.is_auth_available(entity, role, request.access()) {
                return Err(Rc::AUTH_UNAVAILABLE);
            }
        }
        let result = if password || password_policy {
            self.check_password(authorized, position, entity)
        } else {
            self.check_hmac(request, authorized, position)
        };
        if entity.is(HandleType::Nv) && auth_used {
            self.note_pin_use(entity, result.is_ok());
        }
        result
    }

    fn is_presence_required(&self, row: &Row) -> bool {
        row.flags.presence_always || self.permanent.pp_commands.contains(&row.code)
    }

    /// Name and authorization value of an entity: what a session is bound to.
    pub(crate) fn bound_value(&self, entity: Handle) -> BoundValue {
        let mut value = Zeroizing::new(self.name(entity).to_vec());
        value.extend_from_slice(&self.auth_value(entity));
        BoundValue::from_slice(&value)
    }

    fn is_bound_to(&self, session: &Session, entity: Handle) -> bool {
        session.bound.as_ref().is_some_and(|bound| *bound == self.bound_value(entity))
    }

    fn check_password(
        &mut self,
        authorized: &Authorized,
        position: usize,
        entity: Handle,
    ) -> Result<(), Rc> {
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let mut given = entry.auth.clone();
        given.trim_trailing_zeros();
        if given == self.auth_value(entity) {
            Ok(())
        } else {
            Err(self.authorization_failed(entry))
        }
    }

    /// Checks an entry's HMAC (Part 1, clause 17.6.5).
    fn check_hmac(
        &mut self,
        request: &Request<'_>,
        authorized: &Authorized,
        position: usize,
    ) -> Result<(), Rc> {
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let key = self.hmac_key(entry, session);
        if key.is_empty() && entry.auth.is_empty() {
            return Ok(());
        }
        let [decrypt_nonce, encrypt_nonce] = self.extra_nonces(authorized, position);
        let cp_hash = match authorized.cp_hash(session.hash) {
            Some(digest) => digest.clone(),
            None => request.cp_hash(self, session.hash),
        };
        let expected = hmac(
            session.hash,
            &key,
            &[
                &cp_hash,
                &entry.nonce_caller,
                &session.nonce_tpm,
                decrypt_nonce,
                encrypt_nonce,
                &[entry.attributes.0],
            ],
        );
        if entry.auth.as_bytes().ct_eq(&expected).into() {
            Ok(())
        } else {
            Err(self.authorization_failed(entry))
        }
    }

    /// The key of an entry's HMAC: the session key, then the authorization value if it counts.
    pub(crate) fn hmac_key(&self, entry: &Entry, session: &Session) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(session.key.to_vec());
        if entry.include_auth {
            key.extend_from_slice(&self.entry_auth(entry));
        }
        key
    }

    /// The authorization value of the entity that an entry authorizes; empty without one.
    pub(crate) fn entry_auth(&self, entry: &Entry) -> Auth {
        match entry.entity {
            Some(entity)
                if entity.is(HandleType::Transient) && self.objects.get(entity).is_none() =>
            {
                entry.transient_auth.clone()
            }
            Some(entity) => self.auth_value(entity),
            None => Auth::empty(),
        }
    }

    /// The nonces of separate decrypt and encrypt sessions, which go into the HMAC of the first
    /// session when that authorizes.
    fn extra_nonces(&self, authorized: &Authorized, position: usize) -> [&[u8]; 2] {
        let first = authorized.entries.first().filter(|e| position == 0 && e.entity.is_some());
        if first.is_none() {
            return [&[], &[]];
        }
        let nonce = |other: Option<usize>| -> &[u8] {
            other
                .filter(|other| *other != position)
                .and_then(|other| authorized.entries.get(other))
                .and_then(|entry| self.sessions.get(entry.handle))
                .map_or(&[], |session| session.nonce_tpm.as_bytes())
        };
        let encrypt = authorized.encrypt.filter(|_| authorized.encrypt != authorized.decrypt);
        [nonce(authorized.decrypt), nonce(encrypt)]
    }

    /// Counts a failed authorization where it counts, and gives its response code.
    fn authorization_failed(&mut self, entry: &Entry) -> Rc {
        let mut entity = entry.entity.unwrap_or(Handle::UNASSIGNED);
        if entry.is_password() {
            if self.is_da_exempt(entity) {
                return Rc::BAD_AUTH;
            }
        } else {
            let Some(session) = self.sessions.get(entry.handle) else { return Rc::BAD_AUTH };
            if session.bound_lockout {
                entity = Handle::LOCKOUT;
            }
            let counts = entry.include_auth && !self.is_da_exempt(entity);
            if !session.bound_da && !counts {
                return Rc::BAD_AUTH;
            }
        }
        self.register_failure(entity);
        Rc::AUTH_FAIL
    }

    /// Checks that a policy session fits entity, command and circumstances.
    fn check_policy(
        &self,
        request: &Request<'_>,
        authorized: &Authorized,
        position: usize,
        entity: Handle,
    ) -> Result<(), Rc> {
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let state = &session.policy;
        if request.row.code == Cc::POLICY_SECRET
            && !state.password_needed
            && !state.auth_value_needed
        {
            return Err(Rc::MODE);
        }
        if state.pcr_counter.is_some_and(|counter| counter != self.reset.pcr_counter) {
            return Err(Rc::PCR_CHANGED);
        }
        let policy = self.auth_policy(entity).ok_or(Rc::POLICY_FAIL)?;
        if state.digest != policy.digest || session.hash != policy.alg {
            return Err(Rc::POLICY_FAIL);
        }
        let expired = state.timeout < self.clock.time || state.epoch != self.clock.epoch;
        if state.timeout != 0 && expired {
            return Err(Rc::EXPIRED);
        }
        match state.command {
            Some(code) if code != request.row.code => return Err(Rc::POLICY_CC),
            None if matches!(request.role(position), Role::Admin | Role::Dup) => {
                return Err(Rc::POLICY_FAIL);
            }
            _ => {}
        }
        self.check_policy_locality(state.locality)?;
        if state.presence_needed && !self.platform.physical_presence() {
            return Err(Rc::PP);
        }
        if !self.is_binding_satisfied(request, session) {
            return Err(Rc::POLICY_FAIL);
        }
        if let Some(written) = state.nv_written {
            let index = self.nv.index(entity).ok_or(Rc::POLICY_FAIL)?;
            if index.has(NvAttributes::WRITTEN) != written {
                return Err(Rc::POLICY_FAIL);
            }
        }
        Ok(())
    }

    fn check_policy_locality(&self, allowed: LocalityAttributes) -> Result<(), Rc> {
        if allowed == LocalityAttributes::NONE {
            return Ok(());
        }
        let here = LocalityAttributes::of(self.locality);
        let fits = if allowed.is_extended() { allowed == here } else { allowed.has(here) };
        if fits { Ok(()) } else { Err(Rc::LOCALITY) }
    }

    fn is_binding_satisfied(&self, request: &Request<'_>, session: &Session) -> bool {
        let alg = session.hash;
        match &session.policy.binding {
            PolicyBinding::None => true,
            PolicyBinding::CpHash(digest) => digest[..] == request.cp_hash(self, alg)[..],
            PolicyBinding::NameHash(digest) => {
                let mut hasher = Hasher::new(alg);
                request.names(self).iter().for_each(|name| hasher.update(name));
                digest[..] == hasher.finish()[..]
            }
            PolicyBinding::Template(digest) => template_of(request, &self.profile.algorithms)
                .is_some_and(|template| digest[..] == hash::hash(alg, &[template])[..]),
            PolicyBinding::Parameters(digest) => {
                let code = request.row.code.to_bytes();
                digest[..] == hash::hash(alg, &[&code, request.parameters])[..]
            }
        }
    }

    /// Decrypts the first parameter in place when a session asks for it.
    pub(crate) fn decrypt_parameter(
        &self,
        authorized: &Authorized,
        parameters: &mut [u8],
    ) -> Result<(), Rc> {
        let Some(position) = authorized.decrypt else { return Ok(()) };
        let entry = authorized.entries.get(position).ok_or(Rc::FAILURE)?;
        let session = self.sessions.get(entry.handle).ok_or(Rc::FAILURE)?;
        let extra = self.entry_auth(entry);
        let number = number_of(position);
        let (size, rest) =
            parameters.split_first_chunk_mut::<2>().ok_or(Rc::INSUFFICIENT.session(number))?;
        let size = usize::from(u16::from_be_bytes(*size));
        let data = rest.get_mut(..size).ok_or(Rc::SIZE.session(number))?;
        crypt::transform(session, &extra, &entry.nonce_caller, &session.nonce_tpm, false, data)
            .map_err(|rc| rc.session(number))
    }
}

/// The one-based number of a session, from its position; there are at most three.
fn number_of(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX).saturating_add(1)
}

fn parse_entry(reader: &mut Reader<'_>) -> Result<Entry, Rc> {
    Ok(Entry {
        handle: reader.get::<ShAuthSession>()?.handle(),
        nonce_caller: reader.get()?,
        attributes: reader.get()?,
        auth: reader.get()?,
        entity: None,
        include_auth: false,
        transient_auth: Auth::empty(),
    })
}

/// The template of a creation command: its second parameter, without the size.
fn template_of<'a>(
    request: &Request<'a>,
    algorithms: &'a crate::profile::Algorithms,
) -> Option<&'a [u8]> {
    if !matches!(request.row.code, Cc::CREATE | Cc::CREATE_PRIMARY | Cc::CREATE_LOADED) {
        return None;
    }
    let mut reader = Reader::new(request.parameters, algorithms);
    let sensitive = reader.get::<u16>().ok()?;
    reader.take(usize::from(sensitive)).ok()?;
    let size = reader.get::<u16>().ok()?;
    reader.take(usize::from(size)).ok()
}
