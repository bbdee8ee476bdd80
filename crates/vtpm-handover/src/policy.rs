//! The trust policy: whom this host hands instances to, and whom it takes them from.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = r#"
//! version = 1
//! minimum-protocol = 1            # refuse peers that speak only older versions
//! roles = ["send", "receive"]     # for whoever is trusted by a root
//!
//! [[root]]                        # a manufacturer's root: every EK below it is trusted
//! name = "the manufacturer of our TPMs"
//! file = "manufacturer.pem"       # beside the policy; or: pem = "-----BEGIN ..."
//!
//! [[host]]                        # one host by its EK, whatever its certificate
//! name = "rack 4, slot 7"
//! ek = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
//! roles = ["receive"]
//!
//! [pcrs.sha256]                   # what each register may hold; others are not looked at
//! 7 = ["65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e8cf4a1e2f"]
//! "#;
//! let policy = vtpm_handover::policy::TrustPolicy::parse(text, |_file| Ok(b"PEM".to_vec()))?;
//! assert_eq!(policy.hosts[0].name, "rack 4, slot 7");
//! # Ok(())
//! # }
//! ```
//!
//! `vtpm handover identity` on a host prints its `ek`. A host entry may have a table of registers
//! of its own (`[host.pcrs.sha256]`), which then counts instead of the common one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::id::{HostId, unhex};
use crate::judge::{Refusal, Side};
use crate::pcr::{self, PcrSelection, PcrValue};
use crate::{MINIMUM_VERSION, VERSION};

/// The version of the policy file that this release reads.
const FILE_VERSION: u16 = 1;

/// The longest policy file that is read, in bytes.
pub const POLICY_MAX: usize = 1 << 20;

/// Whom to trust, for what, and in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustPolicy {
    /// Roots of trust for EK certificates.
    pub roots: Vec<Root>,
    /// Hosts that are pinned by their EK.
    pub hosts: Vec<KnownHost>,
    /// What hosts may do that are trusted by a root.
    pub roles: Roles,
    /// What the registers of every host may hold, unless its own entry says so.
    pub pcrs: PcrReference,
    /// The oldest version of the protocol to speak.
    pub minimum_protocol: u16,
}

/// A root of trust for EK certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What people call it.
    pub name: String,
    /// One or more certificates, PEM.
    pub pem: Vec<u8>,
}

/// A host that is pinned by its EK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHost {
    /// What people call it.
    pub name: String,
    /// Its EK.
    pub ek: HostId,
    /// What it may do.
    pub roles: Roles,
    /// What its registers may hold; if nothing, what the policy says for all.
    pub pcrs: Option<PcrReference>,
}

/// Which sides of a handover a host may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// It may be the source.
    pub send: bool,
    /// It may be the destination.
    pub receive: bool,
}

impl Roles {
    /// Whether `side` may be taken.
    #[must_use]
    pub fn allow(&self, side: Side) -> bool {
        match side {
            Side::Source => self.send,
            Side::Destination => self.receive,
        }
    }
}

/// Allowed values of registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PcrReference(BTreeMap<(u16, u8), BTreeSet<Vec<u8>>>);

impl PcrReference {
    /// The registers that there are values for.
    #[must_use]
    pub fn selection(&self) -> PcrSelection {
        self.0.keys().fold(PcrSelection::none(), |all, (bank, index)| all.with(*bank, *index))
    }

    /// Allows `digest` in a register, beside what is allowed already.
    pub fn allow(&mut self, bank: u16, index: u8, digest: Vec<u8>) {
        self.0.entry((bank, index)).or_default().insert(digest);
    }

    /// Checks the values that a peer quoted; the caller has made sure that the quote is over
    /// exactly these.
    ///
    /// # Errors
    /// [`Refusal::MissingPcr`] or [`Refusal::WrongPcr`].
    pub fn check(&self, values: &[PcrValue]) -> Result<(), Refusal> {
        for ((bank, index), allowed) in &self.0 {
            let (bank, index) = (*bank, *index);
            let mut found = values.iter().filter(|v| v.bank == bank && v.index == index);
            let value = found.next().ok_or(Refusal::MissingPcr { bank, index })?;
            if found.next().is_some() || !allowed.contains(&value.digest) {
                let found = value.digest.iter().map(|byte| format!("{byte:02x}")).collect();
                return Err(Refusal::WrongPcr { bank, index, found });
            }
        }
        Ok(())
    }
}

/// What the policy says of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What people call the host, if it is pinned.
    pub name: Option<&'a str>,
    /// Whether its EK is trusted without a certificate.
    pub pinned: bool,
    /// What it may do.
    pub roles: Roles,
    /// What its registers may hold.
    pub pcrs: &'a PcrReference,
}

impl TrustPolicy {
    /// Reads a policy file. `read` gives the contents of a root's file.
    ///
    /// # Errors
    /// [`PolicyError`]: where and what is wrong.
    pub fn parse(
        text: &str,
        mut read: impl FnMut(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, PolicyError> {
        if text.len() > POLICY_MAX {
            return Err(PolicyError::TooLong);
        }
        let file: File = toml::from_str(text)?;
        if file.version != FILE_VERSION {
            return Err(PolicyError::Version(file.version));
        }
        let minimum_protocol = file.minimum_protocol.unwrap_or(MINIMUM_VERSION);
        if !(MINIMUM_VERSION..=VERSION).contains(&minimum_protocol) {
            return Err(PolicyError::Protocol(minimum_protocol));
        }
        if file.root.is_empty() && file.host.is_empty() {
            return Err(PolicyError::TrustsNobody);
        }
        let roots = file.root.into_iter().map(|root| root.checked(&mut read));
        let hosts = file.host.into_iter().map(|host| host.checked());
        let policy = Self {
            roots: roots.collect::<Result<_, _>>()?,
            hosts: hosts.collect::<Result<_, _>>()?,
            roles: roles(file.roles.as_deref())?,
            pcrs: reference(&file.pcrs)?,
            minimum_protocol,
        };
        let mut seen = BTreeSet::new();
        match policy.hosts.iter().find(|host| !seen.insert(host.ek)) {
            Some(twice) => Err(PolicyError::Twice(twice.name.clone())),
            None => Ok(policy),
        }
    }

    /// The registers that some host is judged by: what to ask a peer for.
    #[must_use]
    pub fn wanted(&self) -> PcrSelection {
        let own = self.hosts.iter().filter_map(|host| host.pcrs.as_ref());
        let all = own.chain([&self.pcrs]).flat_map(|pcrs| pcrs.0.keys());
        all.fold(PcrSelection::none(), |all, (bank, index)| all.with(*bank, *index))
    }

    /// What the policy says of the host with this EK.
    #[must_use]
    pub fn of(&self, host: &HostId) -> Verdict<'_> {
        match self.hosts.iter().find(|known| known.ek == *host) {
            Some(known) => Verdict {
                name: Some(&known.name),
                pinned: true,
                roles: known.roles,
                pcrs: known.pcrs.as_ref().unwrap_or(&self.pcrs),
            },
            None => Verdict { name: None, pinned: false, roles: self.roles, pcrs: &self.pcrs },
        }
    }
}

/// Why a policy file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It is not TOML of the form described.
    #[error("the trust policy cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    /// It is longer than [`POLICY_MAX`].
    #[error("the trust policy is longer than 1 MiB; name root certificates by file")]
    TooLong,
    /// Another release wrote it.
    #[error("the trust policy has version {0}, this release reads version 1; upgrade this host")]
    Version(u16),
    /// It wants a version of the protocol that this release does not speak.
    #[error("the trust policy wants protocol version {0}, which this release does not speak")]
    Protocol(u16),
    /// It has neither roots nor hosts.
    #[error("the trust policy trusts nobody; add a [[root]] or a [[host]]")]
    TrustsNobody,
    /// Two entries have the same EK.
    #[error("the trust policy has the key of host \"{0}\" twice; remove one of the two")]
    Twice(String),
    /// A value cannot be taken.
    #[error("in the trust policy, {0}")]
    Value(String),
    /// A root's file cannot be read.
    #[error("the root certificate {file} cannot be read: {source}; check the path")]
    RootFile {
        /// The file as the policy names it.
        file: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

type PcrTables = BTreeMap<String, BTreeMap<String, Vec<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: u16,
    minimum_protocol: Option<u16>,
    roles: Option<Vec<String>>,
    #[serde(default)]
    root: Vec<RootEntry>,
    #[serde(default)]
    host: Vec<HostEntry>,
    #[serde(default)]
    pcrs: PcrTables,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootEntry {
    name: String,
    file: Option<String>,
    pem: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostEntry {
    name: String,
    ek: String,
    roles: Option<Vec<String>>,
    pcrs: Option<PcrTables>,
}

impl RootEntry {
    fn checked(
        self,
        read: &mut impl FnMut(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Root, PolicyError> {
        let pem = match (self.pem, self.file) {
            (Some(pem), None) => pem.into_bytes(),
            (None, Some(file)) => {
                read(&file).map_err(|source| PolicyError::RootFile { file, source })?
            }
            _ => {
                let said = format!("root \"{}\" needs either a file or a pem", self.name);
                return Err(PolicyError::Value(said));
            }
        };
        Ok(Root { name: self.name, pem })
    }
}

impl HostEntry {
    fn checked(self) -> Result<KnownHost, PolicyError> {
        let ek = self.ek.parse().map_err(|_| {
            PolicyError::Value(format!("the ek of host \"{}\" is not 64 digits", self.name))
        })?;
        let pcrs = self.pcrs.as_ref().map(reference).transpose()?;
        Ok(KnownHost { name: self.name, ek, roles: roles(self.roles.as_deref())?, pcrs })
    }
}

/// Who is trusted and has no roles written down may take both sides.
fn roles(written: Option<&[String]>) -> Result<Roles, PolicyError> {
    let Some(written) = written else { return Ok(Roles { send: true, receive: true }) };
    let mut roles = Roles::default();
    for role in written {
        match role.as_str() {
            "send" => roles.send = true,
            "receive" => roles.receive = true,
            other => {
                let said = format!("\"{other}\" is no role; there are \"send\" and \"receive\"");
                return Err(PolicyError::Value(said));
            }
        }
    }
    Ok(roles)
}

fn reference(tables: &PcrTables) -> Result<PcrReference, PolicyError> {
    let mut all = PcrReference::default();
    for (name, registers) in tables {
        let (bank, length) = bank(name)?;
        for (index, values) in registers {
            let wrong = |what: &str| PolicyError::Value(format!("pcrs.{name}.{index} {what}"));
            let index = index.parse().ok().filter(|index| *index < PcrSelection::REGISTERS);
            let index = index.ok_or_else(|| wrong("is not a register; there are 0 to 23"))?;
            if values.is_empty() {
                return Err(wrong("allows no value, so nobody could be trusted"));
            }
            for value in values {
                let digest = unhex(value).filter(|digest| digest.len() == length);
                let digest = digest.ok_or_else(|| wrong("has a value of the wrong length"))?;
                all.allow(bank, index, digest);
            }
        }
    }
    Ok(all)
}

/// The algorithm and the digest length of a bank.
fn bank(name: &str) -> Result<(u16, usize), PolicyError> {
    match name {
        "sha1" => Ok((pcr::SHA1, 20)),
        "sha256" => Ok((pcr::SHA256, 32)),
        "sha384" => Ok((pcr::SHA384, 48)),
        "sha512" => Ok((pcr::SHA512, 64)),
        _ => Err(PolicyError::Value(format!("\"{name}\" is no bank of registers"))),
    }
}

#[cfg(test)]
mod tests;
