//! The dynamic launch: locality 4's hash registers.

use super::{Tis, is_fifo, port::State, spec};
use crate::{Action, Bytes, Events, Locality, Trigger, access::Piece};

impl<T: Trigger, E: Events> Tis<T, E> {
    /// Locality 4's registers for the dynamic launch. `None` where the
    /// ordinary rules apply.
    pub(super) fn write_hash(&mut self, piece: &Piece, data: &[u8]) -> Option<Action> {
        let register = piece.word & 0xFFF;
        match register {
            spec::HASH_START => Some(self.hash_start()),
            spec::HASH_END => Some(self.hash_end()),
            _ if !self.hashing => None,
            // The value that is written to another register is lost: it would end the sequence
            // halfway, which the hardware never does.
            _ if !is_fifo(register) => Some(Action::None),
            _ => Some(Action::HashData(Bytes::from(piece.bytes(data)))),
        }
    }

    /// Begins a dynamic launch, as a write to `HASH_START` at locality 4 does. Also for a VMM that
    /// makes the launch itself and keeps locality 4 closed to the guest.
    ///
    /// Returns [`Action::None`], and changes nothing, while a lower locality is active or a command
    /// runs: the launching software has to release the TPM first.
    pub fn hash_start(&mut self) -> Action {
        if self.running().is_some() || self.active.is_some_and(|l| l != Locality::FOUR) {
            return Action::None;
        }
        self.activate(Locality::FOUR);
        self.clear_buffer();
        self.port_mut(Locality::FOUR).state = State::Idle;
        self.hashing = true;
        self.established = true;
        Action::HashStart
    }

    /// Ends a dynamic launch and releases locality 4, as a write to `HASH_END` does.
    ///
    /// Returns [`Action::None`] if none has begun.
    pub fn hash_end(&mut self) -> Action {
        if !self.hashing {
            return Action::None;
        }
        self.hashing = false;
        // No command can be running, so nothing has to be cancelled.
        let _: Action = self.release();
        Action::HashEnd
    }
}
