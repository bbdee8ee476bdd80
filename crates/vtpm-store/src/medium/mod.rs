//! Where files live: the seam between the store and a disk.
//!
//! The store asks little of a disk, and says when each thing must be durable; a test can give it
//! a disk that loses power at any byte. [`Disk`] is the real one, [`Memory`] lives in memory.

mod disk;
mod memory;

use std::fmt;
use std::io;
use std::path::Path;

pub use disk::Disk;
pub use memory::Memory;

/// A place for files.
///
/// The store calls these only while it holds the lock of the file concerned, save for
/// [`open`](Self::open) in an inspection.
pub trait Medium: fmt::Debug + Send + Sync {
    /// Opens a file for reading and writing; [`io::ErrorKind::NotFound`] if there is none, and
    /// [`io::ErrorKind::InvalidInput`] if it is not a regular file. Symbolic links are not
    /// followed.
    ///
    /// # Errors
    /// As the disk says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;

    /// Creates an empty file that only its owner may read or write;
    /// [`io::ErrorKind::AlreadyExists`] if the path is taken.
    ///
    /// # Errors
    /// As the disk says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>>;

    /// Puts the file `from` in the place of `to`, at once. Durable after
    /// [`sync_directory`](Self::sync_directory).
    ///
    /// # Errors
    /// As the disk says; then nothing has changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`sync_directory`](Self::sync_directory).
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, or as the disk says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes renames and removals in the directory of `path` durable.
    ///
    /// # Errors
    /// As the disk says; then it is unknown what is durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock file `path` without waiting, creating it if need be.
    ///
    /// # Errors
    /// [`LockError::Held`] if somebody has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;
}

/// An open file.
pub trait MediumFile: fmt::Debug + Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// As the disk says.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; [`io::ErrorKind::UnexpectedEof`] past the end.
    ///
    /// # Errors
    /// As the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`. Durable after [`sync`](Self::sync).
    ///
    /// # Errors
    /// As the disk says; then it is unknown what was written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes all earlier writes durable, and the length with them (`fdatasync`).
    ///
    /// # Errors
    /// As the disk says; then it is unknown what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A lock that is held until it is dropped.
pub trait Lock: fmt::Debug + Send + Sync {
    /// Releases the lock and removes its file, when what it guarded is gone.
    ///
    /// # Errors
    /// As the disk says; the lock is released all the same.
    fn remove(self: Box<Self>) -> io::Result<()>;
}

/// Why a lock was not given.
#[derive(Debug)]
pub enum LockError {
    /// Somebody holds it: who, if that is known.
    Held(Option<Holder>),
    /// The lock file could not be made or locked.
    Io(io::Error),
}

/// Who holds a lock, by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process id, in the holder's own name space.
    pub pid: u32,
    /// The host name of the holder.
    pub host: String,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { pid: std::process::id(), host }
    }

    pub(crate) fn to_line(&self) -> String {
        format!("{} {}\n", self.pid, self.host)
    }

    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let (pid, host) = line.strip_suffix('\n')?.split_once(' ')?;
        let host: String = host.chars().filter(|c| !c.is_control()).take(255).collect();
        Some(Self { pid: pid.parse().ok()?, host })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on host {}", self.pid, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_comes_back_from_its_line_and_cannot_forge_a_terminal() {
        let me = Holder::this_process();
        assert_eq!(Holder::from_line(&me.to_line()), Some(me));
        assert_eq!(Holder::from_line(""), None);
        assert_eq!(Holder::from_line("12 host"), None, "a torn line is no name");
        assert_eq!(Holder::from_line("x host\n"), None);
        assert_eq!(Holder::from_line("1 a\x1b[2Jb\n").unwrap().host, "a[2Jb");
    }
}
