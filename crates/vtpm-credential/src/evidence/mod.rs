//! Linked evidence: where a vTPM runs and what booted in it, in one file that anybody can judge
//! without asking anyone.
//!
//! ```text
//! host EK --certificate--> a root of chip makers            (or enrolled without one)
//!    | enrolled by credential activation: the policy lists EK and AK together
//! host AK --certifies--> CK --issues--> certificate of the vTPM's EK --> operator's root, or CK
//!    | quotes the host's PCRs; qualifying data: the binding
//! binding: instance, generation, time, nonce, vTPM EK, AK, quote, event log, certificates
//! vTPM AK --quotes--> the guest's PCRs; qualifying data: instance and nonce
//! ```
//! The host's quote vouches for the link between the vTPM's EK and its AK: what this says is worth
//! what the measured software of the host is worth.
//!
//! The file is JSON; all bytes in it are hexadecimal digits:
//!
//! | field | what |
//! |---|---|
//! | `format`, `version` | `vtpm-evidence`, 1 |
//! | `instance`, `generation` | whose vTPM it is, and the generation of its state |
//! | `issued_at` | seconds since 1970, by the host's clock |
//! | `nonce` | the verifier's |
//! | `guest.ek`, `guest.ak` | `TPMT_PUBLIC` of the vTPM's keys |
//! | `guest.certificates` | X.509, the EK's first |
//! | `guest.quote`, `guest.pcrs` | `attest` and `signature`; values by bank and number |
//! | `guest.event_log` | crypto-agile, may be empty |
//! | `host.ek`, `host.ak`, `host.ck` | `TPMT_PUBLIC` of the host's keys |
//! | `host.certificates` | X.509, the EK's first; may be empty |
//! | `host.ck_certification` | the AK's certification of CK |
//! | `host.quote`, `host.pcrs` | as for the guest |
//! | `bound` | the digest of each part that the host's quote binds, by name |

mod event_log;
mod judge;
mod policy;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::tpm::{HashAlg, PcrValues, PublicArea};

pub use event_log::{EventLog, Measured};
pub use judge::{Check, Report};
pub use policy::{EnrolledHost, PcrReference, Policy, PolicyFile};

/// `format` of the file.
pub const FORMAT: &str = "vtpm-evidence";
/// `version` of the file.
pub const VERSION: u32 = 1;
/// The longest file that is read, in bytes.
pub const FILE_MAX: usize = 4 << 20;
/// What the AK's certification of the credential key has mixed in.
pub const CREDENTIAL_PURPOSE: &[u8] = b"vtpm credential key 1";

/// Bytes, written as hexadecimal digits.
mod hexadecimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Several of them.
mod hexadecimals {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(all: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<u8>>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        all.iter().map(hex::decode).collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

/// What a TPM said under a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// `TPMS_ATTEST`.
    #[serde(with = "hexadecimal")]
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    #[serde(with = "hexadecimal")]
    pub signature: Vec<u8>,
}

/// The vTPM's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Its endorsement key, `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub ek: Vec<u8>,
    /// Its attestation key, `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub ak: Vec<u8>,
    /// X.509, the EK's first.
    #[serde(with = "hexadecimals")]
    pub certificates: Vec<Vec<u8>>,
    /// Its quote.
    pub quote: Signed,
    /// The values that the quote is over.
    pub pcrs: PcrValues,
    /// The measurements that led to them; may be empty.
    #[serde(with = "hexadecimal")]
    pub event_log: Vec<u8>,
}

/// The host's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its endorsement key, `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub ek: Vec<u8>,
    /// Its attestation key, `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub ak: Vec<u8>,
    /// Its credential key, `TPMT_PUBLIC`.
    #[serde(with = "hexadecimal")]
    pub ck: Vec<u8>,
    /// The AK's certification of the credential key.
    pub ck_certification: Signed,
    /// X.509, the EK's first; may be empty.
    #[serde(with = "hexadecimals")]
    pub certificates: Vec<Vec<u8>>,
    /// Its quote.
    pub quote: Signed,
    /// The values that the quote is over.
    pub pcrs: PcrValues,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Whose vTPM it is: 16 bytes.
    #[serde(with = "hexadecimal")]
    pub instance: Vec<u8>,
    /// The generation of its state.
    pub generation: u64,
    /// Seconds since 1970.
    pub issued_at: u64,
    /// The verifier's.
    #[serde(with = "hexadecimal")]
    pub nonce: Vec<u8>,
    /// The vTPM's part.
    pub guest: Guest,
    /// The host's part.
    pub host: Host,
    /// The digest of each part that the host's quote binds.
    pub bound: BTreeMap<String, String>,
}

impl Evidence {
    /// Evidence of a vTPM's part; the host's is added when its quote is there.
    #[must_use]
    pub fn of_guest(instance: [u8; 16], generation: u64, nonce: &[u8], guest: Guest) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut evidence = Self {
            format: FORMAT.into(),
            version: VERSION,
            instance: instance.to_vec(),
            generation,
            issued_at: now,
            nonce: nonce.to_vec(),
            guest,
            host: Host::default(),
            bound: BTreeMap::new(),
        };
        evidence.bound = evidence.parts();
        evidence
    }

    /// The digest of each part, by name.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<String, String> {
        let number = |value: u64| value.to_be_bytes().to_vec();
        let Guest { ek, ak, certificates, quote, pcrs: _, event_log } = &self.guest;
        let certificates: Vec<u8> = certificates
            .iter()
            .flat_map(|der| [number(der.len() as u64), der.clone()].concat())
            .collect();
        let parts = [
            ("instance", self.instance.clone()),
            ("generation", number(self.generation)),
            ("issued_at", number(self.issued_at)),
            ("nonce", self.nonce.clone()),
            ("guest.ek", ek.clone()),
            ("guest.ak", ak.clone()),
            ("guest.certificates", certificates),
            ("guest.quote.attest", quote.attest.clone()),
            ("guest.quote.signature", quote.signature.clone()),
            ("guest.event_log", event_log.clone()),
        ];
        let digest = |bytes: &[u8]| hex::encode(HashAlg::Sha256.digest(&[bytes]));
        parts.into_iter().map(|(name, bytes)| (name.to_owned(), digest(&bytes))).collect()
    }

    /// What the host's quote has as qualifying data: SHA-256 over `vtpm evidence 1`, a zero byte,
    /// and for each part in `bound`, by name, `name=digest` and a line feed.
    #[must_use]
    pub fn binding(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, digest) in &self.bound {
            text.extend_from_slice(format!("{name}={digest}\n").as_bytes());
        }
        HashAlg::Sha256.digest(&[b"vtpm evidence 1\0", &text])
    }

    /// The file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        if text.len() > FILE_MAX {
            return Err("the evidence is longer than 4 MiB: it is no evidence".into());
        }
        serde_json::from_slice(text).map_err(|error| {
            format!("the evidence cannot be read ({error}): it was cut, changed, or is none")
        })
    }
}

/// What the vTPM's quote has as qualifying data: SHA-256 over `vtpm evidence guest 1`, a zero byte,
/// the instance and the nonce.
#[must_use]
pub fn guest_qualifying_data(instance: &[u8], nonce: &[u8]) -> Vec<u8> {
    HashAlg::Sha256.digest(&[b"vtpm evidence guest 1\0", instance, nonce])
}

/// The name by which policies know a host: SHA-256 over its EK's public area, in hexadecimal.
#[must_use]
pub fn host_id(ek: &PublicArea) -> String {
    hex::encode(HashAlg::Sha256.digest(&[ek.as_bytes()]))
}
