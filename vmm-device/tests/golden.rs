//! Snapshots of released versions restore for ever, and this version writes what it wrote.
//!
//! See `golden/README.md`.

use std::{fs, path::PathBuf};

use vmm_device::{
    Action, Locality, NoEvents, Polled, RegisterModel,
    crb::{self, Crb, CrbConfig, CrbState, InMemoryBuffer},
    ppi::{self, Operation, Ppi},
    tis::{LocalityFour, Tis, TisConfig, TisState, spec},
};

const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
const RESPONSE: [u8; 20] = [0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn load(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(path(name)).unwrap();
    let digits: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn text(title: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {title}\n");
    for line in bytes.chunks(16) {
        let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&digits.join(" "));
        text.push('\n');
    }
    text
}

fn write(model: &mut impl RegisterModel, offset: u64, value: u32) -> Action {
    model.write(offset, &value.to_le_bytes())
}

fn read(model: &mut impl RegisterModel, offset: u64) -> u32 {
    let mut data = [0; 4];
    model.read(offset, &mut data);
    u32::from_le_bytes(data)
}

fn tis_config() -> TisConfig {
    TisConfig { locality_four: LocalityFour::Open, ..Default::default() }
}

/// Locality 0's command runs, locality 2 has seized, locality 1 requests.
fn tis_executing() -> Tis<Polled> {
    let mut tis = Tis::new(tis_config(), Polled);
    let _ = write(&mut tis, spec::ACCESS, spec::ACCESS_REQUEST);
    let _ = write(&mut tis, spec::INT_ENABLE, spec::INT_GLOBAL | spec::INT_COMMAND_READY);
    let _ = write(&mut tis, spec::STS, spec::STS_COMMAND_READY);
    let _ = tis.write(spec::XDATA_FIFO, &COMMAND);
    assert!(matches!(write(&mut tis, spec::STS, spec::STS_GO), Action::Execute { .. }));
    let _ = write(&mut tis, 0x1000 | spec::ACCESS, spec::ACCESS_REQUEST);
    assert_eq!(write(&mut tis, 0x2000 | spec::ACCESS, spec::ACCESS_SEIZE), Action::Cancel);
    tis
}

/// Locality 0 has read five bytes of the response.
fn tis_completion() -> Tis<Polled> {
    let mut tis = Tis::new(tis_config(), Polled);
    tis.set_established(true);
    tis.set_self_test_done();
    let _ = write(&mut tis, spec::ACCESS, spec::ACCESS_REQUEST);
    let _ = write(&mut tis, spec::STS, spec::STS_COMMAND_READY);
    let _ = tis.write(spec::XDATA_FIFO, &COMMAND);
    assert!(matches!(write(&mut tis, spec::STS, spec::STS_GO), Action::Execute { .. }));
    tis.complete(&RESPONSE).unwrap();
    tis.read(spec::XDATA_FIFO, &mut [0; 5]);
    tis
}

/// A cancelled command runs, while the locality-change interrupt is pending.
fn crb_running() -> Crb<InMemoryBuffer, Polled> {
    let config = CrbConfig { interrupts: true, ..Default::default() };
    let mut crb = Crb::new(config, InMemoryBuffer::default(), Polled);
    let enable = crb::spec::INT_GLOBAL | crb::spec::INT_LOCALITY_CHANGE;
    let _ = write(&mut crb, crb::spec::INT_ENABLE, enable);
    let _ = write(&mut crb, crb::spec::LOC_CTRL, 1);
    let _ = write(&mut crb, crb::spec::CTRL_REQ, 1);
    let _ = crb.write(crb::spec::DATA_BUFFER, &COMMAND);
    assert!(matches!(write(&mut crb, crb::spec::CTRL_START, 1), Action::Execute { .. }));
    assert_eq!(write(&mut crb, crb::spec::CTRL_CANCEL, 1), Action::Cancel);
    crb
}

fn ppi_pending() -> Ppi {
    let mut ppi = Ppi::default();
    ppi.write(ppi::PPRQ as u64, &23u32.to_le_bytes());
    ppi.write(ppi::PPRM as u64, &2u32.to_le_bytes());
    ppi.write(ppi::MOVV as u64, &[1]);
    ppi
}

/// Name, title and bytes of each snapshot that this version writes.
fn current() -> [(&'static str, &'static str, Vec<u8>); 4] {
    let executing = tis_executing().save().to_bytes();
    let completion = tis_completion().save().to_bytes();
    let running = crb_running().save().unwrap().to_bytes();
    let pending = ppi_pending().save().unwrap();
    [
        ("tis-v1-executing.hex", "TIS: command runs, seize and request pending", executing),
        ("tis-v1-completion.hex", "TIS: five bytes of the response read", completion),
        ("crb-v1-running.hex", "CRB: cancelled command runs, interrupt pending", running),
        ("ppi-v1-pending.hex", "PPI: set PCR banks and clear memory requested", pending),
    ]
}

#[test]
fn this_version_writes_its_golden_snapshots() {
    for (name, _, bytes) in current() {
        assert_eq!(load(name), bytes, "{name}: raise the version instead of changing its form");
    }
}

#[test]
#[ignore = "writes the golden files of a new version; see golden/README.md"]
fn write_golden_snapshots() {
    for (name, title, bytes) in current() {
        let file = path(name);
        assert!(!file.exists(), "{name} left the house and stays as it is");
        fs::write(file, text(title, &bytes)).unwrap();
    }
}

#[test]
fn tis_version_1_executing_restores_and_hands_over_after_the_command() {
    let state = TisState::from_bytes(&load("tis-v1-executing.hex")).unwrap();
    let mut tis = Tis::restore(tis_config(), Polled, NoEvents, &state).unwrap();
    let resume = tis.resume();
    assert!(matches!(&resume[..], [Action::Execute { command, .. }, Action::Cancel]
        if **command == COMMAND));
    tis.complete(&RESPONSE).unwrap();
    assert_eq!(tis.active_locality(), Locality::new(2));
    assert_eq!(
        read(&mut tis, spec::ACCESS),
        0x81 | spec::ACCESS_BEEN_SEIZED | spec::ACCESS_PENDING
    );
    assert_eq!(read(&mut tis, spec::INT_STATUS), spec::INT_COMMAND_READY);
}

#[test]
fn tis_version_1_completion_restores_in_the_middle_of_the_response() {
    let state = TisState::from_bytes(&load("tis-v1-completion.hex")).unwrap();
    let mut tis = Tis::restore(tis_config(), Polled, NoEvents, &state).unwrap();
    assert!(tis.established());
    assert_eq!(read(&mut tis, spec::STS), 0x0400_0F94, "15 bytes left, self test done");
    let mut rest = [0; 15];
    tis.read(spec::XDATA_FIFO, &mut rest);
    assert_eq!(rest, RESPONSE[5..]);
}

#[test]
fn crb_version_1_running_restores_and_completes() {
    let state = CrbState::from_bytes(&load("crb-v1-running.hex")).unwrap();
    let config = CrbConfig { interrupts: true, ..Default::default() };
    let buffer = InMemoryBuffer::default();
    let mut crb = Crb::restore(config, buffer, Polled, NoEvents, &state).unwrap();
    assert!(matches!(&crb.resume()[..], [Action::Execute { command, .. }, Action::Cancel]
        if **command == COMMAND));
    assert_eq!(read(&mut crb, crb::spec::INT_STATUS), crb::spec::INT_LOCALITY_CHANGE);
    crb.complete(&RESPONSE).unwrap();
    let mut response = [0; 20];
    crb.read(crb::spec::DATA_BUFFER, &mut response);
    assert_eq!(response, RESPONSE);
}

#[test]
fn ppi_version_1_restores_its_request() {
    let memory = InMemoryBuffer::new(ppi::SIZE);
    let ppi = Ppi::restore(memory, &load("ppi-v1-pending.hex")).unwrap();
    assert_eq!(ppi.pending(), Ok(Some(Operation::SetPcrBanks { banks: 2 })));
    assert_eq!(ppi.must_clear_memory(), Ok(true));
}
