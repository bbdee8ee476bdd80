//! Saved state of the CRB model: a type of its own, apart from the runtime's.

use zeroize::Zeroizing;

use super::{CommandBuffer, Crb, CrbConfig, HEADER, spec};
use crate::{
    Bytes, Error, Events, SnapshotError, Trigger,
    record::{Kind, Reader, Writer},
};

const KIND: Kind = Kind { magic: *b"VDCR", name: "CRB", version: 1, minimum: 1 };

/// Saved state of a [`Crb`], a running command included. Configuration is not part of it, and the
/// data buffer only where it is not guest memory.
#[derive(Clone, PartialEq, Eq)]
pub struct CrbState {
    assigned: bool,
    idle: bool,
    error: bool,
    established: bool,
    line: bool,
    cancelled: bool,
    int_enable: u32,
    int_status: u32,
    /// Empty if none runs.
    running: Bytes,
    /// Empty if the buffer travels with guest memory.
    buffer: Zeroizing<Vec<u8>>,
}

impl CrbState {
    /// The record's bytes: see `tests/golden/README.md` for the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            assigned,
            idle,
            error,
            established,
            line,
            cancelled,
            int_enable,
            int_status,
            running,
            buffer,
        } = self;
        let mut out = Writer::new();
        for flag in [assigned, idle, error, established, line, cancelled] {
            out.bool(*flag);
        }
        out.u32(*int_enable);
        out.u32(*int_status);
        out.bytes(running);
        out.bytes(buffer);
        out.finish(&KIND)
    }

    /// Reads what [`CrbState::to_bytes`] wrote. Whether it describes a possible device is checked
    /// on restore.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with the reason.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Reader::new(bytes, &KIND)?;
        let limit = spec::DATA_BUFFER_SIZE;
        let state = Self {
            assigned: input.bool("the locality flag")?,
            idle: input.bool("the idle flag")?,
            error: input.bool("the error flag")?,
            established: input.bool("the established flag")?,
            line: input.bool("the interrupt line")?,
            cancelled: input.bool("the cancel flag")?,
            int_enable: input.u32("INT_ENABLE")?,
            int_status: input.u32("INT_STATUS")?,
            running: Bytes::from(input.bytes(limit, "the running command")?),
            buffer: Zeroizing::new(input.bytes(limit, "the data buffer")?.to_vec()),
        };
        input.finish()?;
        Ok(state)
    }

    fn check(&self, config: &CrbConfig) -> Result<(), SnapshotError> {
        let rule =
            |holds: bool, what| if holds { Ok(()) } else { Err(SnapshotError::Invalid(what)) };
        let enable = spec::INT_GLOBAL | spec::INT_CAUSES;
        rule(self.int_enable & !enable == 0, "INT_ENABLE")?;
        rule(self.int_status & !spec::INT_CAUSES == 0, "INT_STATUS")?;
        let silent = self.int_enable == 0 && self.int_status == 0;
        rule(config.interrupts || silent, "interrupts of a device that has none")?;
        rule(self.line == (self.int_status != 0), "the interrupt line")?;
        let running = self.running.len();
        let command = (HEADER..=spec::DATA_BUFFER_SIZE).contains(&running);
        rule(running == 0 || command, "the running command's length")?;
        rule(!self.cancelled || running > 0, "a cancel without a command")
    }
}

impl std::fmt::Debug for CrbState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrbState").field("running", &self.running).finish_non_exhaustive()
    }
}

impl<B: CommandBuffer, T: Trigger, E: Events> Crb<B, T, E> {
    /// Saves the registers as they are, also while a command runs, and the data buffer unless it
    /// is guest memory.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the data buffer cannot be read.
    pub fn save(&self) -> Result<CrbState, Error> {
        let Self {
            config: _,
            assigned,
            idle,
            error,
            established,
            int_enable,
            int_status,
            line,
            running,
            cancelled,
            buffer,
            trigger: _,
            events: _,
        } = self;
        let mut contents = Zeroizing::new(Vec::new());
        if !buffer.is_guest_memory() {
            contents.resize(spec::DATA_BUFFER_SIZE, 0);
            buffer.read(0, &mut contents)?;
        }
        Ok(CrbState {
            assigned: *assigned,
            idle: *idle,
            error: *error,
            established: *established,
            line: *line,
            cancelled: *cancelled,
            int_enable: *int_enable,
            int_status: *int_status,
            running: running.clone().unwrap_or_default(),
            buffer: contents,
        })
    }

    /// A device in a saved state, its interrupt line driven as it was. Follow
    /// [`resume`](crate::RegisterModel::resume) next.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if the state is damaged or needs interrupts that `config` does not
    /// have, [`Error::Buffer`] if the data buffer cannot be written.
    pub fn restore(
        config: CrbConfig,
        buffer: B,
        trigger: T,
        events: E,
        state: &CrbState,
    ) -> Result<Self, Error> {
        state.check(&config)?;
        let mut crb = Self::with_events(config, buffer, trigger, events);
        let CrbState {
            assigned,
            idle,
            error,
            established,
            line,
            cancelled,
            int_enable,
            int_status,
            running,
            buffer,
        } = state;
        crb.assigned = *assigned;
        crb.idle = *idle;
        crb.error = *error;
        crb.established = *established;
        crb.line = *line;
        crb.cancelled = *cancelled;
        crb.int_enable = *int_enable;
        crb.int_status = *int_status;
        crb.running = (!running.is_empty()).then(|| running.clone());
        if !buffer.is_empty() {
            crb.buffer.write(0, buffer)?;
        }
        if crb.line {
            crb.drive(true);
        }
        Ok(crb)
    }
}
