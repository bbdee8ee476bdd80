//! Settling an earlier transfer on a fresh session: the source says again what became of it.
//!
//! A lost commit is sent again from the tombstone's note. A destination that still holds what was
//! called back is told to discard it. Both are attested anew, and either may be repeated.

use crate::crypto::MAC;
use crate::ending::{Ending, Outcome};
use crate::error::Error;
use crate::handshake::{
    Established, Initiated, Initiator, Known, Local, Terms, ended_or_unexpected,
};
use crate::id::{HostId, InstanceId, TransferId};
use crate::journal::Standing;
use crate::message::{Body, Holding, Kind, Verdict};
use crate::note::{Note, NoteKind};
use crate::secret::Key;
use crate::source::{SourceEvent, Step};

/// What a source has to say about a transfer, by its journal.
#[derive(Clone)]
pub struct Word {
    instance: InstanceId,
    transfer: TransferId,
    epoch: u64,
    /// The destination, if the journal still knows it.
    to: Option<HostId>,
    /// The commit token, if it was committed.
    token: Option<Key>,
    live: bool,
}

impl Word {
    /// What the journal says of `transfer`, or of the instance's open transfer if none is named.
    ///
    /// # Errors
    /// [`Error::StillOutgoing`], [`Error::NothingToSettle`], [`Error::NotActive`],
    /// [`Error::Note`].
    pub fn by(
        instance: InstanceId,
        standing: &Standing,
        transfer: Option<TransferId>,
    ) -> Result<Self, Error> {
        let called_back = |transfer, epoch, live| {
            Ok(Self { instance, transfer, epoch, to: None, token: None, live })
        };
        match (standing, transfer) {
            (Standing::Tombstone { transfer: left, epoch, note }, asked)
                if asked.is_none_or(|asked| asked == *left) =>
            {
                let note = Note::read(note.expose()).ok();
                let note = note.filter(|note| note.kind == NoteKind::Tombstone);
                let note = note.ok_or(Error::Note(*left))?;
                let mut token = note.token;
                let (to, token) = (Some(note.other), Some(Key::take(&mut token)));
                Ok(Self { instance, transfer: *left, epoch: *epoch, to, token, live: false })
            }
            (Standing::Outgoing { transfer, .. }, _) => Err(Error::StillOutgoing(*transfer)),
            (Standing::Active { epoch }, Some(asked)) => called_back(asked, *epoch, true),
            // It left by a later transfer, so this one was called back.
            (Standing::Tombstone { epoch, .. }, Some(asked)) => called_back(asked, *epoch, false),
            (Standing::Active { .. }, None) => Err(Error::NothingToSettle(instance)),
            _ => Err(Error::NotActive(instance)),
        }
    }

    /// The host that the transfer went to, if the journal still knows it.
    #[must_use]
    pub fn destination(&self) -> Option<HostId> {
        self.to
    }

    /// The transfer.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// Whether the instance is gone from this host by this transfer.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.token.is_some()
    }

    fn verdict(&self) -> Verdict {
        match &self.token {
            Some(token) => Verdict::Committed { token: *token.expose() as [u8; MAC] },
            None => Verdict::CalledBack { live: self.live },
        }
    }

    /// Where the instance is, as long as the destination has not answered.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.is_committed() { Outcome::Committed } else { Outcome::CalledBack }
    }
}

/// A source in the midst of settling a transfer. It writes nothing to a journal.
#[derive(Clone)]
pub struct Resume {
    word: Word,
    peer: Option<Box<Known>>,
    phase: Phase,
}

#[derive(Clone)]
enum Phase {
    Handshake(Box<Initiator>),
    Said(Box<Established>),
    Over,
}

impl Resume {
    /// Begins a session; the message is to be sent.
    ///
    /// # Errors
    /// [`Error::Chip`].
    pub fn start(
        word: Word,
        terms: &Terms,
        local: &mut Local<'_>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let terms = Terms { peer: word.to.or(terms.peer), ..*terms };
        let (initiator, hello) = Initiator::start(&terms, local)?;
        Ok((Self { word, peer: None, phase: Phase::Handshake(Box::new(initiator)) }, hello))
    }

    /// Takes a whole message of the peer.
    pub fn receive(&mut self, local: &mut Local<'_>, message: &[u8]) -> Step<SourceEvent> {
        let due = "an answer on the earlier transfer";
        let taken = match &mut self.phase {
            Phase::Handshake(initiator) => {
                initiator.receive(local, message).map(|next| match next {
                    Initiated::Send(message) => message,
                    Initiated::Done(with) => self.say(*with),
                })
            }
            Phase::Said(with) => match with.session.open(message, &[Kind::Settled], due) {
                Ok(received) => match received.body {
                    Body::Settled(holding) => return self.settled(holding),
                    other => Err(ended_or_unexpected(other, due)),
                },
                Err(error) => Err(error),
            },
            Phase::Over => return Step { send: Vec::new(), event: SourceEvent::Over },
        };
        match taken {
            Ok(message) => Step { send: vec![message], event: SourceEvent::Waits },
            Err(error) => self.fail(error),
        }
    }

    /// The connection has ended, or a message of the peer did not come in time.
    pub fn disconnected(&mut self) -> Step<SourceEvent> {
        self.fail(Error::Disconnected)
    }

    fn say(&mut self, mut with: Established) -> Vec<u8> {
        let Word { instance, transfer, epoch, .. } = self.word;
        let verdict = self.word.verdict();
        let message = with.session.seal(&Body::Settle { instance, transfer, epoch, verdict });
        self.peer = Some(Box::new(with.theirs.clone()));
        self.phase = Phase::Said(Box::new(with));
        message
    }

    fn settled(&mut self, holding: Holding) -> Step<SourceEvent> {
        let transfer = self.word.transfer;
        self.phase = Phase::Over;
        let (outcome, error) = match (self.word.is_committed(), holding) {
            (true, Holding::Arrived) => (Outcome::Moved, None),
            (true, Holding::Nothing) => (Outcome::Committed, Some(Error::NothingThere(transfer))),
            (false, Holding::Nothing) => (self.word.outcome(), None),
            (false, Holding::Arrived) => {
                let what = "it was called back here, and arrived there";
                (Outcome::Unknown, Some(Error::Contradiction { transfer, what }))
            }
        };
        self.end(Vec::new(), outcome, error)
    }

    fn fail(&mut self, error: Error) -> Step<SourceEvent> {
        let mut session = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Handshake(initiator) => initiator.session,
            Phase::Said(with) => with.session,
            Phase::Over => return Step { send: Vec::new(), event: SourceEvent::Over },
        };
        let silent = matches!(error, Error::Disconnected | Error::Peer { .. });
        let send = if silent { Vec::new() } else { vec![session.abort(&error)] };
        self.end(send, self.word.outcome(), Some(error))
    }

    fn end(&self, send: Vec<Vec<u8>>, outcome: Outcome, error: Option<Error>) -> Step<SourceEvent> {
        let ending = Ending {
            outcome,
            instance: Some(self.word.instance),
            transfer: Some(self.word.transfer),
            peer: self.peer.as_ref().map(|known| known.host),
            error,
        };
        Step { send, event: SourceEvent::Ended(Box::new(ending)) }
    }
}
