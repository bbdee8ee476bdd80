//! The "established" flag and the dynamic launch.

use super::*;

#[test]
fn the_established_flag_is_shown_inverted_and_cleared_from_localities_3_and_4_only() {
    let mut guest = guest();
    guest.0.set_established(true);
    assert_eq!(guest.access(0), 0x80);
    for locality in 0..5 {
        guest.0.set_established(true);
        guest.request(locality);
        let action = guest.write(locality, STS, STS_RESET_ESTABLISHMENT);
        if locality < 3 {
            assert_eq!(action, Action::None);
            assert!(guest.0.established());
        } else {
            let locality = Locality::new(locality as u8).unwrap();
            assert_eq!(action, Action::ResetEstablished { locality });
            assert!(!guest.0.established());
        }
        guest.set(locality, ACCESS, ACCESS_ACTIVE);
    }
}

#[test]
fn a_dynamic_launch_goes_from_locality_4_to_the_engine() {
    let mut guest = guest();
    assert_eq!(guest.write(4, HASH_START, 0), Action::HashStart);
    assert_eq!(guest.access(4), 0xA0, "locality 4 is active, the launch is noted");
    let data = |bytes: &[u8]| Action::HashData(Bytes::from(bytes));
    assert_eq!(guest.write(4, DATA_FIFO, 0x0403_0201), data(&[1, 2, 3, 4]));
    assert_eq!(guest.0.write(0x4000 | DATA_FIFO, &[5]), data(&[5]));
    assert_eq!(guest.0.write(0x4000 | XDATA_FIFO, &[6, 7]), data(&[6, 7]));
    assert_eq!(guest.write(4, HASH_END, 0), Action::HashEnd);
    assert_eq!(guest.access(4), 0x80);
    assert_eq!(guest.write(4, HASH_END, 0), Action::None);
}

#[test]
fn a_dynamic_launch_needs_a_free_tpm() {
    let mut guest = guest();
    guest.request(0);
    assert_eq!(guest.write(4, HASH_START, 0), Action::None);
    assert!(!guest.0.established());
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.write(4, HASH_START, 0), Action::None, "a command runs");
}

#[test]
fn a_dynamic_launch_is_disturbed_by_nobody_and_ends_with_a_handover() {
    let mut guest = guest();
    assert_eq!(guest.write(4, HASH_START, 0), Action::HashStart);
    guest.request(1);
    guest.set(3, ACCESS, ACCESS_SEIZE);
    guest.set(4, ACCESS, ACCESS_ACTIVE);
    guest.set(4, STS, STS_COMMAND_READY);
    assert_eq!(guest.0.active_locality(), Some(Locality::FOUR));
    assert_eq!(guest.write(4, HASH_END, 0), Action::HashEnd);
    assert_eq!(guest.0.active_locality(), Locality::new(1));
}

#[test]
fn hash_registers_exist_at_locality_4_only() {
    let mut guest = guest();
    for locality in 0..4 {
        guest.set(locality, HASH_START, 0);
        guest.set(locality, HASH_END, 0);
        assert_eq!(guest.read(locality, HASH_START), u32::MAX);
    }
    assert_eq!(guest.0.active_locality(), None);
}

#[test]
fn locality_4_is_closed_to_the_guest_by_default() {
    let mut guest = Guest(Tis::new(TisConfig::default(), Polled));
    guest.request(4);
    guest.set(4, HASH_START, 0);
    assert_eq!(guest.access(4), 0x81);
    assert_eq!(guest.0.hash_start(), Action::HashStart, "the VMM itself may");
    assert_eq!(guest.access(4), 0xA0);
    assert_eq!(guest.0.hash_end(), Action::HashEnd);
}
