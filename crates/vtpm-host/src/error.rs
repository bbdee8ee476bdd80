//! Why something could not be done with an instance, and what to do about it.

use vtpm_store::Role;

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on an instance was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store refused or failed. It says what to do.
    #[error(transparent)]
    Store(#[from] vtpm_store::Error),

    /// The engine does not make a TPM from these bytes, or has no entropy.
    #[error("no vTPM can be made from its state: {0}")]
    Engine(#[from] vtpm_engine::Error),

    /// The file holds an instance that must not run on this host now.
    #[error("the vTPM must not run here: it is {role} on this host; {}", advice(role))]
    NotActive {
        /// What it is here.
        role: Role,
    },

    /// The instance stopped, because its state could not be made durable or its store was lost.
    #[error("the vTPM has stopped: {why}; mend the cause, then open it again")]
    Stopped {
        /// What happened.
        why: String,
    },

    /// The instance is frozen or on its way to another host.
    #[error("the vTPM is frozen; thaw it, or call its handover back")]
    Frozen,

    /// What was asked for needs a vTPM that is switched on.
    #[error("the vTPM is switched off; switch it on first")]
    PoweredOff,

    /// What was asked for needs a vTPM that is switched off.
    #[error("the vTPM is switched on; switch it off first")]
    PoweredOn,

    /// `TPM_ESTABLISHMENT` can be reset from localities 3 and 4 only.
    #[error("locality {0} may not reset the established flag; only 3 and 4 may")]
    Locality(u8),

    /// The instance was shut down.
    #[error("the vTPM was shut down; open it again")]
    Ended,

    /// The operating system gives no thread.
    #[error("cannot start the vTPM's thread: {0}; check the limits of this process")]
    Thread(std::io::Error),
}

fn advice(role: &Role) -> &'static str {
    match role {
        Role::Active { .. } => "open it",
        Role::Outgoing { .. } => "complete its handover, or call it back",
        Role::Prepared { .. } => "wait for the source's commit, or ask the source to resume it",
        Role::Tombstone { .. } => "it lives on the host that it moved to; bring it back from there",
    }
}
