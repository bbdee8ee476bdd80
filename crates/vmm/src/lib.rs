//! The reference VMM: a Linux guest with a TPM of its own and a measured boot, on rust-vmm crates.
//!
//! ```text
//!   machine ─┬─ vm        KVM: memory, interrupt controllers, clock
//!            ├─ vcpu      processors, a thread each
//!            ├─ bus ───── devices: serial, power, TPM registers
//!            ├─ boot      kernel, initrd, command line into memory
//!            ├─ acpi      tables
//!            └─ measure   TPM start-up, measurements, event log
//!   tpm      the TPM behind the registers: in process, or a daemon
//! ```
//!
//! Architecture invariant: a processor's thread never waits for the TPM, a disk or a peer.
//!
//! Architecture invariant: what is measured is what runs. Kernel, initrd and command line are read
//! once, and the same bytes are measured and loaded.

// KVM's interface is memory that the kernel shares: each use says why it is sound.
#![allow(unsafe_code, reason = "KVM, and memory shared with the kernel and the guest")]
#![deny(missing_docs, clippy::undocumented_unsafe_blocks)]
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

pub mod acpi;
pub mod boot;
pub mod bus;
pub mod config;
pub mod console;
pub mod control;
pub mod devices;
mod error;
pub mod event;
pub mod layout;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod migrate;
pub mod seccomp;
pub mod session;
pub mod snapshot;
pub mod tpm;
pub mod vcpu;
pub mod virtio;
pub mod vm;

pub use error::{Error, Result};
