//! What the protocol notes in a journal, to go on after a crash.
//!
//! ```text
//! offset  length  field (integers big-endian)
//!      0       4  magic "VTHN"
//!      4       2  version, 1
//!      6       2  minimum version: the oldest reader that may act by it, 1
//!      8       1  kind: 1 outgoing, 2 tombstone, 3 prepared
//!      9       1  reserved, zero
//!     10       2  length of what follows
//!     12      32  the other host
//!     44      16  the order that this fills; zeros if none
//!     60      32  outgoing: zeros; tombstone: the commit token; prepared: the token's digest
//! ```

use zeroize::Zeroizing;

use crate::id::{HostId, RequestId};
use crate::wire::{Malformed, Reader, Writer};

const MAGIC: [u8; 4] = *b"VTHN";
const NOTE_VERSION: u16 = 1;
const LENGTH: u16 = 32 + 16 + 32;

/// Which journal record a note is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteKind {
    Outgoing = 1,
    Tombstone = 2,
    Prepared = 3,
}

/// A note. The token is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: NoteKind,
    pub(crate) other: HostId,
    pub(crate) request: RequestId,
    pub(crate) token: Zeroizing<[u8; 32]>,
}

impl Note {
    pub(crate) fn new(kind: NoteKind, other: HostId, request: RequestId, token: [u8; 32]) -> Self {
        Self { kind, other, request, token: Zeroizing::new(token) }
    }

    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::default();
        out.bytes(&MAGIC);
        out.u16(NOTE_VERSION);
        out.u16(NOTE_VERSION);
        out.u8(self.kind as u8);
        out.u8(0);
        out.u16(LENGTH);
        out.bytes(&self.other.0);
        out.bytes(&self.request.0);
        out.bytes(self.token.as_slice());
        Zeroizing::new(out.into_bytes())
    }

    /// A note of a later version is read if its writer said that this reader may.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        if from.array::<4>()? != MAGIC {
            return Err(Malformed::Value("the magic"));
        }
        let (version, minimum) = (from.u16()?, from.u16()?);
        if version < NOTE_VERSION || minimum > NOTE_VERSION {
            return Err(Malformed::Value("the version"));
        }
        let kind = match (from.u8()?, from.u8()?) {
            (1, 0) => NoteKind::Outgoing,
            (2, 0) => NoteKind::Tombstone,
            (3, 0) => NoteKind::Prepared,
            _ => return Err(Malformed::Value("the kind")),
        };
        if from.u16()? < LENGTH {
            return Err(Malformed::Truncated);
        }
        let (other, request) = (HostId(from.array()?), RequestId(from.array()?));
        let note = Self { kind, other, request, token: Zeroizing::new(from.array()?) };
        if version == NOTE_VERSION {
            from.finish()?;
        }
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_no_truncation_of_it_does() {
        for kind in [NoteKind::Outgoing, NoteKind::Tombstone, NoteKind::Prepared] {
            let note = Note::new(kind, HostId([1; 32]), RequestId([2; 16]), [3; 32]);
            let bytes = note.write();
            assert!(Note::read(&bytes) == Ok(note));
            for length in 0..bytes.len() {
                assert!(Note::read(&bytes[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn a_note_that_only_later_releases_may_act_by_is_refused() {
        let note = Note::new(NoteKind::Tombstone, HostId([1; 32]), RequestId::NONE, [3; 32]);
        let mut bytes = note.write();
        bytes[5] = 2;
        bytes.extend_from_slice(b"what version 2 adds");
        assert!(Note::read(&bytes) == Ok(note));
        bytes[7] = 2;
        assert!(Note::read(&bytes).is_err());
    }
}
