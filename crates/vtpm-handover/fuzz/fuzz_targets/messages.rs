//! A peer that says anything at any step: the first byte of each piece chooses how much of the
//! proper handover comes before it, and whether it is aimed at the source or at the destination.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::shelf::Shelf;
use common::{Host, departure, terms};
use libfuzzer_sys::fuzz_target;
use vtpm_handover::{
    Destination, DestinationHost, HEADER, Header, Source, SourceEvent, SourceHost,
};

fuzz_target!(|data: &[u8]| {
    let Some((&step, said)) = data.split_first() else { return };
    if let Some(header) = said.first_chunk::<HEADER>() {
        let _ = Header::read(header);
    }
    let (mut a, mut b) = (Host::new(1, 10), Host::new(2, 20));
    let (mut at_a, mut at_b) = (Shelf::live(b"state"), Shelf::empty());
    let mut host_a = SourceHost { local: a.local(), journal: &mut at_a };
    let mut host_b = DestinationHost { local: b.local(), journal: &mut at_b };
    let Ok((mut source, hello)) = Source::start(departure(), &terms(), &mut host_a) else { return };
    let mut destination = Destination::new(&terms());
    let mut to_b = vec![hello];
    for _ in 0..step % 7 {
        let Some(message) = to_b.pop() else { break };
        for message in destination.receive(&mut host_b, &message).send {
            let mut next = source.receive(&mut host_a, &message);
            to_b.append(&mut next.send);
            let next = match next.event {
                SourceEvent::Ready => source.begin(&mut host_a, b"state"),
                SourceEvent::Prepared => source.commit(&mut host_a),
                _ => continue,
            };
            to_b.extend(next.into_iter().flat_map(|step| step.send));
        }
    }
    if step < 128 {
        destination.receive(&mut host_b, said);
    } else {
        source.receive(&mut host_a, said);
    }
    drop((host_a, host_b));
    assert!(!(at_a.standing.is_live() && at_b.standing.is_live()), "two live");
});
