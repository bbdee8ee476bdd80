//! What can go wrong, said so that an operator knows what to do next.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::backup::BackupError;
use crate::id::InstanceId;
use crate::key::SourceError;
use crate::medium::Holder;
use crate::role::Role;

/// The result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a store was refused or failed.
///
/// A refused [`open`](crate::Store::open) has changed nothing on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on the file or its directory.
    #[error(
        "cannot {action} {}: {source}; check the disk, its free space and permissions",
        path.display()
    )]
    Io {
        /// What was tried, as a verb that fits before the path.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// There is no file at the path.
    #[error("no vTPM state at {}; check the path, or create the instance", path.display())]
    NotFound {
        /// The path that was looked at.
        path: PathBuf,
    },

    /// A new store would have replaced a file.
    #[error("{} exists already; open it, or destroy it first", path.display())]
    AlreadyExists {
        /// The file in the way.
        path: PathBuf,
    },

    /// The path names something other than a regular file (a symbolic link is not followed).
    #[error("{} is not a regular file; give the path of the state file itself", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },

    /// Another process, or another [`Store`](crate::Store) of this one, has the file.
    #[error("{} is in use{}; stop that one first", path.display(), HeldBy(holder.as_ref()))]
    Locked {
        /// The state file.
        path: PathBuf,
        /// Who holds it, if the holder left its name.
        holder: Option<Holder>,
    },

    /// The file has no bytes.
    #[error("{} is empty: it never held a vTPM, or was cut; restore a backup", path.display())]
    Empty {
        /// The state file.
        path: PathBuf,
    },

    /// Both slots are blank.
    #[error("{} holds only zeros: it was erased; restore a backup or remove it", path.display())]
    Blank {
        /// The state file.
        path: PathBuf,
    },

    /// The length of the file is not that of a store, or not the one its records name.
    #[error(
        "{} is {length} bytes long{}: it was cut or extended; restore a backup",
        path.display(),
        Expected(*expected)
    )]
    WrongLength {
        /// The state file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The length that its first record names, if that could be read.
        expected: Option<u64>,
    },

    /// Neither slot begins as a store's slot does.
    #[error("{} is not a vTPM state file; check the path", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },

    /// A newer release wrote this file in a format that this one must not touch.
    #[error(
        "{} has format version {version} and needs a release that knows version {minimum}; \
         upgrade this host",
        path.display()
    )]
    Newer {
        /// The state file.
        path: PathBuf,
        /// The format version of the record.
        version: u16,
        /// The oldest version whose readers may open it.
        minimum: u16,
    },

    /// Neither slot is whole.
    #[error(
        "{} is damaged (slot 0: {}; slot 1: {}); restore a backup, and check the disk",
        path.display(), faults[0], faults[1]
    )]
    Damaged {
        /// The state file.
        path: PathBuf,
        /// What is wrong with slot 0 and with slot 1.
        faults: [SlotFault; 2],
    },

    /// A record is whole but was not written under its key: someone changed it on purpose.
    #[error(
        "{}: the record in slot {slot} is not authentic: it was changed by someone who lacks its \
         key; do not use it, find out who wrote to the file, restore a backup",
        path.display()
    )]
    Tampered {
        /// The state file.
        path: PathBuf,
        /// The slot, 0 or 1.
        slot: u8,
    },

    /// The file belongs to another instance.
    #[error("{} holds instance {found}, not {expected}; check the path", path.display())]
    WrongInstance {
        /// The state file.
        path: PathBuf,
        /// The instance that the caller named.
        expected: InstanceId,
        /// The instance in the file.
        found: InstanceId,
    },

    /// The data key was sealed by another kind of source.
    #[error(
        "{} is sealed by \"{file}\", but \"{offered}\" was offered; configure the key source \
         \"{file}\", or find out who replaced the file",
        path.display()
    )]
    WrongKeySource {
        /// The state file.
        path: PathBuf,
        /// The kind that the file names.
        file: String,
        /// The kind that the caller offered.
        offered: String,
    },

    /// The key source could not seal or unseal the data key.
    #[error(transparent)]
    Source(#[from] SourceError),

    /// The file is older than the host's anchor remembers.
    #[error(
        "the vTPM's state is of generation {file}, but this host remembers {remembered}: an older \
         copy was put in its place; put the right file back, or accept the loss with an explicit \
         override, which is recorded in the file"
    )]
    RolledBack {
        /// The generation of the newest whole record in the file, or of the backup.
        file: u64,
        /// The generation that the anchor remembers.
        remembered: u64,
    },

    /// The state, or the note beside it, is larger than allowed.
    #[error("{what} is {length} bytes, {limit} are allowed; raise the limit if this is intended")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// The operation does not fit the role that the instance has on this host.
    #[error("cannot {wanted}: the instance is {role} on this host")]
    WrongRole {
        /// What was wanted, as a verb phrase.
        wanted: &'static str,
        /// The role it has.
        role: Role,
    },

    /// An instance comes back to its tombstone with an epoch that is not newer.
    #[error(
        "the instance left this host at epoch {left} and cannot come back at epoch {offered}: \
         that is an older copy of it"
    )]
    StaleEpoch {
        /// The epoch in the tombstone.
        left: u64,
        /// The epoch offered.
        offered: u64,
    },

    /// An earlier commit failed half-way, so what is on disk is unknown until it is opened again.
    #[error("an earlier commit to {} failed; open it again before the next one", path.display())]
    Poisoned {
        /// The state file.
        path: PathBuf,
    },

    /// The data key has sealed as many records as is safe, or the generations ran out.
    #[error("{what} is used up; {remedy}")]
    Exhausted {
        /// What is used up.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },

    /// The file changed while its lock was handed to someone else.
    #[error("{} was changed while it was released; open it again", path.display())]
    ChangedElsewhere {
        /// The state file.
        path: PathBuf,
    },

    /// A caller's argument cannot be stored.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: &'static str,
    },

    /// A backup could not be read or made.
    #[error(transparent)]
    Backup(#[from] BackupError),

    /// The operating system has no entropy.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(#[from] getrandom::Error),

    /// The cipher refused its input; no input within this crate's limits leads here.
    #[error("the cipher refused its input")]
    Cipher,
}

/// What is wrong with one slot of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotFault {
    /// Never written, or erased.
    Blank,
    /// It does not begin with the magic.
    NotARecord,
    /// The header is torn or flipped: a length or a checksum does not fit.
    Header,
    /// The header is whole but speaks of another slot or of a file of another size.
    Misplaced,
    /// The header is whole, the payload is torn or flipped.
    Payload {
        /// The generation that the header names.
        generation: u64,
    },
    /// Both slots claim this generation, which no release writes.
    SameGeneration {
        /// The generation.
        generation: u64,
    },
}

impl fmt::Display for SlotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::NotARecord => f.write_str("no record"),
            Self::Header => f.write_str("torn or flipped header"),
            Self::Misplaced => f.write_str("a record of another place"),
            Self::Payload { generation } => {
                write!(f, "torn or flipped payload of generation {generation}")
            }
            Self::SameGeneration { generation } => {
                write!(f, "generation {generation}, as the other slot")
            }
        }
    }
}

struct HeldBy<'a>(Option<&'a Holder>);

impl fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => write!(f, " by {holder}"),
            None => f.write_str(" by an unnamed process"),
        }
    }
}

struct Expected(Option<u64>);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |length| write!(f, " instead of {length}"))
    }
}
