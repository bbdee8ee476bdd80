//! Everything that can go wrong, with what to do about it where that is known.

use std::path::PathBuf;

use thiserror::Error;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the VMM.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict each other or ask for what there is not.
    #[error("{option}: {reason}")]
    Option {
        /// The option as the user wrote it, `--memory` say.
        option: &'static str,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// A file, socket or device of the host could not be used.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was to be done: "read the kernel".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The host refused something that has no file.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// KVM refused something.
    #[error("KVM: cannot {action}: {source}")]
    Kvm {
        /// What was to be done.
        action: &'static str,
        /// What the kernel said.
        source: kvm_ioctls::Error,
    },
    /// `/dev/kvm` lacks what is needed.
    #[error("KVM here has no {0}; a kernel of 5.10 or later with in-kernel interrupts is needed")]
    Capability(&'static str),
    /// The kernel image cannot be booted.
    #[error("kernel {path}: {reason}")]
    Kernel {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The initial ramdisk cannot be used.
    #[error("initrd {path}: {reason}")]
    Initrd {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel's command line cannot be used.
    #[error("--cmdline: {0}")]
    CommandLine(String),
    /// Guest memory could not be made or accessed.
    #[error("guest memory: cannot {action}: {reason}")]
    Memory {
        /// What was to be done.
        action: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// Something does not fit into the guest's address space.
    #[error("{what} does not fit: {reason}")]
    Layout {
        /// What.
        what: &'static str,
        /// Why not, and what to change.
        reason: String,
    },
    /// The TPM behind the registers cannot be had or gave a wrong answer.
    #[error("TPM: {0}")]
    Tpm(String),
    /// The in-process TPM.
    #[error("TPM: {0}")]
    Instance(#[from] vtpm_host::Error),
    /// The sealed store of the in-process TPM.
    #[error("TPM state: {0}")]
    Store(#[from] vtpm_store::Error),
    /// A device model refused something.
    #[error("TPM device: {0}")]
    Device(#[from] vmm_device::Error),
    /// The event log could not be written.
    #[error("event log: {0}")]
    Log(#[from] vmm_device::LogError),
    /// A disk image or a network device cannot be used.
    #[error("{device}: {reason}")]
    Virtio {
        /// Which device, as the user named it.
        device: String,
        /// What is wrong.
        reason: String,
    },
    /// A snapshot cannot be written, or is damaged, or does not fit.
    #[error("snapshot: {0}")]
    Snapshot(String),
    /// A request on the control socket cannot be served.
    #[error("control: {0}")]
    Control(String),
    /// A machine cannot be moved, or cannot come here; says why and what to do.
    #[error("migration: {0}")]
    Migration(String),
    /// The host's physical TPM.
    #[error("the host's TPM: {0}")]
    Anchor(#[from] vtpm_anchor::Error),
    /// A filter of system calls could not be put in place.
    #[error("seccomp: {0}")]
    Seccomp(String),
    /// A thread of the VMM ended before its time; its own message came before this.
    #[error("the thread of {0} has ended")]
    Thread(String),
}

impl Error {
    /// For `map_err` on what KVM returns.
    pub(crate) fn kvm(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |source| Self::Kvm { action, source }
    }

    /// For `map_err` on what the host returns about the file `path`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err` on what the host returns.
    pub(crate) fn host(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Host { action, source }
    }

    /// For `map_err` on what guest memory returns.
    pub(crate) fn memory<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Memory { action, reason: cause.to_string() }
    }

    /// An option that cannot be.
    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option { option, reason: reason.into() }
    }
}
