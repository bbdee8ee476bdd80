//! Which session is loaded and which is saved (Part 1, clause 30.4).
//!
//! A saved session leaves its place in the table behind, with the sequence number of its one valid
//! context. The numbers of two saved sessions may be [`CONTEXT_GAP_MAX`] apart; at that distance
//! the oldest session must be loaded, or flushed, before another is saved, and the last room for a
//! loaded session is kept for it.

use super::authorize::CONTEXT_GAP_MAX;
use super::{Session, SessionSlot, Sessions};
use crate::wire::{Handle, Rc};

impl Sessions {
    /// Sequence number of the saved session of a handle.
    pub(crate) fn saved_sequence(&self, handle: Handle) -> Option<u64> {
        match self.slots.get(Self::position(handle)?)? {
            SessionSlot::Saved { sequence, .. } => Some(*sequence),
            SessionSlot::Free | SessionSlot::Loaded(_) => None,
        }
    }

    /// Turns a loaded session into a saved one; gives the sequence number of its context, and the
    /// session.
    ///
    /// # Errors
    /// `TPM_RC_CONTEXT_GAP` when the oldest saved session is too old; `TPM_RC_TOO_MANY_CONTEXTS`
    /// when there are no more sequence numbers. The session then stays loaded.
    pub(crate) fn save(&mut self, handle: Handle) -> Result<(u64, Box<Session>), Rc> {
        let sequence = self.next_sequence()?;
        if self.is_gap_full() {
            return Err(Rc::CONTEXT_GAP);
        }
        let slot = self.slot_mut(handle).ok_or(Rc::FAILURE)?;
        let SessionSlot::Loaded(session) = slot else { return Err(Rc::FAILURE) };
        let policy = session.is_policy();
        let saved = core::mem::replace(slot, SessionSlot::Saved { sequence, policy });
        self.context_counter = sequence;
        match saved {
            SessionSlot::Loaded(session) => Ok((sequence, session)),
            SessionSlot::Free | SessionSlot::Saved { .. } => Err(Rc::FAILURE),
        }
    }

    /// Puts a saved session back.
    ///
    /// # Errors
    /// `TPM_RC_HANDLE`, without a number, unless the handle is that of a saved session whose valid
    /// context has this sequence number; and as [`Sessions::insert`].
    pub(crate) fn load(
        &mut self,
        handle: Handle,
        sequence: u64,
        session: Session,
    ) -> Result<(), Rc> {
        if self.saved_sequence(handle) != Some(sequence) {
            return Err(Rc::HANDLE);
        }
        self.check_room(Some(sequence))?;
        *self.slot_mut(handle).ok_or(Rc::FAILURE)? = SessionSlot::Loaded(Box::new(session));
        Ok(())
    }

    /// Checks that another session can be loaded: a new one, or the saved one of this sequence
    /// number.
    pub(super) fn check_room(&self, sequence: Option<u64>) -> Result<(), Rc> {
        match usize::from(self.loaded_max).saturating_sub(self.loaded()) {
            0 => Err(Rc::SESSION_MEMORY),
            1 if self.is_gap_full() && sequence != self.oldest_sequence() => Err(Rc::CONTEXT_GAP),
            _ => Ok(()),
        }
    }

    /// The next sequence number would be too far from that of the oldest saved session.
    fn is_gap_full(&self) -> bool {
        self.oldest_sequence().is_some_and(|oldest| {
            self.context_counter.saturating_sub(oldest) >= u64::from(CONTEXT_GAP_MAX)
        })
    }

    fn oldest_sequence(&self) -> Option<u64> {
        let sequences = self.slots.iter().filter_map(|slot| match slot {
            SessionSlot::Saved { sequence, .. } => Some(*sequence),
            SessionSlot::Free | SessionSlot::Loaded(_) => None,
        });
        sequences.min()
    }

    fn next_sequence(&self) -> Result<u64, Rc> {
        // The largest number is never given, so that "one more" always exists.
        let next = self.context_counter.checked_add(1).filter(|next| *next != u64::MAX);
        next.ok_or(Rc::TOO_MANY_CONTEXTS)
    }
}
