//! What can go wrong, said so that an operator knows what to do next.

use std::fmt;

use crate::chip::ChipError;
use crate::id::{HostId, InstanceId, TransferId};
use crate::journal::JournalError;
use crate::judge::Refusal;
use crate::message::Kind;
use crate::wire::Malformed;

/// Why a handover ended before it was complete.
///
/// Where the instance is then, and what to do about it, is in [`Ending`](crate::Ending).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer speaks no version that this host may speak.
    #[error(
        "the peer speaks protocol versions {theirs_minimum} to {theirs}, this host {minimum} to \
         {newest}; upgrade the older of the two"
    )]
    Version {
        /// The oldest version that this host may speak.
        minimum: u16,
        /// The newest version that this host speaks.
        newest: u16,
        /// The oldest version of the peer.
        theirs_minimum: u16,
        /// The newest version of the peer.
        theirs: u16,
    },

    /// A message is not of the form that the protocol has.
    #[error(
        "the peer sent {what} that cannot be read: {cause}; see that both hosts are up to date"
    )]
    Malformed {
        /// What was read.
        what: Shown,
        /// What is wrong with its form.
        cause: Malformed,
    },

    /// A message came at the wrong time: repeated, reordered, or out of another session.
    #[error(
        "the peer sent {got} when {wanted} was due; see that both hosts are up to date, and that \
         nobody between them alters the connection"
    )]
    Unexpected {
        /// What came.
        got: Shown,
        /// What was due.
        wanted: &'static str,
    },

    /// A message was not made by the peer that was attested, or not in this session.
    #[error(
        "{0} is not authentic: somebody between the hosts alters or replays messages; find out \
         who, and try again"
    )]
    NotAuthentic(Shown),

    /// This host does not trust the peer.
    #[error(transparent)]
    Refused(#[from] Refusal),

    /// The peer's chip could not open the credential: its AK is not in the chip of its EK, or its
    /// evidence is another host's.
    #[error(
        "the peer could not open its credential: its attestation key is not in the chip that its \
         endorsement key is of; do not trust that host before you know why"
    )]
    Unproven,

    /// The peer is trusted, but it is not the host that was meant.
    #[error("the peer is host {found}, not {wanted}; check the address")]
    WrongHost {
        /// The host that was meant.
        wanted: HostId,
        /// The host that answered.
        found: HostId,
    },

    /// The destination does not have the transfer key that was wrapped to it.
    #[error("the destination does not have the transfer key; try again, and check its TPM")]
    NoKey,

    /// The state is larger than was offered.
    #[error("the state has {length} bytes, {limit} were offered; raise the limit and try again")]
    TooLarge {
        /// Its length.
        length: usize,
        /// The limit.
        limit: u32,
    },

    /// The instance is not live on the host that wants to hand it over.
    #[error("instance {0} is not active on this host; look at it with `vtpm inspect`")]
    NotActive(InstanceId),

    /// A transfer was interrupted before its point of no return, and was not called back.
    #[error("transfer {0} is still on its way out of here; call it back first")]
    StillOutgoing(TransferId),

    /// There is no transfer to settle.
    #[error("instance {0} has no open transfer on this host; name the one to settle, if any")]
    NothingToSettle(InstanceId),

    /// The destination has the instance already, in a way that leaves no place for it.
    #[error("this host does not take instance {instance}: {why}")]
    Occupied {
        /// The instance.
        instance: InstanceId,
        /// What it is here, and what to do.
        why: Occupied,
    },

    /// What is known of a transfer here contradicts what the peer says of it.
    #[error(
        "the two hosts contradict each other about transfer {transfer}: {what}; stop the instance \
         on both, and find out which file was put back or copied"
    )]
    Contradiction {
        /// The transfer.
        transfer: TransferId,
        /// The contradiction.
        what: &'static str,
    },

    /// The destination knows nothing of a transfer that was committed.
    #[error(
        "the destination has nothing of transfer {0}; if the instance was deleted there, this is \
         its end; else restore its file there, or a backup"
    )]
    NothingThere(TransferId),

    /// The note in the journal cannot be read.
    #[error("the journal's note on transfer {0} cannot be read; upgrade this host")]
    Note(TransferId),

    /// This host's chip could not do its part.
    #[error("this host's TPM: {0}")]
    Chip(#[from] ChipError),

    /// This host's journal could not do its part.
    #[error("this host's journal: {0}")]
    Journal(#[from] JournalError),

    /// The peer ended the handover.
    #[error("the peer ended it ({reason}): {text}")]
    Peer {
        /// Its reason.
        reason: Reason,
        /// Its words; they are the peer's, and not to be relied on.
        text: String,
    },

    /// This host's caller ended the handover.
    #[error("{0}")]
    Cancelled(String),

    /// The connection ended.
    #[error("the connection to the peer ended; see that the network and the other host are up")]
    Disconnected,

    /// The connection could not be made secure, or its end was not the peer's doing.
    #[error(
        "the connection failed ({what}): {cause}; see that the network and the other host are up"
    )]
    Transport {
        /// What was being done.
        what: &'static str,
        /// What the system or TLS said.
        cause: std::io::Error,
    },

    /// A call was made that does not fit the step that the handover is at.
    #[error("{wanted} cannot be done now, while {phase}; this is a defect of the caller")]
    Misuse {
        /// What was wanted.
        wanted: &'static str,
        /// The step.
        phase: &'static str,
    },

    /// An operation on keys failed that no input within the limits makes fail.
    #[error("the cipher refused its input; report this as a defect")]
    Cipher,
}

/// Why a destination does not take an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupied {
    /// It lives here.
    Active,
    /// It is on its way out of here.
    Leaving,
    /// It left here at a later epoch than the one offered.
    Later {
        /// The epoch it left here.
        left: u64,
        /// The epoch offered.
        offered: u64,
    },
    /// It arrived from another source, or at a later epoch, and waits.
    Waiting {
        /// The transfer it waits for.
        transfer: TransferId,
        /// The source of that transfer, if its note can be read.
        source: Option<HostId>,
    },
    /// What it is here has changed since the offer was accepted.
    Changed,
}

impl fmt::Display for Occupied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("it is active here; two hosts claim it, find out why"),
            Self::Leaving => {
                f.write_str("it is on its way out of here; end that transfer first with resume")
            }
            Self::Later { left, offered } => write!(
                f,
                "it left here at epoch {left} and is offered at {offered}: that is an older copy"
            ),
            Self::Waiting { transfer, source } => {
                write!(f, "transfer {transfer} of it waits here; ")?;
                match source {
                    Some(source) => write!(f, "settle it with resume on its source, host {source}"),
                    None => f.write_str("settle it with resume on its source"),
                }
            }
            Self::Changed => {
                f.write_str("another transfer of it came in between; look at it, then try again")
            }
        }
    }
}

/// Why a side ended a handover, as the other side is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is no common version.
    Version,
    /// A message was not as it should be.
    Protocol,
    /// It does not trust the other side.
    NotTrusted,
    /// Its own TPM or journal failed.
    Failed,
    /// It does not take what is offered.
    NotTaken,
    /// Its operator or its machine monitor ended it.
    Cancelled,
    /// A reason of a later version.
    Other(u16),
}

impl Reason {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Version => 1,
            Self::Protocol => 2,
            Self::NotTrusted => 3,
            Self::Failed => 4,
            Self::NotTaken => 5,
            Self::Cancelled => 6,
            Self::Other(code) => code,
        }
    }

    pub(crate) fn from_code(code: u16) -> Self {
        match code {
            1 => Self::Version,
            2 => Self::Protocol,
            3 => Self::NotTrusted,
            4 => Self::Failed,
            5 => Self::NotTaken,
            6 => Self::Cancelled,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("no common version"),
            Self::Protocol => f.write_str("a message was not as it should be"),
            Self::NotTrusted => f.write_str("it does not trust this host"),
            Self::Failed => f.write_str("its TPM or its journal failed"),
            Self::NotTaken => f.write_str("it does not take the instance"),
            Self::Cancelled => f.write_str("cancelled there"),
            Self::Other(code) => write!(f, "reason {code}, of a later version"),
        }
    }
}

impl Error {
    /// What the other side is told.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Version { .. } => Reason::Version,
            Self::Malformed { .. }
            | Self::Unexpected { .. }
            | Self::NotAuthentic(_)
            | Self::NoKey
            | Self::Contradiction { .. }
            | Self::NothingThere(_) => Reason::Protocol,
            Self::Refused(_) | Self::Unproven | Self::WrongHost { .. } => Reason::NotTrusted,
            Self::Chip(_) | Self::Journal(_) | Self::Note(_) | Self::Cipher => Reason::Failed,
            Self::Occupied { .. }
            | Self::TooLarge { .. }
            | Self::NotActive(_)
            | Self::StillOutgoing(_)
            | Self::NothingToSettle(_) => Reason::NotTaken,
            Self::Peer { .. }
            | Self::Cancelled(_)
            | Self::Disconnected
            | Self::Transport { .. }
            | Self::Misuse { .. } => Reason::Cancelled,
        }
    }
}

/// A message as a person reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown(pub Option<Kind>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "bytes",
            Some(Kind::Hello) => "a greeting",
            Some(Kind::Welcome) => "the answer to a greeting",
            Some(Kind::SourceEvidence) => "a source's evidence",
            Some(Kind::DestinationEvidence) => "a destination's evidence",
            Some(Kind::SourceAnswer) => "a source's answer to its challenge",
            Some(Kind::DestinationAnswer) => "a destination's answer to its challenge",
            Some(Kind::Offer) => "an offer",
            Some(Kind::Accept) => "an acceptance",
            Some(Kind::Envelope) => "an envelope",
            Some(Kind::Prepared) => "word that the state is safe",
            Some(Kind::Commit) => "a commit",
            Some(Kind::Active) => "word that the instance lives there",
            Some(Kind::Settle) => "word on an earlier transfer",
            Some(Kind::Settled) => "an answer on an earlier transfer",
            Some(Kind::Abort) => "an abort",
        })
    }
}
