//! The form of saved state: a header, then fields in a fixed order, little-endian.
//!
//! ```text
//!  0        4          6              8         12
//!  | magic  | version  | min version  | length  | payload: length bytes |
//! ```
//!
//! `version` is what wrote the record. `min version` is the oldest version whose reader
//! understands it: a later release may append fields that an older reader can do without, and then
//! raises only `version`. A reader refuses a record whose `min version` it does not know, and
//! skips fields that it does not know.

use crate::SnapshotError;

/// Identity of a kind of record.
pub(crate) struct Kind {
    pub(crate) magic: [u8; 4],
    /// For messages.
    pub(crate) name: &'static str,
    /// Version that this release writes.
    pub(crate) version: u16,
    /// Oldest reader that understands what this release writes.
    pub(crate) minimum: u16,
}

/// Writes one record.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length of 32 bits and the bytes. The models' buffers are far below that limit.
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self.0.extend(value.iter().take(length as usize));
    }

    pub(crate) fn finish(self, kind: &Kind) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.0.len().saturating_add(12));
        record.extend_from_slice(&kind.magic);
        record.extend_from_slice(&kind.version.to_le_bytes());
        record.extend_from_slice(&kind.minimum.to_le_bytes());
        record.extend_from_slice(&u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend_from_slice(&self.0);
        record
    }
}

/// Reads one record.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Written by a later release: unknown fields may follow the known ones.
    newer: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8], kind: &Kind) -> Result<Self, SnapshotError> {
        let mut header = Reader { rest: record, newer: false };
        let magic = header.array("the magic").map_err(|_| wrong(kind))?;
        if magic != kind.magic {
            return Err(wrong(kind));
        }
        let version = u16::from_le_bytes(header.array("the version")?);
        let minimum = u16::from_le_bytes(header.array("the minimum version")?);
        if minimum > kind.version {
            return Err(SnapshotError::Version { needed: minimum, supported: kind.version });
        }
        if version == 0 || minimum == 0 || minimum > version {
            return Err(SnapshotError::Header { version, minimum });
        }
        let length = header.u32("the length")? as usize;
        let (payload, trailing) =
            header.rest.split_at_checked(length).ok_or(SnapshotError::Truncated("the payload"))?;
        if !trailing.is_empty() {
            return Err(SnapshotError::Trailing(trailing.len()));
        }
        Ok(Self { rest: payload, newer: version > kind.version })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SnapshotError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(SnapshotError::Truncated(what))?;
        self.rest = rest;
        Ok(*value)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, SnapshotError> {
        self.array(what).map(|[value]| value)
    }

    pub(crate) fn bool(&mut self, what: &'static str) -> Result<bool, SnapshotError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SnapshotError::Invalid(what)),
        }
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, SnapshotError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A length and at most `limit` bytes.
    pub(crate) fn bytes(
        &mut self,
        limit: usize,
        what: &'static str,
    ) -> Result<&'a [u8], SnapshotError> {
        let length = self.u32(what)? as usize;
        if length > limit {
            return Err(SnapshotError::TooLarge { what, found: length, limit });
        }
        let (value, rest) =
            self.rest.split_at_checked(length).ok_or(SnapshotError::Truncated(what))?;
        self.rest = rest;
        Ok(value)
    }

    pub(crate) fn finish(self) -> Result<(), SnapshotError> {
        if self.rest.is_empty() || self.newer {
            Ok(())
        } else {
            Err(SnapshotError::Trailing(self.rest.len()))
        }
    }
}

fn wrong(kind: &Kind) -> SnapshotError {
    SnapshotError::Magic { expected: kind.name }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { magic: *b"TEST", name: "test", version: 2, minimum: 1 };

    fn record(version: u16, minimum: u16, payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new();
        payload.iter().for_each(|byte| writer.u8(*byte));
        writer.finish(&Kind { version, minimum, ..KIND })
    }

    fn read_one_byte(bytes: &[u8]) -> Result<u8, SnapshotError> {
        let mut reader = Reader::new(bytes, &KIND)?;
        let value = reader.u8("the byte")?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn fields_that_a_later_release_appended_are_skipped() {
        assert_eq!(read_one_byte(&record(3, 2, &[7, 8, 9])), Ok(7));
    }

    #[test]
    fn surplus_fields_of_a_known_version_are_damage() {
        assert_eq!(read_one_byte(&record(2, 1, &[7, 8])), Err(SnapshotError::Trailing(1)));
    }

    #[test]
    fn a_record_for_later_readers_only_is_refused_with_both_versions() {
        let expected = SnapshotError::Version { needed: 3, supported: 2 };
        assert_eq!(read_one_byte(&record(4, 3, &[7])), Err(expected));
    }

    #[test]
    fn every_way_to_cut_a_record_short_is_an_error() {
        let whole = record(2, 1, &[7]);
        for length in 0..whole.len() {
            assert!(read_one_byte(&whole[..length]).is_err(), "length {length}");
        }
        assert_eq!(read_one_byte(&[whole, vec![0]].concat()), Err(SnapshotError::Trailing(1)));
    }
}
