//! Arbitrary bytes in an authentic frame cannot be made without the session's keys, so this bends
//! the real envelope: what does not open must leave nothing behind.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::shelf::Shelf;
use common::{Host, departure, terms};
use libfuzzer_sys::fuzz_target;
use vtpm_handover::{Destination, DestinationHost, Source, SourceEvent, SourceHost};

fuzz_target!(|data: &[u8]| {
    let (mut a, mut b) = (Host::new(1, 10), Host::new(2, 20));
    let (mut at_a, mut at_b) = (Shelf::live(b"state"), Shelf::empty());
    let mut host_a = SourceHost { local: a.local(), journal: &mut at_a };
    let mut host_b = DestinationHost { local: b.local(), journal: &mut at_b };
    let Ok((mut source, hello)) = Source::start(departure(), &terms(), &mut host_a) else { return };
    let mut destination = Destination::new(&terms());
    let mut to_b = vec![hello];
    let mut envelope = None;
    while let Some(message) = to_b.pop() {
        for message in destination.receive(&mut host_b, &message).send {
            let mut step = source.receive(&mut host_a, &message);
            to_b.append(&mut step.send);
            if matches!(step.event, SourceEvent::Ready) {
                envelope = source.begin(&mut host_a, b"state").ok().and_then(|mut s| s.send.pop());
            }
        }
    }
    let Some(mut envelope) = envelope else { return };
    let whole = envelope.clone();
    for bend in data.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([bend[0], bend[1]])) % envelope.len();
        envelope[at] ^= bend[2];
    }
    envelope.truncate(whole.len() - data.len() % 3);
    destination.receive(&mut host_b, &envelope);
    drop((host_a, host_b));
    assert_eq!(at_b != Shelf::empty(), envelope == whole, "taken if and only if it is whole");
});
