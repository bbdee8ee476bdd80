//! Files of the operating system.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Holder, Lock, LockError, Medium, MediumFile};

/// The real disk.
///
/// Locks are `flock` locks on a file beside the state file: they belong to the open file, end
/// with the process however it ends, and work over NFS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Medium for Disk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        // Not blocking: otherwise a FIFO in the file's place would hold us for ever.
        let file = options(OFlags::NONBLOCK).open(path).map_err(|error| {
            let link = rustix::io::Errno::LOOP.raw_os_error();
            if error.raw_os_error() == Some(link) { not_regular() } else { error }
        })?;
        if !file.metadata()?.is_file() {
            return Err(not_regular());
        }
        Ok(Box::new(DiskFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(DiskFile(options(OFlags::empty()).create_new(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        // The file may be removed between opening and locking it, by a holder that destroyed
        // what it guarded; then the lock is on a file that nobody else will find.
        for _ in 0..16 {
            let file = options(OFlags::NONBLOCK).create(true).open(path).map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(&file))),
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            if is_at(&file, path).map_err(LockError::Io)? {
                leave_name(&file).map_err(LockError::Io)?;
                return Ok(Box::new(DiskLock { file, path: path.to_owned() }));
            }
        }
        Err(LockError::Held(None))
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl MediumFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct DiskLock {
    file: File,
    path: PathBuf,
}

impl Lock for DiskLock {
    fn remove(self: Box<Self>) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        // A name that stays behind misleads nobody: it is read only while somebody has the lock.
        let _ = self.file.set_len(0);
        // Closing is not enough: a child that was forked meanwhile shares the open file, and the
        // lock with it, until it runs its own program.
        let _ = self.file.unlock();
    }
}

fn options(flags: OFlags) -> OpenOptions {
    let flags = (flags | OFlags::NOFOLLOW).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    options
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(ours.dev() == there.dev() && ours.ino() == there.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn leave_name(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(Holder::this_process().to_line().as_bytes())
}

fn holder(file: &File) -> Option<Holder> {
    let mut line = String::new();
    file.take(512).read_to_string(&mut line).ok()?;
    Holder::from_line(&line)
}
