//! What a verifier wants of evidence.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::certificate::Roots;
use crate::tpm::{HashAlg, PcrValues};

/// Allowed values of PCRs: by bank name, then by number.
pub type PcrReference = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A host whose EK and AK the verifier has seen to be in one chip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnrolledHost {
    /// What people call it.
    pub name: String,
    /// SHA-256 over the EK's public area.
    pub ek: String,
    /// SHA-256 over the AK's public area.
    pub ak: String,
}

/// A policy as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyFile {
    /// 1.
    pub version: u32,
    /// The oldest evidence that is believed, in seconds; absent for any.
    pub max_age: Option<u64>,
    /// Files with roots of chip makers (PEM); if there are none, enrolled EKs need no certificate.
    #[serde(default)]
    pub host_roots: Vec<String>,
    /// Files with roots of vTPM credentials (PEM); if there are none, the host's own credential key
    /// is believed, if its AK certified it.
    #[serde(default)]
    pub credential_roots: Vec<String>,
    /// The instances in question; any if there are none.
    #[serde(default)]
    pub instances: Vec<String>,
    /// The hosts.
    #[serde(default)]
    pub host: Vec<EnrolledHost>,
    /// What the PCRs of hosts may hold.
    #[serde(default)]
    pub host_pcrs: PcrReference,
    /// What the PCRs of guests may hold.
    #[serde(default)]
    pub guest_pcrs: PcrReference,
    /// Whether there must be an event log. One that is there is always checked.
    #[serde(default)]
    pub require_event_log: bool,
}

/// A policy with its roots read.
#[derive(Clone, Debug)]
pub struct Policy {
    /// As it was written.
    pub file: PolicyFile,
    /// Roots of chip makers.
    pub host_roots: Roots,
    /// Roots of vTPM credentials.
    pub credential_roots: Roots,
}

/// A PCR that is not as it should be.
pub(super) enum PcrFault {
    /// It is not in the quote.
    Missing(String, String),
    /// It has another value.
    Wrong(String, String, String),
}

/// Checks values against what they may be.
pub(super) fn check_pcrs(reference: &PcrReference, values: &PcrValues) -> Vec<PcrFault> {
    let mut faults = Vec::new();
    for (bank, registers) in reference {
        for (pcr, allowed) in registers {
            let value = HashAlg::from_name(bank)
                .zip(pcr.parse().ok())
                .and_then(|(bank, pcr)| values.get(bank, pcr))
                .map(hex::encode);
            match value {
                None => faults.push(PcrFault::Missing(bank.clone(), pcr.clone())),
                Some(value) if !allowed.iter().any(|one| one.eq_ignore_ascii_case(&value)) => {
                    faults.push(PcrFault::Wrong(bank.clone(), pcr.clone(), value));
                }
                Some(_) => {}
            }
        }
    }
    faults
}
