//! Replaying a crypto-agile event log (TCG PC Client Platform Firmware Profile, clause 10).

use std::collections::BTreeMap;

use crate::tpm::HashAlg;

const EV_NO_ACTION: u32 = 0x0000_0003;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";
/// The most events that are looked at.
const EVENTS_MAX: usize = 100_000;
const EVENT_MAX: usize = 1 << 20;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Into which PCR.
    pub pcr: u32,
    /// The type of the event.
    pub kind: u32,
    /// Its digests by bank.
    pub digests: BTreeMap<HashAlg, Vec<u8>>,
    /// What it tells.
    pub data: Vec<u8>,
}

/// A log that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventLog {
    /// The measurements, in their order.
    pub events: Vec<Measured>,
    locality: u8,
}

/// Little-endian, unlike everything else of a TPM.
struct Little<'a>(&'a [u8]);

impl<'a> Little<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

impl EventLog {
    /// Reads a log; absent if it is none. Zeros after the last event are its unused end.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut from = Little(bytes);
        let sizes = read_header(&mut from)?;
        let mut log = Self::default();
        while from.0.iter().any(|byte| *byte != 0) {
            let pcr = from.u32()?;
            let kind = from.u32()?;
            let count = from.u32()?;
            if count as usize > sizes.len() || log.events.len() >= EVENTS_MAX {
                return None;
            }
            let mut digests = BTreeMap::new();
            for _ in 0..count {
                let alg = from.u16()?;
                let digest = from.take(usize::from(*sizes.get(&alg)?))?;
                if let Ok(alg) = HashAlg::from_id(alg) {
                    digests.insert(alg, digest.to_vec());
                }
            }
            let size = from.u32()? as usize;
            let data = from.take(Some(size).filter(|size| *size <= EVENT_MAX)?)?.to_vec();
            if kind == EV_NO_ACTION {
                if let Some([locality]) = data.strip_prefix(STARTUP_LOCALITY) {
                    log.locality = *locality;
                }
                continue;
            }
            log.events.push(Measured { pcr, kind, digests, data });
        }
        Some(log)
    }

    /// The value that a PCR should have, or nothing if nothing was measured into it.
    #[must_use]
    pub fn replay(&self, bank: HashAlg, pcr: u32) -> Option<Vec<u8>> {
        let mut events = self.events.iter().filter(|event| event.pcr == pcr).peekable();
        events.peek()?;
        let mut value = vec![0; bank.size()];
        if let (0, Some(last)) = (pcr, value.last_mut()) {
            *last = self.locality;
        }
        for event in events {
            let digest = event.digests.get(&bank)?;
            value = bank.digest(&[&value, digest]);
        }
        Some(value)
    }
}

/// The first event, in the older format: which digests, of which sizes.
fn read_header(from: &mut Little<'_>) -> Option<BTreeMap<u16, u16>> {
    let (_pcr, kind) = (from.u32()?, from.u32()?);
    from.take(20)?;
    let size = from.u32()? as usize;
    let mut body = Little(from.take(size)?);
    if kind != EV_NO_ACTION || body.take(16)? != SPEC_ID {
        return None;
    }
    body.take(8)?;
    let count = body.u32()?;
    (0..count.min(16)).map(|_| Some((body.u16()?, body.u16()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&[3, 0, 0, 0]);
        bytes.extend_from_slice(&[0; 20]);
        let body = [SPEC_ID.as_slice(), &[0; 8], &[1, 0, 0, 0, 0x0b, 0, 32, 0], &[0]].concat();
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&[4, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0]);
        bytes.extend_from_slice(&[7; 32]);
        bytes.extend_from_slice(&[2, 0, 0, 0, b'h', b'i']);
        bytes
    }

    #[test]
    fn a_log_is_replayed_and_its_unused_end_ignored() {
        let bytes = [log(), vec![0; 100]].concat();
        let read = EventLog::parse(&bytes).unwrap();
        assert_eq!(read.events[0].data, b"hi");
        let wanted = HashAlg::Sha256.digest(&[&[0; 32], &[7; 32]]);
        assert_eq!(read.replay(HashAlg::Sha256, 4), Some(wanted));
        assert_eq!(read.replay(HashAlg::Sha256, 5), None);
        assert_eq!(read.replay(HashAlg::Sha384, 4), None);
    }

    #[test]
    fn a_log_that_is_cut_is_refused_but_at_the_end_of_an_event() {
        let bytes = log();
        let first = bytes.len() - 52;
        for cut in 0..bytes.len() {
            assert_eq!(EventLog::parse(&bytes[..cut]).is_some(), cut == first, "cut at {cut}");
        }
    }
}
