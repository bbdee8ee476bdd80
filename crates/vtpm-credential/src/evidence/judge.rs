//! Judging evidence: each check by itself, so that a report says all that is wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::policy::{PcrFault, check_pcrs};
use super::{
    CREDENTIAL_PURPOSE, EventLog, Evidence, FORMAT, PcrReference, Policy, Signed, VERSION,
    guest_qualifying_data, host_id,
};
use crate::certificate::{Purpose, Roots};
use crate::tpm::{Attest, Attested, Attributes, HashAlg, PcrValues, PublicArea, Signature};

/// How far a host's clock may be ahead of the verifier's.
const AHEAD: u64 = 60;

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub passed: bool,
    /// What was found; for a failure, what is wrong.
    pub detail: String,
}

/// All checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all is as it should be.
    pub trusted: bool,
    /// Each of them.
    pub checks: Vec<Check>,
}

type Finding = Result<String, String>;

impl Report {
    /// The failures.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    fn note(&mut self, name: &'static str, found: Finding) {
        let passed = found.is_ok();
        let (Ok(detail) | Err(detail)) = found;
        self.trusted &= passed;
        self.checks.push(Check { name, passed, detail });
    }
}

/// The keys in the evidence, when they can be read.
struct Keys {
    host_ek: PublicArea,
    host_ak: PublicArea,
    host_ck: PublicArea,
    guest_ek: PublicArea,
    guest_ak: PublicArea,
}

impl Evidence {
    /// Judges this by a policy, with the nonce that the verifier gave, as of `now`.
    #[must_use]
    pub fn judge(&self, policy: &Policy, nonce: Option<&[u8]>, now: SystemTime) -> Report {
        let mut report = Report { trusted: true, checks: Vec::new() };
        report.note("format", self.check_format());
        if let Some(nonce) = nonce {
            report.note("nonce", self.check_nonce(nonce));
        }
        report.note("age", self.check_age(policy, now));
        report.note("instance", self.check_instance(policy));
        let keys = match self.keys() {
            Ok(keys) => keys,
            Err(wrong) => {
                report.note("keys", Err(wrong));
                return report;
            }
        };
        report.note("host endorsement", self.check_host_endorsement(policy, &keys, now));
        report.note("host enrolment", check_enrolment(policy, &keys));
        let quote = verified(&self.host.quote, &keys.host_ak, "host's quote");
        report.note("host quote", self.check_host_quote(quote));
        report.note("binding", self.check_parts());
        report.note("host PCRs", pcrs("host", &policy.file.host_pcrs, &self.host.pcrs));
        report.note("credential key", self.check_credential_key(&keys));
        report.note("guest endorsement", self.check_guest_endorsement(policy, &keys, now));
        let quote = verified(&self.guest.quote, &keys.guest_ak, "guest's quote");
        report.note("guest quote", self.check_guest_quote(quote));
        report.note("guest PCRs", pcrs("guest", &policy.file.guest_pcrs, &self.guest.pcrs));
        report.note("event log", self.check_event_log(policy));
        report
    }

    fn check_format(&self) -> Finding {
        if self.format != FORMAT {
            return Err(format!("the file says \"{}\": it is no evidence of a vTPM", self.format));
        }
        if self.version != VERSION {
            let found = self.version;
            return Err(format!("the evidence has version {found}, this release reads {VERSION}"));
        }
        Ok(format!("version {VERSION}"))
    }

    fn check_nonce(&self, nonce: &[u8]) -> Finding {
        if self.nonce == nonce {
            return Ok("the one that was asked for".into());
        }
        Err("the nonce is not the one that was asked for: the evidence is old, or another's".into())
    }

    fn check_age(&self, policy: &Policy, now: SystemTime) -> Finding {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        if self.issued_at > now.saturating_add(AHEAD) {
            return Err("the evidence is from the future: check both clocks".into());
        }
        let age = now.saturating_sub(self.issued_at);
        match policy.file.max_age {
            Some(most) if age > most => {
                Err(format!("the evidence is {age} s old, older than {most} s: get it anew"))
            }
            _ => Ok(format!("{age} s")),
        }
    }

    fn check_instance(&self, policy: &Policy) -> Finding {
        let found = hex::encode(&self.instance);
        let wanted = &policy.file.instances;
        let plain = |text: &String| text.replace('-', "").to_ascii_lowercase();
        if self.instance.len() != 16 {
            return Err("the instance id has not 16 bytes".into());
        }
        if wanted.is_empty() || wanted.iter().map(plain).any(|one| one == found) {
            return Ok(format!("{found}, generation {}", self.generation));
        }
        Err(format!("the instance {found} is none that the policy is about"))
    }

    fn keys(&self) -> Result<Keys, String> {
        let read = |bytes: &[u8], what: &str| {
            PublicArea::from_bytes(bytes)
                .map_err(|error| format!("the {what} is unusable: {error}"))
        };
        Ok(Keys {
            host_ek: read(&self.host.ek, "host's endorsement key")?,
            host_ak: read(&self.host.ak, "host's attestation key")?,
            host_ck: read(&self.host.ck, "host's credential key")?,
            guest_ek: read(&self.guest.ek, "guest's endorsement key")?,
            guest_ak: read(&self.guest.ak, "guest's attestation key")?,
        })
    }

    fn check_host_endorsement(&self, policy: &Policy, keys: &Keys, now: SystemTime) -> Finding {
        let ek = &keys.host_ek;
        let wanted = Attributes::FIXED_TPM.with(Attributes::RESTRICTED).with(Attributes::DECRYPT);
        if !ek.attributes().has(wanted) {
            return Err("the host's endorsement key is none: its attributes are others".into());
        }
        if policy.host_roots.is_empty() {
            return Ok(format!("{}, by enrolment alone", host_id(ek)));
        }
        let refused = |error: crate::Error| format!("the host's endorsement: {error}");
        let none = || "the host's endorsement: there is no certificate".to_owned();
        let certificate = self.host.certificates.first().ok_or_else(none)?;
        ek.must_be_certified_by(certificate).map_err(refused)?;
        let chain = &self.host.certificates;
        let path = policy.host_roots.check(chain, Purpose::EndorsementKey, now).map_err(refused)?;
        Ok(path.join(" < "))
    }

    fn check_host_quote(&self, quote: Result<Attest, String>) -> Finding {
        let quote = quote?;
        let count = quoted_values(&quote, &self.host.pcrs, "host")?;
        if quote.extra_data != self.binding() {
            return Err("the host's quote binds other parts than these: the evidence was put \
                        together from several, or the list of parts was changed"
                .into());
        }
        Ok(format!("{count} PCRs"))
    }

    /// Each part is the one that the list of parts names; the list itself is in the quote.
    fn check_parts(&self) -> Finding {
        let parts = self.parts();
        if !parts.keys().eq(self.bound.keys()) {
            return Err("the list of bound parts is not that of this version".into());
        }
        let changed: Vec<&str> = parts
            .iter()
            .filter(|(name, digest)| self.bound.get(*name) != Some(digest))
            .map(|(name, _)| name.as_str())
            .collect();
        if changed.is_empty() {
            return Ok(format!("{} parts", parts.len()));
        }
        Err(format!("changed since the host bound it: {}", changed.join(", ")))
    }

    fn check_credential_key(&self, keys: &Keys) -> Finding {
        let signed =
            verified(&self.host.ck_certification, &keys.host_ak, "credential key's certification")?;
        signed
            .must_certify(&keys.host_ck.name(), CREDENTIAL_PURPOSE)
            .map_err(|error| format!("the host's credential key: {error}"))?;
        Ok("certified by the host's attestation key".into())
    }

    fn check_guest_endorsement(&self, policy: &Policy, keys: &Keys, now: SystemTime) -> Finding {
        let refused = |error: crate::Error| format!("the guest's endorsement: {error}");
        let chain = &self.guest.certificates;
        let none = || "the guest's endorsement: there is no certificate".to_owned();
        let certificate = chain.first().ok_or_else(none)?;
        keys.guest_ek.must_be_certified_by(certificate).map_err(refused)?;
        let own;
        let roots = if policy.credential_roots.is_empty() {
            // The credential key's own certificate, whatever it says: the AK speaks for the key.
            let is_ck = |der: &&Vec<u8>| keys.host_ck.must_be_certified_by(der).is_ok();
            let ck: Vec<Vec<u8>> = chain.iter().filter(is_ck).cloned().collect();
            own = Roots::from_der(&ck).map_err(refused)?;
            &own
        } else {
            &policy.credential_roots
        };
        let path = roots.check(chain, Purpose::EndorsementKey, now).map_err(refused)?;
        Ok(path.join(" < "))
    }

    fn check_guest_quote(&self, quote: Result<Attest, String>) -> Finding {
        let quote = quote?;
        let count = quoted_values(&quote, &self.guest.pcrs, "guest")?;
        if quote.extra_data != guest_qualifying_data(&self.instance, &self.nonce) {
            return Err("the guest's quote was made for another nonce or another instance".into());
        }
        Ok(format!("{count} PCRs"))
    }

    fn check_event_log(&self, policy: &Policy) -> Finding {
        if self.guest.event_log.is_empty() {
            return match policy.file.require_event_log {
                true => Err("there is no event log, and the policy wants one".into()),
                false => Ok("none".into()),
            };
        }
        let log = EventLog::parse(&self.guest.event_log);
        let log = log.ok_or("the event log is malformed: it was cut or changed")?;
        let mut explained = 0_usize;
        for bank in HashAlg::ALL {
            for pcr in 0..24 {
                let (Some(value), Some(replayed)) =
                    (self.guest.pcrs.get(bank, pcr), log.replay(bank, pcr))
                else {
                    continue;
                };
                if value != replayed {
                    let bank = bank.name();
                    return Err(format!("the event log does not lead to PCR {pcr} ({bank})"));
                }
                explained = explained.saturating_add(1);
            }
        }
        Ok(format!("{} events explain {explained} PCRs", log.events.len()))
    }
}

fn check_enrolment(policy: &Policy, keys: &Keys) -> Finding {
    let (ek, ak) = (host_id(&keys.host_ek), host_id(&keys.host_ak));
    keys.host_ak
        .must_be_attestation_key()
        .map_err(|error| format!("the host's attestation key: {error}"))?;
    let known = policy.file.host.iter().find(|host| host.ek.eq_ignore_ascii_case(&ek));
    let known = known.ok_or_else(|| {
        format!("the host with the endorsement key {ek} is not enrolled: enrol it (`vtpm enroll`)")
    })?;
    if !known.ak.eq_ignore_ascii_case(&ak) {
        let name = &known.name;
        return Err(format!(
            "the attestation key {ak} is not the one that {name} was enrolled with: it was made \
             anew, or is another chip's"
        ));
    }
    Ok(known.name.clone())
}

fn verified(signed: &Signed, key: &PublicArea, what: &str) -> Result<Attest, String> {
    let refused = |error: crate::Error| format!("the {what}: {error}");
    let signature = Signature::from_bytes(&signed.signature).map_err(refused)?;
    Attest::verify(&signed.attest, &signature, key).map_err(refused)
}

/// The quote is over exactly the values that are shown; answers how many.
fn quoted_values(quote: &Attest, values: &PcrValues, whose: &str) -> Result<usize, String> {
    let Attested::Quote { selection, digest } = &quote.attested else {
        return Err(format!("the {whose}'s quote is a certification"));
    };
    let shown: usize = values.0.values().map(std::collections::BTreeMap::len).sum();
    let fits = values.digest(selection, HashAlg::Sha256).is_ok_and(|found| found == *digest);
    if !fits || selection.iter().count() != shown {
        return Err(format!("the {whose}'s PCR values are not those that were quoted"));
    }
    Ok(shown)
}

fn pcrs(whose: &str, reference: &PcrReference, values: &PcrValues) -> Finding {
    let faults = check_pcrs(reference, values);
    if faults.is_empty() {
        let count: usize = reference.values().map(std::collections::BTreeMap::len).sum();
        return Ok(format!("{count} as the policy wants them"));
    }
    let told: Vec<String> = faults
        .iter()
        .map(|fault| match fault {
            PcrFault::Missing(bank, pcr) => format!("PCR {pcr} ({bank}) is not in the quote"),
            PcrFault::Wrong(bank, pcr, value) => {
                format!("PCR {pcr} ({bank}) is {value}, which the policy does not allow")
            }
        })
        .collect();
    Err(format!("the {whose}'s {}", told.join("; ")))
}
