//! This host in a handover: its chip, its judgement of others, its random bytes.

use std::{fs, path::Path};

use tracing::warn;
use vtpm_anchor::{Access, Anchor, TrustJudge};
use vtpm_handover::{
    Ending, Local, Side,
    driver::{FileLog, Options, OsEntropy},
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
    /// Each handover leaves a line in the log of that directory.
    ///
    /// # Errors
    /// [`Error::Anchor`], [`Error::File`], [`Error::Migration`] if the policy is none.
    pub fn open(directory: &Path, trust: &Path) -> Result<Self> {
        let anchor = Anchor::open(directory, &Access::default())?;
        let text = fs::read_to_string(trust).map_err(Error::file("read", trust))?;
        let beside = trust.parent().unwrap_or(Path::new("."));
        let judge = TrustJudge::parse(&text, beside).map_err(|cause| {
            Error::Migration(format!("the trust policy {}: {cause}", trust.display()))
        })?;
        let options = Options { minimum_version: judge.minimum_protocol(), peer: None };
        let log = FileLog::of_host(directory).map_err(Error::host("log handovers"))?;
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
        if let Err(cause) = self.log.record(ending, side) {
            warn!(%cause, "the log of handovers cannot be written");
        }
    }
}
