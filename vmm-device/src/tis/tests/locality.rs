//! Which locality is active.

use super::*;

#[test]
fn a_request_is_granted_at_once_when_nobody_is_active() {
    let mut guest = guest();
    guest.request(2);
    assert_eq!(guest.access(2), 0xA1);
    assert_eq!(guest.access(0), 0x81);
}

#[test]
fn a_request_waits_for_the_active_locality_which_sees_it_pending() {
    let mut guest = guest();
    guest.request(0);
    guest.request(1);
    assert_eq!(guest.access(0), 0xA1 | ACCESS_PENDING);
    assert_eq!(guest.access(1), 0x81 | ACCESS_REQUEST, "its own request is not pending for it");
    assert_eq!(guest.access(2), 0x81 | ACCESS_PENDING);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.access(1), 0x81, "an inactive locality's release takes its request back");
    assert_eq!(guest.access(0), 0xA1);
}

#[test]
fn a_release_hands_over_to_the_highest_requester() {
    let mut guest = guest();
    guest.request(0);
    for locality in [1, 3, 2] {
        guest.request(locality);
    }
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.0.active_locality(), Locality::new(3));
    assert_eq!(guest.access(3), 0xA1 | ACCESS_PENDING);
    assert_eq!(guest.access(0), 0x81 | ACCESS_PENDING);
    guest.set(3, ACCESS, ACCESS_ACTIVE);
    guest.set(2, ACCESS, ACCESS_ACTIVE);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.0.active_locality(), None);
}

#[test]
fn seabios_releases_localities_4_to_0_without_harm() {
    let mut guest = guest();
    for locality in (0..5).rev() {
        guest.set(locality, ACCESS, ACCESS_ACTIVE);
        assert_eq!(guest.access(locality), 0x81);
    }
}

#[test]
fn a_seize_takes_the_tpm_from_a_lower_locality_only() {
    let mut guest = guest();
    guest.request(2);
    for locality in [0, 1, 2] {
        guest.set(locality, ACCESS, ACCESS_SEIZE);
        assert_eq!(guest.0.active_locality(), Locality::new(2));
    }
    guest.set(3, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.access(3), 0xA1, "seize never reads back");
    assert_eq!(guest.access(2), 0x81 | ACCESS_BEEN_SEIZED);
    guest.set(2, ACCESS, ACCESS_BEEN_SEIZED);
    assert_eq!(guest.access(2), 0x81, "write 1 to clear");
}

#[test]
fn a_seize_of_a_free_tpm_is_granted() {
    let mut guest = guest();
    guest.set(0, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.access(0), 0xA1);
}

#[test]
fn seize_makes_request_and_release_in_the_same_write_void() {
    let mut guest = guest();
    guest.request(1);
    guest.set(1, ACCESS, ACCESS_SEIZE | ACCESS_ACTIVE | ACCESS_REQUEST);
    assert_eq!(guest.access(1), 0xA1);
    guest.set(0, ACCESS, ACCESS_SEIZE | ACCESS_REQUEST);
    assert_eq!(guest.access(0), 0x81);
}

#[test]
fn a_seize_waits_for_the_running_command_and_cancels_it() {
    let mut guest = guest();
    guest.run(0);
    assert_eq!(guest.write(1, ACCESS, ACCESS_SEIZE), Action::Cancel);
    assert_eq!(guest.access(0), 0xA1, "still active");
    assert_eq!(guest.access(1), 0x81, "not yet, and the seize does not show");
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(0), 0x81 | ACCESS_BEEN_SEIZED);
    assert_eq!(guest.access(1), 0xA1);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!(guest.sts(0), 0, "the response is gone");
}

#[test]
fn of_two_pending_seizes_the_higher_wins() {
    for (first, second) in [(1, 3), (3, 1), (3, 2)] {
        let mut guest = guest();
        guest.run(0);
        assert_eq!(guest.write(first, ACCESS, ACCESS_SEIZE), Action::Cancel);
        let _: Action = guest.write(second, ACCESS, ACCESS_SEIZE);
        guest.0.complete(&RESPONSE).unwrap();
        assert_eq!(guest.0.active_locality(), Locality::new(3), "{first} then {second}");
        assert_eq!(guest.access(1), 0x81);
    }
}

#[test]
fn a_release_to_a_requester_waits_for_the_running_command() {
    let mut guest = guest();
    guest.run(0);
    guest.request(1);
    assert_eq!(guest.write(0, ACCESS, ACCESS_ACTIVE), Action::Cancel);
    assert_eq!(guest.0.active_locality(), Some(Locality::ZERO));
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(1), 0xA1);
    assert_eq!(guest.access(0), 0x81, "released, not seized");
}

#[test]
fn a_locality_that_releases_while_its_command_runs_finds_the_response_later() {
    let mut guest = guest();
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.access(0), 0x81);
    guest.0.complete(&RESPONSE).unwrap();
    guest.request(0);
    assert_eq!(guest.receive(0, 20), RESPONSE);
}

#[test]
fn a_request_during_the_command_of_a_locality_that_left_waits_for_it() {
    let mut guest = guest();
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.write(1, ACCESS, ACCESS_REQUEST), Action::Cancel);
    assert_eq!(guest.access(1), 0x81 | ACCESS_REQUEST);
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(1), 0xA1);
}

#[test]
fn a_response_is_never_shown_to_another_locality() {
    let mut guest = guest();
    guest.respond(0);
    guest.set(2, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.sts(2), 0);
    assert_eq!(guest.receive(2, 4), [NO_DATA; 4]);
    guest.ready(2);
    guest.send(2, &COMMAND);
    let action = guest.write(2, STS, STS_GO);
    let locality = Locality::new(2).unwrap();
    assert!(matches!(action, Action::Execute { locality: l, .. } if l == locality));
    guest.0.complete(&RESPONSE).unwrap();
    guest.set(2, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!((guest.sts(0), guest.receive(0, 4)), (0, vec![NO_DATA; 4]));
}

#[test]
fn ready_survives_a_release_so_that_linux_need_not_wait() {
    let mut guest = guest();
    guest.respond(0);
    guest.ready(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!(guest.sts(0), STS_COMMAND_READY);
}
