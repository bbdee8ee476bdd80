//! The record of each handover: one line of JSON, for a log that is only ever appended to.

use std::io;

use serde::Serialize;

use crate::ending::{Ending, Outcome};
use crate::judge::Side;

/// What a host records of a handover that ended on it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditRecord {
    /// Seconds since 1970, as the caller's clock has it.
    pub time: u64,
    /// The side that this host took: `source` or `destination`.
    pub side: String,
    /// Where the instance is: `stays-here`, `moved`, `committed`, `called-back`, `not-taken`,
    /// `waits`, `lives-here` or `unknown`.
    pub outcome: &'static str,
    /// The instance, if one was named.
    pub instance: Option<String>,
    /// The transfer, if one was named.
    pub transfer: Option<String>,
    /// The other host, if it was proven to be it.
    pub peer: Option<String>,
    /// Why it ended early.
    pub error: Option<String>,
    /// What the operator can do next.
    pub advice: String,
}

impl AuditRecord {
    /// The record of an ending.
    #[must_use]
    pub fn of(ending: &Ending, side: Side, time: u64) -> Self {
        Self {
            time,
            side: side.to_string(),
            outcome: name(ending.outcome),
            instance: ending.instance.map(|id| id.to_string()),
            transfer: ending.transfer.map(|id| id.to_string()),
            peer: ending.peer.map(|host| host.to_string()),
            error: ending.error.as_ref().map(ToString::to_string),
            advice: ending.advice(),
        }
    }

    /// One line of JSON, its end included.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Strings and a number always serialize.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::StaysHere => "stays-here",
        Outcome::Moved => "moved",
        Outcome::Committed => "committed",
        Outcome::CalledBack => "called-back",
        Outcome::NotTaken => "not-taken",
        Outcome::Waits => "waits",
        Outcome::LivesHere => "lives-here",
        Outcome::Unknown => "unknown",
    }
}

/// A log that is only ever appended to.
pub trait AuditLog {
    /// Appends a line, durably.
    ///
    /// # Errors
    /// As the system says.
    fn append(&mut self, line: &str) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::id::{HostId, InstanceId, TransferId};

    #[test]
    fn a_record_is_one_line_whatever_a_peer_said() {
        let text = "evil\n{\"outcome\":\"moved\"}".into();
        let ending = Ending {
            outcome: Outcome::StaysHere,
            instance: Some(InstanceId([1; 16])),
            transfer: Some(TransferId([2; 16])),
            peer: Some(HostId([3; 32])),
            error: Some(Error::Cancelled(text)),
        };
        let line = AuditRecord::of(&ending, Side::Source, 1_700_000_000).to_line();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.starts_with(r#"{"time":1700000000,"side":"source","outcome":"stays-here","#));
        assert!(line.contains(r#""instance":"01010101-0101-0101-0101-010101010101""#), "{line}");
    }
}
