//! The CRB interface of TCG PC Client Platform TPM Profile (PTP) 1.05, behaving as QEMU's `tpm-crb`
//! does: one locality, whose registers and data buffer take a page.
//!
//! # States
//!
//! ```text
//!            CTRL_REQ = 1               CTRL_START = 1
//!   Idle --------------------> Ready ---------------------> Running
//!    ^  ^                        |  ^                          |
//!    |  +----- CTRL_REQ = 2 -----+  +------- complete ---------+
//!  reset
//! ```
//!
//! START works in Idle too: QEMU's does, and firmware that never says "ready" exists.
//!
//! # Where the data buffer lies
//!
//! * Trapped ([`InMemoryBuffer`]): the guest uses `DATA_BUFFER` in the register page, and each
//!   access is an exit. KVM maps whole pages only, so this is also what QEMU's guests pay on x86.
//! * Mapped (`GuestBuffer`, feature `vm-memory`): [`CrbConfig::buffer_address`] names a page of
//!   guest memory, the address registers show it, and only register accesses exit. `DATA_BUFFER`
//!   stays as a trapped window on the same bytes, because edk2 always uses it.
//!
//! Both must lie in the ACPI device's `_CRS`; `acpi::TpmDevice` sees to it.

mod buffer;
pub mod spec;
mod state;

#[cfg(test)]
mod tests;

#[cfg(feature = "vm-memory")]
pub use self::buffer::GuestBuffer;
pub use self::{
    buffer::{CommandBuffer, InMemoryBuffer},
    state::CrbState,
};
use crate::{
    Action, Bytes, Error, Events, Locality, NoEvents, RegisterModel, TPM_BASE, Trigger,
    access::{Piece, pieces},
};

/// Header of every command and response: tag, length, code (TPM Library Part 1).
const HEADER: usize = 10;

/// Parts of the device that a VMM chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrbConfig {
    /// Guest-physical address of the registers.
    pub base: u64,
    /// Guest-physical address of a mapped buffer; `None` for `DATA_BUFFER` behind the registers.
    /// Below 4 GiB, or SeaBIOS does not find it.
    pub buffer_address: Option<u64>,
    /// Whether the interrupt registers work. QEMU's do not: they read 0.
    pub interrupts: bool,
    /// Vendor (low half) and device (high half) of `INTF_ID2`.
    pub did_vid: u32,
}

impl Default for CrbConfig {
    /// What QEMU's device shows.
    fn default() -> Self {
        Self { base: TPM_BASE, buffer_address: None, interrupts: false, did_vid: 0x1014 }
    }
}

/// The CRB register model. See the [module's documentation](self).
pub struct Crb<B: CommandBuffer, T: Trigger, E: Events = NoEvents> {
    config: CrbConfig,
    /// Locality 0 has the TPM.
    assigned: bool,
    idle: bool,
    error: bool,
    /// A dynamic launch has happened.
    established: bool,
    int_enable: u32,
    int_status: u32,
    /// The interrupt line is asserted.
    line: bool,
    /// The running command, as it was when it started: the guest may overwrite the buffer.
    running: Option<Bytes>,
    /// The guest asked for the running command to be cancelled.
    cancelled: bool,
    buffer: B,
    trigger: T,
    events: E,
}

impl<B: CommandBuffer, T: Trigger> Crb<B, T> {
    /// A device after power-on.
    pub fn new(config: CrbConfig, buffer: B, trigger: T) -> Self {
        Self::with_events(config, buffer, trigger, NoEvents)
    }
}

impl<B: CommandBuffer, T: Trigger, E: Events> Crb<B, T, E> {
    /// A device after power-on, observed by `events`.
    pub fn with_events(config: CrbConfig, buffer: B, trigger: T, events: E) -> Self {
        Self {
            config,
            assigned: false,
            idle: true,
            error: false,
            established: false,
            int_enable: 0,
            int_status: 0,
            line: false,
            running: None,
            cancelled: false,
            buffer,
            trigger,
            events,
        }
    }

    /// Whether locality 0 has the TPM.
    pub fn is_assigned(&self) -> bool {
        self.assigned
    }

    /// Whether a dynamic launch has happened, as set by [`Crb::set_established`].
    pub fn established(&self) -> bool {
        self.established
    }

    /// Sets the "established" flag, which outlives resets and power cycles. Nothing that the guest
    /// can do through this interface changes it.
    pub fn set_established(&mut self, established: bool) {
        self.established = established;
    }

    /// The memory that holds commands and responses.
    pub fn buffer(&self) -> &B {
        &self.buffer
    }

    /// The interrupt's implementation.
    pub fn trigger(&self) -> &T {
        &self.trigger
    }

    fn buffer_address(&self) -> u64 {
        self.config.buffer_address.unwrap_or(self.config.base.wrapping_add(spec::DATA_BUFFER))
    }

    fn read_register(&self, register: u64) -> u32 {
        let bit = |condition: bool, bit: u32| if condition { bit } else { 0 };
        match register {
            spec::LOC_STATE => {
                spec::LOC_STATE_VALID
                    | bit(self.assigned, spec::LOC_STATE_ASSIGNED)
                    | bit(!self.established, spec::LOC_STATE_NOT_ESTABLISHED)
            }
            spec::LOC_STS => bit(self.assigned, spec::LOC_STS_GRANTED),
            spec::INTF_ID => spec::INTF_ID_VALUE,
            spec::INTF_ID2 => self.config.did_vid,
            spec::CTRL_STS => {
                bit(self.error, spec::CTRL_STS_ERROR) | bit(self.idle, spec::CTRL_STS_IDLE)
            }
            spec::CTRL_START => self.running.is_some().into(),
            spec::INT_ENABLE => self.int_enable,
            spec::INT_STATUS => self.int_status,
            spec::CMD_SIZE | spec::RSP_SIZE => spec::DATA_BUFFER_SIZE as u32,
            spec::CMD_LADDR | spec::RSP_LADDR => self.buffer_address() as u32,
            spec::CMD_HADDR | spec::RSP_HADDR => (self.buffer_address() >> 32) as u32,
            // CTRL_REQ reads 0: Linux and edk2 wait for that. CTRL_CANCEL too, as in QEMU: Linux
            // takes a 1 for "cancelled" and would not wait for the response.
            _ => 0,
        }
    }

    /// The registers for interface selection, sizes and addresses take writes without effect:
    /// SeaBIOS selects and locks the one interface there is, and edk2 writes the values it read.
    fn write_register(&mut self, register: u64, value: u32, mask: u32) -> Action {
        match register {
            spec::LOC_CTRL => self.write_locality(value),
            spec::CTRL_REQ => self.write_request(value),
            spec::CTRL_CANCEL if value == 1 && self.running.is_some() => {
                self.cancelled = true;
                self.events.cancel_requested();
                return Action::Cancel;
            }
            spec::CTRL_START if value & 1 != 0 && self.assigned && self.running.is_none() => {
                return self.start();
            }
            spec::INT_ENABLE if self.config.interrupts => {
                let writable = spec::INT_GLOBAL | spec::INT_CAUSES;
                self.int_enable = (self.int_enable & !mask) | (value & writable);
            }
            spec::INT_STATUS => self.clear_interrupts(value),
            _ => {}
        }
        Action::None
    }

    /// Seizing and clearing the "established" flag need a higher locality than 0.
    fn write_locality(&mut self, value: u32) {
        let assigned = match value {
            spec::LOC_CTRL_REQUEST => true,
            spec::LOC_CTRL_RELINQUISH => false,
            _ => return,
        };
        if assigned != std::mem::replace(&mut self.assigned, assigned) {
            self.events.locality_changed(assigned.then_some(Locality::ZERO));
            if assigned {
                self.raise(spec::INT_LOCALITY_CHANGE);
            }
        }
    }

    fn write_request(&mut self, value: u32) {
        let idle = match value {
            spec::CTRL_REQ_READY => false,
            spec::CTRL_REQ_IDLE => true,
            _ => return,
        };
        if std::mem::replace(&mut self.idle, idle) && !idle {
            self.raise(spec::INT_READY);
        }
    }

    fn start(&mut self) -> Action {
        match self.fetch() {
            Ok(command) => {
                self.events.command_started(Locality::ZERO, command.len());
                self.running = Some(command.clone());
                self.cancelled = false;
                Action::Execute { locality: Locality::ZERO, command }
            }
            Err(_) => {
                self.error = true;
                self.events.buffer_failed();
                Action::None
            }
        }
    }

    /// The command in the buffer, as long as its header says. A length that is impossible is cut
    /// to what is possible: refusing it is the engine's business, and not a broken TPM.
    fn fetch(&self) -> Result<Bytes, Error> {
        let mut header = [0; HEADER];
        self.buffer.read(0, &mut header)?;
        let [_, _, a, b, c, d, ..] = header;
        let announced = u32::from_be_bytes([a, b, c, d]) as usize;
        let mut command = vec![0; announced.clamp(HEADER, spec::DATA_BUFFER_SIZE)];
        self.buffer.read(0, &mut command)?;
        Ok(Bytes::from(command))
    }

    /// Writes the response and zeros behind it, so that nothing of the command stays.
    fn store(&mut self, response: &[u8]) -> Result<(), Error> {
        let mut bytes = zeroize::Zeroizing::new(vec![0; spec::DATA_BUFFER_SIZE]);
        for (slot, byte) in bytes.iter_mut().zip(response) {
            *slot = *byte;
        }
        Ok(self.buffer.write(0, &bytes)?)
    }

    fn finish(&mut self, response: Option<&[u8]>) -> Result<(), Error> {
        self.running.take().ok_or(Error::NoCommand)?;
        self.cancelled = false;
        let sound = |response: &&[u8]| (HEADER..=spec::DATA_BUFFER_SIZE).contains(&response.len());
        let response = response.filter(sound);
        self.error |= response.is_none();
        let response = response.unwrap_or_default();
        self.events.command_finished(Locality::ZERO, response.len());
        let stored = self.store(response);
        if stored.is_err() {
            self.error = true;
            self.events.buffer_failed();
        }
        self.raise(spec::INT_START);
        stored
    }

    fn raise(&mut self, cause: u32) {
        if self.int_enable & spec::INT_GLOBAL != 0 && self.int_enable & cause != 0 {
            self.int_status |= cause;
            self.drive(true);
        }
    }

    fn clear_interrupts(&mut self, value: u32) {
        let before = self.int_status;
        self.int_status &= !value;
        if before != 0 && self.int_status == 0 {
            self.drive(false);
        }
    }

    fn drive(&mut self, asserted: bool) {
        self.line = asserted;
        if self.trigger.set_level(asserted).is_err() {
            self.events.interrupt_failed();
        }
    }

    /// The part of an access of `length` bytes at `offset` that falls into the data buffer: where
    /// in the buffer, and which bytes of the access.
    fn window(offset: u64, length: usize) -> Option<(usize, std::ops::Range<usize>)> {
        let skip = usize::try_from(spec::DATA_BUFFER.saturating_sub(offset)).ok()?;
        let start = usize::try_from(offset.saturating_sub(spec::DATA_BUFFER)).ok()?;
        let room = spec::DATA_BUFFER_SIZE.checked_sub(start)?;
        let count = length.checked_sub(skip)?.min(room);
        (count > 0).then(|| (start, skip..skip.saturating_add(count)))
    }

    fn in_registers(piece: &Piece) -> bool {
        piece.word < spec::DATA_BUFFER
    }
}

impl<B: CommandBuffer, T: Trigger, E: Events> RegisterModel for Crb<B, T, E> {
    /// Bytes behind the region, and of a buffer that cannot be read, are all ones.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
        for piece in pieces(offset, data.len()).filter(Self::in_registers) {
            piece.fill(self.read_register(piece.word), data);
        }
        let window = Self::window(offset, data.len());
        if let Some((at, bytes)) = window.and_then(|(at, r)| Some((at, data.get_mut(r)?)))
            && self.buffer.read(at, bytes).is_err()
        {
            bytes.fill(0xFF);
            self.events.buffer_failed();
        }
    }

    /// An access that spans several registers stops at the first that asks for an action; no
    /// driver makes such accesses.
    fn write(&mut self, offset: u64, data: &[u8]) -> Action {
        for piece in pieces(offset, data.len()).filter(Self::in_registers) {
            let action = self.write_register(piece.word, piece.value(data), piece.mask());
            if action != Action::None {
                return action;
            }
        }
        let window = Self::window(offset, data.len());
        if let Some((at, bytes)) = window.and_then(|(at, r)| Some((at, data.get(r)?)))
            && self.buffer.write(at, bytes).is_err()
        {
            self.events.buffer_failed();
        }
        Action::None
    }

    /// A response shorter than a header or longer than the buffer sets the error bit, and Linux
    /// then reports -EIO until the next reset.
    ///
    /// # Errors
    /// Also [`Error::Buffer`] if guest memory refused the response; the command has ended then,
    /// and the error bit is set.
    fn complete(&mut self, response: &[u8]) -> Result<(), Error> {
        self.finish(Some(response))
    }

    /// Sets the error bit, and Linux then reports -EIO until the next reset.
    fn fail(&mut self) -> Result<(), Error> {
        self.finish(None)
    }

    /// All but the buffer's contents and the "established" flag.
    fn reset(&mut self) -> Action {
        self.assigned = false;
        self.idle = true;
        self.error = false;
        self.int_enable = 0;
        self.int_status = 0;
        self.cancelled = false;
        if self.line {
            self.drive(false);
        }
        if self.running.take().is_some() { Action::Cancel } else { Action::None }
    }

    fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    fn resume(&self) -> Vec<Action> {
        let Some(command) = &self.running else {
            return Vec::new();
        };
        let mut actions =
            vec![Action::Execute { locality: Locality::ZERO, command: command.clone() }];
        if self.cancelled {
            actions.push(Action::Cancel);
        }
        actions
    }
}
