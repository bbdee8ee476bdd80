//! Saved state of the TIS model: a type of its own, apart from the runtime's.

use zeroize::Zeroizing;

use super::{
    Tis, TisConfig,
    exchange::{HEADER, is_whole},
    port::{Port, State},
    spec,
};
use crate::{
    Error, Events, Locality, SnapshotError, Trigger,
    record::{Kind, Reader, Writer},
};

const KIND: Kind = Kind { magic: *b"VDTI", name: "TIS", version: 1, minimum: 1 };

/// No locality, in a saved locality field.
const NONE: u8 = 0xFF;

/// Longest buffer a record may carry.
const BUFFER_LIMIT: usize = 0xFFFF;

/// Saved state of a [`Tis`], a running command included. Configuration is not part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct TisState {
    ports: [SavedPort; Locality::COUNT],
    active: u8,
    next: u8,
    aborting: bool,
    hashing: bool,
    established: bool,
    self_test_done: bool,
    interface_locked: bool,
    line: bool,
    cancelled: bool,
    read: u32,
    buffer: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct SavedPort {
    state: u8,
    int_enable: u32,
    int_status: u32,
    /// Bit 0 requesting, bit 1 seizing, bit 2 been seized.
    flags: u8,
}

impl TisState {
    /// The record's bytes: see `tests/golden/README.md` for the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            ports,
            active,
            next,
            aborting,
            hashing,
            established,
            self_test_done,
            interface_locked,
            line,
            cancelled,
            read,
            buffer,
        } = self;
        let mut out = Writer::new();
        for SavedPort { state, int_enable, int_status, flags } in ports {
            out.u8(*state);
            out.u32(*int_enable);
            out.u32(*int_status);
            out.u8(*flags);
        }
        out.u8(*active);
        out.u8(*next);
        out.bool(*aborting);
        out.bool(*hashing);
        out.bool(*established);
        out.bool(*self_test_done);
        out.bool(*interface_locked);
        out.bool(*line);
        out.bool(*cancelled);
        out.u32(*read);
        out.bytes(buffer);
        out.finish(&KIND)
    }

    /// Reads what [`TisState::to_bytes`] wrote. Whether it describes a possible device is checked
    /// on restore.
    ///
    /// # Errors
    /// [`Error::Snapshot`] with the reason.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Reader::new(bytes, &KIND)?;
        let mut ports = [SavedPort::default(); Locality::COUNT];
        for port in &mut ports {
            *port = SavedPort {
                state: input.u8("a locality's state")?,
                int_enable: input.u32("INT_ENABLE")?,
                int_status: input.u32("INT_STATUS")?,
                flags: input.u8("a locality's flags")?,
            };
        }
        let state = Self {
            ports,
            active: input.u8("the active locality")?,
            next: input.u8("the next locality")?,
            aborting: input.bool("the abort flag")?,
            hashing: input.bool("the hash flag")?,
            established: input.bool("the established flag")?,
            self_test_done: input.bool("the self test flag")?,
            interface_locked: input.bool("the interface lock")?,
            line: input.bool("the interrupt line")?,
            cancelled: input.bool("the cancel flag")?,
            read: input.u32("the read position")?,
            buffer: Zeroizing::new(input.bytes(BUFFER_LIMIT, "the FIFO")?.to_vec()),
        };
        input.finish()?;
        Ok(state)
    }
}

impl std::fmt::Debug for TisState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TisState").field("active", &self.active).finish_non_exhaustive()
    }
}

impl<T: Trigger, E: Events> Tis<T, E> {
    /// Saves the registers as they are, also while a command runs.
    pub fn save(&self) -> TisState {
        let Self {
            config: _,
            ports,
            active,
            next,
            aborting,
            cancelled,
            hashing,
            established,
            self_test_done,
            interface_locked,
            line,
            buffer,
            read,
            trigger: _,
            events: _,
        } = self;
        TisState {
            ports: ports.each_ref().map(save_port),
            active: save_locality(*active),
            next: save_locality(*next),
            aborting: *aborting,
            hashing: *hashing,
            established: *established,
            self_test_done: *self_test_done,
            interface_locked: *interface_locked,
            line: *line,
            cancelled: *cancelled,
            read: u32::try_from(*read).unwrap_or(u32::MAX),
            buffer: buffer.clone(),
        }
    }

    /// A device in a saved state, its interrupt line driven as it was. Follow
    /// [`resume`](crate::RegisterModel::resume) next.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if the state is damaged, or its buffer longer than `config` allows.
    pub fn restore(
        config: TisConfig,
        trigger: T,
        events: E,
        state: &TisState,
    ) -> Result<Self, Error> {
        let mut tis = Self::with_events(config, trigger, events);
        let TisState {
            ports,
            active,
            next,
            aborting,
            hashing,
            established,
            self_test_done,
            interface_locked,
            line,
            cancelled,
            read,
            buffer,
        } = state;
        for (port, saved) in tis.ports.iter_mut().zip(ports) {
            *port = restore_port(saved)?;
        }
        tis.active = restore_locality(*active)?;
        tis.next = restore_locality(*next)?;
        tis.aborting = *aborting;
        tis.hashing = *hashing;
        tis.established = *established;
        tis.self_test_done = *self_test_done;
        tis.interface_locked = *interface_locked;
        tis.line = *line;
        tis.cancelled = *cancelled;
        tis.read = *read as usize;
        if buffer.len() > tis.config.buffer_size {
            let (what, found, limit) = ("a FIFO", buffer.len(), tis.config.buffer_size);
            return Err(SnapshotError::TooLarge { what, found, limit }.into());
        }
        tis.buffer.extend_from_slice(buffer);
        tis.check()?;
        if tis.line {
            tis.drive(true);
        }
        Ok(tis)
    }

    /// The rules that hold in every state a guest can bring the device into.
    pub(super) fn check(&self) -> Result<(), SnapshotError> {
        let rule =
            |holds: bool, what| if holds { Ok(()) } else { Err(SnapshotError::Invalid(what)) };
        let mut owners = Locality::all().filter(|l| self.port(*l).state.owns_buffer());
        let owner = owners.next();
        rule(owners.next().is_none(), "two localities use the FIFO")?;
        rule(
            owner.is_none() || self.active.is_none() || self.active == owner,
            "the FIFO belongs to a locality that is not active",
        )?;
        let length = self.buffer.len();
        let whole = is_whole(&self.buffer, self.config.buffer_size);
        match owner.map(|l| self.port(l).state) {
            None | Some(State::Idle | State::Ready) => {
                rule(length == 0 && self.read == 0, "FIFO bytes without an owner")?;
            }
            Some(State::Reception { whole: saved }) => {
                rule(length > 0 && self.read == 0, "a command without bytes")?;
                rule(saved == whole, "a command's length differs from its header")?;
            }
            Some(State::Execution) => {
                rule(whole && self.read == 0, "an incomplete command runs")?;
            }
            Some(State::Completion { drained }) => {
                rule(length >= HEADER, "a response shorter than its header")?;
                rule(self.read <= length, "more was read than there is")?;
                rule(drained == (self.read == length), "a response's read position")?;
            }
        }
        let runs = self.running().is_some();
        let waits = self.aborting || self.next.is_some();
        rule(runs || !self.cancelled, "a cancel without a command")?;
        rule(self.cancelled || !waits, "a switch waits for no cancelled command")?;
        rule(self.next.is_none_or(|next| self.active != Some(next)), "a switch to itself")?;
        rule(
            !self.hashing || (self.active == Some(Locality::FOUR) && owner.is_none()),
            "a hash sequence outside locality 4",
        )?;
        let mut seizing = Locality::all().filter(|l| self.port(*l).seizing);
        rule(seizing.all(|l| self.next == Some(l)), "a seize that is not awaited")?;
        let pending = self.ports.iter().any(|port| port.int_status != 0);
        rule(pending || !self.line, "an interrupt without a cause")?;
        let requests = self.active.is_none_or(|l| !self.port(l).requesting);
        rule(requests, "the active locality requests")
    }
}

fn save_port(port: &Port) -> SavedPort {
    let Port { state, int_enable, int_status, requesting, seizing, been_seized } = port;
    SavedPort {
        state: match state {
            State::Idle => 0,
            State::Ready => 1,
            State::Reception { whole: false } => 2,
            State::Reception { whole: true } => 3,
            State::Execution => 4,
            State::Completion { drained: false } => 5,
            State::Completion { drained: true } => 6,
        },
        int_enable: *int_enable,
        int_status: *int_status,
        flags: u8::from(*requesting) | u8::from(*seizing) << 1 | u8::from(*been_seized) << 2,
    }
}

fn restore_port(saved: &SavedPort) -> Result<Port, SnapshotError> {
    let SavedPort { state, int_enable, int_status, flags } = *saved;
    let enable = spec::INT_GLOBAL | spec::INT_POLARITY | spec::INT_CAUSES;
    if int_enable & !enable != 0 || int_status & !spec::INT_CAUSES != 0 {
        return Err(SnapshotError::Invalid("interrupt bits"));
    }
    if flags > 7 {
        return Err(SnapshotError::Invalid("a locality's flags"));
    }
    Ok(Port {
        state: match state {
            0 => State::Idle,
            1 => State::Ready,
            2 => State::Reception { whole: false },
            3 => State::Reception { whole: true },
            4 => State::Execution,
            5 => State::Completion { drained: false },
            6 => State::Completion { drained: true },
            _ => return Err(SnapshotError::Invalid("a locality's state")),
        },
        int_enable,
        int_status,
        requesting: flags & 1 != 0,
        seizing: flags & 2 != 0,
        been_seized: flags & 4 != 0,
    })
}

fn save_locality(locality: Option<Locality>) -> u8 {
    locality.map_or(NONE, Locality::number)
}

fn restore_locality(saved: u8) -> Result<Option<Locality>, SnapshotError> {
    match saved {
        NONE => Ok(None),
        number => {
            Locality::new(number).map(Some).ok_or(SnapshotError::Invalid("a locality's number"))
        }
    }
}
