//! A disk: virtio-blk over a raw image or a block device of the host (virtio 1.2, clause 5.2).
//!
//! What the guest writes is in the host's page cache when the request is done, and durable when the
//! guest flushes, or at once for a driver that does not know flushing (clause 5.2.6.2).
//!
//! While the machine runs, the file is locked (flock): a second machine on the same image would
//! destroy it. A paused machine has it durable and unlocked, so that after a live migration over
//! shared storage the other one can take it.

mod request;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use virtio_bindings::{
    virtio_blk::{
        VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO,
        VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_F_WRITE_ZEROES,
        VIRTIO_BLK_ID_BYTES,
    },
    virtio_ids::VIRTIO_ID_BLOCK,
};

use self::request::{MAX_DISCARD_SECTORS, MAX_RANGES, MAX_ZERO_SECTORS};
use super::{
    model::{Complaints, Model, Next},
    ring::{Fault, MAX_DESCRIPTORS, Ring, Turn},
};
use crate::error::{Error, Result};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

/// Bytes of a disk's identifier.
pub const IDENTIFIER_SIZE: usize = VIRTIO_BLK_ID_BYTES as usize;

const QUEUE_SIZE: u16 = 256;
/// Data descriptors of a request: header and status need one each.
const SEGMENTS: u32 = MAX_DESCRIPTORS as u32 - 2;
/// Bytes of one of them.
const SEGMENT_SIZE: u32 = 1 << 20;
/// Bytes of a request that a driver that keeps the limits can send at most.
const MAX_TRANSFER: usize = SEGMENTS as usize * SEGMENT_SIZE as usize;

/// A disk.
pub struct Block {
    path: PathBuf,
    file: File,
    read_only: bool,
    sectors: u64,
    identifier: [u8; IDENTIFIER_SIZE],
    /// Features that a driver has accepted.
    features: u64,
    complaints: Complaints,
}

impl Block {
    /// Opens the image at `path`, without locking it yet. `identifier` is what the guest is told
    /// as the disk's serial number; what is longer than 20 bytes is cut off.
    ///
    /// # Errors
    /// [`Error::Virtio`], with what to do about it.
    pub fn open(path: &Path, read_only: bool, identifier: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Virtio { device: disk(path), reason };
        let mut file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .open(path)
            .map_err(|cause| refuse(explain_open(&cause, path, read_only)))?;
        let kind = file.metadata().map_err(|cause| refuse(cause.to_string()))?.file_type();
        if kind.is_dir() {
            return Err(refuse("it is a folder; a raw image or a block device is needed".into()));
        }
        // Also right for block devices, whose metadata know no size.
        let size = file.seek(SeekFrom::End(0)).map_err(|cause| {
            refuse(format!("its size cannot be found: {cause}; is it an image or a block device?"))
        })?;
        if size == 0 {
            let path = path.display();
            return Err(refuse(format!("it is empty; give it a size: truncate -s 4G {path}")));
        }
        if !size.is_multiple_of(SECTOR) {
            let (path, next) = (path.display(), size.next_multiple_of(SECTOR));
            return Err(refuse(format!(
                "its {size} bytes are no multiple of {SECTOR}; a raw image always is, so perhaps \
                 it has another format (qemu-img convert -O raw); otherwise: truncate -s {next} \
                 {path}"
            )));
        }
        let mut padded = [0; IDENTIFIER_SIZE];
        for (to, from) in padded.iter_mut().zip(identifier.bytes()) {
            *to = from;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            read_only,
            sectors: size / SECTOR,
            identifier: padded,
            features: 0,
            complaints: Complaints::default(),
        })
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Virtio { device: disk(&self.path), reason: reason.into() }
    }
}

impl Model for Block {
    fn kind(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let always = 1 << VIRTIO_BLK_F_SIZE_MAX
            | 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_FLUSH;
        if self.read_only {
            always | 1 << VIRTIO_BLK_F_RO
        } else {
            always | 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES
        }
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    /// `struct virtio_blk_config` (clause 5.2.4), up to the last field that is used.
    fn config(&self) -> Vec<u8> {
        let mut config = Vec::with_capacity(60);
        config.extend(self.sectors.to_le_bytes());
        config.extend(SEGMENT_SIZE.to_le_bytes());
        config.extend(SEGMENTS.to_le_bytes());
        // Geometry.
        config.extend([0; 4]);
        config.extend((SECTOR as u32).to_le_bytes());
        // Topology, write-back, number of queues.
        config.extend([0; 12]);
        config.extend(MAX_DISCARD_SECTORS.to_le_bytes());
        config.extend(MAX_RANGES.to_le_bytes());
        // Alignment of what is worth discarding, in sectors: a block of most file systems.
        config.extend(8u32.to_le_bytes());
        config.extend(MAX_ZERO_SECTORS.to_le_bytes());
        config.extend(MAX_RANGES.to_le_bytes());
        // Zeros may be holes.
        config.extend([1, 0, 0, 0]);
        config
    }

    fn adopt_config(&mut self, saved: &[u8]) -> Result<()> {
        let sectors = saved.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if sectors != self.sectors {
            return Err(self.refuse(format!(
                "it has {} sectors, but had {sectors} when the machine was saved; give the image \
                 that belongs to the snapshot",
                self.sectors
            )));
        }
        if saved == self.config() {
            Ok(())
        } else {
            Err(self.refuse("the saved disk had other limits; it was saved by another version"))
        }
    }

    fn activate(&mut self, features: u64) {
        self.features = features;
    }

    fn serve(&mut self, rings: &mut [Ring], turn: Turn<'_>) -> Result<Next, Fault> {
        let [ring] = rings else { return Ok(Next::default()) };
        let again = ring.drain(turn, |memory, chain| self.answer(memory, chain))?;
        Ok(Next { again, watch: false })
    }

    fn acquire(&mut self) -> Result<()> {
        let locked =
            if self.read_only { self.file.try_lock_shared() } else { self.file.try_lock() };
        match locked {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(self.refuse(
                "another machine uses it; stop that one, give this one a copy, or open the image \
                 read-only for both",
            )),
            // Some network file systems have no locks: the operator is the lock then.
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %self.path.display(), "this file system cannot lock files");
                Ok(())
            }
            Err(TryLockError::Error(cause)) => {
                Err(Error::file("lock the disk image", &self.path)(cause))
            }
        }
    }

    fn release(&mut self) -> Result<()> {
        let durable = if self.read_only { Ok(()) } else { self.file.sync_data() };
        // Not without the data: whoever takes the file next must find it all.
        durable.map_err(Error::file("make durable what the guest wrote to", &self.path))?;
        self.file.unlock().map_err(Error::file("unlock the disk image", &self.path))
    }

    fn system_calls(&self) -> &'static [libc::c_long] {
        // The last is how zeros are written where a file system has no quicker way.
        &[libc::SYS_lseek, libc::SYS_fdatasync, libc::SYS_fallocate, libc::SYS_pwrite64]
    }
}

fn disk(path: &Path) -> String {
    format!("disk {}", path.display())
}

fn explain_open(cause: &io::Error, path: &Path, read_only: bool) -> String {
    let path = path.display();
    match cause.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no such file; make an empty disk: truncate -s 4G {path}")
        }
        io::ErrorKind::PermissionDenied if read_only => {
            format!("this user may not read it ({cause})")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("this user may not write to it ({cause}); attach it read-only, or change that")
        }
        io::ErrorKind::IsADirectory => {
            "it is a folder; a raw image or a block device is needed".into()
        }
        _ => format!("it cannot be opened: {cause}"),
    }
}
