//! A complete TPM 2.0 as a library without I/O: TPM 2.0 Library, family 2.0, revision 1.59, with
//! the PC Client Platform TPM Profile's PCR and localities, and commands of revision 1.83.
//!
//! A [`Tpm`] takes a command's bytes and gives a response's bytes. Time, entropy and cancellation
//! come through [`Platform`]; what must be kept is bytes that the host stores as it likes.
//!
//! Part 2 of the specification is [`wire`], Part 1 is the subsystems (`session`, `object`, `nv`,
//! `pcr`, `hierarchy`, `lockout`, `clock`, `audit`), Part 3 is `commands`.
//!
//! Architecture invariants: no clock, file, thread, socket or global; no `unsafe`; nothing that a
//! guest, a state file or a peer says can panic.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable,
        clippy::arithmetic_side_effects,
    )
)]

mod act;
mod attest;
mod audit;
mod clock;
mod commands;
pub mod crypto;
mod dispatch;
mod drtm;
mod entity;
mod error;
mod hierarchy;
mod lockout;
mod nv;
mod object;
mod pcr;
mod platform;
mod policy;
mod profile;
mod self_test;
mod session;
mod sign;
mod startup;
mod state;
mod ticket;
mod tpm;
pub mod wire;

#[cfg(test)]
mod test_util;

pub use dispatch::{MAX_COMMAND_SIZE, Outcome};
pub use error::Error;
pub use platform::Platform;
pub use profile::{Algorithms, Identity, Limits, Profile};
pub use tpm::Tpm;
