//! Wrapping a data key under another key: what the key file and the passphrase share.
//!
//! ```text
//! offset  length  field
//!      0      12  nonce, random
//!     12      32  the data key, encrypted (AES-256-GCM)
//!     44      16  tag
//! ```
//!
//! The associated data is the kind, a zero byte, the instance id and the parameters that stand
//! before this in the sealed key.

use crate::bytes::Reader;
use crate::cipher::{self, NONCE};
use crate::error::Result;
use crate::id::InstanceId;
use crate::key::Key;

/// What a wrapped key is bound to.
pub(super) struct Bound<'a> {
    pub(super) kind: &'a str,
    pub(super) instance: &'a InstanceId,
    pub(super) parameters: &'a [u8],
}

impl Bound<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.kind.as_bytes(), &[0], &self.instance.0, self.parameters].concat()
    }

    /// Appends the wrapped `key` to `into`.
    pub(super) fn wrap(&self, under: &Key, key: &Key, into: &mut Vec<u8>) -> Result<()> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let mut body = zeroize::Zeroizing::new(*key.expose());
        let tag = cipher::encrypt(under, &nonce, &self.bytes(), body.as_mut_slice())?;
        into.extend_from_slice(&nonce);
        into.extend_from_slice(body.as_slice());
        into.extend_from_slice(&tag);
        Ok(())
    }

    /// The key in `wrapped`; `None` if it was wrapped under another key or changed since.
    pub(super) fn unwrap(&self, under: &Key, wrapped: &[u8]) -> Option<Key> {
        let mut reader = Reader::new(wrapped);
        let nonce = reader.array()?;
        let mut body = zeroize::Zeroizing::new(reader.array::<32>()?);
        let tag = reader.array()?;
        if !reader.rest().is_empty() {
            return None;
        }
        cipher::decrypt(under, &nonce, &self.bytes(), body.as_mut_slice(), &tag).ok()?;
        Some(Key::take(&mut body))
    }
}
