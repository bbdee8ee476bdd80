//! One vTPM moves between two attested hosts: live migration and provisioning are this protocol.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod chip;
pub mod evidence;
mod id;
mod journal;
mod judge;
mod offer;
pub mod pcr;
pub mod policy;
mod secret;
mod wire;

pub use chip::{Challenge, Chip, ChipError, Entropy, Nonce, WrappedKey};
pub use evidence::{Attested, Evidence, Identity};
pub use id::{HostId, InstanceId, NotAnId, RequestId, TransferId};
pub use journal::{DestinationJournal, JournalError, NOTE_MAX, SourceJournal, Standing};
pub use judge::{Judge, Judgement, Peer, Refusal, Side};
pub use offer::{Offer, STATE_MAX};
pub use secret::{Key, Secret};
pub use wire::Malformed;

/// The newest version of the protocol that this release speaks.
pub const VERSION: u16 = 1;

/// The oldest version of the protocol that this release speaks.
pub const MINIMUM_VERSION: u16 = 1;
