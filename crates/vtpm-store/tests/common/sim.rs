//! A disk that records what is asked of it, fails when told to, and shows what a loss of power
//! at any byte of any write could have left.
//!
//! What is not synced may be lost: all of it, the end of it, or its beginning (sectors land in
//! any order). What is renamed or removed may or may not have happened until the directory is
//! synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use vtpm_store::medium::{Lock, LockError, Medium, MediumFile, Memory};

/// One thing that was asked of the disk; files by their number.
#[derive(Debug, Clone)]
pub enum Op {
    Create {
        file: usize,
        path: PathBuf,
    },
    Write {
        file: usize,
        offset: usize,
        data: Vec<u8>,
    },
    Sync {
        file: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncDirectory,
    /// The test was told that everything before this is durable.
    Acknowledged,
}

/// The files on a disk after a crash.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Debug, Clone, Default)]
pub struct Sim(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    start: Image,
    ops: Vec<Op>,
    disk: Replay,
    fail_at: Option<usize>,
}

impl Sim {
    pub fn from_image(start: Image) -> Self {
        let disk = Replay::of(&start);
        Self(Arc::new(Mutex::new(State { start, disk, ..State::default() })))
    }

    /// Fails the operation that is `ahead` operations from now, once; half of a write lands.
    pub fn fail(&self, ahead: usize) {
        let mut state = self.state();
        state.fail_at = Some(state.ops.len() + ahead);
    }

    pub fn acknowledge(&self) {
        self.state().ops.push(Op::Acknowledged);
    }

    pub fn ops(&self) -> Vec<Op> {
        self.state().ops.clone()
    }

    /// What the disk holds now, caches included.
    pub fn now(&self) -> Image {
        self.state().disk.image(Names::Volatile, |file| file.volatile.clone())
    }

    /// Calls `visit` with the number of acknowledgements and every image that a loss of power
    /// could leave, at every operation, at every byte of every write.
    pub fn crashes(&self, mut visit: impl FnMut(usize, Image)) {
        let state = self.state();
        let mut disk = Replay::of(&state.start);
        let mut acknowledged = 0;
        disk.visit(|image| visit(0, image));
        for op in &state.ops {
            if let Op::Write { file, offset, data } = op {
                for cut in disk.cuts(*file, data) {
                    let mut torn = disk.clone();
                    torn.write(*file, *offset, data, cut);
                    torn.visit(|image| visit(acknowledged, image));
                }
            }
            disk.apply(op);
            if matches!(op, Op::Acknowledged) {
                acknowledged += 1;
            }
            disk.visit(|image| visit(acknowledged, image));
        }
    }

    /// One of the images that a loss of power could leave now, chosen by `pick`.
    pub fn crash(&self, pick: usize) -> Image {
        let state = self.state();
        let mut images = Vec::new();
        state.disk.visit(|image| images.push(image));
        let chosen = pick % images.len();
        images.swap_remove(chosen)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn perform(&self, op: Op) -> io::Result<()> {
        let mut state = self.state();
        if state.fail_at == Some(state.ops.len()) {
            state.fail_at = None;
            if let Op::Write { file, offset, data } = op {
                let half = data[..data.len() / 2].to_vec();
                let torn = Op::Write { file, offset, data: half };
                state.disk.apply(&torn);
                state.ops.push(torn);
            }
            return Err(io::Error::other("injected"));
        }
        state.disk.apply(&op);
        state.ops.push(op);
        Ok(())
    }
}

pub fn to_memory(image: &Image) -> Memory {
    let memory = Memory::new();
    for (path, bytes) in image {
        memory.put(path, bytes.clone());
    }
    memory
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    volatile: Vec<u8>,
    /// The last unsynced write: where, how long, how much of it landed.
    last: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Default)]
struct Replay {
    files: Vec<File>,
    durable: BTreeMap<PathBuf, usize>,
    volatile: BTreeMap<PathBuf, usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Durable,
    Volatile,
}

impl Replay {
    fn of(image: &Image) -> Self {
        let mut replay = Self::default();
        for (path, bytes) in image {
            replay.volatile.insert(path.clone(), replay.files.len());
            let (durable, volatile) = (bytes.clone(), bytes.clone());
            replay.files.push(File { durable, volatile, last: None });
        }
        replay.durable = replay.volatile.clone();
        replay
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { file, path } => {
                assert_eq!(*file, self.files.len());
                self.files.push(File::default());
                self.volatile.insert(path.clone(), *file);
            }
            Op::Write { file, offset, data } => self.write(*file, *offset, data, data.len()),
            Op::Sync { file } => {
                let file = &mut self.files[*file];
                file.durable = file.volatile.clone();
                file.last = None;
            }
            Op::Rename { from, to } => {
                let file = self.volatile.remove(from).unwrap();
                self.volatile.insert(to.clone(), file);
            }
            Op::Remove { path } => drop(self.volatile.remove(path).unwrap()),
            Op::SyncDirectory => self.durable = self.volatile.clone(),
            Op::Acknowledged => {}
        }
    }

    fn write(&mut self, file: usize, offset: usize, data: &[u8], cut: usize) {
        let file = &mut self.files[file];
        let end = offset + cut;
        if file.volatile.len() < end {
            file.volatile.resize(end, 0);
        }
        file.volatile[offset..end].copy_from_slice(&data[..cut]);
        file.last = Some((offset, cut));
    }

    /// Where to cut a write: at every byte, except where nobody looks. The blocks of a file
    /// without a name are free, and those of a temporary file that only get zeros are not read
    /// before they are synced: there, at every sector.
    fn cuts(&self, file: usize, data: &[u8]) -> Vec<usize> {
        let named = |names: &BTreeMap<PathBuf, usize>| names.values().any(|named| *named == file);
        let is_state = [&self.durable, &self.volatile].iter().any(|names| {
            names.iter().any(|(path, named)| *named == file && path.extension().unwrap() == "vtpm")
        });
        match () {
            () if is_state => (0..data.len()).collect(),
            () if named(&self.durable) || named(&self.volatile) => {
                (0..data.len()).step_by(512).collect()
            }
            () => vec![0],
        }
    }

    fn visit(&self, mut visit: impl FnMut(Image)) {
        let unsynced = self.files.iter().any(|file| file.last.is_some());
        let both = [Names::Durable, Names::Volatile];
        let names = if self.durable == self.volatile { &both[..1] } else { &both };
        for names in names {
            visit(self.image(*names, |file| file.durable.clone()));
            if unsynced {
                visit(self.image(*names, |file| file.volatile.clone()));
                visit(self.image(*names, Self::end_landed));
            }
        }
    }

    /// Only the second half of the last write landed.
    fn end_landed(file: &File) -> Vec<u8> {
        let mut bytes = file.volatile.clone();
        if let Some((offset, length)) = file.last {
            let lost = bytes.iter_mut().enumerate().skip(offset).take(length / 2);
            lost.for_each(|(at, byte)| *byte = file.durable.get(at).copied().unwrap_or(0));
        }
        bytes
    }

    fn image(&self, names: Names, content: impl Fn(&File) -> Vec<u8>) -> Image {
        let names = if names == Names::Durable { &self.durable } else { &self.volatile };
        names.iter().map(|(path, file)| (path.clone(), content(&self.files[*file]))).collect()
    }
}

impl Medium for Sim {
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let state = self.state();
        let file = *state.disk.volatile.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { sim: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        let file = {
            let state = self.state();
            assert!(!state.disk.volatile.contains_key(path), "left behind: {path:?}");
            state.disk.files.len()
        };
        self.perform(Op::Create { file, path: path.into() })?;
        Ok(Box::new(SimFile { sim: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Op::Rename { from: from.into(), to: to.into() })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state().disk.volatile.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.perform(Op::Remove { path: path.into() })
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.perform(Op::SyncDirectory)
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Lock>, LockError> {
        Ok(Box::new(NoLock))
    }
}

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    file: usize,
}

impl MediumFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.sim.state().disk.files[self.file].volatile.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let state = self.sim.state();
        let there = state.disk.files[self.file].volatile.get(start..start + buffer.len());
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.sim.perform(Op::Write { file: self.file, offset, data: data.to_vec() })
    }

    fn sync(&self) -> io::Result<()> {
        self.sim.perform(Op::Sync { file: self.file })
    }
}

#[derive(Debug)]
struct NoLock;

impl Lock for NoLock {
    fn remove(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
