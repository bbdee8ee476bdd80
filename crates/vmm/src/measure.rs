//! Measured boot: the VMM is the root of trust for measurement of the kernel that it starts.
//!
//! Follows the TCG PC Client Platform Firmware Profile (PFP) and, where that speaks of UEFI only,
//! what systemd and Linux's own boot stub do. The crate's README has the table with the reasons.
//!
//! ```text
//!   _TPM_Init, TPM2_Startup(CLEAR) -> which banks are active -> log and extend, event by event
//! ```

use tracing::debug;
use vmm_device::event_log::{EventLog, EventType, Extend, HashAlgorithm};

use crate::{
    boot::Payload,
    error::{Error, Result},
    layout,
    tpm::{Backend, execute},
};

/// PCR of the root of trust: its version.
pub const PCR_VERSION: u32 = 0;
/// PCR of the platform's configuration: the ACPI tables.
pub const PCR_CONFIGURATION: u32 = 1;
/// PCR of what the platform starts: the kernel.
pub const PCR_KERNEL: u32 = 4;
/// PCR of initrds.
pub const PCR_INITRD: u32 = 9;
/// PCR of the kernel's command line.
pub const PCR_COMMAND_LINE: u32 = 12;
/// PCRs that get a separator.
const SEPARATED: std::ops::RangeInclusive<u32> = 0..=7;

/// Event tag by which Linux's boot stub logs an initrd.
const INITRD_TAG: u32 = 0x8f3b_22ec;

/// Fixed values of TPM commands (TPM 2.0 Library, Part 2).
mod tpm2 {
    pub(super) const ST_NO_SESSIONS: u16 = 0x8001;
    pub(super) const ST_SESSIONS: u16 = 0x8002;
    pub(super) const CC_SELF_TEST: u32 = 0x143;
    pub(super) const CC_STARTUP: u32 = 0x144;
    pub(super) const CC_GET_CAPABILITY: u32 = 0x17a;
    pub(super) const CC_PCR_EXTEND: u32 = 0x182;
    pub(super) const SU_CLEAR: u16 = 0;
    pub(super) const CAP_PCRS: u32 = 5;
    pub(super) const RS_PW: u32 = 0x4000_0009;
    pub(super) const RC_SUCCESS: u32 = 0;
    pub(super) const RC_INITIALIZE: u32 = 0x100;
    pub(super) const RC_TESTING: u32 = 0x90a;
}

/// Bytes of a response's header.
const HEADER: usize = 10;

/// What is measured.
pub struct Measured<'a> {
    /// Kernel, initrd and command line, as they are loaded.
    pub payload: &'a Payload,
    /// The ACPI tables, as they are given to the guest.
    pub acpi: &'a [u8],
}

/// Switches the TPM on, measures, and returns the event log.
///
/// # Errors
/// [`Error::Tpm`] if the TPM refuses a command, [`Error::Log`] if the log is full.
pub fn boot(backend: &dyn Backend, measured: &Measured<'_>) -> Result<Vec<u8>> {
    backend.init()?;
    startup(backend)?;
    self_test(backend)?;
    let banks = active_banks(backend)?;
    debug!(?banks, "measuring into the active banks");
    let mut log = EventLog::new(layout::LOG_SIZE as usize, &banks)?;
    for event in events(&mut log, measured)? {
        extend(backend, &event)?;
    }
    Ok(log.bytes().to_vec())
}

/// Logs all events, in the order of a PC: firmware, configuration, the border, what it starts.
fn events(log: &mut EventLog, measured: &Measured<'_>) -> Result<Vec<Extend>> {
    let Payload { kernel, initrd, command_line } = measured.payload;
    let mut events = vec![log.crtm_version(version())?];
    let flags = EventType::PLATFORM_CONFIG_FLAGS;
    events.push(log.measure(PCR_CONFIGURATION, flags, measured.acpi, b"ACPI DATA")?);
    for pcr in SEPARATED {
        events.push(log.separator(pcr)?);
    }
    events.push(log.ipl(PCR_KERNEL, kernel, b"kernel")?);
    if !initrd.is_empty() {
        events.push(log.event_tag(PCR_INITRD, INITRD_TAG, initrd, b"Linux initrd\0")?);
    }
    let line: Vec<u8> = command_line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    events.push(log.ipl(PCR_COMMAND_LINE, &line, &line)?);
    Ok(events)
}

/// What is measured as the version of this VMM.
pub fn version() -> &'static str {
    concat!("vtpm vmm ", env!("CARGO_PKG_VERSION"))
}

fn startup(backend: &dyn Backend) -> Result<()> {
    let command = command(tpm2::ST_NO_SESSIONS, tpm2::CC_STARTUP, &tpm2::SU_CLEAR.to_be_bytes());
    match code(&execute(backend, 0, command)) {
        tpm2::RC_SUCCESS => Ok(()),
        // A daemon that was asked to start the TPM by itself has done so.
        tpm2::RC_INITIALIZE => Ok(()),
        code => Err(refused("TPM2_Startup", code)),
    }
}

/// Has the TPM test itself while nobody waits, as a PC's firmware does. A guest's driver asks for
/// the same and gives it two seconds, which on a slow host is not enough.
fn self_test(backend: &dyn Backend) -> Result<()> {
    const NOT_AGAIN: u8 = 0;
    let command = command(tpm2::ST_NO_SESSIONS, tpm2::CC_SELF_TEST, &[NOT_AGAIN]);
    match code(&execute(backend, 0, command)) {
        tpm2::RC_SUCCESS | tpm2::RC_TESTING => Ok(()),
        code => Err(refused("TPM2_SelfTest", code)),
    }
}

/// The banks that have any PCR, in the TPM's order.
fn active_banks(backend: &dyn Backend) -> Result<Vec<HashAlgorithm>> {
    let parameters = [tpm2::CAP_PCRS, 0, 1].map(u32::to_be_bytes).concat();
    let command = command(tpm2::ST_NO_SESSIONS, tpm2::CC_GET_CAPABILITY, &parameters);
    let response = execute(backend, 0, command);
    match code(&response) {
        tpm2::RC_SUCCESS => {}
        code => return Err(refused("TPM2_GetCapability", code)),
    }
    // moreData, capability, then the list.
    let list = response.get(HEADER + 5..).unwrap_or_default();
    let banks = parse_banks(list).ok_or_else(|| {
        Error::Tpm("it describes its PCR banks in a way that cannot be read".into())
    })?;
    if banks.is_empty() {
        return Err(Error::Tpm("it has no active PCR bank to measure into".into()));
    }
    Ok(banks)
}

/// TPML_PCR_SELECTION.
fn parse_banks(list: &[u8]) -> Option<Vec<HashAlgorithm>> {
    let (count, mut rest) = list.split_first_chunk::<4>()?;
    let mut banks = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (algorithm, behind) = rest.split_first_chunk::<2>()?;
        let (size, behind) = behind.split_first()?;
        let (selected, behind) = behind.split_at_checked(usize::from(*size))?;
        if selected.iter().any(|byte| *byte != 0) {
            banks.push(HashAlgorithm(u16::from_be_bytes(*algorithm)));
        }
        rest = behind;
    }
    Some(banks)
}

fn extend(backend: &dyn Backend, event: &Extend) -> Result<()> {
    let mut body = event.pcr.to_be_bytes().to_vec();
    // One session: an empty password, without nonce and attributes.
    body.extend_from_slice(&9u32.to_be_bytes());
    body.extend_from_slice(&tpm2::RS_PW.to_be_bytes());
    body.extend_from_slice(&[0; 5]);
    body.extend_from_slice(&(event.digests.len() as u32).to_be_bytes());
    for digest in &event.digests {
        body.extend_from_slice(&digest.algorithm().0.to_be_bytes());
        body.extend_from_slice(digest.value());
    }
    let command = command(tpm2::ST_SESSIONS, tpm2::CC_PCR_EXTEND, &body);
    match code(&execute(backend, 0, command)) {
        tpm2::RC_SUCCESS => Ok(()),
        code => Err(refused("TPM2_PCR_Extend", code)),
    }
}

fn command(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    [&tag.to_be_bytes(), length.to_be_bytes().as_slice(), &code.to_be_bytes(), body].concat()
}

/// A response's code; all ones for what is no response.
fn code(response: &[u8]) -> u32 {
    let field = response.get(6..).and_then(|rest| rest.first_chunk::<4>());
    field.map_or(u32::MAX, |field| u32::from_be_bytes(*field))
}

fn refused(command: &str, code: u32) -> Error {
    Error::Tpm(format!("{command} failed with {code:#x}; the guest is not started unmeasured"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vmm_device::event_log::{ParsedLog, SoftwareDigests};

    use super::*;
    use crate::tpm::InProcess;

    fn payload() -> Payload {
        Payload {
            kernel: b"kernel".to_vec(),
            initrd: b"initrd".to_vec(),
            command_line: "console=ttyS0".into(),
        }
    }

    fn read_pcr(backend: &dyn Backend, algorithm: u16, pcr: u32) -> Vec<u8> {
        let mut select = [0u8; 3];
        select[pcr as usize / 8] = 1 << (pcr % 8);
        let body =
            [&1u32.to_be_bytes(), algorithm.to_be_bytes().as_slice(), &[3], &select].concat();
        let response = execute(backend, 0, command(tpm2::ST_NO_SESSIONS, 0x17e, &body));
        assert_eq!(code(&response), 0);
        // Counter, selection of 10 bytes, count, size.
        response[HEADER + 4 + 10 + 4 + 2..].to_vec()
    }

    fn measure(payload: &Payload) -> (InProcess, ParsedLog) {
        let backend = InProcess::ephemeral().unwrap();
        let log = boot(&backend, &Measured { payload, acpi: b"tables" }).unwrap();
        let parsed = ParsedLog::parse(&log).unwrap();
        (backend, parsed)
    }

    #[test]
    fn the_log_replays_to_the_pcrs_in_every_active_bank() {
        let (backend, log) = measure(&payload());
        let replayed = log.replay(&SoftwareDigests).unwrap();
        let banks: BTreeSet<_> = replayed.keys().map(|(algorithm, _)| *algorithm).collect();
        assert_eq!(banks.len(), active_banks(&backend).unwrap().len());
        for ((algorithm, pcr), digest) in &replayed {
            assert_eq!(digest.value(), read_pcr(&backend, algorithm.0, *pcr), "PCR {pcr}");
        }
        backend.shutdown();
    }

    /// The PCRs that differ between two boots.
    fn changed(other: &Payload) -> Vec<u32> {
        let (a, first) = measure(&payload());
        let (b, second) = measure(other);
        let first = first.replay(&SoftwareDigests).unwrap();
        let second = second.replay(&SoftwareDigests).unwrap();
        a.shutdown();
        b.shutdown();
        let differing = first.iter().filter(|(at, digest)| second.get(at) != Some(digest));
        differing.map(|((_, pcr), _)| *pcr).collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn each_input_changes_its_own_pcr_and_no_other() {
        let kernel = b"another".to_vec();
        assert_eq!(changed(&Payload { kernel, ..payload() }), [PCR_KERNEL]);
        let initrd = b"another".to_vec();
        assert_eq!(changed(&Payload { initrd, ..payload() }), [PCR_INITRD]);
        let command_line = "quiet".to_owned();
        assert_eq!(changed(&Payload { command_line, ..payload() }), [PCR_COMMAND_LINE]);
        assert!(changed(&payload()).is_empty());
    }

    #[test]
    fn banks_without_pcrs_are_not_active() {
        let list = [0, 0, 0, 2, 0, 4, 3, 0, 0, 0, 0, 0xb, 3, 0xff, 0xff, 0xff];
        assert_eq!(parse_banks(&list), Some(vec![HashAlgorithm::SHA256]));
        for length in 0..list.len() {
            assert_eq!(parse_banks(&list[..length]), None);
        }
    }
}
