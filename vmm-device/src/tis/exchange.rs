//! STS and the FIFO: commands in, responses out.

use super::{Tis, port::State, spec};
use crate::{Action, Bytes, Error, Events, Locality, Trigger};

/// Header of every command and response: tag, length, code (TPM Library Part 1).
pub(super) const HEADER: usize = 10;

/// The answer that says "TPM_RC_FAILURE": tag without sessions, length 10, code 0x101.
pub(super) const FAILURE: [u8; HEADER] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1];

impl<T: Trigger, E: Events> Tis<T, E> {
    /// `STS` of the active locality.
    ///
    /// Byte-wide readers take the burst count's low byte for all of it, so that a multiple of 256
    /// would look like "none": they get at most 0xFF.
    pub(super) fn status(&self, locality: Locality, narrow: bool) -> u32 {
        let free = match self.port(locality).state {
            State::Completion { drained: false } => self.buffer.len().saturating_sub(self.read),
            State::Completion { drained: true } => {
                self.config.buffer_size.saturating_sub(self.read)
            }
            _ => self.config.buffer_size.saturating_sub(self.buffer.len()),
        };
        let limit = if narrow { 0xFF } else { 0xFFFF };
        let burst = u32::try_from(free).unwrap_or(limit).min(limit);
        let self_test = if self.self_test_done { spec::STS_SELF_TEST_DONE } else { 0 };
        spec::STS_FAMILY_TPM2
            | (burst << spec::STS_BURST_SHIFT)
            | self_test
            | self.port(locality).state.status_bits()
    }

    /// The PTP allows one of the bits in a write. Of several, commandReady, go and responseRetry
    /// work only alone, as in QEMU. With cancel and resetEstablishment they work too, but not so
    /// that a write would ask for two actions.
    pub(super) fn write_status(&mut self, locality: Locality, value: u32) -> Action {
        let state = self.port(locality).state;
        let step = value & (spec::STS_COMMAND_READY | spec::STS_GO | spec::STS_RESPONSE_RETRY);
        if value & spec::STS_CANCEL != 0 && state == State::Execution {
            self.aborting |= step == spec::STS_COMMAND_READY;
            return self.cancel();
        }
        if value & spec::STS_RESET_ESTABLISHMENT != 0 && locality >= Locality::THREE {
            self.established = false;
            if state != State::Execution && step != spec::STS_GO {
                let _nothing: Action = self.write_step(locality, step);
            }
            return Action::ResetEstablished { locality };
        }
        self.write_step(locality, step)
    }

    fn write_step(&mut self, locality: Locality, step: u32) -> Action {
        let state = self.port(locality).state;
        match step {
            spec::STS_COMMAND_READY => self.command_ready(locality),
            spec::STS_GO if state == (State::Reception { whole: true }) => {
                self.port_mut(locality).state = State::Execution;
                self.events.command_started(locality, self.buffer.len());
                Action::Execute { locality, command: Bytes::from(self.buffer.as_slice()) }
            }
            spec::STS_RESPONSE_RETRY if matches!(state, State::Completion { .. }) => {
                self.port_mut(locality).state = State::Completion { drained: false };
                self.read = 0;
                Action::None
            }
            _ => Action::None,
        }
    }

    fn command_ready(&mut self, locality: Locality) -> Action {
        match self.port(locality).state {
            State::Ready => Action::None,
            State::Idle | State::Reception { .. } | State::Completion { .. } => {
                self.become_ready(locality);
                Action::None
            }
            State::Execution => {
                self.aborting = true;
                self.cancel()
            }
        }
    }

    /// Asks the running command to end early; again if asked again, as it may have been too early.
    pub(super) fn cancel(&mut self) -> Action {
        self.cancelled = true;
        self.events.cancel_requested();
        Action::Cancel
    }

    fn become_ready(&mut self, locality: Locality) {
        self.clear_buffer();
        self.port_mut(locality).state = State::Ready;
        self.raise(locality, spec::INT_COMMAND_READY);
    }

    pub(super) fn write_fifo(&mut self, locality: Locality, bytes: &[u8]) {
        if self.port(locality).state == State::Ready {
            self.port_mut(locality).state = State::Reception { whole: false };
            // stsValid goes from 0 to 1. Linux's interrupt probe relies on some interrupt coming
            // within a millisecond of sending a command.
            self.raise(locality, spec::INT_STS_VALID);
        }
        for byte in bytes {
            if self.port(locality).state != (State::Reception { whole: false }) {
                return;
            }
            self.buffer.push(*byte);
            let whole = is_whole(&self.buffer, self.config.buffer_size);
            self.port_mut(locality).state = State::Reception { whole };
        }
    }

    pub(super) fn read_fifo(&mut self, locality: Locality) -> u8 {
        if self.active != Some(locality)
            || self.port(locality).state != (State::Completion { drained: false })
        {
            return spec::NO_DATA;
        }
        let byte = self.buffer.get(self.read).copied().unwrap_or(spec::NO_DATA);
        self.read = self.read.saturating_add(1);
        if self.read >= self.buffer.len() {
            self.port_mut(locality).state = State::Completion { drained: true };
        }
        byte
    }

    /// Puts `response` into the FIFO of the locality whose command ran.
    pub(super) fn finish(&mut self, response: &[u8]) -> Result<(), Error> {
        let locality = self.running().ok_or(Error::NoCommand)?;
        let fits = (HEADER..=self.config.buffer_size).contains(&response.len());
        let response = if fits { response } else { &FAILURE };
        self.events.command_finished(locality, response.len());
        self.clear_buffer();
        self.cancelled = false;
        if std::mem::take(&mut self.aborting) {
            self.become_ready(locality);
        } else {
            self.buffer.extend_from_slice(response);
            self.port_mut(locality).state = State::Completion { drained: false };
        }
        match self.next.take() {
            Some(next) if next != locality => self.activate(next),
            Some(next) => {
                self.activate(next);
                self.raise_completion(locality);
            }
            None => self.raise_completion(locality),
        }
        Ok(())
    }

    /// A response is both "data available" and, in QEMU, "status valid": guests that enabled only
    /// the latter wait for it although the bit has been set since the command's first byte.
    fn raise_completion(&mut self, locality: Locality) {
        if matches!(self.port(locality).state, State::Completion { .. }) {
            self.raise(locality, spec::INT_DATA_AVAILABLE | spec::INT_STS_VALID);
        }
    }
}

/// Whether a command is complete: as long as its header says, or as long as the buffer. A length
/// that is too small or too large is the engine's to refuse.
pub(super) fn is_whole(command: &[u8], limit: usize) -> bool {
    let announced = command.get(2..6).and_then(|field| field.first_chunk());
    let announced = announced.map(|field| u32::from_be_bytes(*field) as usize);
    command.len() >= limit || announced.is_some_and(|length| command.len() >= length)
}
