//! Anchors vTPM instances to the host's physical TPM, here called the chip.
//!
//! An [`Anchor`] is a host's identity: keys in the chip, kept as blobs that only the chip can open,
//! in a directory of the host.
//!
//! ```text
//!   EK    endorsement key, made by the chip's maker, with its certificate if there is one
//!    |    a challenge to EK and AK (TPM2_ActivateCredential) shows that both are in one chip
//!   AK    attestation key: signs only what the chip says; quotes this host's PCRs
//!    |    certifies (TPM2_Certify)
//!   HK    handover key: instances that come to this host are wrapped to it
//!   CK    credential key: signs the endorsement certificates of this host's vTPMs
//! ```
//!
//! ```no_run
//! use std::path::Path;
//! use vtpm_anchor::{Access, Anchor, Making};
//! use vtpm_store::{InstanceId, SealedKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = Path::new("/var/lib/vtpm");
//! let (making, access) = (Making::default(), Access::default());
//! let anchor = Anchor::init(directory, "device:/dev/tpmrm0", &making, &access)?;
//! let key = SealedKey::new(&anchor.key_source(), &InstanceId([7; 16]))?;
//! println!("{}", anchor.operations());
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - One thread of a process speaks to the chip. Work is bounded in time, begun again when the
//!   connection was lost, and leaves no slot taken. No guest command ever waits for it.
//! - Secrets pass the chip's bus encrypted (salted sessions), and are wiped.
//! - What is sealed opens in this chip only, for its instance only, and if the operator said so, in
//!   approved states of the host only ([`Approval`]).
//! - An older state file, or an older table of generations, is refused: the chip remembers.
//!
//! Architecture invariant: only this crate links the TSS. It knows no engine.

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

mod anchor;
mod attest;
mod broker;
mod chip;
mod error;
mod generations;
mod handover;
mod identity;
mod judge;
mod keeper;
mod nv;
mod policy;
mod seal;
mod session;
mod signer;
#[cfg(feature = "testing")]
pub mod testing;

pub use anchor::{Access, Anchor, HANDOVER_PURPOSE, Keys, Making};
pub use attest::HostQuote;
pub use broker::PATIENCE;
pub use chip::{Authorizations, Operations};
pub use error::{Error, Result};
pub use identity::{Attestation, EkKind, Endorsement, HostAuditEntry};
pub use judge::TrustJudge;
pub use keeper::Keeper;
pub use policy::{Approval, REFERENCE};
pub use seal::TpmSource;
pub use signer::CredentialSigner;
pub use vtpm_credential::evidence::CREDENTIAL_PURPOSE;
