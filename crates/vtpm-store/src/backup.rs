//! Backups: the state encrypted to a recovery key whose private half is kept off the hosts.
//!
//! ECIES over P-256: an ephemeral key agrees with the recovery key (SEC 1, section 3.3.1), and
//! HKDF-SHA256 makes of the shared x-coordinate an AES-256-GCM key that is used once.
//!
//! ```text
//! offset  length  field (integers little-endian)
//!      0       8  magic "VTPMBKUP"
//!      8       2  format version, 1
//!     10       2  minimum version: the oldest reader that may import it, 1
//!     12       4  length B of the body, the tag included
//!     16      16  instance id
//!     32       8  generation
//!     40       8  epoch
//!     48      32  SHA-256 of the recovery public key (uncompressed point, 65 bytes)
//!     80      65  ephemeral public key, uncompressed point
//!    145       B  body: ciphertext and its 16-byte tag
//! ```
//!
//! The key is HKDF-SHA256 with the shared secret as input, bytes 0 to 144 as salt and
//! `vtpm-store backup 1` as info. The nonce is zero; the associated data is bytes 0 to 144. The
//! plaintext is the count of audit entries (2 bytes), the entries as in a record, and the state.
//!
//! A backup says nothing of who made it: anyone with the recovery *public* key can make one. Keep
//! backups where only operators write.

use std::fmt;

use p256::pkcs8::DecodePublicKey;
use p256::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::audit::{AuditEvent, AuditLog, Override};
use crate::bytes::Reader;
use crate::cipher::{self, NONCE, TAG};
use crate::error::{Error, Result};
use crate::id::{InstanceId, MinimumGeneration};
use crate::key::{Key, KeySource, SealedKey};
use crate::place::Place;
use crate::role::Role;
use crate::store::{Birth, Lent, Store};

const MAGIC: &[u8; 8] = b"VTPMBKUP";
const VERSION: u16 = 1;
const INFO: &[u8] = b"vtpm-store backup 1";
const POINT: usize = 65;
const HEADER: usize = 80 + POINT;

/// Why a backup, or a recovery key, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin as a backup does, or it is cut.
    #[error("this is not a whole vTPM backup; check the file")]
    NotABackup,
    /// A newer release made it.
    #[error("the backup needs a release that knows backup version {minimum}; upgrade this host")]
    Newer {
        /// The oldest version whose readers may import it.
        minimum: u16,
    },
    /// It is encrypted to another recovery key.
    #[error("the backup is encrypted to the recovery key {wanted}, not to {offered}")]
    WrongKey {
        /// The fingerprint of the key it is encrypted to.
        wanted: Fingerprint,
        /// The fingerprint of the key offered.
        offered: Fingerprint,
    },
    /// It was changed, or was never encrypted to this key.
    #[error("the backup is damaged or was changed; take another copy of it")]
    NotAuthentic,
    /// A key could not be read.
    #[error("this is no P-256 {0} key; give one in PEM form, as openssl writes it")]
    BadKey(&'static str),
}

/// The SHA-256 of a recovery public key (its uncompressed point), by which people tell keys apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    fn of(key: &PublicKey) -> Self {
        Self(cipher::digest(&[&key.to_sec1_bytes()]))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The public half of a recovery key: what hosts have, to make backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPublicKey(PublicKey);

impl RecoveryPublicKey {
    /// From PEM (`BEGIN PUBLIC KEY`), as `openssl ec -pubout` writes it.
    ///
    /// # Errors
    /// [`BackupError::BadKey`].
    pub fn from_pem(pem: &str) -> Result<Self> {
        let key = PublicKey::from_public_key_pem(pem);
        Ok(Self(key.map_err(|_| BackupError::BadKey("public"))?))
    }

    /// By which to tell it from others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

/// The private half of a recovery key: kept off the hosts, brought to one for an import.
pub struct RecoverySecretKey(SecretKey);

impl RecoverySecretKey {
    /// From PEM (`BEGIN PRIVATE KEY` or `BEGIN EC PRIVATE KEY`), unencrypted.
    ///
    /// # Errors
    /// [`BackupError::BadKey`].
    pub fn from_pem(pem: &str) -> Result<Self> {
        Ok(Self(SecretKey::from_pem(pem).map_err(|_| BackupError::BadKey("private"))?))
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> RecoveryPublicKey {
        RecoveryPublicKey(self.0.public_key())
    }
}

impl fmt::Debug for RecoverySecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoverySecretKey(of {})", self.public_key().fingerprint())
    }
}

/// On what terms a backup is brought back.
#[derive(Debug, Clone)]
pub struct Restore {
    by: Override,
    minimum: Option<MinimumGeneration>,
    accept_older: bool,
}

impl Restore {
    /// Restores for the reason given, which is recorded in the new file.
    #[must_use]
    pub fn because(by: Override) -> Self {
        Self { by, minimum: None, accept_older: false }
    }

    /// The anchor remembers this generation of the instance: a backup that is older is refused.
    #[must_use]
    pub fn at_least(mut self, remembered: MinimumGeneration) -> Self {
        self.minimum = Some(remembered);
        self
    }

    /// An older backup is accepted all the same: what happened since is lost.
    #[must_use]
    pub fn or_older(mut self) -> Self {
        self.accept_older = true;
        self
    }
}

impl Store {
    /// A backup of the newest record, which only the holder of the recovery private key can read.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless the instance is active: a copy of one on the move could come
    /// to life twice. [`Error::Io`], [`Error::Entropy`].
    pub fn export(&self, to: &RecoveryPublicKey) -> Result<Vec<u8>> {
        self.must_be("make a backup", |role| matches!(role, Role::Active { .. }))?;
        let state = self.state()?;
        let audit = &self.header.audit;
        let ephemeral = ephemeral_key()?;
        let body_length = audit.encoded_len().saturating_add(state.len()).saturating_add(2 + TAG);
        let wire_length = u32::try_from(body_length).map_err(|_| Error::Cipher)?;

        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&wire_length.to_le_bytes());
        header.extend_from_slice(&self.header.instance.0);
        header.extend_from_slice(&self.header.generation.to_le_bytes());
        header.extend_from_slice(&self.header.role.epoch().to_le_bytes());
        header.extend_from_slice(&to.fingerprint().0);
        header.extend_from_slice(&ephemeral.public_key().to_sec1_bytes());
        let key = shared_key(&ephemeral, &to.0, &header)?;

        let mut body = Zeroizing::new(Vec::with_capacity(body_length));
        body.extend_from_slice(&audit.count().to_le_bytes());
        audit.encode(&mut body);
        body.extend_from_slice(&state);
        let tag = cipher::encrypt(&key, &[0; NONCE], &header, &mut body)?;
        Ok([&header, body.as_slice(), &tag].concat())
    }

    /// Makes a new file at `place` from a `backup`, sealed by `source`. Its generation is the one
    /// after the backup's, and after the one that the anchor remembers.
    ///
    /// Make sure that the instance lives nowhere else: no file can tell.
    ///
    /// # Errors
    /// [`Error::Backup`], [`Error::RolledBack`] if the backup is older than the anchor remembers
    /// and that was not [accepted](Restore::or_older), or as [`create`](Self::create).
    pub fn import(
        place: &Place,
        backup: &[u8],
        recovery: &RecoverySecretKey,
        source: &dyn KeySource,
        restore: &Restore,
    ) -> Result<Self> {
        let envelope = Envelope::parse(backup)?;
        let (mut audit, state) = envelope.open(recovery, place.state_limit())?;
        let remembered = restore.minimum.map_or(0, |minimum| minimum.0);
        if envelope.generation < remembered && !restore.accept_older {
            return Err(Error::RolledBack { file: envelope.generation, remembered });
        }
        audit.add(AuditEvent::Imported, &restore.by, envelope.generation, remembered);
        let birth = Birth::active(envelope.instance, envelope.epoch)
            .after(MinimumGeneration(envelope.generation.max(remembered)));
        let key = SealedKey::new(source, &envelope.instance)?;
        Self::create_with(place, birth, key, &Lent { note: &[], state: &state }, audit)
    }
}

struct Envelope<'a> {
    instance: InstanceId,
    generation: u64,
    epoch: u64,
    recipient: Fingerprint,
    ephemeral: PublicKey,
    header: &'a [u8],
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn parse(backup: &'a [u8]) -> Result<Self, BackupError> {
        Self::fields(backup)?.ok_or(BackupError::NotABackup)
    }

    fn fields(backup: &'a [u8]) -> Result<Option<Self>, BackupError> {
        let mut reader = Reader::new(backup);
        let versions =
            (reader.array() == Some(*MAGIC)).then(|| reader.u16().zip(reader.u16())).flatten();
        match versions {
            None => return Ok(None),
            Some((_, minimum)) if minimum > VERSION => return Err(BackupError::Newer { minimum }),
            Some(_) => {}
        }
        let mut rest = || {
            let length = reader.length()?;
            let instance = InstanceId(reader.array()?);
            let (generation, epoch) = (reader.u64()?, reader.u64()?);
            let recipient = Fingerprint(reader.array()?);
            let ephemeral = PublicKey::from_sec1_bytes(&reader.array::<POINT>()?).ok()?;
            let (header, body) = backup.split_at_checked(HEADER)?;
            (body.len() == length).then_some(Self {
                instance,
                generation,
                epoch,
                recipient,
                ephemeral,
                header,
                body,
            })
        };
        Ok(rest())
    }

    fn open(
        &self,
        recovery: &RecoverySecretKey,
        state_limit: usize,
    ) -> Result<(AuditLog, Zeroizing<Vec<u8>>)> {
        let offered = recovery.public_key().fingerprint();
        if self.recipient != offered {
            return Err(BackupError::WrongKey { wanted: self.recipient, offered }.into());
        }
        let limit = state_limit.saturating_add(16 * 1024);
        if self.body.len() > limit {
            let (length, limit) = (self.body.len() as u64, limit as u64);
            return Err(Error::TooLarge { what: "the backup", length, limit });
        }
        let key = shared_key(&recovery.0, &self.ephemeral, self.header)?;
        let (text, tag) = self.body.split_last_chunk::<TAG>().ok_or(BackupError::NotABackup)?;
        let mut text = Zeroizing::new(text.to_vec());
        cipher::decrypt(&key, &[0; NONCE], self.header, &mut text, tag)
            .map_err(|_| BackupError::NotAuthentic)?;
        let mut reader = Reader::new(&text);
        let audit = reader.u16().and_then(|count| AuditLog::decode(&mut reader, count));
        let audit = audit.ok_or(BackupError::NotABackup)?;
        Ok((audit, Zeroizing::new(reader.rest().to_vec())))
    }
}

fn shared_key(ours: &SecretKey, theirs: &PublicKey, header: &[u8]) -> Result<Key> {
    let shared = ours.diffie_hellman(theirs);
    cipher::derive_key(shared.raw_secret_bytes(), header, INFO)
}

fn ephemeral_key() -> Result<SecretKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    loop {
        getrandom::fill(bytes.as_mut_slice())?;
        // Zero and what is not below the order of the group: one draw in 2^32.
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            return Ok(key);
        }
    }
}
