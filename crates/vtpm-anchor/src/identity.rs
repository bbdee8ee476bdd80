//! The host's identity as it lies in its file: public areas, wrapped keys, certificates.
//!
//! `host.json` is JSON, readable by its owner only, with `version` and `minimum_version` before
//! anything else is looked at. Nothing in it is secret without the chip: private parts are
//! encrypted by it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vtpm_credential::tpm::{Name, PublicArea, template};

use crate::error::{Error, Result};
use crate::policy::PcrPolicy;

/// The version that this release writes.
const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Bytes, written as hexadecimal digits.
pub(crate) mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(from)?;
        hex::decode(digits).map_err(D::Error::custom)
    }
}

/// An object wrapped by the storage primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blob {
    /// `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub(crate) public: Vec<u8>,
    /// The contents of a `TPM2B_PRIVATE`.
    #[serde(with = "hexadecimal")]
    pub(crate) private: Vec<u8>,
}

/// What the chip said under the signature of the AK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// `TPMS_ATTEST`.
    #[serde(with = "hexadecimal")]
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    #[serde(with = "hexadecimal")]
    pub signature: Vec<u8>,
}

/// A key that the AK certified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certified {
    pub(crate) key: Blob,
    pub(crate) certification: Attestation,
}

/// Which endorsement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EkKind {
    /// RSA-2048, template L-1.
    Rsa2048,
    /// P-256, template L-2.
    P256,
}

impl EkKind {
    /// The template of the TCG EK Credential Profile.
    #[must_use]
    pub fn template(self) -> Vec<u8> {
        match self {
            Self::Rsa2048 => template::ek_rsa_2048(),
            Self::P256 => template::ek_p256(),
        }
    }

    /// The NV index of its certificate.
    pub(crate) fn certificate_index(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x01c0_0002,
            Self::P256 => 0x01c0_000a,
        }
    }
}

/// An endorsement key of the chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorsement {
    /// Which one.
    pub kind: EkKind,
    /// `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub public: Vec<u8>,
    /// Its certificate, DER, from the chip's NV; empty if there is none.
    #[serde(with = "hexadecimal", default)]
    pub certificate: Vec<u8>,
}

/// Where the chip remembers the generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Root {
    /// The NV index.
    pub(crate) index: u32,
    /// Its authorization value, sealed.
    pub(crate) auth: Blob,
}

/// All that is kept of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) version: u32,
    pub(crate) minimum_version: u32,
    /// The TCTI.
    pub(crate) tpm: String,
    /// Seconds since 1970.
    pub(crate) made_at: u64,
    /// The name of the storage primary.
    #[serde(with = "hexadecimal")]
    pub(crate) storage_name: Vec<u8>,
    /// The first is the one that this host shows.
    pub(crate) endorsement: Vec<Endorsement>,
    pub(crate) attestation: Blob,
    pub(crate) handover: Certified,
    pub(crate) credential: Certified,
    /// Certificates of the credential key, PEM, its own first; empty before there are some.
    #[serde(default)]
    pub(crate) credential_chain: String,
    pub(crate) root: Root,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pcr_policy: Option<PcrPolicy>,
    /// What operators did against the protections of all instances, oldest first.
    #[serde(default)]
    pub(crate) audit: Vec<HostAuditEntry>,
}

/// Something that an operator did against the protections of all instances of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAuditEntry {
    /// When, in seconds since 1970.
    pub unix_seconds: u64,
    /// What was done.
    pub event: String,
    /// The operator's words.
    pub reason: String,
}

impl Identity {
    pub(crate) const fn current_version() -> u32 {
        VERSION
    }

    pub(crate) fn file(directory: &Path) -> PathBuf {
        directory.join("host.json")
    }

    /// Reads the identity in a directory.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versions {
            version: u32,
            minimum_version: u32,
        }
        let path = Self::file(directory);
        let text = match read_bounded(&path, FILE_MAX) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoIdentity { path });
            }
            Err(source) => return Err(Error::Io { what: "read", path, source }),
        };
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let versions: Versions =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if versions.minimum_version > VERSION {
            return Err(Error::Newer { path, version: versions.version });
        }
        let identity: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        identity.check().map_err(|error| damaged(error.to_string()))?;
        Ok(identity)
    }

    /// Every structure can be read, and the keys are what they are said to be.
    fn check(&self) -> Result<()> {
        if self.endorsement.is_empty() {
            return Err(Error::Invalid("no endorsement key is in it".into()));
        }
        for ek in &self.endorsement {
            PublicArea::from_bytes(&ek.public)?;
        }
        Name::from_bytes(&self.storage_name)?;
        for blob in [&self.attestation, &self.handover.key, &self.credential.key, &self.root.auth] {
            PublicArea::from_bytes(&blob.public)?;
        }
        Ok(())
    }

    /// Writes the identity, durably and whole or not at all.
    pub(crate) fn save(&self, directory: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Invalid(format!("the identity cannot be written: {error}")))?;
        write_whole(&Self::file(directory), &text)
    }

    /// The endorsement key that this host shows.
    pub(crate) fn ek(&self) -> Result<&Endorsement> {
        self.endorsement.first().ok_or_else(|| Error::Invalid("no endorsement key".into()))
    }
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_bounded(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(bytes)
}

/// Replaces a file, private to its owner: a crash leaves the old or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    write_synced(&fresh, bytes)?;
    rename_synced(&fresh, path)
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::Io { what: "write", path: path.into(), source };
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

pub(crate) fn rename_synced(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| Error::Io { what: "replace", path: to.into(), source };
    fs::rename(from, to).map_err(failed)?;
    match to.parent() {
        Some(directory) => {
            fs::File::open(directory).and_then(|file| file.sync_all()).map_err(failed)
        }
        None => Ok(()),
    }
}
