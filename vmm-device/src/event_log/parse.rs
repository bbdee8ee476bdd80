//! Reading a log, which may come from anywhere.

use std::collections::BTreeMap;

use super::{
    Digest, DigestProvider, EventType, HashAlgorithm, PCR_COUNT, SIGNATURE, STARTUP_LOCALITY,
};
use crate::LogError;

/// More banks than any TPM has (TPM Library Part 2, HASH_COUNT).
const MAX_BANKS: u32 = 16;

/// The header's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecId {
    /// 0 client, 1 server.
    pub platform_class: u32,
    /// Major version, minor version and errata of the specification.
    pub version: (u8, u8, u8),
    /// The banks and the bytes of their digests.
    pub algorithms: Vec<(HashAlgorithm, u16)>,
    /// The vendor's own.
    pub vendor_info: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// PCR index. Events of [`EventType::NO_ACTION`] may have any.
    pub pcr: u32,
    /// What it is about.
    pub kind: EventType,
    /// What was extended.
    pub digests: Vec<Digest>,
    /// What the log says about it.
    pub data: Vec<u8>,
}

/// A log that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedLog {
    /// The header.
    pub spec_id: SpecId,
    /// The events behind the header.
    pub events: Vec<LogEvent>,
    /// Bytes of the log, without the unused rest of its area.
    pub length: usize,
}

/// PCR values by bank and index.
pub type PcrValues = BTreeMap<(HashAlgorithm, u32), Digest>;

impl ParsedLog {
    /// Reads a log, or a log area whose unused rest is all zeros or all ones.
    ///
    /// # Errors
    /// [`LogError::Header`] if it is no crypto-agile log, [`LogError::Truncated`],
    /// [`LogError::UnlistedAlgorithm`], [`LogError::Digests`] for an event with two digests of a
    /// bank, or [`LogError::Pcr`] for an event of a PCR that does not exist.
    pub fn parse(area: &[u8]) -> Result<Self, LogError> {
        let mut input = Input(area);
        let spec_id = read_header(&mut input)?;
        let mut events = Vec::new();
        while !input.is_unused() {
            let number = events.len().saturating_add(1);
            events.push(read_event(&mut input, &spec_id, number)?);
        }
        let length = area.len().saturating_sub(input.0.len());
        Ok(Self { spec_id, events, length })
    }

    /// The PCR values that follow from the log, of the PCRs that it extends.
    ///
    /// PCRs 0 to 16 and 23 start from zeros and 17 to 22 from ones, as after `TPM2_Startup`; a
    /// startup locality other than 0 is PCR 0's last byte.
    ///
    /// # Errors
    /// What `provider` says: [`LogError::UnsupportedAlgorithm`], for one.
    pub fn replay(&self, provider: &impl DigestProvider) -> Result<PcrValues, LogError> {
        let mut values = PcrValues::new();
        for event in self.events.iter().filter(|event| event.kind != EventType::NO_ACTION) {
            for digest in &event.digests {
                let key = (digest.algorithm(), event.pcr);
                let mut data = match values.get(&key) {
                    Some(value) => value.value().to_vec(),
                    None => self.first_value(event.pcr, digest.value().len()),
                };
                data.extend_from_slice(digest.value());
                values.insert(key, provider.digest(digest.algorithm(), &data)?);
            }
        }
        Ok(values)
    }

    /// From which locality `TPM2_Startup` was sent, if the log says so.
    pub fn startup_locality(&self) -> Option<u8> {
        let informs = |event: &&LogEvent| event.kind == EventType::NO_ACTION && event.pcr == 0;
        self.events.iter().filter(informs).find_map(|event| {
            match event.data.strip_prefix(STARTUP_LOCALITY.as_slice()) {
                Some([locality]) => Some(*locality),
                _ => None,
            }
        })
    }

    fn first_value(&self, pcr: u32, size: usize) -> Vec<u8> {
        let fill = if (17..=22).contains(&pcr) { 0xFF } else { 0 };
        let mut value = vec![fill; size];
        if let (0, Some(last)) = (pcr, value.last_mut()) {
            *last = self.startup_locality().unwrap_or(0);
        }
        value
    }
}

fn read_header(input: &mut Input<'_>) -> Result<SpecId, LogError> {
    let pcr = input.u32("the header")?;
    let kind = EventType(input.u32("the header")?);
    input.take(20, "the header")?;
    let size = input.u32("the header")? as usize;
    if pcr != 0 || kind != EventType::NO_ACTION {
        return Err(LogError::Header("the first event is not EV_NO_ACTION in PCR 0"));
    }
    let mut event = Input(input.take(size, "the header")?);
    if event.take(SIGNATURE.len(), "the header's signature")? != SIGNATURE {
        return Err(LogError::Header("the first event has another signature"));
    }
    let platform_class = event.u32("the platform class")?;
    let [minor, major, errata, _uintn] = event.array("the version")?;
    let count = event.u32("the number of banks")?;
    if count > MAX_BANKS {
        return Err(LogError::Header("more banks are listed than a TPM has"));
    }
    let mut algorithms = Vec::new();
    for _ in 0..count {
        let algorithm = HashAlgorithm(event.u16("a bank")?);
        let size = event.u16("a bank")?;
        if algorithm.digest_size().is_some_and(|known| known != usize::from(size)) {
            return Err(LogError::Header("a bank has a digest size that is not its algorithm's"));
        }
        if algorithms.iter().any(|(known, _)| *known == algorithm) {
            return Err(LogError::Header("a bank is listed twice"));
        }
        algorithms.push((algorithm, size));
    }
    let [vendor_size] = event.array("the vendor information")?;
    let vendor_info = event.take(vendor_size.into(), "the vendor information")?.to_vec();
    if algorithms.is_empty() {
        return Err(LogError::Header("no bank is listed"));
    }
    Ok(SpecId { platform_class, version: (major, minor, errata), algorithms, vendor_info })
}

fn read_event(input: &mut Input<'_>, spec: &SpecId, number: usize) -> Result<LogEvent, LogError> {
    let pcr = input.u32("an event's PCR index")?;
    let kind = EventType(input.u32("an event's type")?);
    if pcr >= PCR_COUNT && kind != EventType::NO_ACTION {
        return Err(LogError::Pcr(pcr));
    }
    let count = input.u32("an event's digests")?;
    let mut digests: Vec<Digest> = Vec::new();
    for _ in 0..count {
        let algorithm = HashAlgorithm(input.u16("a digest")?);
        if digests.iter().any(|known| known.algorithm() == algorithm) {
            return Err(LogError::Digests);
        }
        let unlisted = LogError::UnlistedAlgorithm { event: number, algorithm: algorithm.0 };
        let listed = spec.algorithms.iter().find(|(known, _)| *known == algorithm);
        let (_, size) = listed.ok_or(unlisted)?;
        digests.push(Digest::new(algorithm, input.take((*size).into(), "a digest")?)?);
    }
    let size = input.u32("an event's data")? as usize;
    let data = input.take(size, "an event's data")?.to_vec();
    Ok(LogEvent { pcr, kind, digests, data })
}

/// The bytes that are left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], LogError> {
        let (value, rest) = self.0.split_at_checked(count).ok_or(LogError::Truncated(what))?;
        self.0 = rest;
        Ok(value)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], LogError> {
        let (value, rest) = self.0.split_first_chunk().ok_or(LogError::Truncated(what))?;
        self.0 = rest;
        Ok(*value)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, LogError> {
        self.array(what).map(u16::from_le_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, LogError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn is_unused(&self) -> bool {
        // An event begins with a PCR index and a type that are never all zeros or all ones
        // together with a whole area of the same.
        let first = self.0.first().copied().unwrap_or(0);
        matches!(first, 0 | 0xFF) && self.0.iter().all(|byte| *byte == first)
    }
}
