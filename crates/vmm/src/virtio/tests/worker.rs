//! Devices with their own threads, under the filter of system calls that they ask for.

use std::{
    os::unix::net::UnixDatagram,
    thread,
    time::{Duration, Instant},
};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::*;
use crate::error::Error;

/// Lets a thread make `calls` and nothing else: anything else ends the process.
fn filter(calls: &[libc::c_long]) -> BpfProgram {
    let rules = calls.iter().map(|call| (*call, vec![])).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch).unwrap();
    BpfProgram::try_from(filter).unwrap()
}

/// Starts the worker as a VMM does.
fn start(guest: &Guest) {
    let filter = filter(&guest.transport.system_calls());
    let enter = move || {
        seccompiler::apply_filter(&filter).map_err(|cause| Error::Seccomp(cause.to_string()))
    };
    guest.transport.start(enter).unwrap();
}

/// Waits for the device to return `count` buffers.
fn wait(guest: &mut Guest, queue: usize, count: usize) -> Vec<(u16, usize)> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut used = Vec::new();
    while used.len() < count {
        assert!(Instant::now() < end, "nothing happens");
        thread::sleep(Duration::from_millis(1));
        used.extend(guest.used(queue));
    }
    used
}

#[test]
fn every_kind_of_disk_request_passes_the_filter() {
    let image = image(64);
    let mut guest = Guest::with_driver(disk(image.path()));
    start(&guest);
    for kind in [0, 1, 4, 8, 11, 13] {
        let header = header(kind, 3);
        let range = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let pieces = match kind {
            0 | 8 => vec![Piece::Out(&header), Piece::In(512), Piece::In(1)],
            1 => vec![Piece::Out(&header), Piece::Out(&[5; 512]), Piece::In(1)],
            11 | 13 => vec![Piece::Out(&header), Piece::Out(&range), Piece::In(1)],
            _ => vec![Piece::Out(&header), Piece::In(1)],
        };
        let request = guest.offer(0, &pieces);
        wait(&mut guest, 0, 1);
        assert_eq!(guest.answers(&request).last().unwrap()[..], [0], "{kind}");
    }
}

#[test]
fn frames_pass_the_filter_in_both_directions() {
    let (inside, outside) = UnixDatagram::pair().unwrap();
    outside.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let card = Net::new(inside, Mac::random().unwrap()).unwrap();
    let mut guest = Guest::with_driver(card);
    start(&guest);
    for round in 0..50u8 {
        guest.offer(1, &[Piece::Out(&[round; 72])]);
        let mut frame = [0; 100];
        assert_eq!(outside.recv(&mut frame).unwrap(), 60);
        assert_eq!(frame[..60], [round; 60]);
        wait(&mut guest, 1, 1);
        let request = guest.offer(0, &[Piece::In(1526)]);
        outside.send(&[round; 64]).unwrap();
        wait(&mut guest, 0, 1);
        assert_eq!(guest.answers(&request)[0][12..76], [round; 64]);
    }
    drop(outside);
    guest.offer(0, &[Piece::In(1526)]);
    guest.offer(1, &[Piece::Out(&[0; 72])]);
    wait(&mut guest, 1, 1);
}

#[test]
fn entropy_passes_the_filter() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    start(&guest);
    guest.offer(0, &[Piece::In(4096)]);
    assert_eq!(wait(&mut guest, 0, 1)[0].1, 4096);
    assert!(guest.interrupted());
}

#[test]
fn pausing_and_resetting_under_load_loses_no_request() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    start(&guest);
    for round in 0..300 {
        for _ in 0..8 {
            guest.offer(0, &[Piece::In(512)]);
        }
        if round % 2 == 0 {
            guest.transport.pause().unwrap();
            let done = guest.used(0).len();
            let state = guest.transport.save().unwrap();
            assert_eq!(guest.used(0), [], "nothing moves while it is paused");
            let queue = state.queues[0];
            assert_eq!(queue.next_available, queue.next_used);
            guest.transport.resume().unwrap();
            wait(&mut guest, 0, 8 - done);
        } else {
            wait(&mut guest, 0, 8);
        }
    }
    guest.write(register::STATUS, 0);
    assert_eq!(guest.status(), 0);
}

#[test]
fn a_worker_whose_filter_fails_does_not_start() {
    let guest = Guest::new(Entropy::new().unwrap());
    let error = guest.transport.start(|| Err(Error::Seccomp("no".into()))).unwrap_err();
    assert!(error.to_string().contains("no"));
}

#[test]
fn a_device_that_is_dropped_takes_its_thread_along() {
    let image = image(8);
    let guest = Guest::with_driver(disk(image.path()));
    start(&guest);
    drop(guest);
    // Its file is closed with it, and with the file goes the lock.
    disk(image.path()).acquire().unwrap();
}
