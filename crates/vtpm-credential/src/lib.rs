//! Endorsement credentials of vTPMs, and the judging of what TPMs say of themselves.
//!
//! - [`tpm`] reads and checks TPM structures without a TSS: public areas and their names,
//!   attestations and their signatures, quotes, credential challenges; and speaks to a TPM through
//!   any [`Transport`](tpm::client::Transport).
//! - [`certificate`] issues EK and platform certificates, and checks chains.
//! - [`evidence`] is the file that says where a vTPM runs and what booted in it, and its judge.
//!
//! Architecture invariants: no engine, no chip, no file and no socket; nothing that a peer says
//! can panic; sizes are bounded before anything is parsed.

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
    )
)]

pub mod certificate;
mod error;
pub mod evidence;
pub mod tpm;

pub use error::{Error, Result};
