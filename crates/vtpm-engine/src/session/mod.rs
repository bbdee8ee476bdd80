//! Sessions: what they are and where they are kept (Part 1, clauses 17.6 to 17.7 and 30).
//!
//! ```text
//!   TPM2_StartAuthSession -> loaded <-> saved (TPM2_ContextSave / TPM2_ContextLoad)
//!                              |           |
//!                              +- flushed -+   (TPM2_FlushContext, continueSession clear, reset)
//! ```

pub(crate) mod authorize;
pub(crate) mod context;
pub(crate) mod crypt;
pub(crate) mod respond;
#[cfg(test)]
pub(crate) mod test_client;
#[cfg(test)]
mod tests;

use crate::crypto::hash::HashAlg;
use crate::wire::{Cc, Digest, Handle, HandleType, LocalityAttributes, Nonce, Rc, Secret, SymDef};

/// Bytes of a session key: the digest of the session's hash.
pub(crate) type SessionKey = Secret<64>;

/// The kind of a session.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    Hmac,
    Policy,
    /// Computes a policy digest, authorizes nothing.
    Trial,
}

/// What a policy binds to a command, besides its code. At most one kind at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyBinding {
    None,
    /// `TPM2_PolicyCpHash`, or the cpHashA of a signed or secret policy.
    CpHash(Digest),
    /// `TPM2_PolicyNameHash` and `TPM2_PolicyDuplicationSelect`.
    NameHash(Digest),
    /// `TPM2_PolicyTemplate`.
    Template(Digest),
    /// `TPM2_PolicyParameters`.
    Parameters(Digest),
}

/// What a policy session has gathered.
#[derive(Clone, Debug)]
pub(crate) struct PolicyState {
    /// The policy so far.
    pub(crate) digest: Digest,
    /// Only this command is authorized.
    pub(crate) command: Option<Cc>,
    pub(crate) binding: PolicyBinding,
    /// Only these localities are authorized; none set means all.
    pub(crate) locality: LocalityAttributes,
    /// The PCR update counter when a PCR policy was checked.
    pub(crate) pcr_counter: Option<u32>,
    /// Time, in milliseconds, when the authorization ends; zero for never.
    pub(crate) timeout: u64,
    /// Time when the session's nonce was made.
    pub(crate) start_time: u64,
    /// The epoch of Time at that moment.
    pub(crate) epoch: u64,
    /// `TPM2_PolicyAuthValue`: the authorization value goes into the HMAC key.
    pub(crate) auth_value_needed: bool,
    /// `TPM2_PolicyPassword`: the authorization value stands in the clear.
    pub(crate) password_needed: bool,
    /// `TPM2_PolicyPhysicalPresence`.
    pub(crate) presence_needed: bool,
    /// `TPM2_PolicyNvWritten`: the state that `TPMA_NV_WRITTEN` must have.
    pub(crate) nv_written: Option<bool>,
}

impl PolicyState {
    /// A policy that has gathered nothing.
    pub(crate) fn new(alg: HashAlg, start_time: u64, epoch: u64) -> Self {
        Self {
            digest: Digest::from(vec![0; alg.digest_size()]),
            command: None,
            binding: PolicyBinding::None,
            locality: LocalityAttributes::NONE,
            pcr_counter: None,
            timeout: 0,
            start_time,
            epoch,
            auth_value_needed: false,
            password_needed: false,
            presence_needed: false,
            nv_written: None,
        }
    }
}

/// Name and authorization value, at the time of binding, of the entity that a session is bound to.
pub(crate) type BoundValue = Secret<{ 66 + 64 }>;

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) kind: SessionKind,
    pub(crate) hash: HashAlg,
    pub(crate) symmetric: SymDef,
    pub(crate) nonce_tpm: Nonce,
    pub(crate) key: SessionKey,
    /// What an HMAC session is bound to.
    pub(crate) bound: Option<BoundValue>,
    /// The session key depends on the authorization value of an entity that is subject to
    /// dictionary-attack protection. Stays when the binding ends, because the session becomes an
    /// audit session, and stands in policy sessions too, which are never bound.
    pub(crate) bound_da: bool,
    /// That entity is `TPM_RH_LOCKOUT`.
    pub(crate) bound_lockout: bool,
    /// The audit digest, once the session was used for audit.
    pub(crate) audit: Option<Digest>,
    /// Of a policy or trial session.
    pub(crate) policy: PolicyState,
}

impl Session {
    /// Whether this is a policy or trial session.
    pub(crate) fn is_policy(&self) -> bool {
        self.kind != SessionKind::Hmac
    }
}

/// A place in the table of active sessions.
#[derive(Clone, Debug)]
pub(crate) enum SessionSlot {
    Free,
    Loaded(Box<Session>),
    /// The context with this sequence number is the only one that loads.
    Saved {
        sequence: u64,
        policy: bool,
    },
}

/// All active sessions; the low bits of a session's handle are its place.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    pub(crate) slots: Vec<SessionSlot>,
    pub(crate) loaded_max: u16,
    /// Sequence number of the last saved session context.
    pub(crate) context_counter: u64,
    /// The one session that audits exclusively.
    pub(crate) exclusive: Option<Handle>,
}

impl Sessions {
    /// No sessions.
    pub(crate) fn new(active: u16, loaded_max: u16) -> Self {
        Self {
            slots: vec![SessionSlot::Free; usize::from(active)],
            loaded_max,
            // The first numbers are left out, as TPMs do that tell loaded sessions by them.
            context_counter: u64::from(loaded_max),
            exclusive: None,
        }
    }

    fn position(handle: Handle) -> Option<usize> {
        handle.is_session().then_some(handle.index() as usize)
    }

    /// The loaded session of a handle. An HMAC and a policy handle of the same place find the
    /// same session; whoever takes a handle from outside checks its kind.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Session> {
        match self.slots.get(Self::position(handle)?)? {
            SessionSlot::Loaded(session) => Some(session),
            _ => None,
        }
    }

    /// The loaded session of a handle.
    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut Session> {
        match self.slots.get_mut(Self::position(handle)?)? {
            SessionSlot::Loaded(session) => Some(session),
            _ => None,
        }
    }

    /// The place of a handle.
    pub(crate) fn slot_mut(&mut self, handle: Handle) -> Option<&mut SessionSlot> {
        self.slots.get_mut(Self::position(handle)?)
    }

    /// Number of loaded sessions.
    pub(crate) fn loaded(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, SessionSlot::Loaded(_))).count()
    }

    /// Number of loaded and saved sessions.
    pub(crate) fn active(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot, SessionSlot::Free)).count()
    }

    /// The handle of a session at a place.
    pub(crate) fn handle_at(position: usize, policy: bool) -> Handle {
        let kind = if policy { HandleType::PolicySession } else { HandleType::HmacSession };
        Handle(kind.first().0 | position as u32)
    }

    /// Puts a session into the first free place; `TPM_RC_SESSION_MEMORY` when too many are
    /// loaded, `TPM_RC_SESSION_HANDLES` when too many are active, `TPM_RC_CONTEXT_GAP` when the
    /// last room is needed for the oldest saved session.
    pub(crate) fn insert(&mut self, session: Session) -> Result<Handle, Rc> {
        self.check_room(None)?;
        let free = self.slots.iter().position(|slot| matches!(slot, SessionSlot::Free));
        let position = free.ok_or(Rc::SESSION_HANDLES)?;
        let handle = Self::handle_at(position, session.is_policy());
        if let Some(slot) = self.slots.get_mut(position) {
            *slot = SessionSlot::Loaded(Box::new(session));
        }
        Ok(handle)
    }

    /// Ends a session, loaded or saved; `false` when there is none.
    pub(crate) fn flush(&mut self, handle: Handle) -> bool {
        let Some(slot) = self.slot_mut(handle) else { return false };
        if matches!(slot, SessionSlot::Free) {
            return false;
        }
        *slot = SessionSlot::Free;
        if self.exclusive == Some(handle) {
            self.exclusive = None;
        }
        true
    }

    /// Ends the loaded sessions; saved ones stay (a TPM Restart or Resume).
    pub(crate) fn drop_loaded(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot, SessionSlot::Loaded(_)) {
                *slot = SessionSlot::Free;
            }
        }
        self.exclusive = None;
    }
}
