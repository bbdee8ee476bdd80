//! The TIS (FIFO) interface of TCG PC Client Platform TPM Profile (PTP) 1.05, behaving as QEMU's
//! `tpm-tis` does.
//!
//! # States of a locality
//!
//! ```text
//!            commandReady              first byte               go, nothing missing
//!   Idle ------------------> Ready ------------------> Reception -----------> Execution
//!    ^                       ^ ^ ^                        |  ^ bytes              |
//!    |                       | | +------ commandReady ----+--+                    |
//!    | another locality      | |                                                  |
//!    | becomes active        | +--- complete, after commandReady had aborted -----+
//!    | (Reception and        |                                                    |
//!    |  Completion only)     +--- commandReady --- Completion <---- complete -----+
//!    |                                                 | ^ responseRetry
//!    +-------------------------------------------------+ |
//!                                                      +-+
//! ```
//!
//! At most one locality is in Reception, Execution or Completion: the FIFO is theirs. QEMU leaves
//! a locality that loses the TPM in Completion, and it could later read what another locality put
//! into the shared buffer; here it goes to Idle, as the PTP's abort rule wants. No driver notices,
//! since each writes commandReady first. Ready stays Ready over a release, as in QEMU, which saves
//! Linux a wait for each command.
//!
//! # Who is active
//!
//! ```text
//!   none --request--> L --release--> none, or the highest requester
//!   L --seize by H > L--> H (L sees beenSeized)
//! ```
//!
//! A switch waits for a running command, which is asked to cancel.

mod exchange;
mod launch;
mod port;
pub mod spec;
mod state;
mod switch;

#[cfg(test)]
mod tests;

use std::ops::Range;

use zeroize::{Zeroize, Zeroizing};

pub use self::state::TisState;
use self::{
    exchange::FAILURE,
    port::{Port, State},
};
use crate::{
    Action, Bytes, Error, Events, Locality, NoEvents, RegisterModel, Trigger,
    access::{Piece, pieces},
};

/// Parts of the device that a VMM chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TisConfig {
    /// Bytes of the longest command and response. Taken into the range 64 to 65535, which is what
    /// the burst count can say. QEMU has 4096.
    pub buffer_size: usize,
    /// What `INT_VECTOR` reads: the interrupt that ACPI declares, 0 for none.
    pub irq: u8,
    /// Vendor (low half) and device (high half) of `DID_VID`. SeaBIOS takes 0 and all ones for
    /// "no TPM".
    pub did_vid: u32,
    /// Revision.
    pub rid: u8,
    /// Who may write to locality 4.
    pub locality_four: LocalityFour,
}

impl Default for TisConfig {
    /// What QEMU's device shows.
    fn default() -> Self {
        Self {
            buffer_size: 4096,
            irq: 0,
            did_vid: 0x0001_1014,
            rid: 1,
            locality_four: LocalityFour::Closed,
        }
    }
}

/// Who may write to locality 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LocalityFour {
    /// Writes from the bus are dropped, as QEMU does.
    ///
    /// On a PC only the processor can make locality 4 cycles. A guest that could would reset the
    /// dynamic launch's PCRs and put into them what it likes.
    #[default]
    Closed,
    /// Writes from the bus reach locality 4: for a VMM that filters them itself, or for tests.
    Open,
}

/// The TIS register model. See the [module's documentation](self).
pub struct Tis<T: Trigger, E: Events = NoEvents> {
    config: TisConfig,
    ports: [Port; Locality::COUNT],
    /// The locality that may use the TPM.
    active: Option<Locality>,
    /// Who becomes active when the running command ends.
    next: Option<Locality>,
    /// The running command's response is unwanted.
    aborting: bool,
    /// The running command was asked to end early.
    cancelled: bool,
    /// Between `HASH_START` and `HASH_END`; locality 4 is active.
    hashing: bool,
    /// A dynamic launch has happened.
    established: bool,
    self_test_done: bool,
    interface_locked: bool,
    /// The interrupt line is asserted.
    line: bool,
    /// The command while it comes in and runs, then the response.
    buffer: Zeroizing<Vec<u8>>,
    /// Response bytes read.
    read: usize,
    trigger: T,
    events: E,
}

impl<T: Trigger> Tis<T> {
    /// A device after power-on.
    pub fn new(config: TisConfig, trigger: T) -> Self {
        Self::with_events(config, trigger, NoEvents)
    }
}

impl<T: Trigger, E: Events> Tis<T, E> {
    /// A device after power-on, observed by `events`.
    pub fn with_events(config: TisConfig, trigger: T, events: E) -> Self {
        let buffer_size = config.buffer_size.clamp(64, 0xFFFF);
        Self {
            config: TisConfig { buffer_size, ..config },
            ports: Default::default(),
            active: None,
            next: None,
            aborting: false,
            cancelled: false,
            hashing: false,
            established: false,
            self_test_done: false,
            interface_locked: false,
            line: false,
            buffer: Zeroizing::new(Vec::with_capacity(buffer_size)),
            read: 0,
            trigger,
            events,
        }
    }

    /// The active locality.
    pub fn active_locality(&self) -> Option<Locality> {
        self.active
    }

    /// Whether a dynamic launch has happened since the flag was last cleared.
    pub fn established(&self) -> bool {
        self.established
    }

    /// Sets the "established" flag, which outlives resets and power cycles: a VMM that keeps it
    /// sets it at start.
    pub fn set_established(&mut self, established: bool) {
        self.established = established;
    }

    /// Notes that the engine's self test is complete. Stays until a reset.
    pub fn set_self_test_done(&mut self) {
        self.self_test_done = true;
    }

    /// The interrupt's implementation.
    pub fn trigger(&self) -> &T {
        &self.trigger
    }

    /// Offsets whose writes of `locality` a VMM may coalesce (KVM's coalesced MMIO ring), because
    /// they never give an [`Action`]. The ring has to be drained before any other access.
    ///
    /// Not for locality 4 when it is open, and not when the guest has to see the stsValid
    /// interrupt of the first byte at once.
    pub fn coalescible(locality: Locality) -> [Range<u64>; 2] {
        let page = u64::from(locality.number()) << 12;
        [
            page | spec::DATA_FIFO..page | (spec::DATA_FIFO + 4),
            page | spec::XDATA_FIFO..page | spec::XDATA_FIFO_END,
        ]
    }

    fn port(&self, locality: Locality) -> &Port {
        &self.ports[locality.index()]
    }

    fn port_mut(&mut self, locality: Locality) -> &mut Port {
        &mut self.ports[locality.index()]
    }

    /// The locality whose command runs.
    fn running(&self) -> Option<Locality> {
        Locality::all().find(|l| self.port(*l).state == State::Execution)
    }

    fn clear_buffer(&mut self) {
        // `clear` alone would leave the bytes, passwords among them, in the allocation.
        self.buffer.as_mut_slice().zeroize();
        self.buffer.clear();
        self.read = 0;
    }

    fn read_piece(&mut self, piece: &Piece, data: &mut [u8]) {
        let Some(locality) = Locality::of_offset(piece.word) else {
            return piece.fill(u32::MAX, data);
        };
        let register = piece.word & 0xFFF;
        if is_fifo(register) {
            for slot in piece.bytes_mut(data) {
                *slot = self.read_fifo(locality);
            }
        } else {
            let word = self.read_register(locality, register, piece.size == 1);
            piece.fill(word, data);
        }
    }

    fn read_register(&self, locality: Locality, register: u64, narrow: bool) -> u32 {
        let port = self.port(locality);
        match register {
            spec::ACCESS => self.access(locality),
            spec::INT_ENABLE => port.int_enable,
            spec::INT_VECTOR => self.config.irq.into(),
            spec::INT_STATUS => port.int_status,
            spec::INTF_CAPABILITY => spec::INTF_CAPABILITY_VALUE,
            spec::STS if self.active == Some(locality) => self.status(locality, narrow),
            spec::INTERFACE_ID if self.interface_locked => {
                spec::INTERFACE_ID_VALUE | spec::INTERFACE_ID_LOCK
            }
            spec::INTERFACE_ID => spec::INTERFACE_ID_VALUE,
            spec::DID_VID => self.config.did_vid,
            spec::RID => self.config.rid.into(),
            _ => u32::MAX,
        }
    }

    fn write_piece(&mut self, piece: &Piece, data: &[u8]) -> Action {
        let Some(locality) = Locality::of_offset(piece.word) else {
            return Action::None;
        };
        if locality == Locality::FOUR {
            if self.config.locality_four == LocalityFour::Closed {
                return Action::None;
            }
            if let Some(action) = self.write_hash(piece, data) {
                return action;
            }
        }
        let value = piece.value(data);
        match piece.word & 0xFFF {
            spec::ACCESS => self.write_access(locality, value),
            spec::INTERFACE_ID => {
                self.interface_locked |= value & spec::INTERFACE_ID_LOCK != 0;
                Action::None
            }
            // The rest belongs to the active locality.
            _ if self.active != Some(locality) => Action::None,
            spec::INT_ENABLE => {
                let writable = spec::INT_GLOBAL | spec::INT_POLARITY | spec::INT_CAUSES;
                let port = self.port_mut(locality);
                port.int_enable = (port.int_enable & !piece.mask()) | (value & writable);
                Action::None
            }
            spec::INT_STATUS => {
                self.clear_interrupts(locality, value);
                Action::None
            }
            spec::STS => self.write_status(locality, value),
            register if is_fifo(register) => {
                self.write_fifo(locality, piece.bytes(data));
                Action::None
            }
            _ => Action::None,
        }
    }

    fn raise(&mut self, locality: Locality, causes: u32) {
        let port = self.port_mut(locality);
        let enabled = causes & port.int_enable;
        if port.int_enable & spec::INT_GLOBAL == 0 || enabled == 0 {
            return;
        }
        port.int_status |= enabled;
        self.drive(true);
    }

    fn clear_interrupts(&mut self, locality: Locality, value: u32) {
        let port = self.port_mut(locality);
        let before = port.int_status;
        port.int_status &= !(value & spec::INT_CAUSES);
        if before != 0 && port.int_status == 0 {
            self.drive(false);
        }
    }

    fn drive(&mut self, asserted: bool) {
        self.line = asserted;
        if self.trigger.set_level(asserted).is_err() {
            self.events.interrupt_failed();
        }
    }
}

impl<T: Trigger, E: Events> RegisterModel for Tis<T, E> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for piece in pieces(offset, data.len()) {
            self.read_piece(&piece, data);
        }
    }

    /// An access that spans several registers stops at the first that asks for an action; no
    /// driver makes such accesses.
    fn write(&mut self, offset: u64, data: &[u8]) -> Action {
        pieces(offset, data.len())
            .map(|piece| self.write_piece(&piece, data))
            .find(|action| *action != Action::None)
            .unwrap_or(Action::None)
    }

    /// A response shorter than a header or longer than the buffer is replaced by TPM_RC_FAILURE.
    fn complete(&mut self, response: &[u8]) -> Result<(), Error> {
        self.finish(response)
    }

    /// The guest gets TPM_RC_FAILURE: the interface has no other way to say it.
    fn fail(&mut self) -> Result<(), Error> {
        self.finish(&FAILURE)
    }

    /// All but the "established" flag, which the PTP keeps over resets.
    fn reset(&mut self) -> Action {
        let running = self.running().is_some();
        self.clear_buffer();
        self.ports = Default::default();
        self.active = None;
        self.next = None;
        self.aborting = false;
        self.cancelled = false;
        self.hashing = false;
        self.self_test_done = false;
        self.interface_locked = false;
        if self.line {
            self.drive(false);
        }
        if running { Action::Cancel } else { Action::None }
    }

    fn is_busy(&self) -> bool {
        self.running().is_some()
    }

    fn resume(&self) -> Vec<Action> {
        let Some(locality) = self.running() else {
            return Vec::new();
        };
        let command = Bytes::from(self.buffer.as_slice());
        let mut actions = vec![Action::Execute { locality, command }];
        if self.cancelled {
            actions.push(Action::Cancel);
        }
        actions
    }
}

fn is_fifo(register: u64) -> bool {
    register == spec::DATA_FIFO || (spec::XDATA_FIFO..spec::XDATA_FIFO_END).contains(&register)
}
