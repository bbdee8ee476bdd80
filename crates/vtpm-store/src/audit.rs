//! What an operator did to an instance against its protections, kept in its file.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::bytes::Reader;
use crate::error::{Error, Result};

/// The longest reason, in bytes of UTF-8.
pub const REASON_MAX: usize = 128;

/// How many audit entries a file keeps; the oldest goes first, and its absence shows in the
/// sequence numbers.
pub const ENTRIES_MAX: usize = 16;

/// One audit entry. Authenticated with the record that it lies in; not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// What was done.
    pub event: AuditEvent,
    /// The number of the entry over the life of the file, from 1.
    pub sequence: u32,
    /// When, in seconds since 1970, by the clock of the host.
    pub unix_seconds: u64,
    /// The generation that was accepted.
    pub generation: u64,
    /// The generation that the host remembered then; 0 if none.
    pub remembered: u64,
    /// The operator's words.
    pub reason: String,
}

/// What an audit entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditEvent {
    /// An older file than the host remembered was opened on purpose.
    RollbackAccepted,
    /// The instance was restored from a backup.
    Imported,
    /// Something that a newer release knows; the number in the file.
    Other(u8),
}

/// An operator's explicit acceptance of state that is older than the host remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    reason: String,
    at: SystemTime,
}

impl Override {
    /// Accepts the loss, for `reason` (1 to [`REASON_MAX`] bytes), at the time `at`. Both are
    /// recorded in the file.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the reason is empty or too long.
    pub fn because(reason: impl Into<String>, at: SystemTime) -> Result<Self> {
        let reason = reason.into();
        if reason.is_empty() || reason.len() > REASON_MAX {
            return Err(Error::Invalid { what: "an override needs a reason of 1 to 128 bytes" });
        }
        Ok(Self { reason, at })
    }
}

/// The entries of a file, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditLog(Vec<AuditEntry>);

impl AuditLog {
    pub(crate) fn entries(&self) -> &[AuditEntry] {
        &self.0
    }

    pub(crate) fn add(&mut self, event: AuditEvent, by: &Override, generation: u64, known: u64) {
        let sequence = self.0.last().map_or(0, |entry| entry.sequence).saturating_add(1);
        if self.0.len() >= ENTRIES_MAX {
            self.0.remove(0);
        }
        self.0.push(AuditEntry {
            event,
            sequence,
            unix_seconds: by.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            generation,
            remembered: known,
            reason: by.reason.clone(),
        });
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.0
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.reason.len()).saturating_add(32))
    }

    /// The number of entries; at most [`ENTRIES_MAX`].
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        for entry in &self.0 {
            let AuditEntry { event, sequence, unix_seconds, generation, remembered, reason } =
                entry;
            let length = u16::try_from(reason.len()).unwrap_or(u16::MAX);
            into.extend_from_slice(&[event.code(), 0]);
            into.extend_from_slice(&length.to_le_bytes());
            into.extend_from_slice(&sequence.to_le_bytes());
            into.extend_from_slice(&unix_seconds.to_le_bytes());
            into.extend_from_slice(&generation.to_le_bytes());
            into.extend_from_slice(&remembered.to_le_bytes());
            into.extend_from_slice(reason.as_bytes());
        }
    }

    /// Reads `count` entries; `None` if they do not fit the format.
    pub(crate) fn decode(from: &mut Reader<'_>, count: u16) -> Option<Self> {
        if usize::from(count) > ENTRIES_MAX {
            return None;
        }
        let mut entries = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let event = AuditEvent::from_code(from.u8()?);
            let _reserved = from.u8()?;
            let length = usize::from(from.u16()?);
            if length > REASON_MAX {
                return None;
            }
            entries.push(AuditEntry {
                event,
                sequence: from.u32()?,
                unix_seconds: from.u64()?,
                generation: from.u64()?,
                remembered: from.u64()?,
                reason: String::from_utf8(from.take(length)?.to_vec()).ok()?,
            });
        }
        Some(Self(entries))
    }
}

impl AuditEvent {
    fn code(self) -> u8 {
        match self {
            Self::RollbackAccepted => 1,
            Self::Imported => 2,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::RollbackAccepted,
            2 => Self::Imported,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_log_drops_the_oldest_and_its_numbers_show_it() {
        let by = Override::because("test", UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        let mut log = AuditLog::default();
        for generation in 0..20 {
            log.add(AuditEvent::RollbackAccepted, &by, generation, generation + 1);
        }
        assert_eq!(log.entries().len(), ENTRIES_MAX);
        assert_eq!(log.entries()[0].sequence, 5);
        let mut bytes = Vec::new();
        log.encode(&mut bytes);
        assert_eq!(bytes.len(), log.encoded_len());
        assert_eq!(AuditLog::decode(&mut Reader::new(&bytes), log.count()), Some(log));
    }

    #[test]
    fn a_reason_must_be_given_and_bounded() {
        assert!(Override::because("", UNIX_EPOCH).is_err());
        assert!(Override::because("x".repeat(REASON_MAX + 1), UNIX_EPOCH).is_err());
    }

    #[test]
    fn a_hostile_log_is_refused_at_every_cut() {
        let by = Override::because("why", UNIX_EPOCH).unwrap();
        let mut log = AuditLog::default();
        log.add(AuditEvent::Other(77), &by, 1, 2);
        let mut bytes = Vec::new();
        log.encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(AuditLog::decode(&mut Reader::new(&bytes[..cut]), 1), None);
        }
        assert_eq!(AuditLog::decode(&mut Reader::new(&bytes), 17), None);
    }
}
