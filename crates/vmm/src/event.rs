//! What processors and devices report to the machine's owner.

use std::sync::mpsc::{self, Receiver, Sender};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::{Error, Result};

/// Why a machine stops, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The guest switched itself off.
    PowerOff,
    /// The guest asked for a reset, or had a triple fault.
    Reset,
    /// The guest's kernel said that it panicked.
    Panic,
    /// Something in the VMM or in KVM failed; the machine cannot go on.
    Failed(String),
}

/// Where events are reported; clones report to the same owner.
#[derive(Debug)]
pub struct Reporter {
    events: Sender<Event>,
    wake: EventFd,
}

/// Where they arrive.
#[derive(Debug)]
pub struct Events {
    events: Receiver<Event>,
    wake: EventFd,
}

/// A way for events.
///
/// # Errors
/// [`Error::Host`] if the system gives no eventfd.
pub fn channel() -> Result<(Reporter, Events)> {
    let wake = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(Error::host("make an eventfd"))?;
    let (sender, receiver) = mpsc::channel();
    let other = wake.try_clone().map_err(Error::host("make an eventfd"))?;
    Ok((Reporter { events: sender, wake: other }, Events { events: receiver, wake }))
}

impl Reporter {
    /// Another one.
    ///
    /// # Errors
    /// [`Error::Host`] if the system gives no eventfd.
    pub fn try_clone(&self) -> Result<Self> {
        let wake = self.wake.try_clone().map_err(Error::host("make an eventfd"))?;
        Ok(Self { events: self.events.clone(), wake })
    }

    /// Reports `event`. An owner that is gone does not care for it any more.
    pub fn report(&self, event: Event) {
        if self.events.send(event).is_ok() {
            // The counter cannot overflow: the owner reads it as often as it is told.
            let _ = self.wake.write(1);
        }
    }
}

impl Events {
    /// Readable while there is an event.
    pub fn wake(&self) -> &EventFd {
        &self.wake
    }

    /// The next event, if there is one.
    pub fn next(&self) -> Option<Event> {
        // Reading an eventfd that nobody wrote says "would block", which is no error here.
        let _ = self.wake.read();
        let next = self.events.try_recv();
        if next.is_ok() {
            // There may be more behind it.
            let _ = self.wake.write(1);
        }
        next.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_arrive_in_order_and_once() {
        let (reporter, events) = channel().unwrap();
        let other = reporter.try_clone().unwrap();
        reporter.report(Event::Reset);
        other.report(Event::PowerOff);
        assert_eq!(events.next(), Some(Event::Reset));
        assert_eq!(events.next(), Some(Event::PowerOff));
        assert_eq!(events.next(), None);
    }
}
