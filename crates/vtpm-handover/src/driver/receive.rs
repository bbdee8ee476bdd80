//! The destination on a connection.

use std::io::{Read, Write};

use super::link::Link;
use super::{Options, unbegun};
use crate::destination::{Destination, DestinationEvent, DestinationHost};
use crate::ending::{Ending, Outcome};
use crate::error::Error;
use crate::handshake::Known;
use crate::offer::Offer;
use crate::source::Step;

/// A destination with a connection to a source.
///
/// Dropped before its end, it says nothing more: the source finds the connection lost.
pub struct Receiver<S: Read + Write> {
    link: Link<S>,
    machine: Destination,
}

/// What a source came for.
#[derive(Debug)]
pub enum Accepted<S: Read + Write> {
    /// It offers an instance, which this host takes: go on with [`Receiver::prepare`].
    Offer(Box<Receiver<S>>, Offer),
    /// It settled an earlier transfer, or it ended early.
    Ended(Box<Ending>),
}

enum Reached {
    Accepted(Offer),
    Prepared,
    Ended(Box<Ending>),
}

impl<S: Read + Write> Receiver<S> {
    /// Everything that is slow: both hosts prove who they are, and this host's chip opens the
    /// transfer key.
    pub fn accept(stream: S, options: Options, host: &mut DestinationHost<'_>) -> Accepted<S> {
        let link = match Link::accept(stream) {
            Ok(link) => link,
            Err(error) => return Accepted::Ended(unbegun(Outcome::NotTaken, None, error)),
        };
        let machine = Destination::new(&options.on(link.channel()));
        let mut receiver = Self { link, machine };
        let first = Step { send: Vec::new(), event: DestinationEvent::Waits };
        match receiver.run(host, first) {
            Reached::Accepted(offer) => Accepted::Offer(Box::new(receiver), offer),
            Reached::Ended(ending) => Accepted::Ended(ending),
            Reached::Prepared => Accepted::Ended(receiver.over()),
        }
    }

    /// The source.
    #[must_use]
    pub fn peer(&self) -> Option<&Known> {
        self.machine.peer()
    }

    /// The connection, for its time-outs.
    pub fn link(&mut self) -> &mut Link<S> {
        &mut self.link
    }

    /// Waits for the state, journals it, and tells the source that it is safe.
    ///
    /// # Errors
    /// How it ended: nothing is here, or [`Outcome::Unknown`].
    pub fn prepare(&mut self, host: &mut DestinationHost<'_>) -> Result<(), Box<Ending>> {
        let step = Step { send: Vec::new(), event: DestinationEvent::Waits };
        match self.run(host, step) {
            Reached::Prepared => Ok(()),
            Reached::Ended(ending) => Err(ending),
            Reached::Accepted(_) => Err(self.over()),
        }
    }

    /// Waits for the source's word. With [`Outcome::LivesHere`] the instance may run; with
    /// [`Outcome::Waits`] it must not before the source is resumed.
    pub fn finish(mut self, host: &mut DestinationHost<'_>) -> Box<Ending> {
        let step = Step { send: Vec::new(), event: DestinationEvent::Waits };
        match self.run(host, step) {
            Reached::Ended(ending) => ending,
            Reached::Accepted(_) | Reached::Prepared => self.over(),
        }
    }

    /// Asks the source to call the instance back, and waits for its word. If it had committed
    /// already, the instance lives here all the same.
    pub fn cancel(mut self, host: &mut DestinationHost<'_>, why: &str) -> Box<Ending> {
        let step = self.machine.cancel(why);
        match self.run(host, step) {
            Reached::Ended(ending) => ending,
            Reached::Accepted(_) | Reached::Prepared => self.over(),
        }
    }

    /// Sends and receives until the caller has to do something.
    fn run(&mut self, host: &mut DestinationHost<'_>, mut step: Step<DestinationEvent>) -> Reached {
        loop {
            let sent = self.link.send(&step.send);
            match step.event {
                DestinationEvent::Ended(ending) => {
                    self.link.close();
                    return Reached::Ended(ending);
                }
                DestinationEvent::Over => return Reached::Ended(self.over()),
                _ if sent.is_err() => step = self.machine.disconnected(),
                DestinationEvent::Accepted(offer) => return Reached::Accepted(offer),
                DestinationEvent::Prepared(_) => return Reached::Prepared,
                DestinationEvent::Waits => {
                    step = match self.link.receive(self.machine.longest_body()) {
                        Ok(message) => self.machine.receive(host, &message),
                        Err(lost) => because(self.machine.disconnected(), lost),
                    };
                }
            }
        }
    }

    fn over(&self) -> Box<Ending> {
        let error = Error::Misuse { wanted: "a further step", phase: self.machine.phase() };
        unbegun(Outcome::Unknown, None, error)
    }
}

/// An ending by a lost connection, with what was lost.
fn because(mut step: Step<DestinationEvent>, lost: Error) -> Step<DestinationEvent> {
    if let DestinationEvent::Ended(ending) = &mut step.event {
        ending.error = Some(lost);
    }
    step
}

impl<S: Read + Write> std::fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("phase", &self.machine.phase()).finish_non_exhaustive()
    }
}
