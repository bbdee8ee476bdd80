//! Where the TPM's state is kept: a sealed store in a directory, and beside it the running state
//! that `STORE_VOLATILE` leaves for the next start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vtpm_store::source::{KeyFile, Passphrase, Plain};
use vtpm_store::{Birth, Expect, InstanceId, KeySource, Place, SealedKey, Store};
use zeroize::Zeroizing;

/// How the state is protected at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Asked for by name: not at all.
    Unencrypted,
    /// A file that holds a key.
    KeyFile(PathBuf),
    /// A file that holds a passphrase.
    PassphraseFile(PathBuf),
}

impl Protection {
    fn source(&self) -> Result<Box<dyn KeySource + Send>> {
        Ok(match self {
            Self::Unencrypted => Box::new(Plain::unencrypted()),
            Self::KeyFile(path) => Box::new(KeyFile::open(path)?),
            Self::PassphraseFile(path) => {
                let mut phrase = Zeroizing::new(fs::read(path).with_context(|| {
                    format!("cannot read the passphrase in {}", path.display())
                })?);
                let end = phrase.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | 0));
                phrase.truncate(end.map_or(0, |last| last.saturating_add(1)));
                Box::new(Passphrase::new(phrase)?)
            }
        })
    }
}

/// The store of one TPM, opened and locked; made at the first commit.
pub(crate) struct StateFile {
    place: Place,
    running: PathBuf,
    /// The running state may be there.
    running_stored: bool,
    source: Box<dyn KeySource + Send>,
    store: Option<Store>,
    state: Option<Zeroizing<Vec<u8>>>,
}

impl StateFile {
    /// Opens the state in a directory, if there is one.
    pub(crate) fn open(directory: &Path, protection: &Protection) -> Result<Self> {
        if !directory.is_dir() {
            bail!("{} is not a directory; make it, or name another one", directory.display());
        }
        let place = Place::at(directory.join("tpm2.vtpm"));
        let running = directory.join("tpm2.running.vtpm");
        let source = protection.source()?;
        let running_stored = running.exists();
        let mut file = Self { place, running, running_stored, source, store: None, state: None };
        if file.place.path().exists() {
            let opened = Store::open(&file.place, file.source.as_ref(), &Expect::anything())?;
            if let Some(fault) = opened.recovered {
                tracing::warn!("a write was interrupted, the state before it is used: {fault:?}");
            }
            file.state = Some(Zeroizing::new(opened.state.to_vec()));
            file.store = Some(opened.store);
        }
        Ok(file)
    }

    /// The state of the last commit.
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.state.as_ref().map(|state| state.as_slice())
    }

    /// Makes a state durable.
    pub(crate) fn commit(&mut self, state: Zeroizing<Vec<u8>>) -> Result<()> {
        match &mut self.store {
            Some(store) => store.commit(&state)?,
            None => self.store = Some(create(&self.place, self.source.as_ref(), &state)?),
        }
        self.state = Some(state);
        Ok(())
    }

    /// Keeps the running state for the next start.
    pub(crate) fn store_volatile(&mut self, running: &[u8]) -> Result<()> {
        self.forget_volatile()?;
        self.running_stored = true;
        create(&Place::at(&self.running), self.source.as_ref(), running).map(drop)
    }

    /// Takes the running state that the last process left, so that it is used once at most.
    pub(crate) fn take_volatile(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if !self.running_stored || !self.running.exists() {
            return Ok(None);
        }
        let place = Place::at(&self.running);
        let opened = Store::open(&place, self.source.as_ref(), &Expect::anything())?;
        let running = Zeroizing::new(opened.state.to_vec());
        opened.store.destroy()?;
        self.running_stored = false;
        Ok(Some(running))
    }

    /// Removes the running state, if there is one.
    pub(crate) fn forget_volatile(&mut self) -> Result<()> {
        if self.running_stored && self.running.exists() {
            Store::erase(&Place::at(&self.running))?;
        }
        self.running_stored = false;
        Ok(())
    }
}

fn create(place: &Place, source: &dyn KeySource, state: &[u8]) -> Result<Store> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).context("the system has no entropy")?;
    let id = InstanceId(id);
    let key = SealedKey::new(source, &id)?;
    Ok(Store::create(place, Birth::active(id, 0), key, state, &[])?)
}
