//! The destination: the instance arrives at this host, or an earlier arrival is settled.
//!
//! ```text
//!                   offer              envelope                 commit
//!   handshake ----> accept ----------> prepared ---------------------> lives here
//!       |             |                    |  '------ abort ---------> discarded
//!       |             '- nothing here      '- disturbed: it waits for its source's word
//!       '-- settle -> lives here, or discarded
//! ```
//!
//! What is journalled: the envelope's state, as prepared, before the source is told that it is
//! safe; active before the source is told that it lives. From prepared on nothing but the
//! source's word, in an authentic message, makes it live or discards it.

use crate::ending::{Ending, Outcome};
use crate::error::{Error, Occupied, Shown};
use crate::handshake::{
    Established, Known, Local, Responded, Responder, Terms, ended_or_unexpected,
};
use crate::id::{HostId, InstanceId, TransferId};
use crate::journal::{DestinationJournal, Standing};
use crate::message::{BODY_MAX, Body, Header, Holding, Kind, Verdict};
use crate::note::{Note, NoteKind};
use crate::offer::Offer;
use crate::secret::Key;
use crate::source::Step;
use crate::transfer::{self, Binding};

/// This host as a destination.
pub struct DestinationHost<'a> {
    /// Its chip, judge and random bytes.
    pub local: Local<'a>,
    /// Its journals.
    pub journal: &'a mut dyn DestinationJournal,
}

/// Where a destination is.
#[derive(Debug)]
#[non_exhaustive]
pub enum DestinationEvent {
    /// It waits for the peer.
    Waits,
    /// The offer is accepted and all slow work is done; the source may freeze the instance.
    Accepted(Offer),
    /// The state is here, durably; the source may destroy its own. Be ready to run it.
    Prepared(Offer),
    /// It is over.
    Ended(Box<Ending>),
    /// It was over before, and this call did nothing.
    Over,
}

/// A destination in the midst of a handover.
///
/// Dropping it before it has ended says nothing to the peer and writes nothing to the journal.
#[derive(Clone)]
pub struct Destination {
    peer: Option<Box<Known>>,
    about: Option<(InstanceId, TransferId)>,
    phase: Phase,
}

#[derive(Clone)]
enum Phase {
    Handshake(Box<Responder>),
    /// The peer is known.
    Open(Box<Established>),
    /// The offer is accepted.
    Accepted(Box<Accepted>),
    /// Prepared in the journal, the source is told.
    Prepared(Box<Prepared>),
    Over,
}

#[derive(Clone)]
struct Accepted {
    with: Established,
    offer: Offer,
    key: Key,
    /// What the instance was here when the offer was accepted.
    seen: Standing,
    /// Everything said up to the accept.
    transcript: [u8; 32],
}

#[derive(Clone)]
struct Prepared {
    with: Established,
    offer: Offer,
    token_digest: [u8; 32],
}

type Taken = Result<Step<DestinationEvent>, Error>;

impl Destination {
    /// Waits for a source's greeting.
    #[must_use]
    pub fn new(terms: &Terms) -> Self {
        let phase = Phase::Handshake(Box::new(Responder::new(terms)));
        Self { peer: None, about: None, phase }
    }

    /// Who the peer is, once it is proven.
    #[must_use]
    pub fn peer(&self) -> Option<&Known> {
        self.peer.as_deref()
    }

    /// What the destination is doing, for people and logs.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake(responder) => responder.waits_for(),
            Phase::Open(_) => "waiting for an offer",
            Phase::Accepted(_) => "waiting for the state",
            Phase::Prepared(_) => "waiting for the source's commit",
            Phase::Over => "over",
        }
    }

    /// The longest body that a message may have now, in bytes: whoever reads from the peer buffers
    /// no more than this and a header.
    #[must_use]
    pub fn longest_body(&self) -> u32 {
        match &self.phase {
            Phase::Accepted(at) => Header::envelope_limit(at.offer.state_limit).max(BODY_MAX),
            _ => BODY_MAX,
        }
    }

    /// Takes a whole message of the peer.
    pub fn receive(
        &mut self,
        host: &mut DestinationHost<'_>,
        message: &[u8],
    ) -> Step<DestinationEvent> {
        let taken = match &mut self.phase {
            Phase::Handshake(responder) => match responder.receive(&mut host.local, message) {
                Ok(Responded::Send(message)) => Ok(waits(message)),
                Ok(Responded::Done(message, with)) => {
                    self.peer = Some(Box::new(with.theirs.clone()));
                    self.phase = Phase::Open(with);
                    Ok(waits(message))
                }
                Err(error) => Err(error),
            },
            Phase::Open(with) => {
                let with = with.as_ref().clone();
                self.opened(with, host, message)
            }
            Phase::Accepted(at) => {
                let at = at.as_ref().clone();
                return self.envelope(at, host, message);
            }
            Phase::Prepared(at) => {
                let at = at.as_ref().clone();
                return self.word(at, host.journal, message);
            }
            Phase::Over => return over(),
        };
        taken.unwrap_or_else(|error| self.fail(error))
    }

    /// Ends the handover because this host wants to. What is prepared already stays: the source
    /// is asked to call the instance back, and if it has committed meanwhile the instance is this
    /// host's all the same.
    ///
    /// After [`DestinationEvent::Prepared`] go on receiving: the source answers.
    pub fn cancel(&mut self, why: &str) -> Step<DestinationEvent> {
        let error = Error::Cancelled(why.into());
        match &mut self.phase {
            Phase::Prepared(at) => waits(at.with.session.abort(&error)),
            _ => self.fail(error),
        }
    }

    /// The connection has ended, or a message of the peer did not come in time.
    pub fn disconnected(&mut self) -> Step<DestinationEvent> {
        self.fail(Error::Disconnected)
    }

    /// The first message of an attested source: an offer, or word on an earlier transfer.
    fn opened(
        &mut self,
        mut with: Established,
        host: &mut DestinationHost<'_>,
        message: &[u8],
    ) -> Taken {
        let due = "an offer";
        match with.session.open(message, &[Kind::Offer, Kind::Settle], due)?.body {
            Body::Offer { offer, key } => {
                self.about = Some((offer.instance, offer.transfer));
                let seen = host.journal.standing(&offer.instance)?;
                check_room(&seen, &offer, &with.theirs.host)?;
                host.journal.get_ready(&offer)?;
                let key = host.local.chip.unwrap(&key)?;
                let confirmation = transfer::confirmation(&key, &with.session.transcript());
                let message = with.session.seal(&Body::Accept { confirmation });
                let transcript = with.session.transcript();
                let accepted = Accepted { with, offer, key, seen, transcript };
                self.phase = Phase::Accepted(Box::new(accepted));
                Ok(Step { send: vec![message], event: DestinationEvent::Accepted(offer) })
            }
            Body::Settle { instance, transfer, epoch, verdict } => {
                self.about = Some((instance, transfer));
                let place = Place { instance, transfer, epoch };
                Ok(self.settle(with, host.journal, place, &verdict))
            }
            other => Err(ended_or_unexpected(other, due)),
        }
    }

    fn envelope(
        &mut self,
        mut at: Accepted,
        host: &mut DestinationHost<'_>,
        message: &[u8],
    ) -> Step<DestinationEvent> {
        let (state, receipt) = match open_envelope(&mut at, message) {
            Ok(opened) => opened,
            Err(error) => return self.fail(error),
        };
        let Accepted { mut with, offer, key, seen, .. } = at;
        // Another session may have changed it while this one waited.
        match host.journal.standing(&offer.instance) {
            Ok(now) if now == seen => {}
            Ok(_) => {
                let why = Occupied::Changed;
                return self.fail(Error::Occupied { instance: offer.instance, why });
            }
            Err(error) => return self.fail(error.into()),
        }
        let token = transfer::commit_token(&key, &offer.transfer);
        let token_digest = transfer::token_digest(token.expose());
        let note = Note::new(NoteKind::Prepared, with.theirs.host, offer.request, token_digest);
        let replaced = match seen {
            // Its source has shown, after this host's accept, that it has the instance still: so
            // it called the earlier transfer back.
            Standing::Prepared { .. } => host.journal.discard(&offer.instance),
            _ => Ok(()),
        };
        let prepared = replaced.and_then(|()| host.journal.prepare(&offer, &state, &note.write()));
        if let Err(error) = prepared {
            return self.lost_track(Some(&mut with), error.into());
        }
        let message = with.session.seal(&Body::Prepared { receipt });
        self.phase = Phase::Prepared(Box::new(Prepared { with, offer, token_digest }));
        Step { send: vec![message], event: DestinationEvent::Prepared(offer) }
    }

    /// The source's word on what is prepared here.
    fn word(
        &mut self,
        mut at: Prepared,
        journal: &mut dyn DestinationJournal,
        message: &[u8],
    ) -> Step<DestinationEvent> {
        let due = "a commit";
        let received = match at.with.session.open(message, &[Kind::Commit], due) {
            Ok(received) => received,
            Err(error) => return self.fail(error),
        };
        let Offer { instance, transfer, epoch, .. } = at.offer;
        let place = Place { instance, transfer, epoch };
        match received.body {
            Body::Commit { token } if transfer::token_digest(&token) == at.token_digest => {
                self.arrive(at.with, journal, place, Body::Active)
            }
            Body::Abort { reason, text } if received.authentic => {
                self.leave(at.with, journal, place, Some(Error::Peer { reason, text }), None)
            }
            other => self.fail(Error::NotAuthentic(Shown(Some(other.kind())))),
        }
    }

    /// Word on an earlier transfer.
    fn settle(
        &mut self,
        with: Established,
        journal: &mut dyn DestinationJournal,
        place: Place,
        verdict: &Verdict,
    ) -> Step<DestinationEvent> {
        let standing = match journal.standing(&place.instance) {
            Ok(standing) => standing,
            Err(error) => return self.fail(error.into()),
        };
        match (decide(&standing, &with.theirs.host, &place, verdict), standing.is_live()) {
            (Ok(Settling::Activate), _) => {
                self.arrive(with, journal, place, Body::Settled(Holding::Arrived))
            }
            (Ok(Settling::Discard), _) => {
                let answer = Body::Settled(Holding::Nothing);
                self.leave(with, journal, place, None, Some(answer))
            }
            (Ok(Settling::Answer(holding)), live) => {
                let outcome = if live { Outcome::LivesHere } else { Outcome::NotTaken };
                self.done(with, Body::Settled(holding), outcome)
            }
            (Err(error), _) => {
                let mut with = with;
                let send = vec![with.session.abort(&error)];
                let waits = matches!(standing, Standing::Prepared { .. });
                self.phase = Phase::Over;
                let outcome = if waits { Outcome::Waits } else { Outcome::NotTaken };
                ended(send, self.ending(outcome, Some(error)))
            }
        }
    }

    /// Makes what is prepared live, if no other session has done so.
    fn arrive(
        &mut self,
        with: Established,
        journal: &mut dyn DestinationJournal,
        place: Place,
        answer: Body,
    ) -> Step<DestinationEvent> {
        let done = match journal.standing(&place.instance) {
            Ok(Standing::Prepared { transfer, .. }) if transfer == place.transfer => {
                journal.activate(&place.instance)
            }
            Ok(Standing::Active { epoch }) if epoch > place.epoch => Ok(()),
            Ok(_) => {
                let why = Occupied::Changed;
                let error = Error::Occupied { instance: place.instance, why };
                return self.lost_track(None, error);
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => self.done(with, answer, Outcome::LivesHere),
            Err(error) => self.lost_track(None, error.into()),
        }
    }

    /// Discards what is prepared, if no other session has changed it.
    fn leave(
        &mut self,
        mut with: Established,
        journal: &mut dyn DestinationJournal,
        place: Place,
        error: Option<Error>,
        answer: Option<Body>,
    ) -> Step<DestinationEvent> {
        let done = match journal.standing(&place.instance) {
            Ok(Standing::Prepared { transfer, .. }) if transfer == place.transfer => {
                journal.discard(&place.instance)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(failed) = done {
            return self.lost_track(None, failed.into());
        }
        let send = answer.iter().map(|answer| with.session.seal(answer)).collect();
        self.phase = Phase::Over;
        ended(send, self.ending(Outcome::NotTaken, error))
    }

    fn done(
        &mut self,
        mut with: Established,
        answer: Body,
        outcome: Outcome,
    ) -> Step<DestinationEvent> {
        let send = vec![with.session.seal(&answer)];
        self.phase = Phase::Over;
        ended(send, self.ending(outcome, None))
    }

    /// Ends the handover, by what is journalled so far.
    fn fail(&mut self, error: Error) -> Step<DestinationEvent> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (mut session, outcome) = match phase {
            Phase::Handshake(responder) => (responder.session, Outcome::NotTaken),
            Phase::Open(with) => (with.session, Outcome::NotTaken),
            Phase::Accepted(at) => (at.with.session, Outcome::NotTaken),
            Phase::Prepared(at) => (at.with.session, Outcome::Waits),
            Phase::Over => return over(),
        };
        let silent = matches!(error, Error::Disconnected | Error::Peer { .. });
        let send = if silent { Vec::new() } else { vec![session.abort(&error)] };
        ended(send, self.ending(outcome, Some(error)))
    }

    /// A write to the journal failed: nothing is known for certain.
    fn lost_track(
        &mut self,
        tell: Option<&mut Established>,
        error: Error,
    ) -> Step<DestinationEvent> {
        self.phase = Phase::Over;
        let send = tell.map(|with| with.session.abort(&error)).into_iter().collect();
        ended(send, self.ending(Outcome::Unknown, Some(error)))
    }

    fn ending(&self, outcome: Outcome, error: Option<Error>) -> Box<Ending> {
        Box::new(Ending {
            outcome,
            instance: self.about.map(|(instance, _)| instance),
            transfer: self.about.map(|(_, transfer)| transfer),
            peer: self.peer.as_ref().map(|known| known.host),
            error,
        })
    }
}

/// Which transfer of which instance, from which epoch.
#[derive(Debug, Clone, Copy)]
struct Place {
    instance: InstanceId,
    transfer: TransferId,
    epoch: u64,
}

/// Whether there is room for what is offered.
fn check_room(seen: &Standing, offer: &Offer, source: &HostId) -> Result<(), Error> {
    let why = match seen {
        Standing::Absent => return Ok(()),
        Standing::Tombstone { epoch, .. } if *epoch < offer.epoch => return Ok(()),
        Standing::Tombstone { epoch, .. } => Occupied::Later { left: *epoch, offered: offer.epoch },
        Standing::Active { .. } => Occupied::Active,
        Standing::Outgoing { .. } => Occupied::Leaving,
        Standing::Prepared { transfer, epoch, note } => {
            let from = Note::read(note.expose()).ok().map(|note| note.other);
            // Left over from a transfer that this very source called back.
            if from == Some(*source) && *epoch <= offer.epoch {
                return Ok(());
            }
            Occupied::Waiting { transfer: *transfer, source: from }
        }
    };
    Err(Error::Occupied { instance: offer.instance, why })
}

fn open_envelope(
    at: &mut Accepted,
    message: &[u8],
) -> Result<(zeroize::Zeroizing<Vec<u8>>, [u8; 32]), Error> {
    let due = "the state";
    let sealed = match at.with.session.open(message, &[Kind::Envelope], due)?.body {
        Body::Envelope(sealed) => sealed,
        other => return Err(ended_or_unexpected(other, due)),
    };
    let binding = Binding {
        version: at.with.session.version(),
        offer: &at.offer,
        source: at.with.theirs.identity,
        destination: at.with.ours,
        transcript: at.transcript,
    };
    let limit = at.offer.state_limit;
    let length = sealed.len().saturating_sub(crate::crypto::GCM_TAG);
    if length > limit as usize {
        return Err(Error::TooLarge { length, limit });
    }
    let state = binding
        .open(&at.key, &sealed)
        .map_err(|_| Error::NotAuthentic(Shown(Some(Kind::Envelope))))?;
    Ok((state, transfer::receipt(&at.key, &sealed)))
}

enum Settling {
    Activate,
    Discard,
    Answer(Holding),
}

/// What a source's word on an earlier transfer means for what is here.
fn decide(
    standing: &Standing,
    source: &HostId,
    place: &Place,
    verdict: &Verdict,
) -> Result<Settling, Error> {
    let transfer = place.transfer;
    let contradiction = |what| Err(Error::Contradiction { transfer, what });
    match (standing, verdict) {
        (Standing::Prepared { transfer: waiting, note, .. }, _) if *waiting == transfer => {
            let note = Note::read(note.expose()).map_err(|_| Error::Note(transfer))?;
            if note.other != *source {
                return contradiction("another host than its source speaks of it");
            }
            match verdict {
                Verdict::Committed { token } if transfer::token_digest(token) == *note.token => {
                    Ok(Settling::Activate)
                }
                Verdict::Committed { .. } => contradiction("the source's token is another one"),
                Verdict::CalledBack { .. } => Ok(Settling::Discard),
            }
        }
        (Standing::Active { .. }, Verdict::CalledBack { live: true }) => {
            contradiction("the instance is active on both")
        }
        (
            Standing::Active { epoch }
            | Standing::Outgoing { epoch, .. }
            | Standing::Prepared { epoch, .. }
            | Standing::Tombstone { epoch, .. },
            Verdict::Committed { .. },
        ) if *epoch > place.epoch => Ok(Settling::Answer(Holding::Arrived)),
        (Standing::Active { .. }, Verdict::Committed { .. }) => {
            contradiction("the instance is active at the destination from an earlier time")
        }
        _ => Ok(Settling::Answer(Holding::Nothing)),
    }
}

fn waits(message: Vec<u8>) -> Step<DestinationEvent> {
    Step { send: vec![message], event: DestinationEvent::Waits }
}

fn over() -> Step<DestinationEvent> {
    Step { send: Vec::new(), event: DestinationEvent::Over }
}

fn ended(send: Vec<Vec<u8>>, ending: Box<Ending>) -> Step<DestinationEvent> {
    Step { send, event: DestinationEvent::Ended(ending) }
}
