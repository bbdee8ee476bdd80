//! The codec of saved state: big-endian fields inside versioned records.
//!
//! ```text
//!   record  = tag (4 characters) | version (2) | minimum (2) | length (4) | fields
//!   sized   = length (4) | bytes
//!   list    = count (4) | elements
//!   option  = 0 (1)  or  1 (1) | value
//! ```
//!
//! A later release appends fields to a record and raises `version`; it raises `minimum` only when
//! an older reader would go wrong without the new fields. So a reader of version `r`
//! - refuses a record with `minimum > r` ([`Error::Newer`]),
//! - skips what follows the fields it knows if `version > r`,
//! - and fills in what a record with `version < r` lacks.
//!
//! No runtime type is written by derivation: what stands in a record is written out field by field
//! where the type is saved, so that changing a type never changes a format unseen.

use zeroize::Zeroizing;

use crate::Error;
use crate::profile::Algorithms;
use crate::wire::{self, Marshal, Unmarshal};

/// The kind of a record: its tag, and the newest version that this release writes and reads.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Kind {
    /// Four characters.
    pub(crate) tag: &'static str,
    /// What is written, and the newest that is understood completely.
    pub(crate) version: u16,
    /// The oldest reader that may read what is written.
    pub(crate) minimum: u16,
}

impl Kind {
    /// A kind in its first version.
    pub(crate) const fn first(tag: &'static str) -> Self {
        Self { tag, version: 1, minimum: 1 }
    }
}

/// No structure of the specification that is saved takes more bytes.
const MAX_STRUCTURE: usize = 4096;

/// Writes records into memory that is wiped, the copies that growing leaves behind included.
#[derive(Default)]
pub(crate) struct Writer {
    out: Zeroizing<Vec<u8>>,
}

impl Writer {
    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.out
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> &[u8] {
        &self.out
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// A number, a flag or another structure of the specification.
    pub(crate) fn put(&mut self, value: impl Marshal) {
        self.make_room(MAX_STRUCTURE);
        value.marshal(&mut self.out);
    }

    /// Grows without leaving a copy behind that is not wiped.
    fn make_room(&mut self, size: usize) {
        let needed = self.out.len().saturating_add(size);
        if needed > self.out.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
            grown.extend_from_slice(&self.out);
            self.out = grown;
        }
    }

    /// Bytes with their length in front.
    pub(crate) fn sized(&mut self, bytes: &[u8]) {
        self.put(length(bytes.len()));
        self.raw(bytes);
    }

    /// Something that may be absent.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.put(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Several of a kind.
    pub(crate) fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.put(length(values.len()));
        values.iter().for_each(|value| write(self, value));
    }

    /// A record.
    pub(crate) fn record(&mut self, kind: Kind, write: impl FnOnce(&mut Self)) {
        self.raw(kind.tag.as_bytes());
        self.put(kind.version);
        self.put(kind.minimum);
        let at = self.out.len();
        self.put(0u32);
        let start = self.out.len();
        write(self);
        let size = length(self.out.len().saturating_sub(start)).to_be_bytes();
        if let Some(field) = self.out.get_mut(at..start) {
            field.copy_from_slice(&size);
        }
    }
}

/// Nothing that is saved comes near four gigabytes; a length that did would be refused by the
/// reader.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Reads records. Nothing that it is given can make it panic or allocate more than it was given.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    algorithms: Algorithms,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`, of the state of a TPM that has these algorithms.
    pub(crate) const fn new(bytes: &'a [u8], algorithms: Algorithms) -> Self {
        Self { bytes, algorithms }
    }

    /// Goes on with the algorithms that the state itself turned out to have.
    pub(crate) fn set_algorithms(&mut self, algorithms: Algorithms) {
        self.algorithms = algorithms;
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(Error::Truncated)?;
        self.bytes = tail;
        Ok(head)
    }

    /// A secret of fixed size.
    pub(crate) fn secret<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, Error> {
        let mut secret = Zeroizing::new([0; N]);
        secret.copy_from_slice(self.take(N)?);
        Ok(secret)
    }

    /// A number, a flag or another structure of the specification; `what` names it in the error.
    pub(crate) fn get<T: Unmarshal>(&mut self, what: &'static str) -> Result<T, Error> {
        let mut reader = wire::Reader::new(self.bytes, &self.algorithms);
        let value = reader.get::<T>().map_err(|rc| match rc {
            wire::Rc::INSUFFICIENT => Error::Truncated,
            _ => Error::Damaged(what),
        })?;
        let used = self.bytes.len().saturating_sub(reader.rest().len());
        self.take(used)?;
        Ok(value)
    }

    /// Bytes with their length in front, at most `max` of them.
    pub(crate) fn sized(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let size = self.get::<u32>(what)? as usize;
        if size > max { Err(Error::Damaged(what)) } else { self.take(size) }
    }

    /// Something that may be absent.
    pub(crate) fn option<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.get::<bool>(what)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Several of a kind, at most `max`.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        what: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let count = self.get::<u32>(what)? as usize;
        if count > max {
            return Err(Error::Damaged(what));
        }
        // No capacity in advance: the count is not to be believed before the elements are there.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// A record of this kind; `read` also gets the version.
    pub(crate) fn record<T>(
        &mut self,
        kind: Kind,
        read: impl FnOnce(&mut Reader<'a>, u16) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.take(4)? != kind.tag.as_bytes() {
            return Err(Error::Damaged(kind.tag));
        }
        let version = self.get::<u16>(kind.tag)?;
        let minimum = self.get::<u16>(kind.tag)?;
        let size = self.get::<u32>(kind.tag)? as usize;
        if version == 0 || minimum > version {
            return Err(Error::Damaged(kind.tag));
        }
        if minimum > kind.version {
            let (record, supported) = (kind.tag, kind.version);
            return Err(Error::Newer { record, minimum, supported });
        }
        let mut fields = Reader::new(self.take(size)?, self.algorithms);
        let value = read(&mut fields, version)?;
        if version <= kind.version && !fields.is_empty() {
            return Err(Error::Damaged(kind.tag));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::first("TEST");

    fn record(kind: Kind, fields: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.record(kind, |writer| writer.raw(fields));
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<u32, Error> {
        Reader::new(bytes, Algorithms::default()).record(KIND, |reader, _| reader.get("number"))
    }

    #[test]
    fn what_a_later_version_appends_is_skipped() {
        let later = Kind { version: 2, ..KIND };
        assert_eq!(read(&record(later, &[0, 0, 0, 7, 8, 9])), Ok(7));
        assert_eq!(read(&record(KIND, &[0, 0, 0, 7, 8, 9])), Err(Error::Damaged("TEST")));
    }

    #[test]
    fn a_record_for_later_readers_only_is_refused() {
        let later = Kind { version: 3, minimum: 2, ..KIND };
        let expected = Error::Newer { record: "TEST", minimum: 2, supported: 1 };
        assert_eq!(read(&record(later, &[0, 0, 0, 7])), Err(expected));
    }

    #[test]
    fn a_record_that_ends_early_is_truncated() {
        let whole = record(KIND, &[0, 0, 0, 7]);
        for size in 0..whole.len() {
            assert_eq!(read(&whole[..size]), Err(Error::Truncated), "{size}");
        }
        assert_eq!(read(&record(KIND, &[0, 0, 7])), Err(Error::Truncated));
    }

    #[test]
    fn a_count_beyond_its_bound_is_refused_before_anything_is_read() {
        let mut reader = Reader::new(&[0xff; 4], Algorithms::default());
        let list = reader.list(10, "list", |reader| reader.get::<u8>("element"));
        assert_eq!(list, Err(Error::Damaged("list")));
    }

    #[test]
    fn growing_keeps_what_was_written() {
        let mut writer = Writer::new();
        (0..5000u32).for_each(|number| writer.put(number));
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, Algorithms::default());
        (0..5000u32).for_each(|number| assert_eq!(reader.get("number"), Ok(number)));
        assert!(reader.is_empty());
    }
}
