//! One record: a header in the clear and an encrypted payload, together the content of a slot.
//!
//! The layout is in the crate's documentation, byte by byte.

use zeroize::Zeroizing;

use crate::audit::AuditLog;
use crate::bytes::Reader;
use crate::cipher::{self, NONCE, TAG};
use crate::error::{Error, Result, SlotFault};
use crate::id::{InstanceId, TransferId};
use crate::key::{Key, SEALED_KEY_MAX, Seal};
use crate::role::Role;

pub(crate) const MAGIC: &[u8; 8] = b"VTPMSLOT";
pub(crate) const VERSION: u16 = 1;
const MINIMUM_VERSION: u16 = 1;

/// Slots are whole pages, so that no sector belongs to two of them.
pub(crate) const SLOT_UNIT: u32 = 4096;
/// The longest header that any version may have.
pub(crate) const HEADER_MAX: usize = 64 * 1024;
/// The longest note beside the state.
pub const NOTE_MAX: usize = 16 * 1024;
/// A key is replaced before it has sealed this many records.
pub(crate) const RECORDS_MAX: u64 = u32::MAX as u64;

/// Magic, versions and header length: where they are is the same in every version.
pub(crate) const PROLOGUE: usize = 16;
const FIXED: usize = 112;
const DIGESTS: usize = 64;

/// What the header of a record says, apart from what belongs to its encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) slot_size: u32,
    pub(crate) slot: u8,
    pub(crate) generation: u64,
    pub(crate) instance: InstanceId,
    pub(crate) role: Role,
    /// The first generation under this seal, if it replaced another one in the same file.
    pub(crate) sealed_since: u64,
    /// Records under this key, this one included.
    pub(crate) records: u64,
    pub(crate) seal: Seal,
    pub(crate) audit: AuditLog,
}

/// What a record protects.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) note: Zeroizing<Vec<u8>>,
    pub(crate) state: Zeroizing<Vec<u8>>,
}

/// A record ready to be written.
pub(crate) struct Sealed {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) digest: [u8; 32],
}

impl Header {
    /// The header of the next record: the other slot, the next generation.
    pub(crate) fn successor(&self) -> Result<Self> {
        let generation = self.generation.checked_add(1).ok_or(Error::Exhausted {
            what: "the count of generations",
            remedy: "create the instance anew",
        })?;
        let slot = u8::from(self.slot == 0);
        Ok(Self { generation, slot, records: self.records.saturating_add(1), ..self.clone() })
    }

    fn header_length(&self) -> usize {
        (FIXED + DIGESTS)
            .saturating_add(self.seal.kind.len())
            .saturating_add(self.seal.sealed.len())
            .saturating_add(self.audit.encoded_len())
    }

    /// The length of the whole record with this note and state.
    pub(crate) fn record_length(&self, note: &[u8], state: &[u8]) -> usize {
        self.header_length().saturating_add(payload_length(note, state))
    }

    /// Encrypts `note` and `state` under `key` with this header bound to them.
    pub(crate) fn seal(&self, key: &Key, note: &[u8], state: &[u8]) -> Result<Sealed> {
        if self.records > RECORDS_MAX {
            return Err(Error::Exhausted {
                what: "the data key",
                remedy: "put a new one in its place (rekey)",
            });
        }
        let (length, payload) = (self.header_length(), payload_length(note, state));
        let mut nonce = [0; NONCE];
        let (random, counter) = nonce.split_at_mut(8);
        getrandom::fill(random)?;
        // Not truncated: records are at most 2^32 - 1 under a key.
        counter.copy_from_slice(&u32::try_from(self.records).unwrap_or(u32::MAX).to_le_bytes());

        let mut bytes = Zeroizing::new(Vec::with_capacity(length.saturating_add(payload)));
        self.encode_bound(&nonce, length, payload, &mut bytes)?;
        bytes.extend_from_slice(&[0; DIGESTS]);
        bytes.extend_from_slice(&wire_length(note.len())?);
        bytes.extend_from_slice(note);
        bytes.extend_from_slice(state);
        let digest = {
            let bound = length.saturating_sub(DIGESTS);
            let (bound, rest) = bytes.split_at_mut_checked(bound).ok_or(INTERNAL)?;
            let (digests, body) = rest.split_at_mut_checked(DIGESTS).ok_or(INTERNAL)?;
            let (payload_digest, header_digest) = digests.split_at_mut(32);
            let tag = cipher::encrypt(key, &nonce, bound, body)?;
            payload_digest.copy_from_slice(&cipher::digest(&[body, &tag]));
            let digest = cipher::digest(&[bound, payload_digest]);
            header_digest.copy_from_slice(&digest);
            bytes.extend_from_slice(&tag);
            digest
        };
        Ok(Sealed { bytes, digest })
    }

    /// All of the header that is bound to the payload as associated data.
    fn encode_bound(
        &self,
        nonce: &[u8; NONCE],
        length: usize,
        payload: usize,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        let Self {
            slot_size,
            slot,
            generation,
            instance,
            role,
            sealed_since,
            records,
            seal: Seal { kind, sealed },
            audit,
        } = self;
        into.extend_from_slice(MAGIC);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&MINIMUM_VERSION.to_le_bytes());
        into.extend_from_slice(&wire_length(length)?);
        into.extend_from_slice(&slot_size.to_le_bytes());
        into.extend_from_slice(&[*slot, role.code(), 0, 0]);
        into.extend_from_slice(&generation.to_le_bytes());
        into.extend_from_slice(&instance.0);
        into.extend_from_slice(&role.epoch().to_le_bytes());
        into.extend_from_slice(&role.transfer().map_or([0; 16], |transfer| transfer.0));
        into.extend_from_slice(&sealed_since.to_le_bytes());
        into.extend_from_slice(&records.to_le_bytes());
        into.extend_from_slice(nonce);
        into.extend_from_slice(&wire_length(payload)?);
        into.extend_from_slice(&u16::try_from(kind.len()).map_err(|_| INTERNAL)?.to_le_bytes());
        into.extend_from_slice(&audit.count().to_le_bytes());
        into.extend_from_slice(&wire_length(sealed.len())?);
        into.extend_from_slice(kind.as_bytes());
        into.extend_from_slice(sealed);
        audit.encode(into);
        Ok(())
    }
}

/// Lengths that come from our own buffers always fit; this answers for what cannot happen.
const INTERNAL: Error = Error::Invalid { what: "a length does not fit the format" };

fn wire_length(length: usize) -> Result<[u8; 4]> {
    u32::try_from(length).map(u32::to_le_bytes).map_err(|_| INTERNAL)
}

fn payload_length(note: &[u8], state: &[u8]) -> usize {
    note.len().saturating_add(state.len()).saturating_add(4 + TAG)
}

/// Why a header was not taken.
pub(crate) enum HeaderFault {
    Slot(SlotFault),
    Newer { version: u16, minimum: u16 },
}

impl From<SlotFault> for HeaderFault {
    fn from(fault: SlotFault) -> Self {
        Self::Slot(fault)
    }
}

/// A header as found: whole by its checksum, authentic only once its payload was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) payload_length: usize,
    pub(crate) digest: [u8; 32],
    nonce: [u8; NONCE],
    bound: Vec<u8>,
    payload_digest: [u8; 32],
}

impl Found {
    /// The length of the header that begins with `prologue`.
    pub(crate) fn header_length(prologue: &[u8; PROLOGUE]) -> Result<usize, SlotFault> {
        let mut reader = Reader::new(prologue);
        if reader.array() != Some(*MAGIC) {
            return Err(SlotFault::NotARecord);
        }
        reader
            .u32()
            .and_then(|_versions| reader.length())
            .filter(|length| (PROLOGUE + 32..=HEADER_MAX).contains(length))
            .ok_or(SlotFault::Header)
    }

    /// Takes a whole header apart.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let (covered, digest) = bytes.split_last_chunk::<32>().ok_or(SlotFault::Header)?;
        if cipher::digest(&[covered]) != *digest {
            return Err(SlotFault::Header.into());
        }
        let mut reader = Reader::new(covered);
        let _magic = reader.array::<8>();
        let (version, minimum) =
            reader.u16().zip(reader.u16()).ok_or(HeaderFault::Slot(SlotFault::Header))?;
        if minimum > VERSION {
            return Err(HeaderFault::Newer { version, minimum });
        }
        let (bound, payload_digest) = covered.split_last_chunk::<32>().ok_or(SlotFault::Header)?;
        Self::decode_bound(bound, *payload_digest, *digest).ok_or(SlotFault::Header.into())
    }

    fn decode_bound(bound: &[u8], payload_digest: [u8; 32], digest: [u8; 32]) -> Option<Self> {
        let mut reader = Reader::new(bound);
        let _prologue = reader.array::<PROLOGUE>()?;
        let slot_size = reader.u32()?;
        let (slot, role) = (reader.u8()?, reader.u8()?);
        let _reserved = reader.u16()?;
        let generation = reader.u64()?;
        let instance = InstanceId(reader.array()?);
        let epoch = reader.u64()?;
        let role = Role::from_code(role, TransferId(reader.array()?), epoch)?;
        let sealed_since = reader.u64()?;
        let records = reader.u64()?;
        let nonce = reader.array()?;
        let payload_length = reader.length()?;
        let kind_length = usize::from(reader.u16()?);
        let audit_count = reader.u16()?;
        let sealed_length = reader.length()?;
        let kind = reader.take(kind_length).filter(|kind| Seal::is_kind(kind))?;
        let kind = str::from_utf8(kind).ok()?.to_owned();
        if sealed_length > SEALED_KEY_MAX {
            return None;
        }
        let sealed = reader.take(sealed_length)?.to_vec();
        let audit = AuditLog::decode(&mut reader, audit_count)?;
        // A newer version that lets this one in may have more here; it is bound all the same.
        let header = Header {
            slot_size,
            slot,
            generation,
            instance,
            role,
            sealed_since,
            records,
            seal: Seal { kind, sealed },
            audit,
        };
        let bound = bound.to_vec();
        Some(Self { header, payload_length, digest, nonce, bound, payload_digest })
    }

    /// Where the payload begins in the slot.
    pub(crate) fn payload_offset(&self) -> usize {
        self.bound.len().saturating_add(DIGESTS)
    }

    /// Whether `payload` is what was written with this header, by its checksum.
    pub(crate) fn is_whole(&self, payload: &[u8]) -> bool {
        cipher::digest(&[payload]) == self.payload_digest
    }

    /// Decrypts the payload; `None` if it or the header is not authentic under `key`.
    pub(crate) fn open(&self, key: &Key, payload: Vec<u8>) -> Option<Contents> {
        let mut body = Zeroizing::new(payload);
        let tag = *body.last_chunk::<TAG>()?;
        let length = body.len().checked_sub(TAG)?;
        body.truncate(length);
        cipher::decrypt(key, &self.nonce, &self.bound, &mut body, &tag).ok()?;
        let mut reader = Reader::new(&body);
        let note = reader.length()?;
        let note = Zeroizing::new(reader.take(note)?.to_vec());
        let state = Zeroizing::new(reader.rest().to_vec());
        Some(Contents { note, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            slot_size: SLOT_UNIT,
            slot: 1,
            generation: 7,
            instance: InstanceId([2; 16]),
            role: Role::Outgoing { transfer: TransferId([3; 16]), epoch: 5 },
            sealed_since: 6,
            records: 2,
            seal: Seal { kind: "test".into(), sealed: vec![4; 40] },
            audit: AuditLog::default(),
        }
    }

    fn split(record: &[u8]) -> (Found, Vec<u8>) {
        let length = Found::header_length(record.first_chunk().unwrap()).unwrap();
        let (header, payload) = record.split_at(length);
        let Ok(found) = Found::decode(header) else { panic!("a whole header") };
        (found, payload.to_vec())
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let key = Key::generate().unwrap();
        let record = header().seal(&key, b"note", b"state").unwrap();
        assert_eq!(record.bytes.len(), header().record_length(b"note", b"state"));
        let (found, payload) = split(&record.bytes);
        assert_eq!(found.header, header());
        assert_eq!(found.digest, record.digest);
        assert_eq!(payload.len(), found.payload_length);
        assert!(found.is_whole(&payload));
        let contents = found.open(&key, payload).unwrap();
        assert_eq!((&contents.note[..], &contents.state[..]), (&b"note"[..], &b"state"[..]));
    }

    #[test]
    fn every_byte_of_the_header_is_bound_even_when_its_checksum_is_made_anew() {
        let key = Key::generate().unwrap();
        let record = header().seal(&key, b"", b"state").unwrap();
        let length = header().header_length();
        for at in 16..length - DIGESTS {
            let mut forged = record.bytes.clone();
            forged[at] ^= 1;
            let digest = cipher::digest(&[&forged[..length - 32]]);
            forged[length - 32..length].copy_from_slice(&digest);
            if let Ok(found) = Found::decode(&forged[..length]) {
                assert!(found.open(&key, forged[length..].to_vec()).is_none(), "byte {at}");
            }
        }
    }

    #[test]
    fn two_records_of_one_generation_never_share_a_nonce() {
        let key = Key::generate().unwrap();
        let mut nonces = std::collections::HashSet::new();
        for _ in 0..1000 {
            let (found, _) = split(&header().seal(&key, b"", b"").unwrap().bytes);
            assert_eq!(found.nonce[8..], 2_u32.to_le_bytes());
            assert!(nonces.insert(found.nonce));
        }
    }

    #[test]
    fn a_key_stops_before_its_counter_wraps() {
        let key = Key::generate().unwrap();
        let last = Header { records: RECORDS_MAX, ..header() };
        assert!(last.seal(&key, b"", b"").is_ok());
        let over = last.successor().unwrap();
        assert!(matches!(over.seal(&key, b"", b""), Err(Error::Exhausted { .. })));
    }

    #[test]
    fn the_last_generation_has_no_successor() {
        let last = Header { generation: u64::MAX, ..header() };
        assert!(matches!(last.successor(), Err(Error::Exhausted { .. })));
    }

    #[test]
    fn a_newer_record_is_taken_if_it_lets_this_version_in() {
        let key = Key::generate().unwrap();
        let record = header().seal(&key, b"", b"").unwrap();
        let length = header().header_length();
        let with_versions = |version: u16, minimum: u16| {
            let mut bytes = record.bytes[..length].to_vec();
            bytes[8..10].copy_from_slice(&version.to_le_bytes());
            bytes[10..12].copy_from_slice(&minimum.to_le_bytes());
            let digest = cipher::digest(&[&bytes[..length - 32]]);
            bytes[length - 32..].copy_from_slice(&digest);
            Found::decode(&bytes)
        };
        assert!(with_versions(2, 1).is_ok());
        let newer = with_versions(3, 2);
        assert!(matches!(newer, Err(HeaderFault::Newer { version: 3, minimum: 2 })));
    }
}
