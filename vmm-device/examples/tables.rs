//! Writes what a guest learns about its TPM into a folder, for tools to look at: the TPM2 table and
//! an SSDT with the device for each interface, and an event log with the PCRs that follow from it.
//!
//!     cargo run -p vmm-device --example tables FOLDER
//!
//! `scripts/stages/86-tables` shows them to iasl and tpm2_eventlog.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use acpi_tables::{Aml, aml::Scope, sdt::Sdt};
use vmm_device::{
    TPM_BASE,
    acpi::{Interface, LogArea, Tpm2Table, TpmDevice},
    event_log::{EventLog, EventType, HashAlgorithm, ParsedLog, SoftwareDigests},
    ppi,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args().nth(1).ok_or("usage: tables FOLDER")?);
    for (name, interface) in [
        ("tis", Interface::Tis { base: TPM_BASE }),
        ("crb", Interface::Crb { base: TPM_BASE, buffer: None }),
        ("crb-mapped", Interface::Crb { base: TPM_BASE, buffer: Some(0xFED4_6000) }),
    ] {
        fs::write(folder.join(format!("{name}-tpm2.aml")), table(interface))?;
        fs::write(folder.join(format!("{name}-ssdt.aml")), ssdt(interface))?;
    }
    let log = log()?;
    fs::write(folder.join("log"), &log)?;
    fs::write(folder.join("pcrs"), pcrs(&log)?)?;
    Ok(())
}

fn table(interface: Interface) -> Vec<u8> {
    let log = Some(LogArea { address: 0x7FFF_0000, size: 0x1_0000 });
    let (oem_id, oem_table_id) = (*b"VMM   ", *b"VMMTPM2 ");
    let mut bytes = Vec::new();
    Tpm2Table { interface, log, oem_id, oem_table_id }.to_aml_bytes(&mut bytes);
    bytes
}

/// The device with everything that it can have.
fn ssdt(interface: Interface) -> Vec<u8> {
    let device = TpmDevice { interface, interrupt: Some(10), ppi: Some(ppi::BASE) };
    let mut body = Vec::new();
    Scope::new("\\_SB_".into(), vec![&device]).to_aml_bytes(&mut body);
    let mut table = Sdt::new(*b"SSDT", 36, 2, *b"VMM   ", *b"VMMTPM2 ", 1);
    table.append_slice(&body);
    table.as_slice().to_vec()
}

/// Every kind of event that the writer knows, but none of type EV_NO_ACTION: tpm2_eventlog 5.4
/// extends their digests, which no TPM is given.
fn log() -> Result<Vec<u8>, Box<dyn Error>> {
    let banks = [HashAlgorithm::SHA1, HashAlgorithm::SHA256, HashAlgorithm::SHA384];
    let mut log = EventLog::new(0x1_0000, &banks)?;
    let _ = log.crtm_version("vmm 1.0")?;
    let _ = log.post_code(0, b"firmware", b"firmware")?;
    let _ = log.measure(1, EventType::TABLE_OF_DEVICES, b"tables", b"ACPI DATA")?;
    let _ = log.ipl(4, b"kernel", b"kernel")?;
    let _ = log.ipl(8, b"quiet", b"command line")?;
    let _ = log.event_tag(9, 0x8F3B_22EC, b"initrd", b"Linux initrd")?;
    let _ = log.measure(5, EventType::ACTION, b"Exit Boot Services", b"Exit Boot Services")?;
    for pcr in 0..7 {
        let _ = log.separator(pcr)?;
    }
    let _ = log.error_separator(7)?;
    Ok(log.bytes().to_vec())
}

/// The PCRs that follow from a log, a line each: bank, number, value.
fn pcrs(log: &[u8]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for ((bank, pcr), digest) in ParsedLog::parse(log)?.replay(&SoftwareDigests)? {
        let name = match bank {
            HashAlgorithm::SHA1 => "sha1",
            HashAlgorithm::SHA256 => "sha256",
            _ => "sha384",
        };
        write!(text, "{name} {pcr} 0x")?;
        digest.value().iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
        text.push('\n');
    }
    Ok(text)
}
