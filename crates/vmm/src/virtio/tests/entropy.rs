//! Clause 5.4.

use super::*;

#[test]
fn a_request_is_filled_with_different_bytes() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    let (written, first) = guest.ask(0, &[Piece::In(32), Piece::In(32)]);
    assert_eq!(written, 64);
    let (_, second) = guest.ask(0, &[Piece::In(32)]);
    assert_ne!(first[0], [0; 32]);
    assert_ne!(first[0], first[1]);
    assert_ne!(first[0], second[0]);
}

#[test]
fn a_large_request_gets_a_part() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    let (written, answers) = guest.ask(0, &[Piece::In(0x9000), Piece::In(0x9000)]);
    assert_eq!(written, 0x1_0000);
    assert_eq!(answers[1][0x7000..], [0; 0x2000]);
}

#[test]
fn a_request_without_room_gets_nothing() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    let (written, _) = guest.ask(0, &[Piece::Out(b"give me some")]);
    assert_eq!(written, 0);
}

#[test]
fn a_queue_goes_around_many_times() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    for _ in 0..70_000 {
        guest.ask(0, &[Piece::In(1)]);
    }
}
