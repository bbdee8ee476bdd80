//! Requests of a disk (virtio 1.2, clause 5.2.6).
//!
//! ```text
//!   readable                            writable
//!   type 4 | reserved 4 | sector 8 | data...      data... | status 1
//! ```

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
};

use tracing::warn;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_S_IOERR,
    VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
    VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use vm_memory::{ReadVolatile, VolatileMemoryError, WriteVolatile};
use vmm_sys_util::{
    fallocate::{FallocateMode, fallocate},
    write_zeroes::WriteZeroesAt,
};

use super::{Block, MAX_TRANSFER, SECTOR};
use crate::{
    memory::GuestMemory,
    virtio::{
        buffer::Buffer,
        ring::{Chain, Fault},
    },
};

/// Ranges of one discard or zero request.
pub(super) const MAX_RANGES: u32 = 16;
/// Sectors of a range to discard.
pub(super) const MAX_DISCARD_SECTORS: u32 = 1 << 22;
/// Sectors of a range to zero: fewer, since a file system without a quick way has to write them.
pub(super) const MAX_ZERO_SECTORS: u32 = 1 << 16;

const HEADER_SIZE: usize = 16;
const RANGE_SIZE: usize = 16;

/// Why a request is not done.
enum Refusal {
    /// Nothing that this disk does.
    Unsupported,
    /// It breaks a limit, or goes beyond the end.
    Invalid,
    /// The host could not do it.
    Host(io::Error),
    /// Guest memory.
    Fault(Fault),
}

/// A range of a discard or zero request.
struct Range {
    offset: u64,
    size: u64,
    unmap: bool,
}

impl Block {
    /// Serves one request and says how much of the writable part is written.
    pub(super) fn answer(&mut self, memory: &GuestMemory, chain: Chain) -> Result<usize, Fault> {
        let Chain { head, mut readable, mut writable } = chain;
        let fault = |reason| Fault::Chain { head, reason };
        let header =
            readable.split_to(HEADER_SIZE).ok_or_else(|| fault("a request without a header"))?;
        let status =
            writable.split_off(1).ok_or_else(|| fault("a request without room for its status"))?;
        let mut bytes = [0; HEADER_SIZE];
        header.read(memory, &mut bytes)?;
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = bytes;
        let kind = u32::from_le_bytes([k0, k1, k2, k3]);
        let sector = u64::from_le_bytes(sector);
        let (code, written) = match self.execute(memory, kind, sector, &mut readable, &writable) {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(Refusal::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
            Err(Refusal::Invalid) => (VIRTIO_BLK_S_IOERR, 0),
            Err(Refusal::Host(cause)) => {
                self.complain(kind, &cause);
                (VIRTIO_BLK_S_IOERR, 0)
            }
            Err(Refusal::Fault(fault)) => return Err(fault),
        };
        status.write(memory, &[code as u8])?;
        // Only what is written without a gap counts (clause 2.7.8.2).
        Ok(if written == writable.len() { written.saturating_add(1) } else { written })
    }

    fn execute(
        &mut self,
        memory: &GuestMemory,
        kind: u32,
        sector: u64,
        readable: &mut Buffer,
        writable: &Buffer,
    ) -> Result<usize, Refusal> {
        match kind {
            VIRTIO_BLK_T_IN => self.read(memory, sector, writable),
            VIRTIO_BLK_T_OUT => self.write(memory, sector, readable),
            VIRTIO_BLK_T_FLUSH => self.flush(),
            VIRTIO_BLK_T_GET_ID => Ok(writable.write(memory, &self.identifier)?),
            VIRTIO_BLK_T_DISCARD if self.has(VIRTIO_BLK_F_DISCARD) => {
                self.each_range(memory, readable, MAX_DISCARD_SECTORS, discard)
            }
            VIRTIO_BLK_T_WRITE_ZEROES if self.has(VIRTIO_BLK_F_WRITE_ZEROES) => {
                self.each_range(memory, readable, MAX_ZERO_SECTORS, zero)
            }
            _ => Err(Refusal::Unsupported),
        }
    }

    fn read(&self, memory: &GuestMemory, sector: u64, data: &Buffer) -> Result<usize, Refusal> {
        self.seek(sector, data)?;
        let mut file = &self.file;
        for slice in data.slices(memory) {
            file.read_exact_volatile(&mut slice?)?;
        }
        Ok(data.len())
    }

    fn write(&self, memory: &GuestMemory, sector: u64, data: &Buffer) -> Result<usize, Refusal> {
        if self.read_only {
            return Err(Refusal::Invalid);
        }
        self.seek(sector, data)?;
        let mut file = &self.file;
        for slice in data.slices(memory) {
            file.write_all_volatile(&slice?)?;
        }
        self.commit()
    }

    fn flush(&self) -> Result<usize, Refusal> {
        if !self.read_only {
            self.file.sync_data().map_err(Refusal::Host)?;
        }
        Ok(0)
    }

    /// Behind every change: a driver that cannot flush counts on it to be durable.
    fn commit(&self) -> Result<usize, Refusal> {
        if self.has(VIRTIO_BLK_F_FLUSH) { Ok(0) } else { self.flush() }
    }

    /// Goes to `sector`, if `data` has whole sectors and all of them are on the disk.
    fn seek(&self, sector: u64, data: &Buffer) -> Result<(), Refusal> {
        let size = data.len() as u64;
        if data.len() > MAX_TRANSFER || !size.is_multiple_of(SECTOR) {
            return Err(Refusal::Invalid);
        }
        let offset = self.offset(sector, size / SECTOR)?;
        (&self.file).seek(SeekFrom::Start(offset)).map_err(Refusal::Host)?;
        Ok(())
    }

    /// Offset of `sector` in the file, if `count` sectors are there.
    fn offset(&self, sector: u64, count: u64) -> Result<u64, Refusal> {
        let end = sector.checked_add(count).ok_or(Refusal::Invalid)?;
        if end > self.sectors {
            return Err(Refusal::Invalid);
        }
        sector.checked_mul(SECTOR).ok_or(Refusal::Invalid)
    }

    /// `data` is a list of ranges: checks all of them first, then has `apply` do each.
    fn each_range(
        &mut self,
        memory: &GuestMemory,
        data: &mut Buffer,
        limit: u32,
        apply: fn(&mut File, &Range) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        if self.read_only || data.is_empty() || !data.len().is_multiple_of(RANGE_SIZE) {
            return Err(Refusal::Invalid);
        }
        if data.len() / RANGE_SIZE > MAX_RANGES as usize {
            return Err(Refusal::Invalid);
        }
        let mut ranges = Vec::with_capacity(data.len() / RANGE_SIZE);
        while let Some(range) = data.split_to(RANGE_SIZE) {
            let mut bytes = [0; RANGE_SIZE];
            range.read(memory, &mut bytes)?;
            ranges.push(self.range(bytes, limit)?);
        }
        for range in ranges.iter().filter(|range| range.size > 0) {
            apply(&mut self.file, range)?;
        }
        self.commit()
    }

    fn range(&self, bytes: [u8; RANGE_SIZE], limit: u32) -> Result<Range, Refusal> {
        let [s0, s1, s2, s3, s4, s5, s6, s7, c0, c1, c2, c3, flags @ ..] = bytes;
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        let flags = u32::from_le_bytes(flags);
        if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 {
            return Err(Refusal::Unsupported);
        }
        if count > limit {
            return Err(Refusal::Invalid);
        }
        let offset = self.offset(sector, count.into())?;
        let unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
        Ok(Range { offset, size: u64::from(count).saturating_mul(SECTOR), unmap })
    }

    fn has(&self, feature: u32) -> bool {
        self.features & 1 << feature != 0
    }

    fn complain(&mut self, kind: u32, cause: &io::Error) {
        if self.complaints.allow() {
            let path = self.path.display();
            warn!(%path, kind, "the guest is told of an error of the disk: {cause}");
        }
    }
}

/// Gives space back to the host. Advice only: a file system that cannot has done enough.
fn discard(file: &mut File, range: &Range) -> Result<(), Refusal> {
    if range.unmap {
        return Err(Refusal::Unsupported);
    }
    let _advice = fallocate(file, FallocateMode::PunchHole, true, range.offset, range.size);
    Ok(())
}

/// Zeros, as a hole where the guest agrees and the file system can.
fn zero(file: &mut File, range: &Range) -> Result<(), Refusal> {
    if range.unmap
        && fallocate(file, FallocateMode::PunchHole, true, range.offset, range.size).is_ok()
    {
        return Ok(());
    }
    let size = usize::try_from(range.size).map_err(|_| Refusal::Invalid)?;
    file.write_all_zeroes_at(range.offset, size).map_err(Refusal::Host)
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<VolatileMemoryError> for Refusal {
    fn from(cause: VolatileMemoryError) -> Self {
        match cause {
            VolatileMemoryError::IOError(cause) => Self::Host(cause),
            other => Self::Host(io::Error::other(other)),
        }
    }
}
