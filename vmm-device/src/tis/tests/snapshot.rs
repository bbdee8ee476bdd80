//! Saved, damaged and restored.

use super::*;

#[test]
fn a_snapshot_taken_at_any_byte_of_an_exchange_goes_on_where_it_was() {
    let mut guest = restore(&guest());
    guest.request(0);
    guest = restore(&guest);
    guest.ready(0);
    for byte in COMMAND {
        guest = restore(&guest);
        guest.send(0, &[byte]);
    }
    guest = restore(&guest);
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
    guest = restore(&guest);
    guest.0.complete(&RESPONSE).unwrap();
    let mut received = Vec::new();
    for _ in 0..20 {
        guest = restore(&guest);
        received.extend(guest.receive(0, 1));
    }
    assert_eq!(received, RESPONSE);
    assert_eq!(restore(&guest).sts(0), STS_VALID);
}

#[test]
fn a_restored_device_says_what_to_do_about_the_command_in_flight() {
    let mut guest = guest();
    assert_eq!(guest.0.resume(), []);
    guest.run(0);
    let locality = Locality::ZERO;
    let execute = Action::Execute { locality, command: Bytes::from(COMMAND.as_slice()) };
    assert_eq!(restore(&guest).0.resume(), std::slice::from_ref(&execute));
    assert_eq!(guest.write(0, STS, STS_CANCEL), Action::Cancel);
    assert_eq!(restore(&guest).0.resume(), [execute.clone(), Action::Cancel]);
    assert_eq!(guest.write(1, ACCESS, ACCESS_SEIZE), Action::Cancel);
    let mut restored = restore(&guest);
    assert_eq!(restored.0.resume(), [execute, Action::Cancel]);
    restored.0.complete(&RESPONSE).unwrap();
    assert_eq!(restored.access(1), 0xA1, "the seize has survived");
}

#[test]
fn a_restored_device_drives_its_line_as_it_was() {
    let mut guest = guest();
    guest.request(0);
    guest.enable(0, INT_DATA_AVAILABLE);
    assert!(!restore(&guest).0.trigger().level.get());
    guest.respond(0);
    let mut restored = restore(&guest);
    assert!(restored.0.trigger().level.get());
    restored.set(0, INT_STATUS, INT_DATA_AVAILABLE);
    assert!(!restored.0.trigger().level.get());
}

#[test]
fn a_snapshot_that_is_cut_or_of_another_device_is_refused() {
    let mut guest = guest();
    guest.respond(0);
    let bytes = guest.0.save().to_bytes();
    for length in 0..bytes.len() {
        assert!(TisState::from_bytes(&bytes[..length]).is_err(), "length {length}");
    }
    let crb = record::Writer::new().finish(&record::Kind {
        magic: *b"VDCR",
        name: "CRB",
        version: 1,
        minimum: 1,
    });
    let expected = Error::Snapshot(SnapshotError::Magic { expected: "TIS" });
    assert_eq!(TisState::from_bytes(&crb), Err(expected));
}

#[test]
fn a_snapshot_with_a_longer_buffer_than_the_device_s_is_refused() {
    let mut guest = guest();
    guest.run(0);
    guest.0.complete(&[0; 100]).unwrap();
    let config = TisConfig { buffer_size: 64, ..Default::default() };
    let refused = Tis::restore(config, Polled, NoEvents, &guest.0.save()).map(|_| ());
    let expected = SnapshotError::TooLarge { what: "a FIFO", found: 100, limit: 64 };
    assert_eq!(refused, Err(Error::Snapshot(expected)));
}

#[test]
fn a_snapshot_in_an_impossible_state_is_refused_by_name() {
    let mut guest = guest();
    guest.run(0);
    let bytes = guest.0.save().to_bytes();
    let refuse = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let state = TisState::from_bytes(&bytes)?;
        Tis::restore(TisConfig::default(), Polled, NoEvents, &state).map(|_| ())
    };
    let invalid = |what| Err(Error::Snapshot(SnapshotError::Invalid(what)));
    // Each locality has ten bytes behind the header's twelve: state first, flags last.
    assert_eq!(refuse(12, 7), invalid("a locality's state"));
    assert_eq!(refuse(12, 0), invalid("FIFO bytes without an owner"));
    assert_eq!(refuse(12, 2), invalid("a command's length differs from its header"));
    assert_eq!(refuse(22, 4), invalid("two localities use the FIFO"));
    assert_eq!(refuse(14, 1), invalid("interrupt bits"));
    assert_eq!(refuse(21, 8), invalid("a locality's flags"));
    assert_eq!(refuse(21, 1), invalid("the active locality requests"));
    assert_eq!(refuse(31, 2), invalid("a seize that is not awaited"));
    assert_eq!(refuse(62, 5), invalid("a locality's number"));
    assert_eq!(refuse(62, 1), invalid("the FIFO belongs to a locality that is not active"));
    assert_eq!(refuse(63, 1), invalid("a switch waits for no cancelled command"));
    assert_eq!(refuse(64, 1), invalid("a switch waits for no cancelled command"));
    assert_eq!(refuse(64, 2), invalid("the abort flag"));
    assert_eq!(refuse(65, 1), invalid("a hash sequence outside locality 4"));
    assert_eq!(refuse(69, 1), invalid("an interrupt without a cause"));
}
