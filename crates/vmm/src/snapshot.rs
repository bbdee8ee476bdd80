//! A machine in a file.
//!
//! ```text
//!   0   "VTPMSNAP", version, minimum version, length of what follows (all little-endian)
//!  24   the machine's state, as JSON: SavedMachine, and the TPM's state
//!       zeros up to a page's border
//!       the memory's slots, one after the other; pages of zeros are holes
//! ```
//!
//! Such a file holds all of the guest's secrets and its TPM's, in the clear: it is made for its
//! owner's eyes only, and belongs where the guest's memory could lie. A snapshot that is restored
//! twice makes two machines with one TPM; a move to another host is a handover instead.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    layout::PAGE,
    machine::{Connections, Incoming, Machine, SavedMachine},
    memory::{GuestMemory, Slot},
    tpm::Backend,
};

const MAGIC: [u8; 8] = *b"VTPMSNAP";
/// Version that is written.
const VERSION: u32 = 1;
/// Oldest version whose readers can read it.
const MINIMUM: u32 = 1;
const HEADER: usize = 24;
/// Longest state that is read, in bytes.
const MAX_STATE: u64 = 64 << 20;

/// What is written as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    machine: SavedMachine,
    /// The TPM's own state.
    tpm: Option<Vec<u8>>,
}

/// Writes a paused machine into the new file `path`. A file that is there already is left alone;
/// one that cannot be written whole is not made.
///
/// # Errors
/// [`Error::Snapshot`] if the machine runs, [`Error::File`], and what saving says.
pub fn write(machine: &Machine, path: &Path) -> Result<()> {
    let tpm = match machine.tpm() {
        Some(device) => Some(device.backend().save()?),
        None => None,
    };
    let contents =
        Contents { machine: machine.save()?, tpm: tpm.as_ref().map(|state| state.to_vec()) };
    let state = serde_json::to_vec(&contents).map_err(unwritable)?;
    let state = Zeroizing::new(state);
    if let Some(copy) = contents.tpm {
        drop(Zeroizing::new(copy));
    }
    let draft = Draft::new(path)?;
    fill(&draft.file, &state, machine.vm().memory(), machine.vm().slots())
        .map_err(Error::file("write the snapshot", path))?;
    draft.keep()
}

/// Makes the machine of the file `path`, paused. `backend` becomes the TPM that was saved; it must
/// be switched off.
///
/// # Errors
/// [`Error::File`], [`Error::Snapshot`] if the file is damaged, and what restoring says.
pub fn read(path: &Path, backend: Backends<'_>, connect: Connect<'_>) -> Result<Machine> {
    let action = "read the snapshot";
    let mut file = File::open(path).map_err(Error::file(action, path))?;
    let (state, memory_at) = read_state(&mut file)?;
    let Contents { machine, tpm } = serde_json::from_slice(&state).map_err(unreadable)?;
    let tpm = tpm.map(Zeroizing::new);
    let incoming = Incoming::new(machine.hardware.clone())?;
    read_memory(&file, memory_at, incoming.memory(), incoming.slots())?;
    let backend = match (tpm, machine.hardware.tpm) {
        (Some(state), Some(_)) => {
            let backend = backend()?;
            backend.load(state)?;
            Some(backend)
        }
        (None, None) => None,
        _ => return Err(Error::Snapshot("registers and state of its TPM do not agree".into())),
    };
    incoming.restore(machine, connect(backend)?)
}

/// Gives the TPM, if the machine has one.
pub type Backends<'a> = &'a mut dyn FnMut() -> Result<Arc<dyn Backend>>;

/// Gives what the machine is connected to, its TPM among it.
pub type Connect<'a> = &'a mut dyn FnMut(Option<Arc<dyn Backend>>) -> Result<Connections>;

fn unwritable(cause: serde_json::Error) -> Error {
    Error::Snapshot(format!("the state cannot be written: {cause}"))
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::Snapshot(format!("the state is damaged or of another release: {cause}"))
}

/// A file under another name until it is whole.
struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Draft {
    fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            let reason = format!("{} is there already; remove it first", path.display());
            return Err(Error::Snapshot(reason));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let draft = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&draft);
        let file = file.map_err(Error::file("make the snapshot", &draft))?;
        Ok(Self { file, draft, path: path.into(), kept: false })
    }

    fn keep(mut self) -> Result<()> {
        let action = "finish the snapshot";
        self.file.sync_all().map_err(Error::file(action, &self.path))?;
        fs::rename(&self.draft, &self.path).map_err(Error::file(action, &self.path))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // What is left behind is only a nuisance.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

fn fill(file: &File, state: &[u8], memory: &GuestMemory, slots: &[Slot]) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&MINIMUM.to_le_bytes())?;
    out.write_all(&(state.len() as u64).to_le_bytes())?;
    out.write_all(state)?;
    let mut at = (HEADER as u64 + state.len() as u64).next_multiple_of(PAGE);
    out.seek(SeekFrom::Start(at))?;
    let mut page = Zeroizing::new(vec![0; PAGE as usize]);
    for slot in slots {
        for address in (slot.range.base..slot.range.end()).step_by(PAGE as usize) {
            memory.read_slice(&mut page, GuestAddress(address)).map_err(std::io::Error::other)?;
            if page.iter().any(|byte| *byte != 0) {
                out.write_all(&page)?;
            } else {
                out.seek_relative_forward(PAGE)?;
            }
            at += PAGE;
        }
    }
    out.flush()?;
    file.set_len(at)
}

/// Skipping without giving up the buffer's contents.
trait SeekForward {
    fn seek_relative_forward(&mut self, bytes: u64) -> std::io::Result<()>;
}

impl SeekForward for BufWriter<&File> {
    fn seek_relative_forward(&mut self, bytes: u64) -> std::io::Result<()> {
        self.seek(SeekFrom::Current(bytes as i64)).map(drop)
    }
}

/// The state, and where the memory begins.
fn read_state(file: &mut File) -> Result<(Zeroizing<Vec<u8>>, u64)> {
    let cut = |_| Error::Snapshot("the file is cut off".into());
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(cut)?;
    if !header.starts_with(&MAGIC) {
        return Err(Error::Snapshot("the file is no snapshot".into()));
    }
    let word = |at: usize| {
        let field = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
        u32::from_le_bytes(field.copied().unwrap_or_default())
    };
    let needed = word(12);
    if needed > VERSION {
        let reason = format!("it needs a release that reads version {needed}, not {VERSION}");
        return Err(Error::Snapshot(reason));
    }
    let length = u64::from(word(16)) | u64::from(word(20)) << 32;
    if length > MAX_STATE {
        return Err(Error::Snapshot(format!("a state of {length} bytes is none")));
    }
    let mut state = Zeroizing::new(vec![0; length as usize]);
    file.read_exact(&mut state).map_err(cut)?;
    Ok((state, (HEADER as u64 + length).next_multiple_of(PAGE)))
}

fn read_memory(file: &File, mut at: u64, memory: &GuestMemory, slots: &[Slot]) -> Result<()> {
    /// Bytes that are looked at together.
    const STRIDE: u64 = 1 << 20;
    let size = file.metadata().map_err(Error::host("read the snapshot"))?.len();
    let expected = slots.iter().fold(at, |sum, slot| sum.saturating_add(slot.range.size));
    if size != expected {
        let reason = format!("the file has {size} bytes, not the {expected} of its machine");
        return Err(Error::Snapshot(reason));
    }
    let mut buffer = Zeroizing::new(vec![0; STRIDE as usize]);
    for slot in slots {
        let mut address = slot.range.base;
        while address < slot.range.end() {
            let length = STRIDE.min(slot.range.end() - address);
            let bytes = buffer.get_mut(..length as usize).unwrap_or_default();
            file.read_exact_at(bytes, at).map_err(Error::host("read the snapshot"))?;
            // Fresh memory is zeros: what is zeros need not be touched, and costs the host nothing.
            if bytes.iter().any(|byte| *byte != 0) {
                memory
                    .write_slice(bytes, GuestAddress(address))
                    .map_err(Error::memory("fill from the snapshot"))?;
            }
            address += length;
            at += length;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        fs::write(&path, bytes).unwrap();
        let mut none = || -> Result<Arc<dyn Backend>> { panic!("no TPM may be touched") };
        let mut connect = |_| -> Result<Connections> { panic!("nothing may be connected") };
        match read(&path, &mut none, &mut connect) {
            Err(cause) => cause.to_string(),
            Ok(_) => panic!("a damaged snapshot was restored"),
        }
    }

    fn header(minimum: u32, length: u64) -> Vec<u8> {
        let words = [VERSION.to_le_bytes(), minimum.to_le_bytes()].concat();
        [MAGIC.as_slice(), &words, &length.to_le_bytes()].concat()
    }

    #[test]
    fn what_is_no_snapshot_is_refused_before_anything_is_made() {
        assert!(refused(b"").contains("cut off"));
        assert!(refused(&[0; 64]).contains("no snapshot"));
        assert!(refused(&header(2, 0)).contains("release"));
        assert!(refused(&header(1, u64::MAX)).contains("is none"));
        assert!(refused(&header(1, 100)).contains("cut off"));
        assert!(refused(&[header(1, 2).as_slice(), b"{}"].concat()).contains("damaged"));
    }

    #[test]
    fn memory_comes_back_as_it_was_and_zeros_take_no_room() {
        let slots = crate::memory::slots(crate::layout::Ram::new(64).unwrap(), true);
        let memory = crate::memory::allocate(&slots).unwrap();
        memory.write_slice(b"low", GuestAddress(0x1234)).unwrap();
        memory.write_slice(b"buffer", GuestAddress(crate::layout::CRB_BUFFER)).unwrap();
        memory.write_slice(b"end", GuestAddress((64 << 20) - 3)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        fill(&file, b"state", &memory, &slots).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let (state, at) = read_state(&mut file).unwrap();
        assert_eq!(state.as_slice(), b"state");
        let other = crate::memory::allocate(&slots).unwrap();
        read_memory(&file, at, &other, &slots).unwrap();
        for (text, address) in [
            (b"low".as_slice(), 0x1234),
            (b"buffer", crate::layout::CRB_BUFFER),
            (b"end", (64 << 20) - 3),
        ] {
            let mut found = vec![0; text.len()];
            other.read_slice(&mut found, GuestAddress(address)).unwrap();
            assert_eq!(found, text);
        }
        use std::os::unix::fs::MetadataExt;
        let blocks = file.metadata().unwrap().blocks() * 512;
        assert!(blocks < 1 << 20, "{blocks} bytes on disk for three pages");
    }

    #[test]
    fn a_draft_that_is_not_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        drop(Draft::new(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        Draft::new(&path).unwrap().keep().unwrap();
        assert!(path.exists());
        assert!(Draft::new(&path).is_err(), "a snapshot was overwritten");
    }
}
