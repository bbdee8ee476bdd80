//! Writing and reading together.

use proptest::prelude::*;

use super::*;
use crate::{Locality, LogError};

const BANKS: [HashAlgorithm; 2] = [HashAlgorithm::SHA1, HashAlgorithm::SHA256];

fn log() -> EventLog {
    EventLog::new(0x1_0000, &BANKS).unwrap()
}

/// What a TPM would do.
struct Pcrs(PcrValues);

impl Pcrs {
    fn extend(&mut self, extend: Extend) {
        for digest in extend.digests {
            let key = (digest.algorithm(), extend.pcr);
            let size = digest.value().len();
            let mut data = match self.0.get(&key) {
                Some(value) => value.value().to_vec(),
                None if (17..=22).contains(&extend.pcr) => vec![0xFF; size],
                None => vec![0; size],
            };
            data.extend_from_slice(digest.value());
            self.0.insert(key, SoftwareDigests.digest(digest.algorithm(), &data).unwrap());
        }
    }
}

#[test]
fn the_header_is_spec_id_event_03_with_the_bank_list() {
    let log = log();
    let bytes = log.bytes();
    assert_eq!(&bytes[..8], &[0, 0, 0, 0, 3, 0, 0, 0], "PCR 0, EV_NO_ACTION");
    assert_eq!(&bytes[8..28], &[0; 20]);
    assert_eq!(&bytes[28..32], &37u32.to_le_bytes());
    assert_eq!(&bytes[32..48], b"Spec ID Event03\0");
    assert_eq!(&bytes[48..56], &[0, 0, 0, 0, 0, 2, 0, 2]);
    assert_eq!(&bytes[56..68], &[2, 0, 0, 0, 4, 0, 20, 0, 0x0B, 0, 32, 0]);
    assert_eq!(&bytes[68..], &[0], "no vendor information");
}

#[test]
fn a_separator_is_laid_out_as_tcg_pcr_event2() {
    let mut log = log();
    let start = log.bytes().len();
    let extend = log.separator(7).unwrap();
    let event = &log.bytes()[start..];
    assert_eq!(&event[..12], &[7, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(&event[12..14], &[4, 0]);
    assert_eq!(&event[14..34], extend.digests[0].value());
    assert_eq!(&event[34..36], &[0x0B, 0]);
    assert_eq!(&event[36..68], extend.digests[1].value());
    assert_eq!(&event[68..], &[4, 0, 0, 0, 0, 0, 0, 0]);
    // The well-known SHA-256 of four zero bytes.
    let known = "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119";
    assert_eq!(format!("{:?}", extend.digests[1]), format!("0x000b:{known}"));
}

#[test]
fn a_replay_gives_the_pcrs_that_the_extends_gave() {
    let mut log = log();
    let mut pcrs = Pcrs(PcrValues::new());
    pcrs.extend(log.crtm_version("vmm 1.0").unwrap());
    pcrs.extend(log.post_code(0, b"code", b"POST CODE").unwrap());
    pcrs.extend(log.ipl(8, b"quiet", b"kernel command line").unwrap());
    pcrs.extend(log.event_tag(9, 0x8F3B_22EC, b"initrd contents", b"Linux initrd").unwrap());
    log.no_action(1, b"for your information").unwrap();
    for pcr in 0..8 {
        pcrs.extend(log.separator(pcr).unwrap());
    }
    pcrs.extend(log.measure(17, EventType::ACTION, b"launch", b"launch").unwrap());
    let parsed = ParsedLog::parse(log.bytes()).unwrap();
    assert_eq!(parsed.events.len(), 14);
    assert_eq!(parsed.replay(&SoftwareDigests).unwrap(), pcrs.0);
}

#[test]
fn the_crtm_version_is_utf_16_with_its_end() {
    let mut log = log();
    let extend = log.crtm_version("v1").unwrap();
    let parsed = ParsedLog::parse(log.bytes()).unwrap();
    assert_eq!(extend.pcr, 0);
    assert_eq!(parsed.events[0].data, [b'v', 0, b'1', 0, 0, 0]);
}

#[test]
fn a_startup_from_locality_3_changes_where_pcr_0_begins() {
    let mut log = log();
    log.startup_locality(Locality::THREE).unwrap();
    let extend = log.separator(0).unwrap();
    let parsed = ParsedLog::parse(log.bytes()).unwrap();
    assert_eq!(parsed.startup_locality(), Some(3));
    let mut data = vec![0; 32];
    data[31] = 3;
    data.extend_from_slice(extend.digests[1].value());
    let expected = SoftwareDigests.digest(HashAlgorithm::SHA256, &data).unwrap();
    let values = parsed.replay(&SoftwareDigests).unwrap();
    assert_eq!(values[&(HashAlgorithm::SHA256, 0)], expected);
}

#[test]
fn an_event_that_does_not_fit_leaves_the_log_as_it_was() {
    let header = log().bytes().len();
    let mut log = EventLog::new(header + 76 + 10, &BANKS).unwrap();
    let _ = log.separator(0).unwrap();
    let before = log.bytes().to_vec();
    assert_eq!(log.separator(1), Err(LogError::Full { needed: 76, free: 10 }));
    assert_eq!(log.bytes(), before);
    assert_eq!(log.free(), 10);
    let short = EventLog::new(header - 1, &BANKS).map(|_| ());
    assert_eq!(short, Err(LogError::Full { needed: header, free: header - 1 }));
}

#[test]
fn banks_have_to_be_there_once() {
    let refused = |banks: &[HashAlgorithm]| EventLog::new(1000, banks).map(|_| ());
    assert_eq!(refused(&[]), Err(LogError::Banks));
    assert_eq!(refused(&[BANKS[0], BANKS[0]]), Err(LogError::Banks));
    assert_eq!(refused(&[HashAlgorithm(0x77)]), Err(LogError::UnsupportedAlgorithm(0x77)));
}

#[test]
fn digests_of_the_caller_have_to_match_the_banks() {
    let mut log = log();
    let one = SoftwareDigests.digest(HashAlgorithm::SHA256, b"x").unwrap();
    let refused = log.record(0, EventType::IPL, vec![one], b"");
    assert_eq!(refused, Err(LogError::Digests));
    assert_eq!(log.separator(24), Err(LogError::Pcr(24)));
}

#[test]
fn the_unused_rest_of_an_area_is_no_event() {
    let mut log = log();
    let _ = log.separator(0).unwrap();
    for fill in [0, 0xFF] {
        let mut area = log.bytes().to_vec();
        area.resize(4096, fill);
        let parsed = ParsedLog::parse(&area).unwrap();
        assert_eq!(parsed.events.len(), 1);
        assert_eq!(parsed.length, log.bytes().len());
    }
}

#[test]
fn a_log_that_is_cut_off_anywhere_is_refused_or_shorter_by_whole_events() {
    let mut log = log();
    let header = log.bytes().len();
    let _ = log.ipl(4, b"kernel", b"kernel").unwrap();
    for length in 0..log.bytes().len() {
        let parsed = ParsedLog::parse(&log.bytes()[..length]);
        assert_eq!(parsed.is_ok(), length == header, "length {length}");
    }
}

#[test]
fn a_digest_of_an_unlisted_bank_is_refused() {
    let mut log = log();
    let at = log.bytes().len() + 12;
    let _ = log.separator(0).unwrap();
    let mut bytes = log.bytes().to_vec();
    bytes[at] = 0x0C;
    let expected = LogError::UnlistedAlgorithm { event: 1, algorithm: 0x0C };
    assert_eq!(ParsedLog::parse(&bytes), Err(expected));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ParsedLog::parse(&bytes);
    }

    #[test]
    fn any_damage_to_a_log_is_parsed_without_panic(
        at in 0usize..400,
        value in any::<u8>(),
        text in ".{0,40}",
    ) {
        let mut log = log();
        let _ = log.crtm_version(&text).unwrap();
        let _ = log.separator(3).unwrap();
        let mut bytes = log.bytes().to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        if let Ok(parsed) = ParsedLog::parse(&bytes) {
            prop_assert!(parsed.length <= bytes.len());
            let _ = parsed.replay(&SoftwareDigests);
        }
    }
}
