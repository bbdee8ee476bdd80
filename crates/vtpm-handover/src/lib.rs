//! One vTPM moves between two attested hosts: live migration and provisioning are this protocol.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod chip;
mod crypto;
mod destination;
mod ending;
mod error;
pub mod evidence;
mod handshake;
mod id;
mod journal;
mod judge;
mod message;
mod note;
mod offer;
pub mod pcr;
pub mod policy;
mod resume;
mod secret;
mod session;
mod source;
mod transfer;
mod wire;
mod wrap;

pub use chip::{Challenge, Chip, ChipError, Entropy, Nonce, WrappedKey};
pub use destination::{Destination, DestinationEvent, DestinationHost};
pub use ending::{Ending, Outcome};
pub use error::{Error, Occupied, Reason, Shown};
pub use evidence::{Attested, Evidence, Identity};
pub use handshake::{Known, Local, Terms};
pub use id::{HostId, InstanceId, NotAnId, RequestId, TransferId};
pub use journal::{DestinationJournal, JournalError, NOTE_MAX, SourceJournal, Standing};
pub use judge::{Judge, Judgement, Peer, Refusal, Side};
pub use message::{HEADER, Header, Kind};
pub use offer::{Offer, STATE_MAX};
pub use resume::{Resume, Word};
pub use secret::{Key, Secret};
pub use session::Channel;
pub use source::{Departure, Source, SourceEvent, SourceHost, Step};
pub use wire::Malformed;

/// The newest version of the protocol that this release speaks.
pub const VERSION: u16 = 1;

/// The oldest version of the protocol that this release speaks.
pub const MINIMUM_VERSION: u16 = 1;
