//! The driver over TLS: the same handover between two threads, and what a listener in between
//! can do.
#![cfg(feature = "driver")]

mod common;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use common::shelf::Shelf;
use common::{Host, ID, departure};
use vtpm_handover::audit::{AuditLog, AuditRecord};
use vtpm_handover::driver::{Accepted, FileLog, Options, Receiver, Sender, resume};
use vtpm_handover::{
    DestinationHost, Ending, Error, Outcome, Refusal, Side, SourceHost, Standing, Word,
};

const STATE: &[u8] = b"everything that a TPM is";

fn receive<S: Read + Write>(stream: S, shelf: &mut Shelf) -> Box<Ending> {
    let mut b = Host::new(2, 20);
    let mut host = DestinationHost { local: b.local(), journal: shelf };
    match Receiver::accept(stream, Options::default(), &mut host) {
        Accepted::Ended(ending) => ending,
        Accepted::Offer(mut receiver, offer) => {
            assert_eq!(offer.instance, ID);
            match receiver.prepare(&mut host) {
                Ok(()) => receiver.finish(&mut host),
                Err(ending) => ending,
            }
        }
    }
}

fn send<S: Read + Write>(stream: S, shelf: &mut Shelf) -> Box<Ending> {
    let mut a = Host::new(1, 10);
    let mut host = SourceHost { local: a.local(), journal: shelf };
    let mut sender = match Sender::connect(stream, departure(), Options::default(), &mut host) {
        Ok(sender) => sender,
        Err(ending) => return ending,
    };
    match sender.deliver(&mut host, STATE) {
        Ok(()) => sender.commit(&mut host),
        Err(ending) => ending,
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    for stream in [&a, &b] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    }
    (a, b)
}

#[test]
fn an_instance_moves_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let destination = thread::spawn(move || {
        let mut shelf = Shelf::empty();
        let ending = receive(listener.accept().unwrap().0, &mut shelf);
        (ending, shelf)
    });
    let mut at_a = Shelf::live(STATE);
    let sent = send(TcpStream::connect(address).unwrap(), &mut at_a);
    let (received, at_b) = destination.join().unwrap();
    assert_eq!(sent.outcome, Outcome::Moved, "{sent}");
    assert_eq!(received.outcome, Outcome::LivesHere, "{received}");
    assert_eq!(at_b.state, STATE);
    assert!(!at_a.standing.is_live());
}

#[test]
fn a_relay_with_a_tls_session_to_each_side_gets_nothing() {
    // The relay speaks TLS to both, and passes on what is inside.
    let ((a, relay_a), (relay_b, b)) = (pair(), pair());
    let destination = thread::spawn(move || receive(b, &mut Shelf::empty()));
    let relay = thread::spawn(move || {
        use vtpm_handover::driver::Link;
        let mut left = Link::accept(relay_a).unwrap();
        let mut right = Link::connect(relay_b).unwrap();
        let mut seen = Vec::new();
        let pass = |from: &mut dyn Read, to: &mut dyn Write, seen: &mut Vec<u8>| {
            let mut buffer = [0; 65536];
            let length = from.read(&mut buffer)?;
            seen.extend(&buffer[..length]);
            to.write_all(&buffer[..length])?;
            to.flush()?;
            if length == 0 { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) } else { Ok(()) }
        };
        while pass(&mut left, &mut right, &mut seen).is_ok()
            && pass(&mut right, &mut left, &mut seen).is_ok()
        {}
        seen
    });
    let mut at_a = Shelf::live(STATE);
    let sent = send(a, &mut at_a);
    let received = destination.join().unwrap();
    let refused = received.error.as_ref().unwrap();
    assert!(matches!(refused, Error::Refused(Refusal::Relayed)), "{refused}");
    assert_eq!(sent.outcome, Outcome::StaysHere, "{sent}");
    assert_eq!(at_a, Shelf::live(STATE), "nothing was even journalled");
    let seen = relay.join().unwrap();
    assert!(!seen.windows(8).any(|window| window == &STATE[..8]));
}

#[test]
fn a_peer_that_is_no_host_is_refused_and_nothing_waits_for_ever() {
    for said in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff]] {
        let (mut a, b) = pair();
        let destination = thread::spawn(move || receive(b, &mut Shelf::empty()));
        a.write_all(said).unwrap();
        drop(a);
        let ending = destination.join().unwrap();
        assert!(matches!(ending.error, Some(Error::Transport { .. })), "{ending}");
        assert_eq!(ending.outcome, Outcome::NotTaken);
    }
    let (a, _silent) = pair();
    a.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let ending = send(a, &mut Shelf::live(STATE));
    assert_eq!(ending.outcome, Outcome::StaysHere, "{ending}");
}

#[test]
fn a_destination_that_dies_before_the_commit_is_resumed_over_a_new_connection() {
    let (a, b) = pair();
    let destination = thread::spawn(move || {
        let mut shelf = Shelf::empty();
        let mut b_host = Host::new(2, 20);
        let mut host = DestinationHost { local: b_host.local(), journal: &mut shelf };
        let Accepted::Offer(mut receiver, _) = Receiver::accept(b, Options::default(), &mut host)
        else {
            panic!("refused")
        };
        receiver.prepare(&mut host).unwrap();
        drop(receiver);
        shelf
    });
    let mut at_a = Shelf::live(STATE);
    let sent = send(a, &mut at_a);
    let mut at_b = destination.join().unwrap();
    // The commit was written before or after the connection was found to be lost.
    assert_eq!(sent.outcome, Outcome::Committed, "{sent}");
    assert!(matches!(at_b.standing, Standing::Prepared { .. }));

    let (a, b) = pair();
    let destination = thread::spawn(move || {
        let ending = receive(b, &mut at_b);
        (ending, at_b)
    });
    let word = Word::by(ID, &at_a.standing, None).unwrap();
    let settled = resume(a, word, Options::default(), &mut Host::new(1, 11).local());
    let (received, at_b) = destination.join().unwrap();
    assert_eq!(settled.outcome, Outcome::Moved, "{settled}");
    assert_eq!(received.outcome, Outcome::LivesHere, "{received}");
    assert!(at_b.standing.is_live());
}

#[test]
fn the_log_is_only_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("handovers");
    let (a, _) = pair();
    drop(a.shutdown(std::net::Shutdown::Both));
    let ending = send(a, &mut Shelf::live(STATE));
    for time in [1, 2] {
        let line = AuditRecord::of(&ending, Side::Source, time).to_line();
        FileLog::open(&path).unwrap().append(&line).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().all(|line| line.contains("\"outcome\":\"stays-here\"")), "{text}");
}
