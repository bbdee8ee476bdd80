//! The TCG crypto-agile event log: what was measured into which PCR, in the order in which it was.
//!
//! Follows the TCG PC Client Platform Firmware Profile (PFP) 1.05.
//!
//! ```text
//!   caller --measure(pcr, type, data)--> EventLog --appends--> log area (LAML, LASA)
//!     ^                                      |
//!     +------------ Extend {pcr, digests} ---+   then TPM2_PCR_Extend by the caller
//! ```
//!
//! Architecture invariant: the log never talks to a TPM. It returns what has to be extended.
//!
//! [`ParsedLog`] reads a log back and [`ParsedLog::replay`] computes the PCRs that it claims.

mod digest;
mod event;
mod parse;
#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "the index of an element, plus one")
)]
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    digest::{Digest, DigestProvider, HashAlgorithm, SoftwareDigests},
    event::{EventType, tagged_event},
    parse::{LogEvent, ParsedLog, PcrValues, SpecId},
    write::{EventLog, Extend},
};

/// PCRs of the PC Client profile.
pub const PCR_COUNT: u32 = 24;

/// Signature of a crypto-agile log's first event.
const SIGNATURE: [u8; 16] = *b"Spec ID Event03\0";

/// Signature of the event that tells the locality of `TPM2_Startup`.
const STARTUP_LOCALITY: [u8; 16] = *b"StartupLocality\0";
