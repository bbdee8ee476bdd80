//! A factory delivers two hundred vTPMs to two hosts over a network that loses connections at any
//! message, with orders repeated at will: each is delivered exactly once.
#![cfg(feature = "driver")]

mod common;

use std::collections::BTreeMap;

use common::shelf::Shelf;
use common::{Counter, Host, mac, terms};
use vtpm_handover::driver::{Books, BooksError};
use vtpm_handover::{
    Departure, Destination, DestinationEvent, DestinationHost, Ending, Entropy, HostId, InstanceId,
    Outcome, RequestId, Resume, Source, SourceEvent, SourceHost, SourceJournal, Standing, Word,
};

const ORDERS: u32 = 200;

/// The stand-in for a state: what makes one vTPM unlike every other.
fn state(instance: InstanceId) -> Vec<u8> {
    mac(b"state", &[&instance.0]).to_vec()
}

fn name(kind: &[u8], number: u32) -> [u8; 16] {
    let digest = mac(kind, &[&number.to_be_bytes()]);
    std::array::from_fn(|at| digest[at])
}

/// A network that loses the connection before any message, one time in eight.
struct Network(Counter);

impl Network {
    fn chance(&mut self, one_in: u8) -> bool {
        let mut byte = [0];
        self.0.fill(&mut byte).unwrap();
        byte[0].is_multiple_of(one_in)
    }
}

struct Target {
    host: Host,
    id: HostId,
    shelves: BTreeMap<InstanceId, Shelf>,
}

impl Target {
    fn new(number: u8) -> Self {
        let host = Host::new(number, u64::from(number));
        let id = HostId::of(&host.chip.ek_public);
        Self { host, id, shelves: BTreeMap::new() }
    }
}

enum Leaver {
    Source(Box<Source>),
    Resume(Box<Resume>),
}

/// One attempt to deliver; the connection may be lost at any message.
fn attempt(
    factory: &mut Host,
    shelf: &mut Shelf,
    departure: Departure,
    to: &mut Target,
    network: &mut Network,
) -> Option<Ending> {
    let arriving = to.shelves.entry(departure.instance).or_insert_with(Shelf::empty);
    let mut destination = Destination::new(&terms());
    let (mut leaver, hello) = match Word::by(departure.instance, &shelf.standing, None) {
        Ok(word) => {
            let (resume, hello) = Resume::start(word, &terms(), &mut factory.local()).unwrap();
            (Leaver::Resume(Box::new(resume)), hello)
        }
        Err(_) => {
            let mut host = SourceHost { local: factory.local(), journal: shelf };
            let (source, hello) = Source::start(departure, &terms(), &mut host).unwrap();
            (Leaver::Source(Box::new(source)), hello)
        }
    };
    let mut to_b = vec![hello];
    let mut to_a = Vec::new();
    let mut ended = None;
    while !to_b.is_empty() || !to_a.is_empty() {
        if network.chance(20) {
            // Lost: what was on its way is gone, and both sides find out.
            destination.disconnected();
            return match leaver {
                Leaver::Source(mut source) => {
                    let mut host = SourceHost { local: factory.local(), journal: shelf };
                    source.disconnected(&mut host);
                    ended
                }
                Leaver::Resume(_) => ended,
            };
        }
        if let Some(message) = to_b.pop() {
            let mut host = DestinationHost { local: to.host.local(), journal: arriving };
            let step = destination.receive(&mut host, &message);
            to_a.extend(step.send);
            if let DestinationEvent::Ended(ending) = step.event {
                assert!(ending.outcome != Outcome::Unknown, "{ending}");
            }
        } else if let Some(message) = to_a.pop() {
            let mut step = match &mut leaver {
                Leaver::Resume(resume) => resume.receive(&mut factory.local(), &message),
                Leaver::Source(source) => {
                    let mut host = SourceHost { local: factory.local(), journal: shelf };
                    let mut step = source.receive(&mut host, &message);
                    to_b.append(&mut step.send);
                    match step.event {
                        SourceEvent::Ready => {
                            source.begin(&mut host, &state(departure.instance)).unwrap()
                        }
                        SourceEvent::Prepared => source.commit(&mut host).unwrap(),
                        _ => step,
                    }
                }
            };
            to_b.append(&mut step.send);
            if let SourceEvent::Ended(ending) = step.event {
                ended = Some(*ending);
            }
        }
    }
    ended
}

#[test]
fn two_hundred_vtpms_are_delivered_exactly_once_each_over_a_faulty_network() {
    let directory = tempfile::tempdir().unwrap();
    let mut factory = Host::new(3, 3);
    let stock: Vec<_> = (0..ORDERS).map(|number| InstanceId(name(b"vtpm", number))).collect();
    let mut shelves: BTreeMap<_, _> =
        stock.iter().map(|id| (*id, Shelf::live(&state(*id)))).collect();
    let mut targets = [Target::new(1), Target::new(2)];
    let mut network = Network(Counter::from_seed(99));
    let (mut attempts, mut again) = (0, 0);

    for number in 0..ORDERS {
        let request = RequestId(name(b"order", number));
        let to = &mut targets[usize::from(number % 2 == 1)];
        loop {
            attempts += 1;
            // Each attempt is a process of its own, that knows what is in the books.
            let books = Books::open(directory.path()).unwrap();
            let order = books.order(request, stock.iter().copied()).unwrap();
            if order.delivered.is_some() {
                // Its answer was lost and the order is repeated.
                again += 1;
                break;
            }
            let shelf = shelves.get_mut(&order.instance).unwrap();
            if matches!(shelf.standing, Standing::Outgoing { .. }) {
                shelf.call_back().unwrap();
            }
            let departure = Departure { instance: order.instance, request, state_limit: 4096 };
            let ended = attempt(&mut factory, shelf, departure, to, &mut network);
            if ended.is_some_and(|ending| ending.outcome == Outcome::Moved) {
                books.delivered(&order, to.id).unwrap();
                if !network.chance(3) {
                    break;
                }
            }
        }
    }

    let books = Books::open(directory.path()).unwrap();
    let orders = books.all().unwrap();
    assert_eq!(orders.len(), ORDERS as usize);
    let mut live = BTreeMap::new();
    for target in &targets {
        for (id, shelf) in &target.shelves {
            if shelf.standing.is_live() {
                assert_eq!(shelf.state, state(*id), "it is the one that was made");
                assert_eq!(live.insert(*id, target.id), None, "delivered twice");
            }
        }
    }
    assert_eq!(live.len(), ORDERS as usize, "each was delivered");
    assert!(shelves.values().all(|shelf| !shelf.standing.is_live()), "and left the factory");
    for order in orders {
        assert_eq!(order.delivered, live.get(&order.instance).copied(), "the books are right");
    }
    assert!(attempts > ORDERS + 40, "the network was faulty: {attempts} attempts");
    assert!(again > 20, "orders were repeated: {again}");
    let more = books.order(RequestId([0xff; 16]), stock.iter().copied());
    assert!(matches!(more, Err(BooksError::NoStock)));
}

#[test]
fn the_books_are_one_processes_at_a_time_and_refuse_what_is_not_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let books = Books::open(directory.path()).unwrap();
    assert!(matches!(Books::open(directory.path()), Err(BooksError::InUse(_))));
    let request = RequestId([1; 16]);
    let order = books.order(request, [InstanceId([2; 16])]).unwrap();
    books.delivered(&order, HostId([3; 32])).unwrap();
    let order = books.find(request).unwrap().unwrap();
    books.delivered(&order, HostId([3; 32])).unwrap();
    let elsewhere = books.delivered(&order, HostId([4; 32]));
    assert!(matches!(elsewhere, Err(BooksError::Elsewhere { .. })));
    std::fs::write(directory.path().join(format!("{request}.json")), b"{}").unwrap();
    assert!(matches!(books.find(request), Err(BooksError::Damaged { .. })));
}
