//! What can go wrong between this host and its chip, and what an operator can still do.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the chip could not do what was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no way to the chip, or it was cut.
    #[error(
        "the TPM at {address} cannot be reached ({cause}); check that it is there, that this user \
         may open it, and that its resource manager runs. Nothing is lost: try again"
    )]
    Unreachable {
        /// The TCTI.
        address: String,
        /// What was tried, and what the TSS said.
        cause: String,
    },
    /// The TCTI string names no way that the TSS knows.
    #[error(
        "\"{address}\" is no way to a TPM; use device:/dev/tpmrm0, swtpm:host=H,port=P, \
         mssim:host=H,port=P or tabrmd"
    )]
    Address {
        /// The TCTI.
        address: String,
    },
    /// The chip did not answer in time.
    #[error(
        "the TPM did not complete \"{what}\" within {} s; it may be busy or hang. Nothing is lost: \
         try again, and restart its resource manager or the host if it stays so", after.as_secs()
    )]
    Silent {
        /// What was to be done.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// The chip asked to try again, too often.
    #[error(
        "the TPM was busy at every attempt of {command}; try again when it has completed its tests \
         or whatever other software asks of it"
    )]
    Busy {
        /// The command's name in the specification.
        command: &'static str,
    },
    /// The chip has no free slot or memory.
    #[error(
        "the TPM has no free slot for {command}: other software left objects or sessions in it; \
         use it through a resource manager (device:/dev/tpmrm0), or flush them (tpm2_flushcontext)"
    )]
    Full {
        /// The command's name in the specification.
        command: &'static str,
    },
    /// The chip is locked out.
    #[error(
        "the TPM is locked out after too many wrong authorizations; wait until it recovers, or \
         reset it with the lockout authorization (tpm2_dictionarylockout)"
    )]
    Lockout,
    /// The chip refused a command.
    #[error("the TPM refused {command} with response code {code:#05x} ({meaning})")]
    Refused {
        /// The command's name in the specification.
        command: &'static str,
        /// The response code.
        code: u32,
        /// What the TSS says of it.
        meaning: String,
    },
    /// The chip has another endorsement key.
    #[error(
        "the TPM at {address} is not the one that this host was set up with (its endorsement key \
         is {found}, not {expected}). If it is the wrong TPM, give the right one. If the old one \
         is gone, what was sealed to it cannot be opened: run `vtpm host recreate`, then bring \
         each vTPM back from its backup (`vtpm import`)"
    )]
    OtherChip {
        /// The TCTI.
        address: String,
        /// The name that was written down.
        expected: String,
        /// The name that was found.
        found: String,
    },
    /// The chip has the same endorsement key, but another storage seed.
    #[error(
        "the TPM at {address} was cleared since this host was set up: its storage seed is new, and \
         what was sealed before cannot be opened by anybody. Run `vtpm host recreate`, then bring \
         each vTPM back from its backup (`vtpm import`)"
    )]
    Cleared {
        /// The TCTI.
        address: String,
    },
    /// Something was not sealed by this host's keys.
    #[error(
        "what is to be opened was sealed by another TPM, or was changed; open it on the host that \
         it was sealed on, or restore it from a backup (`vtpm import`)"
    )]
    NotSealedHere,
    /// Something was sealed for another instance.
    #[error("the sealed key is another instance's: the file was put together from two; restore it")]
    WrongInstance,
    /// The host's PCRs are none that the operator approved.
    #[error(
        "the host's PCRs {selection} are in a state that the operator has not approved ({digest}); \
         boot the approved software, or approve this state (`vtpm host bless`)"
    )]
    NotApproved {
        /// Which PCRs.
        selection: String,
        /// The digest of their values.
        digest: String,
    },
    /// An approval is not by the operator's key.
    #[error("the approval was not signed by the policy key that this host was set up with")]
    NotAuthority,
    /// Something was sealed under another operator's policy.
    #[error(
        "what is to be opened was sealed under another PCR policy than this host has now; put the \
         policy back, or restore from a backup and seal it anew"
    )]
    OtherPolicy,
    /// The host has no identity yet.
    #[error("there is no host identity in {}; make one with `vtpm host init`", path.display())]
    NoIdentity {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The host has an identity already.
    #[error(
        "there is a host identity in {} already; `vtpm host recreate` replaces it, and all that \
         was sealed under it is lost", path.display()
    )]
    IdentityExists {
        /// The file.
        path: PathBuf,
    },
    /// A file of the host cannot be read for what it says.
    #[error("{} is damaged ({why}); put back a copy, or run `vtpm host recreate`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of the host was written by a newer release.
    #[error("{} was written by a newer release (version {version}); upgrade", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The table of generations is not the one that the chip remembers.
    #[error(
        "the table of generations in {} is not the one that the TPM remembers: an older copy was \
         put back, or it was changed. Put the newest back; if it is lost, accept the state of the \
         files as they are with `vtpm recover --all --reason WHY`, which is recorded",
        path.display()
    )]
    TableRolledBack {
        /// The file.
        path: PathBuf,
    },
    /// The chip does not remember the generations of this host any more.
    #[error(
        "the TPM has lost its memory of this host's generations (NV index {index:#010x} is gone or \
         not ours): it was cleared, or somebody removed it. Older files could not be told from \
         new ones; check them, then run `vtpm recover --all --reason WHY`, which is recorded"
    )]
    RootLost {
        /// The NV index.
        index: u32,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}; check the disk and the permissions", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A TPM structure or a certificate is not as it should be.
    #[error(transparent)]
    Credential(#[from] vtpm_credential::Error),
    /// A value that was asked for is not possible.
    #[error("{0}")]
    Invalid(String),
    /// The thread that owns the chip has ended.
    #[error("the thread that owns the TPM has ended; restart this program, and report this")]
    Ended,
}

impl Error {
    /// Whether the way to the chip is gone, and not the chip's answer bad: trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. } | Self::Busy { .. })
    }
}
