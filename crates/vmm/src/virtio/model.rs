//! What makes one type of device differ from another.

use std::os::fd::BorrowedFd;

use super::ring::{Fault, Ring, Turn};
use crate::error::{Error, Result};

/// A device type, behind a transport that knows nothing of it.
///
/// All methods are called with the device locked: never two at once.
pub trait Model: Send {
    /// Device type (clause 5).
    fn kind(&self) -> u32;

    /// Features that it offers, without those of the transport.
    fn features(&self) -> u64;

    /// Largest size of each of its queues: powers of two, at most
    /// [`MAX_DESCRIPTORS`](super::MAX_DESCRIPTORS).
    fn queue_sizes(&self) -> &'static [u16];

    /// Its configuration space, which never changes while a driver looks.
    fn config(&self) -> Vec<u8>;

    /// Takes over the configuration that a driver of the saved device has seen.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if this is not the same device.
    fn adopt_config(&mut self, saved: &[u8]) -> Result<()> {
        if self.config() == saved {
            Ok(())
        } else {
            Err(Error::Snapshot("a virtio device is configured otherwise than it was saved".into()))
        }
    }

    /// A driver is there and has accepted `features`.
    fn activate(&mut self, features: u64);

    /// Serves the queues, and whatever comes from outside, until nothing is left to do.
    ///
    /// # Errors
    /// [`Fault`] if the driver broke the rules of its queues. A request that is well-formed but
    /// cannot be served is answered with its own error instead.
    fn serve(&mut self, rings: &mut [Ring], turn: Turn<'_>) -> Result<Next, Fault>;

    /// What the worker waits for beside the driver.
    fn source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The machine is about to run: takes what only one running machine may hold.
    ///
    /// # Errors
    /// [`Error::Virtio`] if another one holds it.
    fn acquire(&mut self) -> Result<()> {
        Ok(())
    }

    /// The machine has stopped: finishes what was begun, and gives back what it held.
    ///
    /// # Errors
    /// [`Error::File`] if something written cannot be made durable.
    fn release(&mut self) -> Result<()> {
        Ok(())
    }

    /// System calls that its worker makes beside
    /// [`WORKER_SYSTEM_CALLS`](super::WORKER_SYSTEM_CALLS).
    fn system_calls(&self) -> &'static [libc::c_long];
}

/// What a device waits for after it was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// There is more to do at once.
    pub again: bool,
    /// Its source is worth watching.
    pub watch: bool,
}

/// Keeps a guest from filling the host's log.
#[derive(Debug)]
pub(super) struct Complaints {
    left: u32,
}

impl Default for Complaints {
    fn default() -> Self {
        Self { left: 16 }
    }
}

impl Complaints {
    /// Whether one more may be written.
    pub(super) fn allow(&mut self) -> bool {
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
