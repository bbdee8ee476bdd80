//! Clause 5.1, with a socket in the place of the tap interface.

use std::os::unix::net::UnixDatagram;

use super::*;

const TO_GUEST: usize = 0;
const FROM_GUEST: usize = 1;
const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn card() -> (Net, UnixDatagram) {
    let (inside, outside) = UnixDatagram::pair().unwrap();
    outside.set_nonblocking(true).unwrap();
    (Net::new(inside, Mac::new(MAC).unwrap()).unwrap(), outside)
}

fn receive(outside: &UnixDatagram) -> Option<Vec<u8>> {
    let mut frame = vec![0; 70_000];
    let size = outside.recv(&mut frame).ok()?;
    frame.truncate(size);
    Some(frame)
}

#[test]
fn the_configuration_is_address_and_link() {
    let (card, _outside) = card();
    let guest = Guest::new(card);
    let mut config = [0; 8];
    guest.transport.read(register::CONFIG, &mut config);
    assert_eq!(config, [0x52, 0x54, 0, 1, 2, 3, 1, 0]);
}

#[test]
fn a_frame_of_the_guest_is_sent_without_its_header() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    let header = [0xff; 12];
    guest.ask(FROM_GUEST, &[Piece::Out(&header), Piece::Out(&[7; 60])]);
    assert_eq!(receive(&outside), Some(vec![7; 60]));
    guest.ask(FROM_GUEST, &[Piece::Out(&[[0; 12].as_slice(), &[8; 14]].concat())]);
    assert_eq!(receive(&outside), Some(vec![8; 14]));
}

#[test]
fn frames_that_cannot_be_are_lost() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    for frame in [&[][..], &[0; 5], &[0; 12], &[0; 25], &[0; 70_000]] {
        assert_eq!(guest.ask(FROM_GUEST, &[Piece::Out(frame)]).0, 0);
    }
    assert_eq!(guest.ask(FROM_GUEST, &[Piece::In(100)]).0, 0);
    assert_eq!(receive(&outside), None);
}

#[test]
fn a_frame_for_the_guest_comes_with_a_header() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    outside.send(&[9; 100]).unwrap();
    let (written, answers) = guest.ask(TO_GUEST, &[Piece::In(12), Piece::In(1514)]);
    assert_eq!(written, 112);
    assert_eq!(answers[0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(answers[1][..101], [&[9; 100][..], &[0]].concat());
}

#[test]
fn frames_wait_for_buffers_and_buffers_for_frames() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    outside.send(&[1; 60]).unwrap();
    outside.send(&[2; 61]).unwrap();
    guest.serve();
    let requests = [0; 3].map(|_| guest.offer(TO_GUEST, &[Piece::In(2000)]));
    guest.serve();
    assert_eq!(guest.used(TO_GUEST), [(requests[0].head, 72), (requests[1].head, 73)]);
    outside.send(&[3; 62]).unwrap();
    guest.serve();
    assert_eq!(guest.used(TO_GUEST), [(requests[2].head, 74)]);
    assert_eq!(guest.answers(&requests[2])[0][12..74], [3; 62]);
}

#[test]
fn a_frame_too_large_for_a_buffer_is_lost_and_the_buffer_is_not() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    let request = guest.offer(TO_GUEST, &[Piece::In(100)]);
    outside.send(&[1; 89]).unwrap();
    guest.serve();
    assert_eq!(guest.used(TO_GUEST), []);
    outside.send(&[2; 88]).unwrap();
    guest.serve();
    assert_eq!(guest.used(TO_GUEST), [(request.head, 100)]);
    assert_eq!(guest.answers(&request)[0][12..], [2; 88]);
}

#[test]
fn a_closed_link_leaves_the_card_without_a_network() {
    let (card, outside) = card();
    let mut guest = Guest::with_driver(card);
    drop(outside);
    guest.offer(TO_GUEST, &[Piece::In(100)]);
    guest.ask(FROM_GUEST, &[Piece::Out(&[0; 100])]);
    assert_eq!(guest.used(TO_GUEST), []);
    assert!(!guest.needs_reset());
}

#[test]
fn a_restored_card_keeps_its_address_and_tells_the_network() {
    let (saved, outside) = card();
    let mut guest = Guest::with_driver(saved);
    guest.ask(FROM_GUEST, &[Piece::Out(&[0; 72])]);
    assert!(receive(&outside).is_some());
    guest.transport.pause().unwrap();
    let state = guest.transport.save().unwrap();

    let (inside, outside) = UnixDatagram::pair().unwrap();
    outside.set_nonblocking(true).unwrap();
    let other = Net::new(inside, Mac::new([0x52, 9, 9, 9, 9, 9]).unwrap()).unwrap();
    let there = Guest::paused(other, Arc::clone(&guest.memory));
    there.transport.restore(&state).unwrap();
    assert_eq!(receive(&outside), None, "nothing while it is paused");
    there.transport.resume().unwrap();
    there.serve();
    let frame = receive(&outside).unwrap();
    assert_eq!(frame[6..14], [&MAC[..], &[0x80, 0x35]].concat());
    there.serve();
    assert_eq!(receive(&outside), None, "once is enough");
    let mut config = [0; 6];
    there.transport.read(register::CONFIG, &mut config);
    assert_eq!(config, MAC);
}
