//! State blobs under a migration key: on their way they are a state file of their own, in memory.
//!
//! The format is that of `vtpm-store`: versioned, encrypted and authenticated, and sealed by the
//! migration key as a file is by its key.

use std::sync::Arc;

use anyhow::{Context, Result};
use vtpm_store::medium::Memory;
use vtpm_store::{Birth, Expect, InstanceId, KeySource, Place, SealedKey, Store};
use zeroize::Zeroizing;

use crate::tpm::Blob;

const NAME: &str = "blob";

/// Encrypts a state.
pub(crate) fn seal(source: &dyn KeySource, state: &[u8]) -> Result<Blob> {
    let memory = Memory::new();
    let id = InstanceId::random()?;
    let key = SealedKey::new(source, &id)?;
    let place = Place::on(Arc::new(memory.clone()), NAME).with_slot_size(1);
    Store::create(&place, Birth::active(id, 0), key, state, &[])?;
    Ok(memory.get(NAME).context("a file in memory is lost")?.into())
}

/// Decrypts what [`seal`] made.
pub(crate) fn open(source: &dyn KeySource, mut blob: Blob) -> Result<Blob> {
    let memory = Memory::new();
    memory.put(NAME, std::mem::take(&mut *blob));
    let place = Place::on(Arc::new(memory), NAME);
    let opened = Store::open(&place, source, &Expect::anything())
        .context("it is not a state that was encrypted with this migration key")?;
    Ok(Zeroizing::new(opened.state.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtpm_store::source::KeyFile;

    #[test]
    fn a_blob_opens_with_its_key_only_and_does_not_show_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let key = |name| KeyFile::generate(&directory.path().join(name)).unwrap();
        let (ours, other) = (key("ours"), key("other"));
        let sealed = seal(&ours, b"the secret state").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(*open(&ours, sealed.clone()).unwrap(), b"the secret state");
        assert!(open(&other, sealed.clone()).is_err());
        assert!(open(&ours, sealed[..sealed.len() - 1].to_vec().into()).is_err());
        assert!(open(&ours, b"plain".to_vec().into()).is_err());
    }
}
