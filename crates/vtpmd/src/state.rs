//! Where the TPM's state is kept: a sealed store in a directory, and beside it the running state
//! that `STORE_VOLATILE` leaves for the next start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vtpm_store::source::{KeyFile, Passphrase, Plain};
use zeroize::Zeroizing;
use vtpm_store::{Birth, Expect, InstanceId, KeySource, Place, SealedKey, Store};

/// How the state is protected at rest.
#[derive(Clone, Debug)]
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
                let end = phrase.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
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
    source: Box<dyn KeySource + Send>,
    store: Option<Store>,
    state: Option<Vec<u8>>,
}

impl StateFile {
    /// Opens the state in a directory, if there is one.
    pub(crate) fn open(directory: &Path, protection: &Protection) -> Result<Self> {
        if !directory.is_dir() {
            bail!("{} is not a directory; make it, or name another one", directory.display());
        }
        let place = Place::at(directory.join("tpm2.vtpm"));
        let source = protection.source()?;
        let (store, state) = if place.path().exists() {
            let opened = Store::open(&place, source.as_ref(), &Expect::anything())?;
            let state = opened.state.to_vec();
            (Some(opened.store), Some(state))
        } else {
            (None, None)
        };
        Ok(Self { place, running: directory.join("tpm2.running.vtpm"), source, store, state })
    }

    /// The state of the last commit.
    pub(crate) fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Makes a state durable.
    pub(crate) fn commit(&mut self, state: &[u8]) -> Result<()> {
        match &mut self.store {
            Some(store) => store.commit(state)?,
            None => self.store = Some(create(&self.place, self.source.as_ref(), state)?),
        }
        self.state = Some(state.to_vec());
        Ok(())
    }

    /// Keeps the running state for the next start.
    pub(crate) fn store_volatile(&self, running: &[u8]) -> Result<()> {
        let place = Place::at(&self.running);
        if self.running.exists() {
            Store::erase(&place)?;
        }
        create(&place, self.source.as_ref(), running).map(drop)
    }

    /// Takes the running state that the last process left, so that it is used once at most.
    pub(crate) fn volatile(&self, delete: bool) -> Result<Option<Vec<u8>>> {
        if !self.running.exists() {
            return Ok(None);
        }
        let place = Place::at(&self.running);
        let opened = Store::open(&place, self.source.as_ref(), &Expect::anything())?;
        let running = opened.state.to_vec();
        opened.store.destroy()?;
        Ok((!delete).then_some(running))
    }
}

fn create(place: &Place, source: &dyn KeySource, state: &[u8]) -> Result<Store> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).context("the system has no entropy")?;
    let id = InstanceId(id);
    let key = SealedKey::new(source, &id)?;
    Ok(Store::create(place, Birth::active(id, 0), key, state, &[])?)
}
