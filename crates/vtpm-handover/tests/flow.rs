//! The handover as it should go, and everything that must be refused before a state leaves.

mod common;

use common::shelf::Shelf;
use common::{CHANNEL, Host, ID, departure, terms};
use vtpm_handover::pcr::PcrSelection;
use vtpm_handover::{
    Channel, Destination, DestinationEvent, DestinationHost, Ending, Error, Occupied, Outcome,
    Refusal, Resume, Secret, Side, Source, SourceEvent, SourceHost, Standing, Terms, TransferId,
    Word,
};

const STATE: &[u8] = b"everything that a TPM is";

struct World {
    a: Host,
    b: Host,
    at_a: Shelf,
    at_b: Shelf,
    /// All that went over the wire.
    wire: Vec<Vec<u8>>,
    source_terms: Terms,
    destination_terms: Terms,
}

struct Ends {
    source: Option<Ending>,
    destination: Option<Ending>,
}

impl World {
    fn new() -> Self {
        Self {
            a: Host::new(1, 10),
            b: Host::new(2, 20),
            at_a: Shelf::live(STATE),
            at_b: Shelf::empty(),
            wire: Vec::new(),
            source_terms: terms(),
            destination_terms: terms(),
        }
    }

    /// One whole handover; `bend` sees each message before it is delivered.
    fn run(&mut self, mut bend: impl FnMut(usize, &mut Vec<u8>)) -> Ends {
        let mut destination = Destination::new(&self.destination_terms);
        let mut host = SourceHost { local: self.a.local(), journal: &mut self.at_a };
        let started = Source::start(departure(), &self.source_terms, &mut host);
        let (mut source, hello) = match started {
            Ok(started) => started,
            Err(error) => panic!("{error}"),
        };
        let mut to_b = vec![hello];
        let mut ends = Ends { source: None, destination: None };
        for _ in 0..20 {
            let mut to_a = Vec::new();
            for mut message in std::mem::take(&mut to_b) {
                bend(self.wire.len(), &mut message);
                self.wire.push(message.clone());
                let mut host = DestinationHost { local: self.b.local(), journal: &mut self.at_b };
                let step = destination.receive(&mut host, &message);
                to_a.extend(step.send);
                if let DestinationEvent::Ended(ending) = step.event {
                    ends.destination = Some(*ending);
                }
            }
            for mut message in to_a {
                bend(self.wire.len(), &mut message);
                self.wire.push(message.clone());
                let mut host = SourceHost { local: self.a.local(), journal: &mut self.at_a };
                let mut step = source.receive(&mut host, &message);
                loop {
                    to_b.append(&mut step.send);
                    match step.event {
                        SourceEvent::Ready => step = source.begin(&mut host, STATE).unwrap(),
                        SourceEvent::Prepared => step = source.commit(&mut host).unwrap(),
                        SourceEvent::Ended(ending) => {
                            ends.source = Some(*ending);
                            break;
                        }
                        _ => break,
                    }
                }
            }
        }
        ends
    }

    fn settle(&mut self, transfer: Option<TransferId>) -> Result<Ends, Error> {
        let word = Word::by(ID, &self.at_a.standing, transfer)?;
        let mut destination = Destination::new(&self.destination_terms);
        let (mut source, hello) = Resume::start(word, &self.source_terms, &mut self.a.local())?;
        let mut ends = Ends { source: None, destination: None };
        let mut to_b = vec![hello];
        while let Some(message) = to_b.pop() {
            let mut host = DestinationHost { local: self.b.local(), journal: &mut self.at_b };
            let step = destination.receive(&mut host, &message);
            if let DestinationEvent::Ended(ending) = step.event {
                ends.destination = Some(*ending);
            }
            for message in step.send {
                let step = source.receive(&mut self.a.local(), &message);
                to_b.extend(step.send);
                if let SourceEvent::Ended(ending) = step.event {
                    ends.source = Some(*ending);
                }
            }
        }
        Ok(ends)
    }

    fn live(&self) -> (bool, bool) {
        (self.at_a.standing.is_live(), self.at_b.standing.is_live())
    }

    /// Refused before anything left: nothing was journalled, and the state is not on the wire.
    fn refused(&mut self) -> (Error, Ends) {
        let mut ends = self.run(|_, _| {});
        assert_eq!(self.live(), (true, false));
        assert_eq!(self.at_a.writes, 0, "nothing was journalled");
        assert_eq!(self.at_b, Shelf::empty());
        assert!(self.wire.len() < 9, "no envelope was sent");
        let error = |end: &mut Option<Ending>| end.as_mut().and_then(|end| end.error.take());
        let (source, destination) = (error(&mut ends.source), error(&mut ends.destination));
        let first = match (source, destination) {
            (Some(Error::Peer { .. }), Some(error)) | (Some(error), _) | (None, Some(error)) => {
                error
            }
            (None, None) => panic!("nobody refused"),
        };
        (first, ends)
    }
}

#[test]
fn an_instance_moves_and_lives_on_exactly_one_side() {
    let mut world = World::new();
    let ends = world.run(|_, _| {});
    let (source, destination) = (ends.source.unwrap(), ends.destination.unwrap());
    assert_eq!(source.outcome, Outcome::Moved, "{source}");
    assert_eq!(destination.outcome, Outcome::LivesHere, "{destination}");
    assert!(source.is_complete() && destination.is_complete());
    assert_eq!(world.live(), (false, true));
    assert_eq!(world.at_b.standing, Standing::Active { epoch: 1 });
    assert_eq!(world.at_b.state, STATE);
    assert!(world.at_a.state.is_empty(), "the source destroyed its own");
    assert_eq!(world.wire.len(), 12);
    assert_eq!(source.peer, Some(ends_host(&world.b)));
}

fn ends_host(host: &Host) -> vtpm_handover::HostId {
    use vtpm_handover::Chip;
    let mut chip = host.chip.clone();
    let nonce = vtpm_handover::Nonce([0; 32]);
    chip.evidence(&nonce, &PcrSelection::none()).unwrap().host()
}

#[test]
fn the_state_is_never_on_the_wire_in_the_clear() {
    let mut world = World::new();
    world.run(|_, _| {});
    for message in &world.wire {
        assert!(!message.windows(8).any(|window| window == &STATE[..8]));
    }
}

#[test]
fn an_instance_comes_back_over_its_tombstone_at_a_later_epoch() {
    let mut world = World::new();
    world.run(|_, _| {});
    // The way back: b is the source now.
    std::mem::swap(&mut world.a, &mut world.b);
    std::mem::swap(&mut world.at_a, &mut world.at_b);
    let ends = world.run(|_, _| {});
    assert_eq!(ends.source.unwrap().outcome, Outcome::Moved);
    assert_eq!(world.at_b.standing, Standing::Active { epoch: 2 });
    assert_eq!(world.live(), (false, true));
}

#[test]
fn a_stranger_is_refused_by_either_side() {
    let mut world = World::new();
    world.b.chip = common::SoftChip::new(9);
    let (error, ends) = world.refused();
    assert!(matches!(error, Error::Refused(Refusal::UntrustedEndorsement(_))), "{error}");
    assert_eq!(ends.source.unwrap().outcome, Outcome::StaysHere);

    let mut world = World::new();
    world.a.chip = common::SoftChip::new(9);
    let (error, ends) = world.refused();
    assert!(matches!(error, Error::Refused(Refusal::UntrustedEndorsement(_))), "{error}");
    assert_eq!(ends.destination.unwrap().outcome, Outcome::NotTaken);
}

#[test]
fn a_host_in_another_state_is_refused() {
    let mut world = World::new();
    world.b.chip.pcr_7 = [8; 32];
    let (error, _) = world.refused();
    assert!(matches!(error, Error::Refused(Refusal::WrongPcr { .. })), "{error}");
}

#[test]
fn a_host_that_may_not_take_its_side_is_refused() {
    let mut world = World::new();
    world.a.judge.refuses = Some(Side::Destination);
    let (error, _) = world.refused();
    assert!(matches!(error, Error::Refused(Refusal::SideNotAllowed { .. })), "{error}");
}

#[test]
fn a_recorded_quote_is_refused() {
    for on_a in [true, false] {
        let mut world = World::new();
        let host = if on_a { &mut world.a } else { &mut world.b };
        host.chip.replays = true;
        let (error, _) = world.refused();
        assert!(matches!(error, Error::Refused(Refusal::Relayed)), "{error}");
    }
}

#[test]
fn an_attestation_that_is_relayed_between_two_tls_sessions_is_refused() {
    let mut world = World::new();
    world.destination_terms.channel = Channel([0xee; 32]);
    let (error, _) = world.refused();
    assert!(matches!(error, Error::Refused(Refusal::Relayed)), "{error}");
}

#[test]
fn a_host_that_cannot_open_its_credential_is_refused() {
    let mut world = World::new();
    world.b.judge.spoils_challenges = true;
    let (error, _) = world.refused();
    assert!(matches!(error, Error::Chip(_)), "{error}");
    // An attestation key of one chip beside the endorsement key of another.
    let mut world = World::new();
    world.b.chip.ek_public = common::SoftChip::new(3).ek_public;
    world.b.judge.trusted.clear();
    world.b.judge.trusted.push(world.a.chip.ek_public.clone());
    let ends = world.run(|at, message| {
        if at == 5 {
            // Its answer is made with a wrong secret.
            let end = message.len() - 1;
            message[end] ^= 1;
        }
    });
    let error = ends.source.unwrap().error.unwrap();
    assert!(matches!(error, Error::Unproven), "{error}");
    assert_eq!(world.live(), (true, false));
}

#[test]
fn the_wrong_host_is_refused_even_if_it_is_trusted() {
    let mut world = World::new();
    let wanted = ends_host(&Host::new(3, 1));
    world.source_terms.peer = Some(wanted);
    let (error, _) = world.refused();
    assert!(matches!(error, Error::WrongHost { wanted: w, .. } if w == wanted), "{error}");
}

#[test]
fn a_peer_of_no_common_version_is_told_so() {
    let mut world = World::new();
    let ends = world.run(|at, message| {
        if at == 0 {
            message[4..8].copy_from_slice(b"\0\x09\0\x08");
        }
    });
    let error = ends.destination.unwrap().error.unwrap();
    assert!(matches!(error, Error::Version { theirs: 9, theirs_minimum: 8, .. }), "{error}");
    let told = ends.source.unwrap().error.unwrap().to_string();
    assert!(told.contains("no common version"), "{told}");
    assert_eq!(world.at_a.writes, 0);
}

#[test]
fn a_greeting_of_a_later_version_is_answered_in_the_common_one_but_cannot_be_bent_on_the_way() {
    // Somebody raises the newest version in the greeting: the destination still chooses 1, and
    // the transcripts differ, so the evidence is bound to another session.
    let mut world = World::new();
    let ends = world.run(|at, message| {
        if at == 0 {
            message[5] = 2;
        }
    });
    let error = ends.destination.unwrap().error.unwrap();
    assert!(matches!(error, Error::Refused(Refusal::Relayed)), "{error}");
}

#[test]
fn a_host_where_the_instance_lives_or_left_later_does_not_take_it() {
    let transfer = TransferId([5; 16]);
    let note = Secret::new(Vec::new());
    for (standing, wanted) in [
        (Standing::Active { epoch: 4 }, Occupied::Active),
        (Standing::Outgoing { transfer, epoch: 4, note: note.clone() }, Occupied::Leaving),
        (
            Standing::Tombstone { transfer, epoch: 4, note: note.clone() },
            Occupied::Later { left: 4, offered: 0 },
        ),
        (
            Standing::Prepared { transfer, epoch: 0, note },
            Occupied::Waiting { transfer, source: None },
        ),
    ] {
        let mut world = World::new();
        world.at_b.standing = standing.clone();
        let ends = world.run(|_, _| {});
        let error = ends.destination.unwrap().error.unwrap();
        assert!(matches!(error, Error::Occupied { why, .. } if why == wanted), "{error}");
        assert_eq!(world.at_b.standing, standing, "untouched");
        assert_eq!((world.at_a.writes, world.at_b.writes), (0, 0));
        let told = ends.source.unwrap().error.unwrap().to_string();
        assert!(told.contains("does not take instance"), "{told}");
    }
}

#[test]
fn a_state_that_outgrew_its_offer_stays() {
    let mut world = World::new();
    let mut departure = departure();
    departure.state_limit = 3;
    let mut host = SourceHost { local: world.a.local(), journal: &mut world.at_a };
    let (mut source, hello) = Source::start(departure, &terms(), &mut host).unwrap();
    let mut destination = Destination::new(&terms());
    let mut to_b = vec![hello];
    let mut ended = None;
    while let Some(message) = to_b.pop() {
        let mut at_b = DestinationHost { local: world.b.local(), journal: &mut world.at_b };
        for message in destination.receive(&mut at_b, &message).send {
            let step = source.receive(&mut host, &message);
            to_b.extend(step.send);
            if matches!(step.event, SourceEvent::Ready) {
                let step = source.begin(&mut host, STATE).unwrap();
                to_b.extend(step.send);
                let SourceEvent::Ended(ending) = step.event else { panic!("it was sent") };
                ended = Some(ending);
            }
        }
    }
    let ending = ended.unwrap();
    assert!(matches!(ending.error, Some(Error::TooLarge { length: 24, limit: 3 })), "{ending}");
    assert_eq!(world.live(), (true, false));
}

#[test]
fn a_lost_commit_is_sent_again_from_the_tombstone_as_often_as_need_be() {
    let mut world = World::new();
    let ends = world.run(|at, message| {
        if at == 10 {
            message.truncate(5);
        }
    });
    assert_eq!(ends.source.unwrap().outcome, Outcome::Committed);
    let ending = ends.destination.unwrap();
    assert_eq!(ending.outcome, Outcome::Waits);
    assert!(ending.to_string().contains("vtpm handover resume"), "{ending}");
    assert_eq!(world.live(), (false, false));
    for round in 0..3 {
        let ends = world.settle(None).unwrap();
        assert_eq!(ends.source.unwrap().outcome, Outcome::Moved, "{round}");
        assert_eq!(ends.destination.unwrap().outcome, Outcome::LivesHere);
        assert_eq!(world.live(), (false, true));
        assert_eq!(world.at_b.standing, Standing::Active { epoch: 1 });
    }
}

#[test]
fn another_host_cannot_settle_a_transfer() {
    let mut world = World::new();
    world.run(|at, message| {
        if at == 10 {
            message.clear();
        }
    });
    let real = std::mem::replace(&mut world.a, Host::new(3, 30));
    let ends = world.settle(None).unwrap();
    let error = ends.destination.unwrap().error.unwrap();
    assert!(matches!(error, Error::Contradiction { .. }), "{error}");
    assert_eq!(world.live(), (false, false));
    world.a = real;
    world.settle(None).unwrap();
    assert_eq!(world.live(), (false, true));
}

#[test]
fn what_was_called_back_is_discarded_when_it_is_settled_or_offered_again() {
    for settle in [true, false] {
        let mut world = World::new();
        // The word that the state is safe is lost: the source calls it back.
        let ends = world.run(|at, message| {
            if at == 9 {
                message[20] ^= 1;
            }
            if at == 10 {
                message.clear(); // the abort does not arrive either
            }
        });
        let ending = ends.source.unwrap();
        assert_eq!(ending.outcome, Outcome::StaysHere, "{ending}");
        assert_eq!(ends.destination.unwrap().outcome, Outcome::Waits);
        assert!(matches!(world.at_b.standing, Standing::Prepared { .. }));
        assert_eq!(world.live(), (true, false));
        if settle {
            let ends = world.settle(ending.transfer).unwrap();
            assert_eq!(ends.source.unwrap().outcome, Outcome::CalledBack);
            assert_eq!(ends.destination.unwrap().outcome, Outcome::NotTaken);
            assert_eq!(world.at_b.standing, Standing::Absent);
            assert_eq!(world.live(), (true, false));
        } else {
            let ends = world.run(|_, _| {});
            assert_eq!(ends.source.unwrap().outcome, Outcome::Moved);
            assert_eq!(world.live(), (false, true));
        }
    }
}

#[test]
fn every_failure_of_a_chip_leaves_the_instance_where_it_is() {
    for on_a in [true, false] {
        for after in 0..3 {
            let mut world = World::new();
            let host = if on_a { &mut world.a } else { &mut world.b };
            host.chip.fails_in = Some(after);
            let ends = world.run(|_, _| {});
            if on_a && after == 2 {
                // A source's chip has only two things to do.
                assert_eq!(world.live(), (false, true));
                continue;
            }
            assert_eq!(world.live(), (true, false), "{on_a} {after}");
            let failed = if on_a { ends.source } else { ends.destination }.unwrap();
            assert!(failed.to_string().contains("this host's TPM"), "{failed}");
        }
    }
}

#[test]
fn nothing_is_left_to_settle_where_nothing_is_open() {
    let mut world = World::new();
    assert!(matches!(world.settle(None), Err(Error::NothingToSettle(_))));
    world.at_a.standing = Standing::Absent;
    assert!(matches!(world.settle(None), Err(Error::NotActive(_))));
    let (transfer, note) = (TransferId([5; 16]), Secret::new(Vec::new()));
    world.at_a.standing = Standing::Outgoing { transfer, epoch: 0, note: note.clone() };
    assert!(matches!(world.settle(None), Err(Error::StillOutgoing(_))));
    world.at_a.standing = Standing::Tombstone { transfer, epoch: 0, note };
    assert!(matches!(world.settle(None), Err(Error::Note(_))));
    let _ = CHANNEL;
}
