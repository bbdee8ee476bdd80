//! The source: the instance leaves this host.
//!
//! ```text
//!         receive ...                begin            receive         commit
//!   handshake ----> accepted: Ready ------> sent ---------> Prepared -------> committed
//!       |                 |                   |                 |                 |
//!   a failure leaves it active, unwritten     called back       called back       gone: resume
//! ```
//!
//! What is journalled: `begin` makes it outgoing before the envelope is sent; `commit` makes it a
//! tombstone before the commit is sent. Between the two, every failure calls it back first and
//! tells the destination after.

use crate::ending::{Ending, Outcome};
use crate::error::Error;
use crate::handshake::{
    Established, Initiated, Initiator, Known, Local, Terms, ended_or_unexpected,
};
use crate::id::{InstanceId, RequestId, TransferId};
use crate::journal::{SourceJournal, Standing};
use crate::message::{Body, Kind};
use crate::note::{Note, NoteKind};
use crate::offer::Offer;
use crate::secret::Key;
use crate::transfer::{self, Binding};
use crate::wrap::{WrapError, wrap};

/// This host as a source.
pub struct SourceHost<'a> {
    /// Its chip, judge and random bytes.
    pub local: Local<'a>,
    /// The journal of the instance that leaves.
    pub journal: &'a mut dyn SourceJournal,
}

/// What is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// The instance.
    pub instance: InstanceId,
    /// The order that this fills, or [`RequestId::NONE`].
    pub request: RequestId,
    /// The most bytes that its state will have, at most [`STATE_MAX`](crate::STATE_MAX).
    pub state_limit: u32,
}

/// What a call did: messages to send, in order, and where the handover is then.
///
/// The messages are to be sent before the event is acted upon. Messages that cannot be sent are
/// lost, and the connection is [over](Source::disconnected).
#[derive(Debug)]
pub struct Step<Event> {
    /// To be sent to the peer, in this order.
    pub send: Vec<Vec<u8>>,
    /// Where the handover is.
    pub event: Event,
}

/// Where a source is.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceEvent {
    /// It waits for the peer.
    Waits,
    /// All slow work is done: freeze the instance and call [`Source::begin`].
    Ready,
    /// The destination has the state, durably: call [`Source::commit`], or [`Source::cancel`].
    Prepared,
    /// It is over.
    Ended(Box<Ending>),
    /// It was over before, and this call did nothing.
    Over,
}

/// A source in the midst of a handover.
///
/// Dropping it before it has ended says nothing to the peer and writes nothing to the journal.
#[derive(Clone)]
pub struct Source {
    departure: Departure,
    transfer: TransferId,
    peer: Option<Box<Known>>,
    phase: Phase,
}

#[derive(Clone)]
enum Phase {
    Handshake(Box<Initiator>),
    /// The offer is sent.
    Offered(Box<Offered>),
    /// The key is confirmed.
    Ready(Box<Offered>),
    /// Outgoing in the journal, the envelope is sent.
    Sent(Box<Sent>),
    /// The destination has the state.
    Prepared(Box<Sent>),
    /// Tombstone in the journal, the commit is sent.
    Committed(Box<Established>),
    Over,
}

#[derive(Clone)]
struct Offered {
    with: Established,
    offer: Offer,
    key: Key,
}

#[derive(Clone)]
struct Sent {
    with: Established,
    receipt: [u8; 32],
    token: Key,
}

impl Source {
    /// Begins a handover; the message is to be sent.
    ///
    /// # Errors
    /// [`Error::NotActive`], [`Error::Journal`], [`Error::Chip`]; nothing has happened then.
    pub fn start(
        departure: Departure,
        terms: &Terms,
        host: &mut SourceHost<'_>,
    ) -> Result<(Self, Vec<u8>), Error> {
        epoch(departure.instance, host.journal)?;
        let mut id = [0; 16];
        host.local.entropy.fill(&mut id)?;
        let (initiator, hello) = Initiator::start(terms, &mut host.local)?;
        let phase = Phase::Handshake(Box::new(initiator));
        Ok((Self { departure, transfer: TransferId(id), peer: None, phase }, hello))
    }

    /// The name of this handover, for logs and for resuming it.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// Who the peer is, once it is proven.
    #[must_use]
    pub fn peer(&self) -> Option<&Known> {
        self.peer.as_deref()
    }

    /// What the source is doing, for people and logs.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake(initiator) => initiator.waits_for(),
            Phase::Offered(_) => "waiting for the offer to be accepted",
            Phase::Ready(_) => "ready for the state",
            Phase::Sent(_) => "waiting for word that the state is safe",
            Phase::Prepared(_) => "ready to commit",
            Phase::Committed(_) => "waiting for word that the instance lives there",
            Phase::Over => "over",
        }
    }

    /// Takes a whole message of the peer.
    pub fn receive(&mut self, host: &mut SourceHost<'_>, message: &[u8]) -> Step<SourceEvent> {
        let taken = match &mut self.phase {
            Phase::Handshake(initiator) => match initiator.receive(&mut host.local, message) {
                Ok(Initiated::Send(message)) => Ok(waits(message)),
                Ok(Initiated::Done(with)) => self.offer(*with, host),
                Err(error) => Err(error),
            },
            Phase::Offered(_) => self.accepted(host, message),
            Phase::Sent(_) => self.prepared(message),
            Phase::Committed(_) => self.active(message),
            Phase::Ready(at) => early(&mut at.with, message, "the state"),
            Phase::Prepared(at) => early(&mut at.with, message, "a commit"),
            Phase::Over => return over(),
        };
        taken.unwrap_or_else(|error| self.fail(host.journal, error))
    }

    /// The blackout: journals that the frozen `state` leaves, and seals it for the destination.
    ///
    /// A failure ends the handover.
    ///
    /// # Errors
    /// [`Error::Misuse`] unless it is [`SourceEvent::Ready`]; nothing has happened then.
    pub fn begin(
        &mut self,
        host: &mut SourceHost<'_>,
        state: &[u8],
    ) -> Result<Step<SourceEvent>, Error> {
        let Phase::Ready(offered) = &self.phase else {
            return Err(self.misuse("sending the state"));
        };
        let Offered { mut with, offer, key } = Offered::clone(offered);
        if state.len() > offer.state_limit as usize {
            let error = Error::TooLarge { length: state.len(), limit: offer.state_limit };
            return Ok(self.fail(host.journal, error));
        }
        let binding = Binding {
            version: with.session.version(),
            offer: &offer,
            source: with.ours,
            destination: with.theirs.identity,
            transcript: with.session.transcript(),
        };
        let Ok(sealed) = binding.seal(&key, state) else {
            return Ok(self.fail(host.journal, Error::Cipher));
        };
        let note = Note::new(NoteKind::Outgoing, with.theirs.host, offer.request, [0; 32]);
        if let Err(error) = host.journal.begin_outgoing(&offer.transfer, state, &note.write()) {
            return Ok(self.lost_track(Some(&mut with), error.into()));
        }
        let receipt = transfer::receipt(&key, &sealed);
        let token = transfer::commit_token(&key, &offer.transfer);
        let message = with.session.seal(&Body::Envelope(sealed));
        self.phase = Phase::Sent(Box::new(Sent { with, receipt, token }));
        Ok(waits(message))
    }

    /// The point of no return: destroys the state here, and tells the destination that the
    /// instance is its own.
    ///
    /// Whoever moves more than the vTPM calls this when all the rest is safe at the destination.
    ///
    /// # Errors
    /// [`Error::Misuse`] unless it is [`SourceEvent::Prepared`]; nothing has happened then.
    pub fn commit(&mut self, host: &mut SourceHost<'_>) -> Result<Step<SourceEvent>, Error> {
        let Phase::Prepared(sent) = &self.phase else { return Err(self.misuse("committing")) };
        let Sent { mut with, token, .. } = Sent::clone(sent);
        let (peer, request) = (with.theirs.host, self.departure.request);
        let note = Note::new(NoteKind::Tombstone, peer, request, *token.expose());
        if let Err(error) = host.journal.entomb(&note.write()) {
            // Whether it may still be called back is not known: the destination must wait.
            return Ok(self.lost_track(None, error.into()));
        }
        let message = with.session.seal(&Body::Commit { token: *token.expose() });
        self.phase = Phase::Committed(Box::new(with));
        Ok(waits(message))
    }

    /// Ends the handover because this host wants to. After [`commit`](Self::commit) that cannot
    /// bring the instance back.
    pub fn cancel(&mut self, host: &mut SourceHost<'_>, why: &str) -> Step<SourceEvent> {
        self.fail(host.journal, Error::Cancelled(why.into()))
    }

    /// The connection has ended, or a message of the peer did not come in time.
    pub fn disconnected(&mut self, host: &mut SourceHost<'_>) -> Step<SourceEvent> {
        self.fail(host.journal, Error::Disconnected)
    }

    fn offer(
        &mut self,
        mut with: Established,
        host: &mut SourceHost<'_>,
    ) -> Result<Step<SourceEvent>, Error> {
        self.peer = Some(Box::new(with.theirs.clone()));
        let Departure { instance, request, state_limit } = self.departure;
        let epoch = epoch(instance, host.journal)?;
        let offer = Offer { instance, transfer: self.transfer, request, epoch, state_limit };
        let key = transfer::draw_key(host.local.entropy)?;
        let wrapped = wrap(&key, &with.theirs.peer, host.local.entropy).map_err(wrap_error)?;
        let message = with.session.seal(&Body::Offer { offer, key: wrapped });
        self.phase = Phase::Offered(Box::new(Offered { with, offer, key }));
        Ok(waits(message))
    }

    fn accepted(
        &mut self,
        host: &mut SourceHost<'_>,
        message: &[u8],
    ) -> Result<Step<SourceEvent>, Error> {
        let due = "the offer's acceptance";
        let Phase::Offered(at) = &mut self.phase else { return Err(Error::Cipher) };
        let expected = transfer::confirmation(&at.key, &at.with.session.transcript());
        match at.with.session.open(message, &[Kind::Accept], due)?.body {
            Body::Accept { confirmation } if crate::crypto::same(&confirmation, &expected) => {}
            Body::Accept { .. } => return Err(Error::NoKey),
            other => return Err(ended_or_unexpected(other, due)),
        }
        let at = at.clone();
        host.journal.get_ready()?;
        self.phase = Phase::Ready(at);
        Ok(Step { send: Vec::new(), event: SourceEvent::Ready })
    }

    fn prepared(&mut self, message: &[u8]) -> Result<Step<SourceEvent>, Error> {
        let due = "word that the state is safe";
        let Phase::Sent(at) = &mut self.phase else { return Err(Error::Cipher) };
        match at.with.session.open(message, &[Kind::Prepared], due)?.body {
            Body::Prepared { receipt } if crate::crypto::same(&receipt, &at.receipt) => {}
            Body::Prepared { .. } => return Err(Error::NoKey),
            other => return Err(ended_or_unexpected(other, due)),
        }
        self.phase = Phase::Prepared(at.clone());
        Ok(Step { send: Vec::new(), event: SourceEvent::Prepared })
    }

    fn active(&mut self, message: &[u8]) -> Result<Step<SourceEvent>, Error> {
        let due = "word that the instance lives there";
        let Phase::Committed(with) = &mut self.phase else { return Err(Error::Cipher) };
        match with.session.open(message, &[Kind::Active], due)?.body {
            Body::Active => {}
            other => return Err(ended_or_unexpected(other, due)),
        }
        let ending = self.ending(Outcome::Moved, None);
        self.phase = Phase::Over;
        Ok(Step { send: Vec::new(), event: SourceEvent::Ended(ending) })
    }

    /// Ends the handover, by what is journalled so far.
    fn fail(&mut self, journal: &mut dyn SourceJournal, error: Error) -> Step<SourceEvent> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (mut session, journalled) = match phase {
            Phase::Handshake(initiator) => (initiator.session, false),
            Phase::Offered(at) | Phase::Ready(at) => (at.with.session, false),
            Phase::Sent(at) | Phase::Prepared(at) => (at.with.session, true),
            Phase::Committed(_) => {
                return ended(Vec::new(), self.ending(Outcome::Committed, Some(error)));
            }
            Phase::Over => return over(),
        };
        if journalled && let Err(failed) = journal.call_back() {
            // The first error is why it was to be called back; this one decides what to do.
            return ended(Vec::new(), self.ending(Outcome::Unknown, Some(failed.into())));
        }
        // A peer that ended it before it had the state waits for no answer.
        let silent = matches!(error, Error::Disconnected)
            || (matches!(error, Error::Peer { .. }) && !journalled);
        let send = if silent { Vec::new() } else { vec![session.abort(&error)] };
        ended(send, self.ending(Outcome::StaysHere, Some(error)))
    }

    /// A write to the journal failed: nothing is known for certain.
    fn lost_track(&mut self, tell: Option<&mut Established>, error: Error) -> Step<SourceEvent> {
        self.phase = Phase::Over;
        let send = tell.map(|with| with.session.abort(&error)).into_iter().collect();
        ended(send, self.ending(Outcome::Unknown, Some(error)))
    }

    fn misuse(&self, wanted: &'static str) -> Error {
        Error::Misuse { wanted, phase: self.phase() }
    }

    fn ending(&self, outcome: Outcome, error: Option<Error>) -> Box<Ending> {
        Box::new(Ending {
            outcome,
            instance: Some(self.departure.instance),
            transfer: Some(self.transfer),
            peer: self.peer.as_ref().map(|known| known.host),
            error,
        })
    }
}

fn epoch(instance: InstanceId, journal: &mut dyn SourceJournal) -> Result<u64, Error> {
    match journal.standing()? {
        Standing::Active { epoch } => Ok(epoch),
        _ => Err(Error::NotActive(instance)),
    }
}

fn waits(message: Vec<u8>) -> Step<SourceEvent> {
    Step { send: vec![message], event: SourceEvent::Waits }
}

fn over() -> Step<SourceEvent> {
    Step { send: Vec::new(), event: SourceEvent::Over }
}

fn ended(send: Vec<Vec<u8>>, ending: Box<Ending>) -> Step<SourceEvent> {
    Step { send, event: SourceEvent::Ended(ending) }
}

/// A message that comes while it is this side's turn: an abort, or a violation.
fn early(
    with: &mut Established,
    message: &[u8],
    due: &'static str,
) -> Result<Step<SourceEvent>, Error> {
    let received = with.session.open(message, &[], due)?;
    Err(ended_or_unexpected(received.body, due))
}

fn wrap_error(error: WrapError) -> Error {
    match error {
        WrapError::NoPoint => crate::judge::Refusal::BadEvidence {
            part: "handover key",
            detail: "its point is not on P-256".into(),
        }
        .into(),
        WrapError::Entropy(error) => error.into(),
    }
}
