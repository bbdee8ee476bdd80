//! What the host remembers of its instances: the newest generation of each, in a file whose digest
//! the chip holds.
//!
//! ```text
//! generations        magic "VTPMGENS", version 2 bytes, minimum version 2, serial 8, count 4,
//!                    then for each instance, ascending: id 16, generation 8; big-endian
//! NV index           serial 8, SHA-256 of the file 32; read and written under an authorization
//!                    value that is sealed by the chip
//! ```
//! An update writes `generations.next`, then the chip, then renames. Whatever a crash leaves, one
//! of the two files is the one that the chip remembers; an older one is refused. All processes of
//! a host share the table, one at a time (`generations.lock`).
//!
//! A chip's NV wears out after some 100,000 writes: this is for starts, stops, handovers and a
//! timer, never for a commit.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use vtpm_store::{InstanceId, MinimumGeneration};

use crate::error::{Error, Result};
use crate::identity::{read_bounded, rename_synced, write_synced};
use crate::nv::ROOT_SIZE;

const MAGIC: &[u8; 8] = b"VTPMGENS";
const VERSION: u16 = 1;
const HEAD: usize = 24;
const ENTRY: usize = 24;
/// The most instances that a host remembers.
const ENTRIES_MAX: usize = 1 << 20;

/// The newest generation of each instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    serial: u64,
    entries: BTreeMap<InstanceId, u64>,
}

impl Table {
    pub(crate) fn get(&self, instance: &InstanceId) -> Option<MinimumGeneration> {
        self.entries.get(instance).copied().map(MinimumGeneration)
    }

    pub(crate) fn all(&self) -> BTreeMap<InstanceId, MinimumGeneration> {
        self.entries.iter().map(|(id, generation)| (*id, MinimumGeneration(*generation))).collect()
    }

    /// Notes generations; none ever goes back. Answers whether anything changed.
    pub(crate) fn raise(&mut self, generations: &[(InstanceId, u64)]) -> bool {
        let mut changed = false;
        for (instance, generation) in generations {
            let known = self.entries.entry(*instance).or_insert(0);
            if *known < *generation {
                *known = *generation;
                changed = true;
            }
        }
        changed
    }

    /// Forgets an instance that was destroyed.
    pub(crate) fn forget(&mut self, instance: &InstanceId) -> bool {
        self.entries.remove(instance).is_some()
    }

    /// The same entries, to be written next.
    pub(crate) fn step(&mut self) {
        self.serial = self.serial.saturating_add(1);
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { serial, entries } = self;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&serial.to_be_bytes());
        out.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (instance, generation) in entries {
            out.extend_from_slice(&instance.0);
            out.extend_from_slice(&generation.to_be_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (_version, rest) = rest.split_first_chunk::<2>()?;
        let (minimum, rest) = rest.split_first_chunk::<2>()?;
        let (serial, rest) = rest.split_first_chunk::<8>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        if u16::from_be_bytes(*minimum) > VERSION || count > ENTRIES_MAX {
            return None;
        }
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (instance, after) = rest.split_first_chunk::<16>()?;
            let (generation, after) = after.split_first_chunk::<8>()?;
            entries.insert(InstanceId(*instance), u64::from_be_bytes(*generation));
            rest = after;
        }
        rest.is_empty().then_some(Self { serial: u64::from_be_bytes(*serial), entries })
    }

    /// What the chip holds of it.
    pub(crate) fn root(&self) -> [u8; ROOT_SIZE] {
        root_of(self.serial, &self.to_bytes())
    }
}

fn root_of(serial: u64, bytes: &[u8]) -> [u8; ROOT_SIZE] {
    let mut root = [0; ROOT_SIZE];
    let (first, second) = root.split_at_mut(8);
    first.copy_from_slice(&serial.to_be_bytes());
    second.copy_from_slice(&Sha256::digest(bytes));
    root
}

/// The files of a host's table.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    current: PathBuf,
    next: PathBuf,
    lock: PathBuf,
}

impl Files {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self {
            current: directory.join("generations"),
            next: directory.join("generations.next"),
            lock: directory.join("generations.lock"),
        }
    }

    /// Waits until no other process works with the table.
    pub(crate) fn lock(&self) -> Result<File> {
        let failed = |source| Error::Io { what: "lock", path: self.lock.clone(), source };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.lock).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(file)
    }

    /// The table that the chip remembers; one that a crash left half-way is put in its place.
    pub(crate) fn load(&self, root: &[u8; ROOT_SIZE]) -> Result<Table> {
        if let Some(table) = matching(&self.current, root)? {
            return Ok(table);
        }
        if let Some(table) = matching(&self.next, root)? {
            rename_synced(&self.next, &self.current)?;
            return Ok(table);
        }
        Err(Error::TableRolledBack { path: self.current.clone() })
    }

    /// Before the chip learns of it.
    pub(crate) fn prepare(&self, table: &Table) -> Result<()> {
        write_synced(&self.next, &table.to_bytes())
    }

    /// After the chip learned of it.
    pub(crate) fn promote(&self) -> Result<()> {
        rename_synced(&self.next, &self.current)
    }
}

fn matching(path: &Path, root: &[u8; ROOT_SIZE]) -> Result<Option<Table>> {
    let max = (HEAD + ENTRIES_MAX * ENTRY) as u64;
    let bytes = match read_bounded(path, max) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { what: "read", path: path.into(), source }),
    };
    let table = Table::from_bytes(&bytes);
    Ok(table.filter(|table| root_of(table.serial, &bytes) == *root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        table.raise(&[(InstanceId([1; 16]), 5), (InstanceId([2; 16]), 9)]);
        table.step();
        table
    }

    #[test]
    fn a_generation_never_goes_back() {
        let mut table = table();
        assert!(!table.raise(&[(InstanceId([1; 16]), 4)]));
        assert!(table.raise(&[(InstanceId([1; 16]), 6)]));
        assert_eq!(table.get(&InstanceId([1; 16])), Some(MinimumGeneration(6)));
        assert!(table.forget(&InstanceId([1; 16])));
        assert_eq!(table.get(&InstanceId([1; 16])), None);
    }

    #[test]
    fn a_table_comes_back_and_no_prefix_of_it() {
        let bytes = table().to_bytes();
        assert_eq!(Table::from_bytes(&bytes), Some(table()));
        for cut in 0..bytes.len() {
            assert_eq!(Table::from_bytes(&bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn whatever_a_crash_leaves_the_table_that_the_chip_remembers_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::in_directory(directory.path());
        let old = table();
        files.prepare(&old).unwrap();
        files.promote().unwrap();
        let mut new = old.clone();
        new.raise(&[(InstanceId([1; 16]), 77)]);
        new.step();
        files.prepare(&new).unwrap();
        assert_eq!(files.load(&old.root()).unwrap(), old, "the chip was not told yet");
        assert_eq!(files.load(&new.root()).unwrap(), new, "the chip was told, nothing renamed");
        assert_eq!(files.load(&new.root()).unwrap(), new, "now renamed");
        let refused = files.load(&old.root()).unwrap_err();
        assert!(matches!(refused, Error::TableRolledBack { .. }), "{refused}");
    }

    #[test]
    fn a_changed_table_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::in_directory(directory.path());
        files.prepare(&table()).unwrap();
        files.promote().unwrap();
        let path = directory.path().join("generations");
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(files.load(&table().root()).is_err(), "byte {at}");
        }
    }
}
