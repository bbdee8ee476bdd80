//! Finding the newest whole record in a file, and saying what is wrong if there is none.

use std::io;
use std::path::Path;

use crate::error::{Error, Result, SlotFault};
use crate::medium::MediumFile;
use crate::record::{Found, HEADER_MAX, HeaderFault, PROLOGUE, SLOT_UNIT};

/// What a slot other than the newest holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Other {
    /// An older record.
    Older,
    /// No whole record.
    Faulty(SlotFault),
}

/// The newest whole record of a file, and what else was found.
pub(crate) struct Newest {
    pub(crate) found: Found,
    pub(crate) payload: Vec<u8>,
    pub(crate) other: Other,
}

/// Reads a file: bounded by `slot_max` bytes a slot, changing nothing.
pub(crate) fn newest(file: &dyn MediumFile, path: &Path, slot_max: u64) -> Result<Newest> {
    let reader = SlotReader { file, path };
    let slot_size = reader.geometry(slot_max)?;
    let first = reader.header(0, slot_size)?;
    let second = reader.header(1, slot_size)?;
    let (mut better, mut other) = match (first, second) {
        (Ok(first), Ok(second)) => {
            let generation = first.header.generation;
            if generation == second.header.generation {
                let fault = SlotFault::SameGeneration { generation };
                return Err(Error::Damaged { path: path.into(), faults: [fault, fault] });
            }
            let ordered = generation > second.header.generation;
            let (better, other) = if ordered { (first, second) } else { (second, first) };
            (better, Ok(other))
        }
        (Ok(first), Err(fault)) => (first, Err(fault)),
        (Err(fault), Ok(second)) => (second, Err(fault)),
        (Err(SlotFault::Blank), Err(SlotFault::Blank)) => {
            return Err(Error::Blank { path: path.into() });
        }
        (Err(SlotFault::NotARecord), Err(SlotFault::NotARecord)) => {
            return Err(Error::NotAStore { path: path.into() });
        }
        (Err(first), Err(second)) => {
            return Err(Error::Damaged { path: path.into(), faults: [first, second] });
        }
    };
    loop {
        if let Some(payload) = reader.payload(&better, slot_size)? {
            let other = match other {
                Ok(_) => Other::Older,
                Err(fault) => Other::Faulty(fault),
            };
            return Ok(Newest { found: better, payload, other });
        }
        let fault = SlotFault::Payload { generation: better.header.generation };
        match other {
            Ok(older) => {
                better = older;
                other = Err(fault);
            }
            Err(elsewhere) => {
                let in_order = better.header.slot == 0;
                let faults = if in_order { [fault, elsewhere] } else { [elsewhere, fault] };
                return Err(Error::Damaged { path: path.into(), faults });
            }
        }
    }
}

struct SlotReader<'a> {
    file: &'a dyn MediumFile,
    path: &'a Path,
}

impl SlotReader<'_> {
    fn failed(&self, source: io::Error) -> Error {
        Error::Io { action: "read", path: self.path.into(), source }
    }

    /// The size of a slot, from the length of the file: half of it.
    fn geometry(&self, slot_max: u64) -> Result<u32> {
        let length = self.file.length().map_err(|error| self.failed(error))?;
        if length == 0 {
            return Err(Error::Empty { path: self.path.into() });
        }
        let first = self.header_within(0, length)?;
        let expected = first.as_ref().ok().map(|found| 2 * u64::from(found.header.slot_size));
        let half = length / 2;
        const PAIR: u64 = 2 * SLOT_UNIT as u64;
        let fits = length.is_multiple_of(PAIR);
        if !fits || expected.is_some_and(|expected| expected != length) {
            if matches!(first, Err(SlotFault::NotARecord)) && length >= PROLOGUE as u64 {
                return Err(Error::NotAStore { path: self.path.into() });
            }
            return Err(Error::WrongLength { path: self.path.into(), length, expected });
        }
        if half > slot_max {
            let what = "a slot of the state file";
            return Err(Error::TooLarge { what, length: half, limit: slot_max });
        }
        u32::try_from(half).map_err(|_| Error::TooLarge {
            what: "a slot of the state file",
            length: half,
            limit: slot_max,
        })
    }

    /// The header of a slot, checked against where it lies.
    fn header(&self, slot: u8, slot_size: u32) -> Result<Result<Found, SlotFault>> {
        let start = u64::from(slot).saturating_mul(u64::from(slot_size));
        let found = self.header_within(start, u64::from(slot_size))?;
        Ok(found.and_then(|found| {
            let here = found.header.slot == slot && found.header.slot_size == slot_size;
            let payload_end = found.payload_offset().checked_add(found.payload_length);
            let fits = payload_end.is_some_and(|end| end as u64 <= u64::from(slot_size));
            if here && fits { Ok(found) } else { Err(SlotFault::Misplaced) }
        }))
    }

    /// The header that begins at `start`, if it is whole and no longer than `room`.
    fn header_within(&self, start: u64, room: u64) -> Result<Result<Found, SlotFault>> {
        let mut prologue = [0; PROLOGUE];
        if room < PROLOGUE as u64 {
            return Ok(Err(SlotFault::NotARecord));
        }
        self.read(start, &mut prologue)?;
        if prologue == [0; PROLOGUE] && self.is_blank(start, room)? {
            return Ok(Err(SlotFault::Blank));
        }
        let length = match Found::header_length(&prologue) {
            Ok(length) if length as u64 <= room => length,
            Ok(_) => return Ok(Err(SlotFault::Header)),
            Err(fault) => return Ok(Err(fault)),
        };
        // At most HEADER_MAX.
        let mut bytes = vec![0; length.min(HEADER_MAX)];
        self.read(start, &mut bytes)?;
        match Found::decode(&bytes) {
            Ok(found) => Ok(Ok(found)),
            Err(HeaderFault::Slot(fault)) => Ok(Err(fault)),
            Err(HeaderFault::Newer { version, minimum }) => {
                Err(Error::Newer { path: self.path.into(), version, minimum })
            }
        }
    }

    fn is_blank(&self, start: u64, room: u64) -> Result<bool> {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let mut page = [0; SLOT_UNIT as usize];
        let page = page.get_mut(..room.min(SLOT_UNIT as usize)).unwrap_or_default();
        self.read(start, page)?;
        Ok(page.iter().all(|byte| *byte == 0))
    }

    /// The payload, if it is whole.
    fn payload(&self, of: &Found, slot_size: u32) -> Result<Option<Vec<u8>>> {
        let start = u64::from(of.header.slot)
            .saturating_mul(u64::from(slot_size))
            .saturating_add(of.payload_offset() as u64);
        // Fits its slot, and the slot its limit: both were checked.
        let mut payload = vec![0; of.payload_length];
        self.read(start, &mut payload)?;
        Ok(of.is_whole(&payload).then_some(payload))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buffer).map_err(|error| self.failed(error))
    }
}
