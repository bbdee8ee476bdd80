//! No protection at all.

use crate::error::Result;
use crate::id::InstanceId;
use crate::key::{Key, KeySource, SourceError};

const VERSION: u8 = 1;

/// Stores the data key in the clear: whoever reads the file has the vTPM. For tests, and for
/// disks that are encrypted by other means.
///
/// The sealed key is a version byte (1) and the 32 bytes of the key.
#[derive(Debug)]
pub struct Plain(());

impl Plain {
    /// The kind in the file.
    pub const KIND: &'static str = "plain";

    /// The source that protects nothing, by the name of what it does.
    #[must_use]
    pub fn unencrypted() -> Self {
        Self(())
    }
}

impl KeySource for Plain {
    fn kind(&self) -> &str {
        Self::KIND
    }

    fn seal_key(&self, _: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError> {
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(key.expose());
        Ok(sealed)
    }

    fn unseal_key(&self, _: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let key = sealed.strip_prefix(&[VERSION]).and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(|mut key| Key::take(&mut key)).ok_or_else(|| {
            SourceError::new("the stored key has an unknown form", "upgrade, or restore a backup")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_comes_back_and_an_odd_one_is_refused() {
        let (plain, id) = (Plain::unencrypted(), InstanceId([1; 16]));
        let key = Key::generate().unwrap();
        let sealed = plain.seal_key(&id, &key).unwrap();
        assert_eq!(plain.unseal_key(&id, &sealed).unwrap(), key);
        for odd in [&[][..], &sealed[..32], &[2; 33]] {
            assert!(plain.unseal_key(&id, odd).is_err());
        }
    }
}
