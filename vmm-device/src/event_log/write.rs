//! Writing a log.

use super::{
    Digest, DigestProvider, EventType, HashAlgorithm, PCR_COUNT, SIGNATURE, STARTUP_LOCALITY,
    SoftwareDigests, tagged_event,
};
use crate::{Locality, LogError};

/// What the caller has to extend now, in `TPM2_PCR_Extend`, so that log and PCRs agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a log whose events are not extended proves nothing"]
pub struct Extend {
    /// PCR index, 0 to 23.
    pub pcr: u32,
    /// One digest for each bank of the log, in its order.
    pub digests: Vec<Digest>,
}

/// A log that is being written, never longer than its area.
#[derive(Clone, Debug)]
pub struct EventLog<P: DigestProvider = SoftwareDigests> {
    bytes: Vec<u8>,
    limit: usize,
    banks: Vec<HashAlgorithm>,
    provider: P,
}

impl EventLog {
    /// A log of the active banks `banks` for an area of `limit` bytes (LAML), with its header.
    /// Digests are computed in software.
    ///
    /// # Errors
    /// [`LogError::Banks`] if there is no bank, or one twice; [`LogError::UnsupportedAlgorithm`] if
    /// a bank's digest size is unknown; [`LogError::Full`] if the header does not fit.
    pub fn new(limit: usize, banks: &[HashAlgorithm]) -> Result<Self, LogError> {
        Self::with_provider(limit, banks, SoftwareDigests)
    }
}

impl<P: DigestProvider> EventLog<P> {
    /// As [`EventLog::new`], with digests of `provider`.
    ///
    /// # Errors
    /// As [`EventLog::new`].
    pub fn with_provider(
        limit: usize,
        banks: &[HashAlgorithm],
        provider: P,
    ) -> Result<Self, LogError> {
        let twice = |(at, bank)| banks.iter().skip(at + 1).any(|later| later == bank);
        if banks.is_empty() || banks.iter().enumerate().any(twice) {
            return Err(LogError::Banks);
        }
        let mut log = Self { bytes: Vec::new(), limit, banks: banks.to_vec(), provider };
        let header = spec_id(banks)?;
        log.append(&header)?;
        Ok(log)
    }

    /// The log so far. The rest of the area stays zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the area that are left.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// The banks, in the order of every event's digests.
    pub fn banks(&self) -> &[HashAlgorithm] {
        &self.banks
    }

    /// Logs that `measured` goes into `pcr`. `event` is what the log says about it, which for many
    /// types is not what is measured: a file's name, for example.
    ///
    /// # Errors
    /// [`LogError::Pcr`], [`LogError::Full`], or what the provider says. The log is unchanged then.
    pub fn measure(
        &mut self,
        pcr: u32,
        kind: EventType,
        measured: &[u8],
        event: &[u8],
    ) -> Result<Extend, LogError> {
        let digest = |bank: &HashAlgorithm| self.provider.digest(*bank, measured);
        let digests = self.banks.iter().map(digest).collect::<Result<_, _>>()?;
        self.record(pcr, kind, digests, event)
    }

    /// Logs that `digests`, computed by the caller, go into `pcr`.
    ///
    /// # Errors
    /// [`LogError::Digests`] if they do not match [`EventLog::banks`], and as
    /// [`EventLog::measure`].
    pub fn record(
        &mut self,
        pcr: u32,
        kind: EventType,
        digests: Vec<Digest>,
        event: &[u8],
    ) -> Result<Extend, LogError> {
        if pcr >= PCR_COUNT {
            return Err(LogError::Pcr(pcr));
        }
        if !digests.iter().map(Digest::algorithm).eq(self.banks.iter().copied()) {
            return Err(LogError::Digests);
        }
        self.append(&event2(pcr, kind, &digests, event)?)?;
        Ok(Extend { pcr, digests })
    }

    /// [`EventType::S_CRTM_VERSION`] into PCR 0: the version of whoever measures first, as UTF-16.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_S_CRTM_VERSION")]
    pub fn crtm_version(&mut self, version: &str) -> Result<Extend, LogError> {
        let utf16 = version.encode_utf16().chain([0]);
        let bytes: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
        self.measure(0, EventType::S_CRTM_VERSION, &bytes, &bytes)
    }

    /// [`EventType::SEPARATOR`] into `pcr`: nothing of the firmware follows.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_SEPARATOR")]
    pub fn separator(&mut self, pcr: u32) -> Result<Extend, LogError> {
        self.measure(pcr, EventType::SEPARATOR, &[0; 4], &[0; 4])
    }

    /// [`EventType::SEPARATOR`] into `pcr` that says an error happened: the PCR is of no use.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    pub fn error_separator(&mut self, pcr: u32) -> Result<Extend, LogError> {
        self.measure(pcr, EventType::SEPARATOR, &1u32.to_le_bytes(), &1u32.to_le_bytes())
    }

    /// [`EventType::EVENT_TAG`]: `measured` goes into `pcr`, the log carries `id` and `data`.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_EVENT_TAG")]
    pub fn event_tag(
        &mut self,
        pcr: u32,
        id: u32,
        measured: &[u8],
        data: &[u8],
    ) -> Result<Extend, LogError> {
        self.measure(pcr, EventType::EVENT_TAG, measured, &tagged_event(id, data))
    }

    /// [`EventType::IPL`]: `measured` goes into `pcr`, the log carries `description`.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_IPL")]
    pub fn ipl(
        &mut self,
        pcr: u32,
        measured: &[u8],
        description: &[u8],
    ) -> Result<Extend, LogError> {
        self.measure(pcr, EventType::IPL, measured, description)
    }

    /// [`EventType::POST_CODE`]: `measured` goes into `pcr`, the log carries `description`.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_POST_CODE")]
    pub fn post_code(
        &mut self,
        pcr: u32,
        measured: &[u8],
        description: &[u8],
    ) -> Result<Extend, LogError> {
        self.measure(pcr, EventType::POST_CODE, measured, description)
    }

    /// [`EventType::NO_ACTION`]: information, with digests of zeros. Nothing is extended.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    #[doc(alias = "EV_NO_ACTION")]
    pub fn no_action(&mut self, pcr: u32, event: &[u8]) -> Result<(), LogError> {
        let zeros = |bank: &HashAlgorithm| {
            let size = bank.digest_size().ok_or(LogError::UnsupportedAlgorithm(bank.0))?;
            Digest::new(*bank, &vec![0; size])
        };
        let digests = self.banks.iter().map(zeros).collect::<Result<_, _>>()?;
        self.record(pcr, EventType::NO_ACTION, digests, event).map(|_nothing_to_extend| ())
    }

    /// The event that says from which locality `TPM2_Startup` was sent: 0, 3, or 4 after a dynamic
    /// launch before startup. It decides PCR 0's first value. Belongs right behind the header.
    ///
    /// # Errors
    /// As [`EventLog::measure`].
    pub fn startup_locality(&mut self, locality: Locality) -> Result<(), LogError> {
        let mut event = STARTUP_LOCALITY.to_vec();
        event.push(locality.number());
        self.no_action(0, &event)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let (needed, free) = (bytes.len(), self.free());
        if needed > free {
            return Err(LogError::Full { needed, free });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// `TCG_PCR_EVENT2`.
fn event2(
    pcr: u32,
    kind: EventType,
    digests: &[Digest],
    event: &[u8],
) -> Result<Vec<u8>, LogError> {
    let full = |_| LogError::Full { needed: event.len(), free: u32::MAX as usize };
    let size = u32::try_from(event.len()).map_err(full)?;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&pcr.to_le_bytes());
    bytes.extend_from_slice(&kind.0.to_le_bytes());
    bytes.extend_from_slice(&(digests.len() as u32).to_le_bytes());
    for digest in digests {
        bytes.extend_from_slice(&digest.algorithm().0.to_le_bytes());
        bytes.extend_from_slice(digest.value());
    }
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(event);
    Ok(bytes)
}

/// The first event, in the form of TPM 1.2 (`TCG_PCClientPCREvent`), which carries
/// `TCG_EfiSpecIDEvent`.
fn spec_id(banks: &[HashAlgorithm]) -> Result<Vec<u8>, LogError> {
    let mut event = SIGNATURE.to_vec();
    event.extend_from_slice(&0u32.to_le_bytes()); // platform class: client
    // Version 2.0, minor first; errata 0: the forms of events from before PFP 1.05, which says 105
    // and has others for firmware blobs and hand-off tables. "UINTN" of two 32-bit words.
    event.extend_from_slice(&[0, 2, 0, 2]);
    event.extend_from_slice(&(banks.len() as u32).to_le_bytes());
    for bank in banks {
        let size = bank.digest_size().ok_or(LogError::UnsupportedAlgorithm(bank.0))?;
        event.extend_from_slice(&bank.0.to_le_bytes());
        event.extend_from_slice(&(size as u16).to_le_bytes());
    }
    event.push(0); // vendor information: none
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0u32.to_le_bytes()); // PCR 0
    bytes.extend_from_slice(&EventType::NO_ACTION.0.to_le_bytes());
    bytes.extend_from_slice(&[0; 20]); // the digest of TPM 1.2
    bytes.extend_from_slice(&(event.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&event);
    Ok(bytes)
}
