//! A TPM in this process, with or without a file for its state.

use std::path::Path;

use tracing::warn;
use vtpm_anchor::Anchor;
use vtpm_engine::Profile;
use vtpm_host::{Handle, Instance, Saved};
use vtpm_store::{Expect, InstanceId, Place, Store, source::KeyFile};
use zeroize::Zeroizing;

use super::{Backend, Reply};
use crate::error::{Error, Result};

/// An instance of `vtpm-host`, owned by its own thread.
pub struct InProcess {
    handle: Handle,
    /// The host's TPM and the file whose generation it remembers.
    anchored: Option<(Anchor, Place)>,
}

impl InProcess {
    /// A TPM that ends with this process.
    ///
    /// # Errors
    /// [`Error::Instance`].
    pub fn ephemeral() -> Result<Self> {
        Self::ephemeral_with(Profile::default())
    }

    /// As [`InProcess::ephemeral`], of another profile: with other PCR banks, say.
    ///
    /// # Errors
    /// [`Error::Instance`].
    pub fn ephemeral_with(profile: Profile) -> Result<Self> {
        Ok(Self::new(Instance::ephemeral(profile)?.start()?))
    }

    /// The TPM whose sealed state is in `state`, under the key in `key`. Neither is made here:
    /// `create` says so.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Instance`].
    pub fn open(state: &Path, key: &Path) -> Result<Self> {
        let source = open_key(key)?;
        let instance = Instance::open(&Place::at(state), &source, &Expect::anything())?;
        Ok(Self::new(instance.start()?))
    }

    /// A new TPM with its sealed state in `state`; a key is made in `key` if there is none.
    ///
    /// # Errors
    /// [`Error::Store`], also without randomness; [`Error::Instance`].
    pub fn create(state: &Path, key: &Path) -> Result<Self> {
        let source = if key.exists() { open_key(key)? } else { make_key(key)? };
        let (place, id) = (Place::at(state), InstanceId::random()?);
        let instance = Instance::create(&place, &source, id, Profile::default())?;
        Ok(Self::new(instance.start()?))
    }

    /// As [`InProcess::open`] if there is a file, else as [`InProcess::create`].
    ///
    /// # Errors
    /// As those.
    pub fn open_or_create(state: &Path, key: &Path) -> Result<Self> {
        if state.exists() { Self::open(state, key) } else { Self::create(state, key) }
    }

    /// The TPM of an instance that runs already.
    pub fn new(handle: Handle) -> Self {
        Self { handle, anchored: None }
    }

    /// The same, whose file at `state` is sealed to the host's TPM, which remembers its generation
    /// when it ends.
    #[must_use]
    pub fn sealed(handle: Handle, state: &Path, anchor: Anchor) -> Self {
        Self { handle, anchored: Some((anchor, Place::at(state))) }
    }

    /// The TPM whose state in `state` is sealed to the host's own TPM; made if it is not there. A
    /// file that is older than the host's TPM remembers is refused.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Instance`], [`Error::Anchor`].
    pub fn anchored(state: &Path, anchor: &Anchor) -> Result<Self> {
        let (place, source) = (Place::at(state), anchor.key_source());
        let instance = match Store::inspect(&place) {
            Ok(summary) => {
                Instance::open(&place, &source, &anchor.expect_file(&summary.instance)?)?
            }
            Err(vtpm_store::Error::NotFound { .. }) => {
                Instance::create(&place, &source, InstanceId::random()?, Profile::default())?
            }
            Err(cause) => return Err(cause.into()),
        };
        let tpm = Self::sealed(instance.start()?, state, anchor.clone());
        tpm.remember()?;
        Ok(tpm)
    }

    /// Has the host's TPM remember how new the file is.
    fn remember(&self) -> Result<()> {
        let Some((anchor, place)) = &self.anchored else { return Ok(()) };
        Ok(anchor.remember_file(place)?)
    }
}

impl Backend for InProcess {
    fn submit(&self, locality: u8, command: Vec<u8>, reply: Reply) {
        self.handle.submit(locality, command, reply);
    }

    fn cancel(&self) {
        self.handle.cancel();
    }

    fn init(&self) -> Result<()> {
        Ok(self.handle.init()?)
    }

    fn power_off(&self) -> Result<()> {
        Ok(self.handle.power_off()?)
    }

    fn hash_start(&self) {
        self.handle.hash_start();
    }

    fn hash_data(&self, data: Vec<u8>) {
        self.handle.hash_data(data);
    }

    fn hash_end(&self) {
        self.handle.submit_hash_end();
    }

    fn established(&self) -> bool {
        self.handle.established()
    }

    fn reset_established(&self, locality: u8) -> Result<()> {
        Ok(self.handle.reset_established(locality)?)
    }

    fn save(&self) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.handle.save(Saved::Running)?)
    }

    fn load(&self, state: Zeroizing<Vec<u8>>) -> Result<()> {
        Ok(self.handle.load(Saved::Running, state)?)
    }

    fn instance(&self) -> Option<&Handle> {
        Some(&self.handle)
    }

    fn shutdown(&self) {
        if let Some(reason) = self.handle.stopped() {
            warn!("the TPM had stopped: {reason}");
        }
        self.handle.shutdown();
        if let Err(cause) = self.remember() {
            warn!("the host's TPM does not remember the newest state: {cause}");
        }
    }
}

fn open_key(path: &Path) -> Result<KeyFile> {
    KeyFile::open(path).map_err(|cause| Error::Tpm(format!("{cause}; {}", cause.hint())))
}

fn make_key(path: &Path) -> Result<KeyFile> {
    KeyFile::generate(path).map_err(|cause| Error::Tpm(format!("{cause}; {}", cause.hint())))
}
