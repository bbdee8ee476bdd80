//! One handover with one disturbance, and what must hold after it.

use vtpm_handover::{
    Destination, DestinationEvent, DestinationHost, DestinationJournal, Ending, Outcome, Resume,
    Source, SourceEvent, SourceHost, SourceJournal, Standing, Word,
};

use crate::common::shelf::Shelf;
use crate::common::{Host, ID, departure, terms};
use crate::journal::StoreJournal;

const STATE: &[u8] = b"the state of the vTPM";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

/// When a side dies: before it sees a message, after it acted on it but before its answer left,
/// after its answer left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    Before,
    Handled,
    Answered,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Disturbance {
    None,
    Cut { message: usize, delivered: bool },
    Kill { side: Side, message: usize, when: Kill },
    Disk { side: Side, operation: usize },
    Flip { message: usize, at: usize, flip: u8 },
    Truncate { message: usize, length: usize },
    Replace { message: usize, with: usize },
    Repeat { message: usize },
}

/// A journal that can be either of the two.
enum Keeper {
    Shelf(Shelf),
    Store(Box<StoreJournal>),
}

impl Keeper {
    fn standing(&self) -> Standing {
        match self {
            Self::Shelf(shelf) => shelf.standing.clone(),
            Self::Store(store) => StoreJournal::standing(store),
        }
    }

    fn state(&self) -> Vec<u8> {
        match self {
            Self::Shelf(shelf) => shelf.state.clone(),
            Self::Store(store) => store.state(),
        }
    }

    fn as_source(&mut self) -> &mut dyn SourceJournal {
        match self {
            Self::Shelf(shelf) => shelf,
            Self::Store(store) => store.as_mut(),
        }
    }

    fn as_destination(&mut self) -> &mut dyn DestinationJournal {
        match self {
            Self::Shelf(shelf) => shelf,
            Self::Store(store) => store.as_mut(),
        }
    }
}

/// Two hosts and what is between them.
pub(crate) struct Pair {
    a: Host,
    b: Host,
    at_a: Keeper,
    at_b: Keeper,
    source: Option<Source>,
    destination: Option<Destination>,
    /// Messages on their way, and all that were ever sent.
    queue: Vec<(Side, Vec<u8>)>,
    sent: Vec<Vec<u8>>,
    delivered: usize,
    endings: Vec<Ending>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let at_a = Keeper::Store(Box::new(StoreJournal::live(STATE)));
        Self::with(at_a, Keeper::Store(Box::new(StoreJournal::empty())))
    }

    fn with(mut at_a: Keeper, at_b: Keeper) -> Self {
        let mut a = Host::new(1, 100);
        let mut host = SourceHost { local: a.local(), journal: at_a.as_source() };
        let (source, hello) = Source::start(departure(), &terms(), &mut host).unwrap();
        Self {
            a,
            b: Host::new(2, 200),
            at_a,
            at_b,
            source: Some(source),
            destination: Some(Destination::new(&terms())),
            queue: vec![(Side::Destination, hello.clone())],
            sent: vec![hello],
            delivered: 0,
            endings: Vec::new(),
        }
    }

    /// In memory, with the messages before this one delivered.
    pub(crate) fn before(message: usize) -> Self {
        let (at_a, at_b) = (Keeper::Shelf(Shelf::live(STATE)), Keeper::Shelf(Shelf::empty()));
        let mut pair = Self::with(at_a, at_b);
        while pair.delivered < message {
            pair.step(&Disturbance::None);
        }
        pair
    }

    /// The same again, in memory.
    pub(crate) fn branch(&self) -> Self {
        let copy = |keeper: &Keeper| match keeper {
            Keeper::Shelf(shelf) => Keeper::Shelf(shelf.clone()),
            Keeper::Store(_) => panic!("a store cannot be copied"),
        };
        Self {
            a: self.a.clone(),
            b: self.b.clone(),
            at_a: copy(&self.at_a),
            at_b: copy(&self.at_b),
            source: self.source.clone(),
            destination: self.destination.clone(),
            queue: self.queue.clone(),
            sent: self.sent.clone(),
            delivered: self.delivered,
            endings: Vec::new(),
        }
    }

    /// Runs to the end; answers how many messages were delivered.
    pub(crate) fn run(&mut self, disturbance: &Disturbance) -> usize {
        if let Disturbance::Disk { side, operation } = disturbance {
            self.disk(*side).die_at(*operation);
        }
        while !self.queue.is_empty() {
            self.step(disturbance);
            assert!(!self.two_live(), "{disturbance:?}");
        }
        // Whoever still waits finds the connection closed.
        self.lose_connection();
        assert!(!self.two_live(), "{disturbance:?}");
        self.delivered
    }

    fn step(&mut self, disturbance: &Disturbance) {
        let (to, mut message) = self.queue.remove(0);
        let number = self.delivered;
        self.delivered += 1;
        match *disturbance {
            Disturbance::Cut { message: at, delivered } if at == number => {
                if delivered {
                    self.deliver(to, &message);
                }
                self.queue.clear();
                return self.lose_connection();
            }
            Disturbance::Kill { side, message: at, when } if at == number => {
                return self.kill(side, to, &message, when);
            }
            Disturbance::Flip { message: number_, at, flip } if number_ == number => {
                message[at] ^= flip;
            }
            Disturbance::Truncate { message: at, length } if at == number => {
                message.truncate(length);
            }
            Disturbance::Replace { message: at, with } if at == number => {
                if let Some(other) = self.sent.get(with) {
                    message = other.clone();
                }
            }
            Disturbance::Repeat { message: at } if at == number => self.deliver(to, &message),
            _ => {}
        }
        self.deliver(to, &message);
    }

    fn deliver(&mut self, to: Side, message: &[u8]) {
        let first = self.queue.len();
        match to {
            Side::Source => self.tell_source(message),
            Side::Destination => self.tell_destination(message),
        }
        self.sent.extend(self.queue[first..].iter().map(|(_, message)| message.clone()));
    }

    fn tell_source(&mut self, message: &[u8]) {
        let Some(source) = &mut self.source else { return };
        let mut host = SourceHost { local: self.a.local(), journal: self.at_a.as_source() };
        let mut step = source.receive(&mut host, message);
        loop {
            let send = std::mem::take(&mut step.send);
            self.queue.extend(send.into_iter().map(|message| (Side::Destination, message)));
            match step.event {
                SourceEvent::Ready => step = source.begin(&mut host, STATE).unwrap(),
                SourceEvent::Prepared => step = source.commit(&mut host).unwrap(),
                SourceEvent::Ended(ending) => {
                    self.endings.push(*ending);
                    self.source = None;
                    return;
                }
                _ => return,
            }
        }
    }

    fn tell_destination(&mut self, message: &[u8]) {
        let Some(destination) = &mut self.destination else { return };
        let mut host =
            DestinationHost { local: self.b.local(), journal: self.at_b.as_destination() };
        let step = destination.receive(&mut host, message);
        self.queue.extend(step.send.into_iter().map(|message| (Side::Source, message)));
        if let DestinationEvent::Ended(ending) = step.event {
            self.endings.push(*ending);
            self.destination = None;
        }
    }

    fn kill(&mut self, side: Side, to: Side, message: &[u8], when: Kill) {
        if side != to || when == Kill::Before {
            self.forget(side);
            self.deliver(to, message);
        } else {
            let first = self.queue.len();
            self.deliver(to, message);
            self.forget(side);
            if when == Kill::Handled {
                self.queue.truncate(first);
            }
        }
    }

    /// A dead process says nothing and journals nothing.
    fn forget(&mut self, side: Side) {
        match side {
            Side::Source => self.source = None,
            Side::Destination => self.destination = None,
        }
    }

    fn lose_connection(&mut self) {
        if let Some(mut source) = self.source.take() {
            let mut host = SourceHost { local: self.a.local(), journal: self.at_a.as_source() };
            if let SourceEvent::Ended(ending) = source.disconnected(&mut host).event {
                self.endings.push(*ending);
            }
        }
        if let Some(mut destination) = self.destination.take()
            && let DestinationEvent::Ended(ending) = destination.disconnected().event
        {
            self.endings.push(*ending);
        }
    }

    pub(crate) fn live(&self) -> (bool, bool) {
        (self.at_a.standing().is_live(), self.at_b.standing().is_live())
    }

    pub(crate) fn two_live(&self) -> bool {
        self.live() == (true, true)
    }

    pub(crate) fn length_of(&mut self, message: usize) -> usize {
        self.run(&Disturbance::None);
        self.sent[message].len()
    }

    fn disk(&self, side: Side) -> &crate::disk::Disk {
        let keeper = if side == Side::Source { &self.at_a } else { &self.at_b };
        match keeper {
            Keeper::Store(store) => store.disk(),
            Keeper::Shelf(_) => panic!("there is no disk"),
        }
    }

    pub(crate) fn died(&self, side: Side) -> bool {
        self.disk(side).is_dead()
    }

    /// Both processes start anew; what was on its way out and not committed is called back.
    pub(crate) fn restart(&mut self) {
        (self.source, self.destination) = (None, None);
        self.endings.clear();
        for keeper in [&mut self.at_a, &mut self.at_b] {
            if let Keeper::Store(store) = keeper {
                store.restart();
            }
            if matches!(keeper.standing(), Standing::Outgoing { .. }) {
                keeper.as_source().call_back().unwrap();
            }
        }
    }

    /// The operator resumes; the disk of one side may die in it.
    pub(crate) fn settle(&mut self, dies: Option<(Side, usize)>) {
        let asked = match self.at_b.standing() {
            Standing::Prepared { transfer, .. } => Some(transfer),
            _ => None,
        };
        let Ok(word) = Word::by(ID, &self.at_a.standing(), asked) else { return };
        if let Some((side, operation)) = dies {
            self.disk(side).die_at(operation);
        }
        let (mut source, hello) = Resume::start(word, &terms(), &mut self.a.local()).unwrap();
        let mut destination = Destination::new(&terms());
        let mut to_b = vec![hello];
        while let Some(message) = to_b.pop() {
            let mut host =
                DestinationHost { local: self.b.local(), journal: self.at_b.as_destination() };
            for message in destination.receive(&mut host, &message).send {
                to_b.extend(source.receive(&mut self.a.local(), &message).send);
            }
        }
    }

    pub(crate) fn check(&mut self, case: &str) {
        self.check_endings(case);
        self.restart();
        assert!(!self.two_live(), "{case}");
        self.settle(None);
        self.check_one(case);
    }

    pub(crate) fn check_in_memory(&mut self, case: &str) {
        self.check(case);
    }

    /// What each side said last is true, and says what to do.
    fn check_endings(&self, case: &str) {
        for ending in &self.endings {
            let text = ending.to_string();
            if ending.error.is_some() {
                let says = ["resume", "hand it over again", "look there", "open its file again"];
                assert!(says.iter().any(|what| text.contains(what)), "{case}: {text}");
            }
            let (a, b) = (self.at_a.standing(), self.at_b.standing());
            let fits = match ending.outcome {
                Outcome::StaysHere => a.is_live(),
                Outcome::Moved | Outcome::Committed => matches!(a, Standing::Tombstone { .. }),
                Outcome::NotTaken => matches!(b, Standing::Absent),
                Outcome::Waits => matches!(b, Standing::Prepared { .. }),
                Outcome::LivesHere => b.is_live(),
                _ => true,
            };
            assert!(fits, "{case}: {text} while {a:?} and {b:?}");
        }
    }

    fn check_one(&self, case: &str) {
        let live: Vec<_> =
            [&self.at_a, &self.at_b].into_iter().filter(|at| at.standing().is_live()).collect();
        assert_eq!(live.len(), 1, "{case}: {:?} {:?}", self.at_a.standing(), self.at_b.standing());
        assert_eq!(live[0].state(), STATE, "{case}");
        assert!(!matches!(self.at_b.standing(), Standing::Prepared { .. }), "{case}");
    }
}
