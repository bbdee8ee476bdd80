//! A disk that dies at a chosen operation: half of a write lands, and nothing works after.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vtpm_store::medium::{Lock, LockError, Medium, MediumFile, Memory};

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    memory: Memory,
    life: Arc<Life>,
}

#[derive(Debug)]
struct Life {
    left: AtomicUsize,
    dead: AtomicBool,
    /// What the process held: gone when it is killed.
    locks: Mutex<usize>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self::over(Memory::new())
    }

    fn over(memory: Memory) -> Self {
        let life = Life {
            left: AtomicUsize::new(usize::MAX),
            dead: AtomicBool::new(false),
            locks: Mutex::default(),
        };
        Self { memory, life: Arc::new(life) }
    }

    /// Dies at the operation that is this many ahead.
    pub(crate) fn die_at(&self, operation: usize) {
        self.life.left.store(operation, Ordering::SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life.dead.load(Ordering::SeqCst)
    }

    /// The same disk for the next process.
    pub(crate) fn revived(&self) -> Self {
        Self::over(self.memory.clone())
    }

    fn tick(&self) -> io::Result<bool> {
        if self.is_dead() {
            return Err(io::Error::other("the process is dead"));
        }
        let left = self.life.left.load(Ordering::SeqCst);
        if left == 0 {
            self.life.dead.store(true, Ordering::SeqCst);
            return Ok(false);
        }
        if left != usize::MAX {
            self.life.left.store(left - 1, Ordering::SeqCst);
        }
        Ok(true)
    }

    fn run<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.tick()? { operation() } else { Err(io::Error::other("killed")) }
    }
}

impl Medium for Disk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let file = self.memory.open(path)?;
        Ok(Box::new(DiskFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let file = self.run(|| self.memory.create(path))?;
        Ok(Box::new(DiskFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|| self.memory.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(|| self.memory.remove(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.run(|| self.memory.sync_directory(path))
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut locks = self.life.locks.lock().unwrap();
        if *locks > 0 {
            return Err(LockError::Held(None));
        }
        *locks += 1;
        Ok(Box::new(DiskLock(Arc::clone(&self.life))))
    }
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    file: Box<dyn MediumFile>,
}

impl MediumFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.disk.tick()? {
            return self.file.write_at(offset, data);
        }
        self.file.write_at(offset, &data[..data.len() / 2])?;
        Err(io::Error::other("killed in the midst of a write"))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.run(|| self.file.sync())
    }
}

#[derive(Debug)]
struct DiskLock(Arc<Life>);

impl Lock for DiskLock {
    fn remove(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        *self.0.locks.lock().unwrap() -= 1;
    }
}
