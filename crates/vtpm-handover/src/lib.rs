//! One vTPM moves between two attested hosts: live migration and provisioning are this protocol.
//!
//! [`Source`] and [`Destination`] are state machines over bytes, without I/O, clock or threads.
//! They know no TPM engine, no store and no TSS: a [`Chip`] answers for this host, a [`Judge`]
//! decides about the other, [`SourceJournal`] and [`DestinationJournal`] make steps durable. The
//! feature `driver` puts them on TLS connections. How a handover ended, and what to do then, is
//! an [`Ending`]. A transfer whose last message was lost is settled by [`Resume`].
//!
//! # What holds
//!
//! - Never two live: the source destroys its state, durably, before it says so, and nothing but
//!   that word makes the destination live. Never lost: the source destroys its state only after
//!   the destination has said that its copy is durable, and from then on neither a crash nor a
//!   peer's misbehaviour makes the destination drop it; only the source's authentic word does.
//!   `tests/model` explores the real state machines for both; `tests/matrix` disturbs each step
//!   on the real store.
//! - No state leaves before both hosts have proven who they are and what they booted, in this
//!   very TLS session.
//! - What was recorded on the wire does not open without the destination's chip, in the state
//!   that the source judged: the transfer key is wrapped to that chip, under its registers.
//! - All work of a chip is before the blackout: from [`SourceEvent::Ready`] on, none is asked.
//!   (A journal that seals by a chip has [`SourceJournal::get_ready`] to do so in time.)
//! - No input panics; every message is bounded before it is read; secrets are wiped.
//!
//! # The messages
//!
//! ```text
//!   source                                              destination
//!     | 1 Hello: nonce, registers wanted  ------------------> |
//!     | <----------------- 2 Welcome: nonce, registers wanted |
//!     | 3 Evidence  ----------------------------------------> |  judges
//!     | <---------------------- 4 Evidence, credential for 3  |
//!     | 5 credential for 4, proof for 4's credential -------> |
//!     | <---------------------- 6 proof for 5's credential    |
//!     |              from here on every message has a tag     |
//!     | 7 Offer, wrapped transfer key ----------------------> |  Import, Load, Unseal
//!     | <---------------------- 8 Accept: key confirmation    |
//!   freeze; outgoing in the journal                           |
//!     | 9 Envelope -----------------------------------------> |  prepared in the journal
//!     | <---------------------- 10 Prepared: receipt          |
//!   tombstone in the journal: the point of no return          |
//!     | 11 Commit: token -----------------------------------> |  active in the journal
//!     | <---------------------- 12 Active                     |
//!
//!   settling, after 6 of a fresh session:
//!     | 13 Settle: transfer, verdict -----------------------> |
//!     | <---------------------- 14 Settled: what is here      |
//!   at any time, either: 15 Abort: reason, text
//! ```
//!
//! Integers are big-endian. A message is a header and a body; `sized` fields have their length in
//! two bytes before them. All lengths are bounded: a body by 131072 bytes, an envelope by 64 MiB.
//!
//! ```text
//! offset  length  header
//! 0            4  magic "VTHO"
//! 4            2  version: in a Hello the newest that the source speaks, then the chosen one
//! 6            2  minimum version: in a Hello the oldest that the source may speak, then the
//!                 chosen one
//! 8            1  kind, 1 to 15
//! 9            1  flags: bit 0, the body ends in a tag; the others zero
//! 10           2  reserved, zero
//! 12           4  length of the body, the tag included
//!
//! body of     fields
//!  1 Hello    nonce 32, TPML_PCR_SELECTION sized (at most 52)
//!  2 Welcome  the same
//!  3          evidence
//!  4          evidence, credential sized (1024), its secret sized (1024)
//!  5          credential sized, its secret sized, proof 32
//!  6          proof 32
//!  7 Offer    instance 16, transfer 16, request 16, epoch 8, state limit 4;
//!             TPMT_PUBLIC sized, private sized, seed sized (1024 each), TPML_PCR_SELECTION sized
//!  8 Accept   confirmation 32
//!  9 Envelope ciphertext, GCM tag 16
//! 10 Prepared receipt 32
//! 11 Commit   token 32
//! 12 Active   nothing
//! 13 Settle   instance 16, transfer 16, epoch 8, verdict 1 (1 committed, 2 called back and live,
//!             3 called back and moved on), token 32 (zeros unless committed)
//! 14 Settled  holding 1 (1 arrived, 2 nothing of it here)
//! 15 Abort    reason 2, text sized (UTF-8, at most 1024)
//!
//! evidence    certificates: count 2 (at most 8), each sized (8192);
//!             EK, AK, HK as TPMT_PUBLIC, then the HK's TPMS_ATTEST and TPMT_SIGNATURE, the
//!             quote's TPMS_ATTEST and TPMT_SIGNATURE, each sized (2048);
//!             register values: count 2 (at most 192), each bank 2, register 1, value sized (64)
//! ```
//!
//! Magic, versions, kind, flags and length are at these places in every version, and an Abort has
//! this form in every version. The version in use is the smaller of both sides' newest, if neither
//! side's minimum forbids it; that both saw the same greetings shows in the nonces.
//!
//! # The bindings
//!
//! ```text
//! H(label, parts) = SHA-256 over label and parts, each after its length in 8 bytes
//! T(n)            = SHA-256 over messages 1 to n, headers included
//! nonce(side)     = H("vtpm handover 1 nonce", "source" or "destination", exporter, T(2))
//! proof of 5      = HMAC(secret of 4, "vtpm handover 1 source opened its credential" || T(4))
//! proof of 6      = HMAC(secret of 5, "vtpm handover 1 destination opened its credential" || T(5))
//! session keys    = HKDF(H("vtpm handover 1 session", secret of 4, secret of 5, exporter),
//!                        salt T(6), "vtpm handover 1 from source" or "... from destination")
//! tag             = HMAC(session key of the direction, number in the direction (8) || message)
//! identity        = SHA-256 over EK, AK and HK
//! envelope        = AES-256-GCM(envelope key, nonce 0, state; associated:
//!                   H("vtpm handover 1 envelope binding", version, instance, transfer, request,
//!                     epoch, state limit, identity of source, of destination, T(8)))
//! ```
//!
//! The exporter is TLS 1.3's, [`Channel::LABEL`], 32 bytes. A transfer key is fresh for each
//! attempt and seals one envelope, so its nonce may be zero. The keys that are derived from it:
//!
//! ```text
//! confirmation = HKDF(key, salt T(7), "vtpm handover 1 confirmation")
//! envelope key = HKDF(key, salt T(8), "vtpm handover 1 envelope")
//! receipt      = HKDF(key, salt H("vtpm handover 1 envelope", ciphertext), "... receipt")
//! commit token = HKDF(key, salt transfer id, "vtpm handover 1 commit")
//! ```
//!
//! # After a crash
//!
//! | source's journal | destination's journal | what to do |
//! |---|---|---|
//! | active | absent | nothing, or hand it over again |
//! | outgoing | absent or prepared | call it back on the source; it is active there |
//! | active | prepared | the next handover replaces what is prepared; or settle it |
//! | tombstone | prepared | resume on the source until it succeeds |
//! | tombstone | active | nothing |
//!
//! A destination never drops a prepared copy on its own, and a source never comes back from a
//! tombstone on its own. Where the journal cannot be read any more, that is an operator's
//! decision, and a backup's.
//!
//! Architecture invariant: nothing here knows a TPM engine, a store, a TSS or a clock.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
    )
)]

pub mod audit;
pub mod chip;
mod crypto;
mod destination;
#[cfg(feature = "driver")]
pub mod driver;
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
