//! The seam to the journal of each host: the durable steps of an instance between hosts.
//!
//! Each call is one step of `vtpm-store`'s journal, durable when it returns. A call that fails
//! may have been made or not; the protocol then stops and says that the file must be opened again
//! to tell.

use std::error::Error as StdError;
use std::fmt;

use crate::id::{InstanceId, TransferId};
use crate::offer::Offer;
use crate::secret::Secret;

/// The longest note, in bytes.
pub const NOTE_MAX: usize = 4096;

/// What an instance is on one host, as its journal has it.
///
/// ```text
///   Active(e) --begin_outgoing--> Outgoing(e) --entomb--> Tombstone(e)
///      ^                              |
///      '-----------call_back----------'
///
///   Absent or Tombstone --prepare--> Prepared(e) --activate--> Active(e + 1)
///                                        '-------discard-----> Absent
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Not here, and no trace of it.
    Absent,
    /// It lives here.
    Active {
        /// How often it has moved.
        epoch: u64,
    },
    /// It is on its way out, and can be called back.
    Outgoing {
        /// The handover it leaves by.
        transfer: TransferId,
        /// The epoch it leaves.
        epoch: u64,
        /// What the protocol noted.
        note: Secret,
    },
    /// It arrived, and waits for the source's word.
    Prepared {
        /// The handover it came by.
        transfer: TransferId,
        /// The epoch it left on the source.
        epoch: u64,
        /// What the protocol noted.
        note: Secret,
    },
    /// It has left for good.
    Tombstone {
        /// The handover it left by.
        transfer: TransferId,
        /// The epoch it left.
        epoch: u64,
        /// What the protocol noted: what a lost commit is sent again from.
        note: Secret,
    },
}

impl Standing {
    /// Whether the instance may run on this host.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Active { .. })
    }
}

/// The journal of the instance that leaves this host.
pub trait SourceJournal {
    /// What the instance is on this host.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn standing(&mut self) -> Result<Standing, JournalError>;

    /// Does ahead of time whatever is slow in [`entomb`](Self::entomb): sealing the key of the
    /// tombstone. Called before the blackout; changes nothing of the instance.
    ///
    /// # Errors
    /// Why it cannot; the handover ends, the instance stays.
    fn get_ready(&mut self) -> Result<(), JournalError>;

    /// Active to outgoing, with the frozen `state` that leaves.
    ///
    /// # Errors
    /// Why it cannot. What is on disk is then unknown until it is opened again.
    fn begin_outgoing(
        &mut self,
        transfer: &TransferId,
        state: &[u8],
        note: &[u8],
    ) -> Result<(), JournalError>;

    /// Outgoing to active, at the same epoch.
    ///
    /// # Errors
    /// As [`begin_outgoing`](Self::begin_outgoing).
    fn call_back(&mut self) -> Result<(), JournalError>;

    /// Outgoing to tombstone, the point of no return: the state here is destroyed.
    ///
    /// # Errors
    /// As [`begin_outgoing`](Self::begin_outgoing).
    fn entomb(&mut self, note: &[u8]) -> Result<(), JournalError>;
}

/// The journals of a host that receives instances.
pub trait DestinationJournal {
    /// What the instance is on this host.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn standing(&mut self, instance: &InstanceId) -> Result<Standing, JournalError>;

    /// Decides whether this host takes what is offered (space, limits, orders it expects), and
    /// does ahead of time whatever is slow in [`prepare`](Self::prepare): sealing the data key
    /// of the new file. Called before the blackout; changes nothing of the instance.
    ///
    /// # Errors
    /// Why it is not taken; the handover ends, the instance stays where it is.
    fn get_ready(&mut self, offer: &Offer) -> Result<(), JournalError>;

    /// Absent or tombstone to prepared. The implementation first makes sure that the state can
    /// be restored here: once this returns, the source may destroy its own.
    ///
    /// # Errors
    /// Why it cannot. What is on disk is then unknown until it is opened again.
    fn prepare(&mut self, offer: &Offer, state: &[u8], note: &[u8]) -> Result<(), JournalError>;

    /// Prepared to active, one epoch later: the instance lives here once this returns.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    fn activate(&mut self, instance: &InstanceId) -> Result<(), JournalError>;

    /// Prepared to absent: the source has called the instance back.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    fn discard(&mut self, instance: &InstanceId) -> Result<(), JournalError>;
}

/// Why a journal could not do its work: what happened, what to do, and the cause below.
#[derive(Debug)]
pub struct JournalError {
    what: String,
    hint: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl JournalError {
    /// `what` happened (a clause), and the `hint` on what the operator can do next.
    #[must_use]
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), cause: None }
    }

    /// The same with the error that led to it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the operator can do next.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.hint)
    }
}

impl StdError for JournalError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
