//! What the tests share: commands, and a disk that fails when told to.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vtpm_host::Handle;
use vtpm_store::medium::{Lock, LockError, Medium, MediumFile, Memory};
use vtpm_store::source::Plain;
use vtpm_store::{InstanceId, Place, SealedKey};

pub(crate) const ID: InstanceId = InstanceId([0x5a; 16]);
pub(crate) const PATH: &str = "guest.vtpm";
pub(crate) const FAILURE: u32 = 0x101;
pub(crate) const RETRY: u32 = 0x922;
const OWNER: u32 = 0x4000_0001;
const INDEX: u32 = 0x0150_0001;

pub(crate) fn plain() -> Plain {
    Plain::unencrypted()
}

pub(crate) fn key() -> SealedKey {
    SealedKey::new(&plain(), &ID).unwrap()
}

/// Files in memory whose writes and syncs can be made to fail, and are counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: Memory,
    broken: Arc<AtomicBool>,
    syncs: Arc<AtomicUsize>,
}

impl Disk {
    pub(crate) fn place(&self) -> Place {
        Place::on(Arc::new(self.clone()), PATH)
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    pub(crate) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

#[derive(Debug)]
struct DiskFile(Box<dyn MediumFile>, Disk);

impl MediumFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.1.check()?;
        self.0.write_at(offset, data)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.check()?;
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync()
    }
}

impl Medium for Disk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(DiskFile(self.files.open(path)?, self.clone())))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(DiskFile(self.files.create(path)?, self.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.files.sync_directory(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        self.files.lock(path)
    }
}

pub(crate) fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A command without sessions.
pub(crate) fn bare(code: u32, parameters: &[u8]) -> Vec<u8> {
    let size = 10 + parameters.len() as u32;
    [&[0x80, 0x01], &words(&[size, code])[..], parameters].concat()
}

/// A command whose handles are authorized by one empty password.
pub(crate) fn authorized(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let auth = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let size = (10 + 4 * handles.len() + auth.len() + parameters.len()) as u32;
    let head = words(&[size, code]);
    [&[0x80, 0x02], &head[..], &words(handles), &auth, parameters].concat()
}

pub(crate) fn startup() -> Vec<u8> {
    bare(0x144, &[0, 0])
}

pub(crate) fn get_random() -> Vec<u8> {
    bare(0x17b, &[0, 8])
}

pub(crate) fn pcr_extend(pcr: u32) -> Vec<u8> {
    authorized(0x182, &[pcr], &[&[0, 0, 0, 1, 0, 0x0b], &[7; 32][..]].concat())
}

pub(crate) fn pcr_read(pcr: u8) -> Vec<u8> {
    let mut select = [0; 3];
    select[usize::from(pcr / 8)] = 1 << (pcr % 8);
    bare(0x17e, &[&[0, 0, 0, 1, 0, 0x0b, 3], &select[..]].concat())
}

pub(crate) fn define_index() -> Vec<u8> {
    let public = [
        &INDEX.to_be_bytes()[..],
        &[0, 0x0b],
        &0x0206_0006u32.to_be_bytes(),
        &[0, 0],
        &8u16.to_be_bytes(),
    ];
    authorized(0x12a, &[OWNER], &[&[0, 0, 0, 14], &public.concat()[..]].concat())
}

pub(crate) fn write_index(value: u64) -> Vec<u8> {
    let parameters = [&[0, 8], &value.to_be_bytes()[..], &[0, 0]].concat();
    authorized(0x137, &[OWNER, INDEX], &parameters)
}

pub(crate) fn read_index(tpm: &Handle) -> u64 {
    let response = tpm.execute(0, authorized(0x14e, &[OWNER, INDEX], &[0, 8, 0, 0]));
    assert_eq!(code(&response), 0);
    u64::from_be_bytes(response[16..24].try_into().unwrap())
}

/// Making an RSA key of 4096 bits: takes long, and heeds a cancel.
pub(crate) fn create_rsa_4096() -> Vec<u8> {
    let public: &[u8] = &[
        0, 1, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0x10, 0, 0, 0, 0, 0,
        0, 0,
    ];
    let size = (public.len() as u16).to_be_bytes();
    let tail = [&[0, 4, 0, 0, 0, 0][..], &size, public, &[0, 0, 0, 0, 0, 0]];
    authorized(0x131, &[OWNER], &tail.concat())
}

/// Runs a command that must succeed.
pub(crate) fn run(tpm: &Handle, command: Vec<u8>) {
    assert_eq!(code(&tpm.execute(0, command)), 0);
}

/// Switches the machine on and starts its TPM up.
pub(crate) fn start_up(tpm: &Handle) {
    tpm.init().unwrap();
    run(tpm, startup());
}
