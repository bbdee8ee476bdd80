//! Where an instance's state lies, and within which limits.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::medium::{Disk, Lock, LockError, Medium, MediumFile};
use crate::record::{HEADER_MAX, NOTE_MAX, SLOT_UNIT};

/// The largest state that is allowed unless a [`Place`] says otherwise: 1 MiB.
pub const STATE_LIMIT: usize = 1 << 20;

/// The largest limit that a [`Place`] can set: 64 MiB.
pub const STATE_LIMIT_MAX: usize = 64 << 20;

/// The path of a state file, the medium it is on, and the limits on it.
///
/// Two more files may be beside it: `<path>.lock`, and, while the file grows, `<path>.new`.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
    medium: Arc<dyn Medium>,
    state_limit: usize,
    slot_size: u32,
}

impl Place {
    /// The file at `path` on the real disk, with the default limits.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(Disk), path)
    }

    /// The file at `path` on `medium`, with the default limits.
    #[must_use]
    pub fn on(medium: Arc<dyn Medium>, path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), medium, state_limit: STATE_LIMIT, slot_size: 32 * 1024 }
    }

    /// Allows states of up to `bytes` (at most [`STATE_LIMIT_MAX`]). A file with slots that no
    /// such state would need is not read at all.
    #[must_use]
    pub fn with_state_limit(mut self, bytes: usize) -> Self {
        self.state_limit = bytes.min(STATE_LIMIT_MAX);
        self
    }

    /// Makes new files with slots of at least `bytes` (default 32 KiB), rounded up to 4096.
    /// A state that outgrows its slot makes the file grow; each growth costs a new file.
    #[must_use]
    pub fn with_slot_size(mut self, bytes: u32) -> Self {
        self.slot_size = bytes;
        self
    }

    /// The path of the state file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn state_limit(&self) -> usize {
        self.state_limit
    }

    /// The size of the largest slot that the limits can call for.
    pub(crate) fn slot_max(&self) -> u64 {
        const FIXED: u64 = 4 + NOTE_MAX as u64 + 16 + HEADER_MAX as u64;
        let most = FIXED.saturating_add(self.state_limit as u64);
        let slot = most.checked_next_multiple_of(u64::from(SLOT_UNIT)).unwrap_or(most);
        // Growth doubles, and a creator may have asked for more than is needed.
        slot.saturating_mul(2)
    }

    /// The size of slots for a record of `length` bytes, in a new file or in place of slots of
    /// `current` bytes.
    pub(crate) fn slot_size_for(&self, length: usize, current: Option<u32>) -> Result<u32> {
        let wanted = current.map_or(u64::from(self.slot_size), |size| 2 * u64::from(size));
        let needed = u64::max(length as u64, 1).next_multiple_of(u64::from(SLOT_UNIT));
        let size = wanted.min(self.slot_max()).next_multiple_of(u64::from(SLOT_UNIT)).max(needed);
        let too_large =
            Error::TooLarge { what: "the record", length: needed, limit: self.slot_max() };
        match u32::try_from(size) {
            Ok(size) if needed <= self.slot_max() => Ok(size),
            _ => Err(too_large),
        }
    }

    pub(crate) fn lock(&self) -> Result<Box<dyn Lock>> {
        self.medium.lock(&self.beside(".lock")).map_err(|error| match error {
            LockError::Held(holder) => Error::Locked { path: self.path.clone(), holder },
            LockError::Io(source) => {
                Error::Io { action: "lock", path: self.beside(".lock"), source }
            }
        })
    }

    pub(crate) fn open(&self) -> Result<Box<dyn MediumFile>> {
        self.medium.open(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: self.path.clone() },
            io::ErrorKind::InvalidInput => Error::NotRegular { path: self.path.clone() },
            _ => self.failed("open", source),
        })
    }

    /// Locks the file and opens it; leaves no lock file where there is nothing to lock.
    pub(crate) fn lock_and_open(&self) -> Result<(Box<dyn Lock>, Box<dyn MediumFile>)> {
        drop(self.open()?);
        let lock = self.lock()?;
        // Opened only now: the holder before may have put a larger file in its place.
        Ok((lock, self.open()?))
    }

    /// Whether something is at the path.
    pub(crate) fn is_taken(&self) -> Result<bool> {
        match self.open() {
            Ok(_) | Err(Error::NotRegular { .. }) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a file that begins with `record` under a temporary name, durably. It takes the
    /// place of the state file by [`promote`](Self::promote).
    pub(crate) fn prepare(&self, record: &[u8], slot_size: u32) -> Result<Box<dyn MediumFile>> {
        self.discard_leftover()?;
        let path = self.beside(".new");
        let write = || -> io::Result<Box<dyn MediumFile>> {
            let file = self.medium.create(&path)?;
            file.write_at(0, record)?;
            // Written, not merely reserved: later commits then change no metadata.
            fill_with_zeros(file.as_ref(), record.len() as u64, 2 * u64::from(slot_size))?;
            file.sync()?;
            Ok(file)
        };
        write().map_err(|source| {
            // Nothing refers to it; the next attempt removes it if this cannot.
            let _ = self.medium.remove(&path);
            Error::Io { action: "write", path: path.clone(), source }
        })
    }

    /// Puts the prepared file in the place of the state file.
    pub(crate) fn promote(&self) -> Result<()> {
        let path = self.beside(".new");
        self.medium.rename(&path, &self.path).map_err(|source| {
            let _ = self.medium.remove(&path);
            self.failed("replace", source)
        })
    }

    /// Removes what an interrupted growth left: it may hold a sealed key.
    pub(crate) fn discard_leftover(&self) -> Result<()> {
        let path = self.beside(".new");
        match self.medium.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(source) => return Err(Error::Io { action: "open", path, source }),
            Ok(file) => scrub(file.as_ref()).map_err(|source| Error::Io {
                action: "erase",
                path: path.clone(),
                source,
            })?,
        }
        match self.medium.remove(&path) {
            Err(source) => Err(Error::Io { action: "remove", path, source }),
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn remove(&self) -> Result<()> {
        self.medium.remove(&self.path).map_err(|source| self.failed("remove", source))
    }

    pub(crate) fn sync_directory(&self) -> Result<()> {
        self.medium
            .sync_directory(&self.path)
            .map_err(|source| self.failed("sync the directory of", source))
    }

    pub(crate) fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(suffix);
        name.into()
    }
}

/// Overwrites a whole file with zeros, durably.
pub(crate) fn scrub(file: &dyn MediumFile) -> io::Result<()> {
    fill_with_zeros(file, 0, file.length()?)?;
    file.sync()
}

/// Writes zeros from `start` to `end`.
pub(crate) fn fill_with_zeros(file: &dyn MediumFile, start: u64, end: u64) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    let zeros = [0; CHUNK];
    let mut at = start;
    while at < end {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
        file.write_at(at, zeros.get(..left).unwrap_or_default())?;
        at = at.saturating_add(left as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_whole_pages_that_double_up_to_the_limit() {
        let place = Place::at("x").with_slot_size(1).with_state_limit(8192);
        assert_eq!(place.slot_size_for(100, None).unwrap(), 4096);
        assert_eq!(place.slot_size_for(5000, None).unwrap(), 8192);
        assert_eq!(place.slot_size_for(5000, Some(4096)).unwrap(), 8192);
        assert_eq!(place.slot_size_for(20000, Some(4096)).unwrap(), 20480);
        let most = usize::try_from(place.slot_max()).unwrap();
        let last = place.slot_size_for(most, Some(1 << 20)).unwrap();
        assert_eq!(u64::from(last), place.slot_max());
        assert!(matches!(place.slot_size_for(most + 1, None), Err(Error::TooLarge { .. })));
    }
}
