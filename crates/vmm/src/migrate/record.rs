//! Records of the machine between the handover's messages: a kind, a length, a payload.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

use super::pages::BATCH_MAX;
use crate::error::{Error, Result};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Source: what the machine is. JSON.
    Description,
    /// Destination: whether it can be. JSON.
    Answer,
    /// Source: pages of its memory.
    Pages,
    /// Source: all else but the TPM. JSON.
    Machine,
    /// Destination, without a TPM: the machine is whole.
    Whole,
    /// Source, without a TPM: it is the destination's now.
    Yours,
    /// Source: it does not come after all.
    Stays,
}

const KINDS: [(Kind, u8, usize); 7] = [
    (Kind::Description, 1, 1 << 20),
    (Kind::Answer, 2, 1 << 16),
    (Kind::Pages, 3, BATCH_MAX),
    (Kind::Machine, 4, 64 << 20),
    (Kind::Whole, 5, 0),
    (Kind::Yours, 6, 0),
    (Kind::Stays, 7, 0),
];

pub(super) fn send(link: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<()> {
    let number =
        KINDS.iter().find(|(known, ..)| *known == kind).map_or(0, |(_, number, _)| *number);
    let length =
        u32::try_from(payload.len()).map_err(|_| lost(io::ErrorKind::InvalidInput.into()))?;
    let [a, b, c, d] = length.to_le_bytes();
    link.write_all(&[number, a, b, c, d]).map_err(lost)?;
    link.write_all(payload).map_err(lost)?;
    // Pages follow each other; everything else is waited for.
    if kind == Kind::Pages { Ok(()) } else { link.flush().map_err(lost) }
}

/// Waits for a record; its payload is in `payload` then. No more is read than its kind allows.
pub(super) fn receive(link: &mut impl Read, payload: &mut Vec<u8>) -> Result<Kind> {
    let mut header = [0; 5];
    link.read_exact(&mut header).map_err(lost)?;
    let [number, length @ ..] = header;
    let length = u32::from_le_bytes(length) as usize;
    let known = KINDS.iter().find(|(_, known, limit)| *known == number && length <= *limit);
    let (kind, ..) = known.ok_or_else(|| {
        Error::Migration(format!("record {number} of {length} bytes is not of this release"))
    })?;
    payload.clear();
    let read = link.take(length as u64).read_to_end(payload).map_err(lost)?;
    if read == length { Ok(*kind) } else { Err(lost(io::ErrorKind::UnexpectedEof.into())) }
}

/// Waits for a record of the kind `wanted`.
pub(super) fn expect(link: &mut impl Read, wanted: Kind) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    match receive(link, &mut payload)? {
        kind if kind == wanted => Ok(payload),
        Kind::Stays => Err(Error::Migration("the source has given up; its log says why".into())),
        other => Err(Error::Migration(format!("{other:?} came where {wanted:?} was due"))),
    }
}

pub(super) fn send_json(link: &mut impl Write, kind: Kind, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)
        .map_err(|cause| Error::Migration(format!("{kind:?} cannot be written: {cause}")))?;
    send(link, kind, &text)
}

pub(super) fn parse<T: DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|cause| {
        Error::Migration(format!("{kind:?} of the other host is not of this release: {cause}"))
    })
}

fn lost(cause: io::Error) -> Error {
    Error::Migration(format!(
        "the connection to the other host is lost: {cause}; look at the other host's log"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_and_none_when_cut() {
        let mut bytes = Vec::new();
        send(&mut bytes, Kind::Answer, b"{}").unwrap();
        send(&mut bytes, Kind::Whole, b"").unwrap();
        let mut reader = bytes.as_slice();
        let mut payload = Vec::new();
        assert_eq!(receive(&mut reader, &mut payload).unwrap(), Kind::Answer);
        assert_eq!(payload, b"{}");
        assert_eq!(receive(&mut reader, &mut payload).unwrap(), Kind::Whole);
        for cut in 0..7 {
            assert!(receive(&mut &bytes[..cut], &mut payload).is_err(), "{cut}");
        }
    }

    #[test]
    fn records_that_are_too_long_or_unknown_are_refused_before_they_are_read() {
        let mut payload = Vec::new();
        for header in [[5, 1, 0, 0, 0], [0, 0, 0, 0, 0], [9, 0, 0, 0, 0], [3, 255, 255, 255, 255]] {
            assert!(receive(&mut header.as_slice(), &mut payload).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_source_that_gives_up_is_told_from_one_that_is_out_of_order() {
        let said = |kind| {
            let mut bytes = Vec::new();
            send(&mut bytes, kind, b"").unwrap();
            expect(&mut bytes.as_slice(), Kind::Machine).unwrap_err().to_string()
        };
        assert!(said(Kind::Stays).contains("given up"));
        assert!(said(Kind::Whole).contains("was due"));
    }
}
