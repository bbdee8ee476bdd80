//! Files in memory, for tests, fuzzing, and instances that are not to outlive their process.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Holder, Lock, LockError, Medium, MediumFile};

/// A set of files in memory. Clones are the same set. All writes are "durable" at once.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    files: HashMap<PathBuf, Content>,
    locked: HashSet<PathBuf>,
}

type Content = Arc<RwLock<Vec<u8>>>;

impl Memory {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file with these bytes at `path`.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        self.shelf().files.insert(path.into(), Arc::new(RwLock::new(bytes)));
    }

    /// The bytes of the file at `path`, if there is one.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let content = self.shelf().files.get(path.as_ref()).cloned()?;
        let bytes = content.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(bytes)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for Memory {
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let content = self.shelf().files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(content)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let mut shelf = self.shelf();
        if shelf.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Content::default();
        shelf.files.insert(path.to_owned(), Arc::clone(&content));
        Ok(Box::new(MemoryFile(content)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shelf = self.shelf();
        let content = shelf.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        shelf.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.shelf().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        if !self.shelf().locked.insert(path.to_owned()) {
            return Err(LockError::Held(Some(Holder::this_process())));
        }
        Ok(Box::new(MemoryLock { memory: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct MemoryFile(Content);

impl MediumFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        let bytes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(bytes.len().try_into().unwrap_or(u64::MAX))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let there = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(there);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(there) = bytes.get_mut(start..end) {
            there.copy_from_slice(data);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock {
    memory: Memory,
    path: PathBuf,
}

impl Lock for MemoryLock {
    fn remove(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.memory.shelf().locked.remove(&self.path);
    }
}
