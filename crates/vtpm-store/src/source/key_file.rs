//! A key in a file that the operator keeps elsewhere: on a stick, in a secret store's mount.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::wrap::Bound;
use crate::bytes::Reader;
use crate::cipher;
use crate::error::{Error, Result};
use crate::id::InstanceId;
use crate::key::{Key, KeySource, SourceError};

const VERSION: u8 = 1;
const INFO: &[u8] = b"vtpm-store key-file 1";

/// Seals under a 256-bit key from a file: 64 hexadecimal digits and at most one line end, or 32
/// raw bytes.
///
/// The sealed key:
/// ```text
/// offset  length  field
///      0       1  version, 1
///      1      16  salt, random
///     17      60  the data key, wrapped under HKDF-SHA256(file's key, salt, INFO):
///                 nonce 12, encrypted key 32, tag 16 (AES-256-GCM)
/// ```
/// INFO is `vtpm-store key-file 1`; the associated data is `key-file`, a zero byte, the instance
/// id, and bytes 0 to 16 of this.
pub struct KeyFile {
    key: Key,
}

impl KeyFile {
    /// The kind in the file.
    pub const KIND: &'static str = "key-file";

    /// Reads the key from `path`.
    ///
    /// # Errors
    /// If it cannot be read, has not the form of a key, or if others than its owner may read it.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |cause: std::io::Error| {
            SourceError::new(
                format!("the key file {} cannot be read", path.display()),
                "check its path and permissions",
            )
            .because(cause)
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        if mode & 0o077 != 0 {
            return Err(SourceError::new(
                format!("the key file {} is open to others than its owner", path.display()),
                "make it private (chmod 600), and replace the key if others may have read it",
            ));
        }
        // Room for one byte more than a key has, so that a longer file shows.
        let mut text = Zeroizing::new(Vec::with_capacity(128));
        file.take(67).read_to_end(&mut text).map_err(failed)?;
        let key = parse(&text).ok_or_else(|| {
            SourceError::new(
                format!("the key file {} does not hold a key", path.display()),
                "it must be 64 hexadecimal digits or 32 raw bytes",
            )
        })?;
        Ok(Self { key })
    }

    /// Takes a key that the caller was given in another way: through a pipe, say.
    #[must_use]
    pub fn from_key(key: Key) -> Self {
        Self { key }
    }

    /// Draws a new key and writes it to a new file at `path`, as hexadecimal digits, readable by
    /// its owner only.
    ///
    /// # Errors
    /// If the path is taken or cannot be written.
    pub fn generate(path: &Path) -> Result<Self, SourceError> {
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
            SourceError::new(
                format!("the key file {} cannot be made", path.display()),
                "check that the path is free and can be written",
            )
            .because(cause)
        };
        let key = Key::generate().map_err(|error| failed(error.into()))?;
        let mut text = Zeroizing::new(Vec::with_capacity(65));
        for byte in key.expose() {
            text.extend([byte >> 4, byte & 15].map(hex_digit));
        }
        text.push(b'\n');
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .map_err(|error| failed(error.into()))?;
        Ok(Self { key })
    }

    fn wrapping_key(&self, salt: &[u8]) -> Result<Key> {
        cipher::derive_key(self.key.expose(), salt, INFO)
    }
}

impl KeySource for KeyFile {
    fn kind(&self) -> &str {
        Self::KIND
    }

    fn seal_key(&self, instance: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError> {
        let seal = || -> Result<Vec<u8>> {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt)?;
            let mut sealed = vec![VERSION];
            sealed.extend_from_slice(&salt);
            let parameters = sealed.clone();
            Bound { kind: Self::KIND, instance, parameters: &parameters }.wrap(
                &self.wrapping_key(&salt)?,
                key,
                &mut sealed,
            )?;
            Ok(sealed)
        };
        seal().map_err(|error| {
            SourceError::new("the key file cannot seal", "try again").because(error)
        })
    }

    fn unseal_key(&self, instance: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let unseal = || -> Option<Result<Key, Error>> {
            let (parameters, wrapped) = sealed.split_at_checked(17)?;
            let mut reader = Reader::new(parameters);
            if reader.u8()? != VERSION {
                return None;
            }
            let under = match self.wrapping_key(reader.rest()) {
                Ok(key) => key,
                Err(error) => return Some(Err(error)),
            };
            Bound { kind: Self::KIND, instance, parameters }.unwrap(&under, wrapped).map(Ok)
        };
        let refused = SourceError::new(
            "the key file does not open this vTPM",
            "give the key file that it was sealed with",
        );
        match unseal() {
            Some(Ok(key)) => Ok(key),
            Some(Err(error)) => Err(refused.because(error)),
            None => Err(refused),
        }
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

fn parse(text: &[u8]) -> Option<Key> {
    let mut key = Zeroizing::new([0; 32]);
    if let Ok(raw) = <&[u8; 32]>::try_from(text) {
        key.copy_from_slice(raw);
        return Some(Key::take(&mut key));
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let (digits, []) = text.as_chunks::<2>() else { return None };
    if digits.len() != key.len() {
        return None;
    }
    for (byte, [high, low]) in key.iter_mut().zip(digits) {
        *byte = hex_value(*high)? << 4 | hex_value(*low)?;
    }
    Some(Key::take(&mut key))
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ID: InstanceId = InstanceId([1; 16]);

    #[test]
    fn a_generated_key_file_opens_what_it_sealed_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = KeyFile::generate(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        let key = Key::generate().unwrap();
        let sealed = made.seal_key(&ID, &key).unwrap();
        assert_eq!(KeyFile::open(&path).unwrap().unseal_key(&ID, &sealed).unwrap(), key);
        assert!(KeyFile::generate(&path).is_err(), "an existing key is never replaced");
    }

    #[test]
    fn a_sealed_key_opens_for_its_instance_and_unchanged_only() {
        let source = KeyFile { key: Key::generate().unwrap() };
        let sealed = source.seal_key(&ID, &Key::generate().unwrap()).unwrap();
        assert!(source.unseal_key(&InstanceId([2; 16]), &sealed).is_err());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(source.unseal_key(&ID, &flipped).is_err(), "byte {at}");
            assert!(source.unseal_key(&ID, &sealed[..at]).is_err(), "cut at {at}");
        }
        let other = KeyFile { key: Key::generate().unwrap() };
        let refused = other.unseal_key(&ID, &sealed).unwrap_err();
        assert!(refused.to_string().contains("give the key file"), "{refused}");
    }

    #[test]
    fn a_key_may_be_hexadecimal_or_raw_and_nothing_else() {
        let hex = "0123456789abcdefABCDEF000000000000000000000000000000000000000000";
        assert!(parse(hex.as_bytes()).is_some());
        assert!(parse(format!("{hex}\n").as_bytes()).is_some());
        assert!(parse(format!("{hex}\r\n").as_bytes()).is_some());
        assert_eq!(parse(&[7; 32]).unwrap().expose(), &[7; 32]);
        for odd in [&b""[..], &hex.as_bytes()[..63], &[b'g'; 64], &[b'0'; 66]] {
            assert!(parse(odd).is_none());
        }
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        KeyFile::generate(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(KeyFile::open(&path).unwrap_err().hint().contains("chmod 600"));
    }
}
