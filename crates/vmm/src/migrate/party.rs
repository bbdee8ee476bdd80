//! This host in a handover: its chip, its judgement of others, its random bytes.

use std::{fs, path::Path, time::SystemTime};

use tracing::warn;
use vtpm_anchor::{Access, Anchor, TrustJudge};
use vtpm_handover::{
    Ending, Local, Side,
    audit::{AuditLog, AuditRecord},
    driver::{FileLog, Options, OsEntropy},
    policy::TrustPolicy,
};

use crate::error::{Error, Result};

/// This host, as a side of handovers.
pub struct Party {
    anchor: Anchor,
    judge: TrustJudge,
    entropy: OsEntropy,
    options: Options,
    log: FileLog,
}

impl Party {
    /// The host whose identity is in `directory`, trusting whom the policy file `trust` trusts.
    /// Each handover leaves a line in `handovers.log` of that directory.
    ///
    /// # Errors
    /// [`Error::Anchor`], [`Error::File`], [`Error::Migration`] if the policy is none.
    pub fn open(directory: &Path, trust: &Path) -> Result<Self> {
        let anchor = Anchor::open(directory, &Access::default())?;
        let wrong = |cause: &dyn std::fmt::Display| {
            Error::Migration(format!("the trust policy {}: {cause}", trust.display()))
        };
        let text = fs::read_to_string(trust).map_err(Error::file("read", trust))?;
        let beside = trust.parent().unwrap_or(Path::new("."));
        let read = |name: &str| fs::read(beside.join(name));
        let policy = TrustPolicy::parse(&text, read).map_err(|cause| wrong(&cause))?;
        let options = Options { minimum_version: policy.minimum_protocol, peer: None };
        let judge = TrustJudge::new(policy).map_err(|cause| wrong(&cause))?;
        let log = directory.join("handovers.log");
        let log = FileLog::open(&log).map_err(Error::file("open", &log))?;
        Ok(Self { anchor, judge, entropy: OsEntropy, options, log })
    }

    /// Its chip.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    pub(super) fn local(&mut self) -> Local<'_> {
        Local { chip: &mut self.anchor, judge: &mut self.judge, entropy: &mut self.entropy }
    }

    /// Records how a handover ended. A log that cannot be written changes nothing of it.
    pub(super) fn record(&mut self, ending: &Ending, side: Side) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        if let Err(cause) = self.log.append(&AuditRecord::of(ending, side, now).to_line()) {
            warn!(%cause, "the log of handovers cannot be written");
        }
    }
}
