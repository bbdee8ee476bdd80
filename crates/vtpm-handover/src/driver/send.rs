//! The source on a connection.

use std::io::{Read, Write};

use super::link::Link;
use super::{Options, unbegun};
use crate::ending::{Ending, Outcome};
use crate::error::Error;
use crate::handshake::{Known, Local};
use crate::id::TransferId;
use crate::message::BODY_MAX;
use crate::resume::{Resume, Word};
use crate::source::{Departure, Source, SourceEvent, SourceHost, Step};

/// A source with a connection to its destination.
///
/// Dropped before its end, it says nothing more: the destination finds the connection lost.
pub struct Sender<S: Read + Write> {
    link: Link<S>,
    source: Source,
}

/// What the source has come to.
enum Reached {
    Ready,
    Prepared,
    Ended(Box<Ending>),
}

impl<S: Read + Write> Sender<S> {
    /// Everything that is slow, while the guest still runs: both hosts prove who they are, and the
    /// destination opens the transfer key. When this returns, freeze the instance.
    ///
    /// # Errors
    /// How it ended; the instance stays.
    pub fn connect(
        stream: S,
        departure: Departure,
        options: Options,
        host: &mut SourceHost<'_>,
    ) -> Result<Self, Box<Ending>> {
        let stays = |error| unbegun(Outcome::StaysHere, Some(departure.instance), error);
        let link = Link::connect(stream).map_err(stays)?;
        let terms = options.on(link.channel());
        let (source, hello) = Source::start(departure, &terms, host).map_err(stays)?;
        let mut sender = Self { link, source };
        let first = Step { send: vec![hello], event: SourceEvent::Waits };
        match sender.run(host, first) {
            Reached::Ready => Ok(sender),
            Reached::Ended(ending) => Err(ending),
            Reached::Prepared => Err(sender.give_up(host)),
        }
    }

    /// The name of the handover.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.source.transfer()
    }

    /// The destination.
    #[must_use]
    pub fn peer(&self) -> Option<&Known> {
        self.source.peer()
    }

    /// The connection, for its time-outs.
    pub fn link(&mut self) -> &mut Link<S> {
        &mut self.link
    }

    /// The blackout: journals and sends the frozen state, and waits until it is safe at the
    /// destination. The instance may still be called back by [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// How it ended: [`Outcome::StaysHere`], or [`Outcome::Unknown`].
    pub fn deliver(&mut self, host: &mut SourceHost<'_>, state: &[u8]) -> Result<(), Box<Ending>> {
        let step = match self.source.begin(host, state) {
            Ok(step) => step,
            Err(_misuse) => return Err(self.give_up(host)),
        };
        match self.run(host, step) {
            Reached::Prepared => Ok(()),
            Reached::Ended(ending) => Err(ending),
            Reached::Ready => Err(self.give_up(host)),
        }
    }

    /// The point of no return, after which the instance is the destination's.
    ///
    /// It is complete with [`Outcome::Moved`]; with [`Outcome::Committed`] it has to be resumed.
    pub fn commit(mut self, host: &mut SourceHost<'_>) -> Box<Ending> {
        let step = match self.source.commit(host) {
            Ok(step) => step,
            Err(_misuse) => return self.give_up(host),
        };
        match self.run(host, step) {
            Reached::Ended(ending) => ending,
            Reached::Ready | Reached::Prepared => self.give_up(host),
        }
    }

    /// Ends the handover; the instance stays.
    pub fn cancel(mut self, host: &mut SourceHost<'_>, why: &str) -> Box<Ending> {
        let step = self.source.cancel(host, why);
        match self.run(host, step) {
            Reached::Ended(ending) => ending,
            Reached::Ready | Reached::Prepared => self.give_up(host),
        }
    }

    /// Sends and receives until the caller has to do something.
    fn run(&mut self, host: &mut SourceHost<'_>, mut step: Step<SourceEvent>) -> Reached {
        loop {
            let sent = self.link.send(&step.send);
            match step.event {
                SourceEvent::Ended(ending) => {
                    self.link.close();
                    return Reached::Ended(ending);
                }
                SourceEvent::Over => return Reached::Ended(self.over()),
                _ if sent.is_err() => step = self.source.disconnected(host),
                SourceEvent::Ready => return Reached::Ready,
                SourceEvent::Prepared => return Reached::Prepared,
                SourceEvent::Waits => {
                    step = match self.link.receive(BODY_MAX) {
                        Ok(message) => self.source.receive(host, &message),
                        Err(lost) => because(self.source.disconnected(host), lost),
                    };
                }
            }
        }
    }

    /// A call out of order: nothing that this driver's callers can do by its documentation.
    fn give_up(&mut self, host: &mut SourceHost<'_>) -> Box<Ending> {
        let step = self.source.cancel(host, "the driver was called out of order");
        match step.event {
            SourceEvent::Ended(ending) => {
                // The peer learns of it, or finds the connection lost.
                let _ = self.link.send(&step.send);
                self.link.close();
                ending
            }
            _ => self.over(),
        }
    }

    fn over(&self) -> Box<Ending> {
        let error = Error::Misuse { wanted: "a further step", phase: self.source.phase() };
        let mut ending = unbegun(Outcome::Unknown, None, error);
        ending.transfer = Some(self.transfer());
        ending
    }
}

/// Settles an earlier transfer: says again to its destination what became of it.
///
/// Complete if the destination answered; else it can be done again.
pub fn resume<S: Read + Write>(
    stream: S,
    word: Word,
    options: Options,
    local: &mut Local<'_>,
) -> Box<Ending> {
    let outcome = word.outcome();
    let transfer = word.transfer();
    let failed = |error| {
        let mut ending = unbegun(outcome, None, error);
        ending.transfer = Some(transfer);
        ending
    };
    let mut link = match Link::connect(stream) {
        Ok(link) => link,
        Err(error) => return failed(error),
    };
    let (mut machine, hello) = match Resume::start(word, &options.on(link.channel()), local) {
        Ok(started) => started,
        Err(error) => return failed(error),
    };
    let mut step = Step { send: vec![hello], event: SourceEvent::Waits };
    loop {
        let sent = link.send(&step.send);
        step = match step.event {
            SourceEvent::Ended(ending) => {
                link.close();
                return ending;
            }
            SourceEvent::Over => return failed(Error::Disconnected),
            _ if sent.is_err() => machine.disconnected(),
            _ => match link.receive(BODY_MAX) {
                Ok(message) => machine.receive(local, &message),
                Err(lost) => because(machine.disconnected(), lost),
            },
        };
    }
}

/// An ending by a lost connection, with what was lost.
fn because(mut step: Step<SourceEvent>, lost: Error) -> Step<SourceEvent> {
    if let SourceEvent::Ended(ending) = &mut step.event {
        // A journal that failed on top of it is the graver news.
        if matches!(ending.error, Some(Error::Disconnected)) {
            ending.error = Some(lost);
        }
    }
    step
}

impl<S: Read + Write> std::fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("phase", &self.source.phase()).finish_non_exhaustive()
    }
}
