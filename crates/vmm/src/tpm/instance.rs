//! A TPM in this process, with or without a file for its state.

use std::path::Path;

use tracing::warn;
use vtpm_engine::Profile;
use vtpm_host::{Handle, Instance, Saved};
use vtpm_store::{Expect, InstanceId, Place, source::KeyFile};
use zeroize::Zeroizing;

use super::{Backend, Reply};
use crate::error::{Error, Result};

/// An instance of `vtpm-host`, owned by its own thread.
pub struct InProcess(Handle);

impl InProcess {
    /// A TPM that ends with this process.
    ///
    /// # Errors
    /// [`Error::Instance`].
    pub fn ephemeral() -> Result<Self> {
        Ok(Self(Instance::ephemeral(Profile::default())?.start()?))
    }

    /// The TPM whose sealed state is in `state`, under the key in `key`. Neither is made here:
    /// `create` says so.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Instance`].
    pub fn open(state: &Path, key: &Path) -> Result<Self> {
        let source = open_key(key)?;
        let instance = Instance::open(&Place::at(state), &source, &Expect::anything())?;
        Ok(Self(instance.start()?))
    }

    /// A new TPM with its sealed state in `state`; a key is made in `key` if there is none.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Instance`], [`Error::Host`] without randomness.
    pub fn create(state: &Path, key: &Path) -> Result<Self> {
        let source = if key.exists() { open_key(key)? } else { make_key(key)? };
        let mut id = [0; 16];
        getrandom(&mut id)?;
        let place = Place::at(state);
        let instance = Instance::create(&place, &source, InstanceId(id), Profile::default())?;
        Ok(Self(instance.start()?))
    }

    /// As [`InProcess::open`] if there is a file, else as [`InProcess::create`].
    ///
    /// # Errors
    /// As those.
    pub fn open_or_create(state: &Path, key: &Path) -> Result<Self> {
        if state.exists() { Self::open(state, key) } else { Self::create(state, key) }
    }

    /// The way to the instance, for a handover to another host.
    pub fn handle(&self) -> &Handle {
        &self.0
    }
}

impl Backend for InProcess {
    fn submit(&self, locality: u8, command: Vec<u8>, reply: Reply) {
        self.0.submit(locality, command, reply);
    }

    fn cancel(&self) {
        self.0.cancel();
    }

    fn init(&self) -> Result<()> {
        Ok(self.0.init()?)
    }

    fn power_off(&self) -> Result<()> {
        Ok(self.0.power_off()?)
    }

    fn hash_start(&self) {
        self.0.hash_start();
    }

    fn hash_data(&self, data: Vec<u8>) {
        self.0.hash_data(data);
    }

    fn hash_end(&self) {
        self.0.submit_hash_end();
    }

    fn established(&self) -> bool {
        self.0.established()
    }

    fn reset_established(&self, locality: u8) -> Result<()> {
        Ok(self.0.reset_established(locality)?)
    }

    fn save(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.0.save(Saved::Running)?)
    }

    fn load(&self, state: Zeroizing<Vec<u8>>) -> Result<()> {
        Ok(self.0.load(Saved::Running, state)?)
    }

    fn shutdown(&self) {
        if let Some(reason) = self.0.stopped() {
            warn!("the TPM had stopped: {reason}");
        }
        self.0.shutdown();
    }
}

fn open_key(path: &Path) -> Result<KeyFile> {
    KeyFile::open(path).map_err(|cause| Error::Tpm(format!("{cause}; {}", cause.hint())))
}

fn make_key(path: &Path) -> Result<KeyFile> {
    KeyFile::generate(path).map_err(|cause| Error::Tpm(format!("{cause}; {}", cause.hint())))
}

/// Random bytes of the host.
fn getrandom(out: &mut [u8]) -> Result<()> {
    use std::{fs::File, io::Read};
    let path = "/dev/urandom";
    let mut source = File::open(path).map_err(Error::file("open", path))?;
    source.read_exact(out).map_err(Error::file("read", path))
}
