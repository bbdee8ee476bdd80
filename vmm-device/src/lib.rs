//! TPM 2.0 device models that any rust-vmm based VMM can take.
//!
//! * [`tis::Tis`] and [`crb::Crb`]: the two register interfaces of the TCG PC Client Platform TPM
//!   Profile (PTP), behaving towards guests as QEMU's devices do.
//! * [`ppi::Ppi`]: the memory that firmware, operating system and VMM share for physical presence.
//! * [`event_log`]: the TCG crypto-agile event log, written and read.
//! * `acpi` (feature `acpi`): the TPM2 table and the `MSFT0101` device node.
//! * `bus` (feature `vm-device`): the rust-vmm bus traits.
//!
//! # The flow of a command
//!
//! ```text
//!   vCPU exit         model              the VMM's worker            guest
//!   -----------       -----              ----------------            -----
//!   write(go) ------> Action::Execute -> engine.execute(command)
//!   read(status) ---> "busy"                   |
//!                     complete(response) <-----+
//!                     Trigger::set_level(true) ------------------->  interrupt
//!   read(fifo) -----> response bytes
//! ```
//!
//! Architecture invariant: the models know no KVM, no engine and no thread. `write` returns an
//! [`Action`] and never calls upward, so a vCPU never waits for the TPM.
//!
//! Architecture invariant: nothing that a guest writes, and nothing in a snapshot or a log that is
//! read back, can panic. All of it is bounded before it is used.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod access;
#[cfg(feature = "acpi")]
pub mod acpi;
mod action;
#[cfg(feature = "vm-device")]
pub mod bus;
pub mod crb;
mod error;
pub mod event_log;
mod irq;
mod locality;
pub mod ppi;
mod record;
pub mod tis;

pub use action::{Action, Bytes};
pub use error::{BufferError, Error, LogError, SnapshotError};
pub use irq::{Events, NoEvents, Polled, Trigger};
pub use locality::Locality;

/// Guest-physical address at which PC platforms place the TPM's registers, TIS and CRB alike.
pub const TPM_BASE: u64 = 0xFED4_0000;

/// What [`tis::Tis`] and [`crb::Crb`] have in common, for code that serves either.
pub trait RegisterModel {
    /// Reads `data.len()` bytes at `offset` from the start of the device's region.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Writes `data` at `offset` and says what the VMM has to do now.
    fn write(&mut self, offset: u64, data: &[u8]) -> Action;

    /// Hands over the response to the command of the last [`Action::Execute`].
    ///
    /// # Errors
    /// [`Error::NoCommand`] if no command is running.
    fn complete(&mut self, response: &[u8]) -> Result<(), Error>;

    /// Ends the running command without a response, because the engine is broken or gone.
    ///
    /// # Errors
    /// [`Error::NoCommand`] if no command is running.
    fn fail(&mut self) -> Result<(), Error>;

    /// Puts the registers into the state after power-on. See the models for what survives.
    ///
    /// A command that was running is forgotten and [`Action::Cancel`] is returned: let the worker
    /// finish, and drop its response, before the guest runs again.
    fn reset(&mut self) -> Action;

    /// Whether a command has been started and not yet completed.
    fn is_busy(&self) -> bool;

    /// What has to be done again after a restore, because the snapshot was taken while a command
    /// ran: nothing, or `Execute`, or `Execute` and `Cancel`.
    ///
    /// Only follow it if the engine's state was saved *before* that command ran; otherwise call
    /// [`RegisterModel::complete`] with the response that was saved with the engine.
    fn resume(&self) -> Vec<Action>;
}
