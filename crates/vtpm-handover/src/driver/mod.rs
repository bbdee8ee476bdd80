//! The state machine on a real connection: TLS 1.3 and blocking I/O.
//!
//! The caller connects or accepts, and sets the stream's time-outs; everything here waits no
//! longer than these. A message that does not come in time ends the handover as a lost connection
//! does.
//!
//! ```text
//!   source:       Sender::connect   -> deliver -> commit
//!   destination:  Receiver::accept  -> prepare -> finish
//!   later:        resume            -> (accept on the destination ends with the settling)
//! ```

mod books;
mod link;
mod log;
mod receive;
mod send;
mod tls;

pub use books::{Books, BooksError, Order};
pub use link::Link;
pub use log::FileLog;
pub use receive::{Accepted, Receiver};
pub use send::{Sender, resume};

use crate::chip::{ChipError, Entropy};
use crate::ending::{Ending, Outcome};
use crate::error::Error;
use crate::id::{HostId, InstanceId};

/// What a session is to be like, before its channel is there.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The oldest version of the protocol to speak, from the trust policy.
    pub minimum_version: u16,
    /// The only host to deal with, if the caller means a certain one.
    pub peer: Option<HostId>,
}

impl Default for Options {
    fn default() -> Self {
        Self { minimum_version: crate::MINIMUM_VERSION, peer: None }
    }
}

impl Options {
    fn on(self, channel: crate::Channel) -> crate::Terms {
        crate::Terms { channel, minimum_version: self.minimum_version, peer: self.peer }
    }
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), ChipError> {
        getrandom::fill(out).map_err(|cause| {
            let what = "the operating system gives no random bytes";
            ChipError::new(what, "look at the kernel's log").because(cause)
        })
    }
}

/// The end of a handover that never got as far as a message.
fn unbegun(outcome: Outcome, instance: Option<InstanceId>, error: Error) -> Box<Ending> {
    Box::new(Ending { outcome, instance, transfer: None, peer: None, error: Some(error) })
}
