//! One virtual TPM on this host: its engine, its sealed store, and the thread that owns both.
//!
//! An [`Instance`] is created or opened, started, and from then on reached through its
//! [`Handle`]s. The thread behind them is the only writer of the instance.
//!
//! ```
//! use vtpm_host::{Handle, Instance};
//! use vtpm_engine::Profile;
//! use vtpm_store::{InstanceId, Place, source::KeyFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let source = KeyFile::generate(&directory.path().join("key"))?;
//! let place = Place::at(directory.path().join("guest.vtpm"));
//! let id = InstanceId([7; 16]);
//! let tpm: Handle = Instance::create(&place, &source, id, Profile::default())?.start()?;
//!
//! tpm.init()?; // the machine is switched on
//! let startup = vec![0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
//! assert_eq!(tpm.execute(0, startup)[6..], [0, 0, 0, 0]);
//! tpm.shutdown(); // the store is closed when this returns
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - A response is released when its effect is durable. If it cannot be made durable the caller
//!   gets `TPM_RC_FAILURE` instead, and the instance stops: its memory is ahead of its file, and
//!   any further answer could be lost. [`Handle::stopped`] says why; opening it again goes on from
//!   what is durable.
//! - [`Handle::submit`] never waits. What was submitted is always answered, also when the thread
//!   ends first.
//! - Only an active instance has a [`Handle`]: an instance that leaves, arrives or is gone is
//!   another type, and each step between them is in the journal of the store before it counts.
//!
//! ```text
//!   Instance --start--> Handle --freeze--> Frozen -begin_outgoing-> Outgoing --entomb-> Tombstone
//!      ^                  ^                  |                        |                     |
//!      |                  '------ thaw ------'-------- abort ---------'                  receive
//!      |                                                                                    v
//!      '-------------------------------- activate ------------------------------------- Prepared
//! ```
//!
//! A crash leaves the file in one of these roles, and [`Found::open`] gives back the type for it.
//!
//! Architecture invariant: nothing here knows a socket, a protocol or a virtual machine monitor.

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

mod core;
mod error;
mod handle;
mod handover;
mod instance;
mod journal;
mod observe;
mod platform;
mod worker;

pub use error::{Error, Result};
pub use handle::{Handle, Saved};
pub use handover::{Frozen, Outgoing, Prepared, Tombstone};
pub use instance::{Found, Instance, Whose};
pub use journal::{Arriving, Homes, Leaving};
pub use observe::{CommandRun, NoObserver, Observer};
