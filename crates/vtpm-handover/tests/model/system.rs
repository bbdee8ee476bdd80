//! Two hosts, their journals, the sessions between them, and all that can happen next.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use vtpm_handover::{
    Channel, Destination, DestinationEvent, DestinationHost, Ending, Outcome, Resume, Source,
    SourceEvent, SourceHost, SourceJournal, Standing, Terms, TransferId, Word,
};

use crate::common::shelf::{Shelf, When};
use crate::common::{Host, ID, departure};

const STATE: &[u8] = b"the state";

/// How much may happen in one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Sessions in all.
    pub(crate) sessions: usize,
    /// Whether a session begins with its handshake done.
    pub(crate) whole_handshakes: bool,
    /// Crashes, failed writes, lost connections and cancellations in all.
    pub(crate) troubles: u8,
}

/// All messages that were ever sent in one direction, with what they do to a machine, hashed.
type Pool = Vec<(Vec<u8>, u64)>;

/// A message: which session it was sent in, and the how-manieth it was in its direction.
type Sent = (usize, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Open { from: usize, settles: bool },
    ToSource { session: usize, message: Sent, fails: Option<When> },
    ToDestination { session: usize, message: Sent, fails: Option<When> },
    Begin { session: usize, fails: Option<When> },
    Commit { session: usize, fails: Option<When> },
    CancelSource { session: usize },
    CancelDestination { session: usize },
    LoseSource { session: usize },
    LoseDestination { session: usize },
    Crash { host: usize },
    CallBack { host: usize },
}

#[derive(Clone)]
enum Leaver {
    Moves(Source),
    Settles(Resume),
}

/// What a machine has lived through: with the same past, it is the same machine.
type Past = Vec<u64>;

#[derive(Clone)]
struct Session {
    from: usize,
    /// It began with its handshake done.
    handshaken: bool,
    source: Option<(Leaver, Past)>,
    /// What the source waits for its own caller to do.
    turn: Turn,
    destination: Option<(Destination, Past)>,
    to_source: Pool,
    to_destination: Pool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Turn {
    Peer,
    Begin,
    Commit,
}

#[derive(Clone)]
pub(crate) struct System {
    shelves: [Shelf; 2],
    sessions: Vec<Session>,
    troubles: u8,
    lie: Option<String>,
}

impl System {
    pub(crate) fn new() -> Self {
        let shelves = [Shelf::live(STATE), Shelf::empty()];
        Self { shelves, sessions: Vec::new(), troubles: 0, lie: None }
    }

    pub(crate) fn live(&self) -> usize {
        self.shelves.iter().filter(|shelf| shelf.standing.is_live()).count()
    }

    pub(crate) fn lives_at(&self, host: usize, epoch: u64) -> bool {
        self.shelves[host].standing == Standing::Active { epoch }
    }

    pub(crate) fn lie(&self) -> Option<&str> {
        self.lie.as_deref()
    }

    pub(crate) fn break_by_activating_early(&mut self) {
        self.shelves[1].standing = Standing::Active { epoch: 1 };
    }

    pub(crate) fn actions(&self, limits: &Limits, actions: &mut Vec<Action>) {
        let trouble = self.troubles < limits.troubles;
        if self.sessions.len() < limits.sessions {
            for from in 0..2 {
                for settles in [false, true] {
                    if self.can_open(from, settles) {
                        actions.push(Action::Open { from, settles });
                    }
                }
            }
        }
        for (session, at) in self.sessions.iter().enumerate() {
            self.session_actions(session, at, trouble, actions);
        }
        for host in 0..2 {
            if trouble && self.sessions.iter().any(|at| at.is_on(host)) {
                actions.push(Action::Crash { host });
            }
            let outgoing = matches!(self.shelves[host].standing, Standing::Outgoing { .. });
            if outgoing && !self.leaves(host) {
                actions.push(Action::CallBack { host });
            }
        }
    }

    fn session_actions(
        &self,
        session: usize,
        at: &Session,
        trouble: bool,
        actions: &mut Vec<Action>,
    ) {
        let fails: &[_] =
            if trouble { &[None, Some(When::Before), Some(When::After)] } else { &[None] };
        let every = |pool: fn(&Session) -> &Pool| -> Vec<Sent> {
            let sessions = self.sessions.iter().enumerate();
            let same_way = sessions.filter(|(_, other)| other.from == at.from);
            // Of another session, one message stands for all: once the handshake is done, none
            // of them has a tag that fits.
            let most = |n| if n == session || !at.handshaken { usize::MAX } else { 1 };
            same_way
                .flat_map(|(n, other)| (0..pool(other).len().min(most(n))).map(move |i| (n, i)))
                .collect()
        };
        for fails in fails.iter().copied() {
            if at.source.is_some() {
                for message in every(|other| &other.to_source) {
                    actions.push(Action::ToSource { session, message, fails });
                }
                match at.turn {
                    Turn::Peer => {}
                    Turn::Begin => actions.push(Action::Begin { session, fails }),
                    Turn::Commit => actions.push(Action::Commit { session, fails }),
                }
            }
            if at.destination.is_some() {
                for message in every(|other| &other.to_destination) {
                    actions.push(Action::ToDestination { session, message, fails });
                }
            }
        }
        if trouble && matches!(at.source, Some((Leaver::Moves(_), _))) {
            actions.push(Action::CancelSource { session });
        }
        if trouble && at.source.is_some() {
            actions.push(Action::LoseSource { session });
        }
        if trouble && at.destination.is_some() {
            actions.push(Action::CancelDestination { session });
            actions.push(Action::LoseDestination { session });
        }
    }

    pub(crate) fn after(&self, limits: &Limits, action: Action) -> Self {
        let mut next = self.clone();
        match action {
            Action::Open { from, settles } => next.open(limits, from, settles),
            Action::ToSource { session, message, fails } => {
                let bytes = self.sessions[message.0].to_source[message.1].0.clone();
                next.tell_source(session, &bytes, fails);
            }
            Action::ToDestination { session, message, fails } => {
                let bytes = self.sessions[message.0].to_destination[message.1].0.clone();
                next.tell_destination(session, &bytes, fails);
            }
            Action::Begin { session, fails } => {
                next.source(session, b"begin", fails, |source, host| {
                    source.begin(host, STATE).unwrap()
                });
            }
            Action::Commit { session, fails } => {
                next.source(session, b"commit", fails, |source, host| source.commit(host).unwrap());
            }
            Action::CancelSource { session } => {
                next.troubles += 1;
                next.source(session, b"cancel", None, |source, host| source.cancel(host, "test"));
            }
            Action::LoseSource { session } => {
                next.troubles += 1;
                next.lose_source(session);
            }
            Action::CancelDestination { session } => {
                next.troubles += 1;
                let Some((mut machine, past)) = next.sessions[session].destination.take() else {
                    return next;
                };
                let step = machine.cancel("test");
                next.destination_did(session, machine, past, b"cancel", step);
            }
            Action::LoseDestination { session } => {
                next.troubles += 1;
                let Some((mut machine, past)) = next.sessions[session].destination.take() else {
                    return next;
                };
                let step = machine.disconnected();
                next.destination_did(session, machine, past, b"lost", step);
            }
            Action::Crash { host } => {
                next.troubles += 1;
                next.crash(host);
            }
            Action::CallBack { host } => next.shelves[host].call_back().unwrap(),
        }
        next
    }

    fn can_open(&self, from: usize, settles: bool) -> bool {
        if self.leaves(from) {
            return false;
        }
        match (&self.shelves[from].standing, settles) {
            (Standing::Active { .. }, false) => true,
            (Standing::Tombstone { .. } | Standing::Active { .. }, true) => {
                Word::by(ID, &self.shelves[from].standing, self.asked(from)).is_ok()
            }
            _ => false,
        }
    }

    /// The transfer that an operator would name: the one that waits on the other host.
    fn asked(&self, from: usize) -> Option<TransferId> {
        match &self.shelves[1 - from].standing {
            Standing::Prepared { transfer, .. } => Some(*transfer),
            _ => None,
        }
    }

    /// Whether a source has the instance's file open on a host.
    fn leaves(&self, host: usize) -> bool {
        self.sessions
            .iter()
            .any(|at| at.from == host && matches!(at.source, Some((Leaver::Moves(_), _))))
    }

    fn open(&mut self, limits: &Limits, from: usize, settles: bool) {
        let number = self.sessions.len();
        let mut hosts = hosts(number, b"open");
        let terms = terms(number);
        let (leaver, hello) = if settles {
            let word = Word::by(ID, &self.shelves[from].standing, self.asked(from)).unwrap();
            let (resume, hello) = Resume::start(word, &terms, &mut hosts[from].local()).unwrap();
            (Leaver::Settles(resume), hello)
        } else {
            let local = hosts[from].local();
            let mut host = SourceHost { local, journal: &mut self.shelves[from] };
            let (source, hello) = Source::start(departure(), &terms, &mut host).unwrap();
            (Leaver::Moves(source), hello)
        };
        self.sessions.push(Session {
            from,
            handshaken: limits.whole_handshakes,
            source: Some((leaver, Vec::new())),
            turn: Turn::Peer,
            destination: Some((Destination::new(&terms), Vec::new())),
            to_source: Vec::new(),
            to_destination: vec![hashed(hello)],
        });
        if limits.whole_handshakes {
            for step in 0..3 {
                let message = self.sessions[number].to_destination[step].0.clone();
                self.tell_destination(number, &message, None);
                let message = self.sessions[number].to_source[step].0.clone();
                self.tell_source(number, &message, None);
            }
            // What follows is the offer; the handshake's messages are of no use to anybody now.
            let session = &mut self.sessions[number];
            session.to_source.clear();
            session.to_destination.drain(..3);
        }
    }

    fn tell_source(&mut self, session: usize, message: &[u8], fails: Option<When>) {
        if matches!(self.sessions[session].source, Some((Leaver::Moves(_), _))) {
            self.source(session, message, fails, |source, host| source.receive(host, message));
        } else if let Some((Leaver::Settles(mut resume), past)) =
            self.sessions[session].source.take()
        {
            let from = self.sessions[session].from;
            let mut hosts = hosts(session, &past_hash(&past, message));
            let step = resume.receive(&mut hosts[from].local(), message);
            self.source_did(session, Leaver::Settles(resume), past, message, step);
        }
    }

    /// Has a leaving source do something.
    fn source(
        &mut self,
        session: usize,
        what: &[u8],
        fails: Option<When>,
        act: impl FnOnce(&mut Source, &mut SourceHost<'_>) -> vtpm_handover::Step<SourceEvent>,
    ) {
        let Some((Leaver::Moves(mut source), past)) = self.sessions[session].source.take() else {
            return;
        };
        let from = self.sessions[session].from;
        let mut hosts = hosts(session, &past_hash(&past, what));
        let writes = self.arm(from, fails);
        let mut host = SourceHost { local: hosts[from].local(), journal: &mut self.shelves[from] };
        let step = act(&mut source, &mut host);
        self.disarm(from, writes, fails);
        self.source_did(session, Leaver::Moves(source), past, what, step);
    }

    fn lose_source(&mut self, session: usize) {
        if let Some((Leaver::Settles(mut resume), past)) = self.sessions[session].source.clone() {
            let step = resume.disconnected();
            self.source_did(session, Leaver::Settles(resume), past, b"lost", step);
        } else {
            self.source(session, b"lost", None, Source::disconnected);
        }
    }

    fn source_did(
        &mut self,
        session: usize,
        leaver: Leaver,
        mut past: Past,
        what: &[u8],
        step: vtpm_handover::Step<SourceEvent>,
    ) {
        past.push(sense(what));
        let at = &mut self.sessions[session];
        at.to_destination.extend(step.send.into_iter().map(hashed));
        at.turn = Turn::Peer;
        at.source = Some((leaver, past));
        match step.event {
            SourceEvent::Ready => at.turn = Turn::Begin,
            SourceEvent::Prepared => at.turn = Turn::Commit,
            SourceEvent::Ended(ending) => {
                at.source = None;
                let host = at.from;
                self.check(host, &ending);
            }
            _ => {}
        }
    }

    fn tell_destination(&mut self, session: usize, message: &[u8], fails: Option<When>) {
        let Some((mut machine, past)) = self.sessions[session].destination.take() else { return };
        let to = 1 - self.sessions[session].from;
        let mut hosts = hosts(session, &past_hash(&past, message));
        let writes = self.arm(to, fails);
        let mut host = DestinationHost { local: hosts[to].local(), journal: &mut self.shelves[to] };
        let step = machine.receive(&mut host, message);
        self.disarm(to, writes, fails);
        self.destination_did(session, machine, past, message, step);
    }

    fn destination_did(
        &mut self,
        session: usize,
        machine: Destination,
        mut past: Past,
        what: &[u8],
        step: vtpm_handover::Step<DestinationEvent>,
    ) {
        past.push(sense(what));
        let at = &mut self.sessions[session];
        at.to_source.extend(step.send.into_iter().map(hashed));
        at.destination = Some((machine, past));
        if let DestinationEvent::Ended(ending) = step.event {
            at.destination = None;
            let host = 1 - at.from;
            self.check(host, &ending);
        }
    }

    fn arm(&mut self, host: usize, fails: Option<When>) -> usize {
        self.shelves[host].fails = fails;
        self.shelves[host].writes
    }

    /// A failure that met no write did not happen.
    fn disarm(&mut self, host: usize, writes: usize, fails: Option<When>) {
        self.shelves[host].fails = None;
        if fails.is_some() && self.shelves[host].writes > writes {
            self.troubles += 1;
        }
    }

    fn crash(&mut self, host: usize) {
        for at in &mut self.sessions {
            if at.from == host {
                at.source = None;
                at.turn = Turn::Peer;
            } else {
                at.destination = None;
            }
        }
    }

    /// Compares what an ending says with what the journal has.
    fn check(&mut self, host: usize, ending: &Ending) {
        let standing = &self.shelves[host].standing;
        let true_word = match ending.outcome {
            Outcome::StaysHere | Outcome::LivesHere => standing.is_live(),
            Outcome::Waits => matches!(standing, Standing::Prepared { .. }),
            // Another session may have brought it here since; this one did not.
            Outcome::NotTaken | Outcome::Moved | Outcome::CalledBack | Outcome::Unknown => true,
            Outcome::Committed => !matches!(standing, Standing::Outgoing { .. }),
            _ => false,
        };
        // Another session may have settled what this one left waiting.
        let settled = ending.outcome == Outcome::Waits && self.sessions.len() > 1;
        if !true_word && !settled {
            self.lie = Some(format!("{:?} while {standing:?}: {ending}", ending.outcome));
        }
        if ending.error.is_some() && ending.advice().is_empty() {
            self.lie = Some(format!("no advice: {ending}"));
        }
    }

    /// Whether a restart of both hosts and a resume lead to exactly one live instance.
    pub(crate) fn recovers(&self) -> bool {
        static KNOWN: Mutex<Option<HashMap<u64, bool>>> = Mutex::new(None);
        let key = self.journals();
        let known = |map: &Option<HashMap<u64, bool>>| map.as_ref()?.get(&key).copied();
        if let Some(answer) = known(&KNOWN.lock().unwrap_or_else(PoisonError::into_inner)) {
            return answer;
        }
        let answer = self.clone().recover();
        let mut map = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        map.get_or_insert_default().insert(key, answer);
        answer
    }

    fn recover(mut self) -> bool {
        for host in 0..2 {
            self.crash(host);
            if matches!(self.shelves[host].standing, Standing::Outgoing { .. }) {
                self.shelves[host].call_back().unwrap();
            }
        }
        let prepared = |shelf: &Shelf| matches!(shelf.standing, Standing::Prepared { .. });
        for from in 0..2 {
            if prepared(&self.shelves[1 - from]) && self.can_open(from, true) {
                let limits = Limits { sessions: 9, whole_handshakes: true, troubles: 0 };
                let number = self.sessions.len();
                self.open(&limits, from, true);
                let word = self.sessions[number].to_destination[0].0.clone();
                self.tell_destination(number, &word, None);
                let answer = self.sessions[number].to_source[0].0.clone();
                self.tell_source(number, &answer, None);
            }
        }
        let whole = |shelf: &Shelf| !shelf.standing.is_live() || shelf.state == STATE;
        self.live() == 1
            && self.shelves.iter().all(whole)
            && !self.shelves.iter().any(prepared)
            && self.lie.is_none()
    }

    fn journals(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for shelf in &self.shelves {
            hash_standing(&shelf.standing, &mut hasher);
            shelf.state.hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Session {
    fn is_on(&self, host: usize) -> bool {
        let source = self.from == host && self.source.is_some();
        source || (self.from != host && self.destination.is_some())
    }
}

/// Both hosts, with random bytes that depend on what is done with them and nothing else.
fn hosts(session: usize, what: &[u8]) -> [Host; 2] {
    let seed = hash(what) ^ (session as u64).rotate_left(17);
    [Host::new(1, seed), Host::new(2, seed ^ 0xffff_0000)]
}

fn terms(session: usize) -> Terms {
    let mut channel = [0xc4; 32];
    channel[0] = u8::try_from(session).unwrap();
    Terms::on(Channel(channel))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn hashed(message: Vec<u8>) -> (Vec<u8>, u64) {
    let sense = sense(&message);
    (message, sense)
}

/// What a message does to a machine, hashed: the words of an abort do nothing.
fn sense(message: &[u8]) -> u64 {
    const ABORT: u8 = 15;
    match message.get(8) {
        Some(&ABORT) => hash(&message[..10]),
        _ => hash(message),
    }
}

fn past_hash(past: &Past, what: &[u8]) -> Vec<u8> {
    past.iter().flat_map(|one| one.to_be_bytes()).chain(what.iter().copied()).collect()
}

fn hash_standing(standing: &Standing, hasher: &mut DefaultHasher) {
    format!("{standing:?}").hash(hasher);
    match standing {
        Standing::Outgoing { note, .. }
        | Standing::Prepared { note, .. }
        | Standing::Tombstone { note, .. } => note.expose().hash(hasher),
        _ => {}
    }
}

/// Two systems are one if nobody could ever tell them apart.
impl System {
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.journals(), self.troubles, &self.lie).hash(&mut hasher);
        for at in &self.sessions {
            at.from.hash(&mut hasher);
            at.turn.hash(&mut hasher);
            at.source.as_ref().map(|(_, past)| past).hash(&mut hasher);
            at.destination.as_ref().map(|(_, past)| past).hash(&mut hasher);
            // What was sent in a session that is over is only ever garbage in another.
            let over = at.handshaken && at.source.is_none() && at.destination.is_none();
            for pool in [&at.to_source, &at.to_destination] {
                (pool.is_empty() || over).hash(&mut hasher);
                let heard = pool.iter().take(if over { 0 } else { usize::MAX });
                heard.for_each(|(_, sense)| sense.hash(&mut hasher));
            }
        }
        hasher.finish()
    }
}

impl Hash for System {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key().hash(hasher);
    }
}

impl PartialEq for System {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for System {}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let standings = [&self.shelves[0].standing, &self.shelves[1].standing];
        write!(f, "{standings:?}, {} sessions, lie: {:?}", self.sessions.len(), self.lie)
    }
}
