//! The data key of an instance, and the seam to whatever seals it.

use std::error::Error as StdError;
use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Error, Result};
use crate::id::InstanceId;

/// The longest sealed key that a source may return, in bytes.
pub const SEALED_KEY_MAX: usize = 8192;

/// The longest name of a kind of key source, in bytes.
pub const KIND_MAX: usize = 32;

/// The 256-bit key under which one instance's records are encrypted.
///
/// Wiped when dropped, compared in constant time, never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// A new random key.
    ///
    /// # Errors
    /// [`Error::Entropy`] if the operating system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let mut key = Self([0; 32]);
        getrandom::fill(&mut key.0)?;
        Ok(key)
    }

    /// Takes a key from the bytes that a source unsealed, and wipes them.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    /// The secret bytes, for a source to seal. Copies must be wiped by whoever makes them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Something that can seal the data key of an instance, and give it back: a physical TPM, a key
/// file, a passphrase.
///
/// A source may be slow (a physical TPM needs a tenth of a second); the store calls it only in
/// [`open`](crate::Store::open), [`reseal`](crate::Store::reseal) and [`SealedKey::new`], never
/// in a commit.
pub trait KeySource {
    /// The kind of this source: a short name in printable ASCII without spaces, at most
    /// [`KIND_MAX`] bytes. It is stored in the file, and a file of one kind is never offered to a
    /// source of another, so that nobody can put a file with a weaker seal in a stronger one's
    /// place.
    fn kind(&self) -> &str;

    /// Seals `key` so that only this source gives it back, and only for `instance`. At most
    /// [`SEALED_KEY_MAX`] bytes, at least one.
    ///
    /// # Errors
    /// Why the source cannot, and what the operator can do.
    fn seal_key(&self, instance: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError>;

    /// Gives back the key in `sealed`. The bytes come from a file: they are not to be trusted.
    ///
    /// # Errors
    /// Why the source cannot, and what the operator can do.
    fn unseal_key(&self, instance: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError>;
}

/// Why a key source could not do its work: what happened, what to do, and the cause below.
#[derive(Debug)]
pub struct SourceError {
    what: String,
    hint: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl SourceError {
    /// `what` happened (a clause, such as "the passphrase does not open this file"), and the
    /// `hint` on what the operator can do next.
    #[must_use]
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), cause: None }
    }

    /// The same with the error that led to it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the operator can do next.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.hint)
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// A fresh data key together with its sealed form: all that a store needs from a source to begin
/// using a new key.
///
/// Made ahead of time, it keeps a slow source out of a time-critical step: a handover prepares
/// the tombstone's key while the guest still runs.
pub struct SealedKey {
    key: Key,
    seal: Seal,
    instance: InstanceId,
}

impl SealedKey {
    /// Draws a random key and has `source` seal it for `instance`.
    ///
    /// # Errors
    /// [`Error::Source`] if the source refuses, [`Error::Invalid`] if it breaks the limits of
    /// [`KeySource`], [`Error::Entropy`].
    pub fn new(source: &dyn KeySource, instance: &InstanceId) -> Result<Self> {
        let key = Key::generate()?;
        let seal = Seal::by(source, instance, &key)?;
        Ok(Self { key, seal, instance: *instance })
    }

    /// Checks that `source` can unseal the key now.
    ///
    /// Not every seal is meant to open now: one made for the host's next kernel opens only after
    /// the next start. For the others this is the check to make before the old seal goes.
    ///
    /// # Errors
    /// [`Error::Source`] if the source cannot unseal it or gives back another key.
    pub fn check(&self, source: &dyn KeySource) -> Result<()> {
        let back = source.unseal_key(&self.instance, &self.seal.sealed)?;
        if back == self.key {
            return Ok(());
        }
        let what = format!("the key source \"{}\" gives back another key", self.seal.kind);
        Err(SourceError::new(what, "do not use it; report this as a defect of the source").into())
    }

    /// The key and its seal, for the instance that it was sealed for and no other: with another
    /// one's seal a file could never be opened again.
    pub(crate) fn for_instance(self, instance: &InstanceId) -> Result<(Key, Seal)> {
        if self.instance == *instance {
            return Ok((self.key, self.seal));
        }
        Err(Error::Invalid { what: "the key was sealed for another instance" })
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey").field("kind", &self.seal.kind).finish_non_exhaustive()
    }
}

/// A sealed key as it lies in a record: who sealed it, and the sealed bytes.
///
/// The bytes of a plain seal are the key itself, so they are not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) kind: String,
    pub(crate) sealed: Vec<u8>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Seal {
    pub(crate) fn by(source: &dyn KeySource, instance: &InstanceId, key: &Key) -> Result<Self> {
        let kind = source.kind().to_owned();
        if !Self::is_kind(kind.as_bytes()) {
            return Err(Error::Invalid {
                what: "a key source's kind must be 1 to 32 printable ASCII characters",
            });
        }
        let sealed = source.seal_key(instance, key)?;
        if sealed.is_empty() || sealed.len() > SEALED_KEY_MAX {
            return Err(Error::Invalid { what: "a sealed key must be 1 to 8192 bytes long" });
        }
        Ok(Self { kind, sealed })
    }

    pub(crate) fn is_kind(kind: &[u8]) -> bool {
        (1..=KIND_MAX).contains(&kind.len()) && kind.iter().all(u8::is_ascii_graphic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Plain;

    struct Odd {
        kind: &'static str,
        sealed: usize,
    }

    impl KeySource for Odd {
        fn kind(&self) -> &str {
            self.kind
        }
        fn seal_key(&self, _: &InstanceId, _: &Key) -> Result<Vec<u8>, SourceError> {
            Ok(vec![1; self.sealed])
        }
        fn unseal_key(&self, _: &InstanceId, _: &[u8]) -> Result<Key, SourceError> {
            Ok(Key([9; 32]))
        }
    }

    const ID: InstanceId = InstanceId([1; 16]);

    #[test]
    fn a_source_that_breaks_its_limits_is_refused() {
        for (kind, sealed) in [("", 1), ("two words", 1), ("odd", 0), ("odd", SEALED_KEY_MAX + 1)] {
            let made = SealedKey::new(&Odd { kind, sealed }, &ID);
            assert!(matches!(made, Err(Error::Invalid { .. })), "{kind:?} {sealed}");
        }
        assert!(SealedKey::new(&Odd { kind: "odd", sealed: SEALED_KEY_MAX }, &ID).is_ok());
    }

    #[test]
    fn the_check_finds_a_source_that_gives_back_another_key() {
        let odd = Odd { kind: "odd", sealed: 5 };
        let made = SealedKey::new(&odd, &ID).unwrap();
        assert!(matches!(made.check(&odd), Err(Error::Source(_))));
        let plain = Plain::unencrypted();
        SealedKey::new(&plain, &ID).unwrap().check(&plain).unwrap();
    }

    #[test]
    fn nothing_shows_a_key() {
        let key = Key([0xab; 32]);
        assert_eq!(format!("{key:?}"), "Key(..)");
        let seal = Seal { kind: "plain".into(), sealed: vec![0xab; 33] };
        let shown = format!("{seal:?} {:?}", SealedKey { key, seal: seal.clone(), instance: ID });
        assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
    }

    #[test]
    fn taking_a_key_wipes_what_it_was_taken_from() {
        let mut bytes = [7; 32];
        let key = Key::take(&mut bytes);
        assert_eq!(bytes, [0; 32]);
        assert_eq!(key.expose(), &[7; 32]);
    }

    #[test]
    fn a_source_error_keeps_its_cause_and_its_hint() {
        let cause = std::io::Error::other("deep down");
        let error = SourceError::new("it broke", "mend it").because(cause);
        assert_eq!(error.to_string(), "it broke; mend it");
        assert_eq!(error.hint(), "mend it");
        assert_eq!(error.source().unwrap().to_string(), "deep down");
    }
}
