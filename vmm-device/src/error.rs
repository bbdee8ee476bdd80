//! Everything that can go wrong in this crate.

use thiserror::Error;

/// An error of a device model, a snapshot or an event log.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A response came, but no command is running: it was reset away, or completed before.
    #[error("no TPM command is running; drop this response")]
    NoCommand,
    /// The buffer that holds commands and responses could not be reached.
    #[error("the TPM command buffer cannot be accessed")]
    Buffer(#[from] BufferError),
    /// A snapshot cannot be restored.
    #[error("the device snapshot cannot be restored")]
    Snapshot(#[from] SnapshotError),
    /// An event log cannot be written or read.
    #[error("the event log is unusable")]
    Log(#[from] LogError),
}

/// Why a [`CommandBuffer`](crate::crb::CommandBuffer) refused an access.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BufferError {
    /// The access reaches past the end of the buffer.
    #[error("access of {length} bytes at {offset:#x} is outside the buffer")]
    OutOfRange {
        /// Bytes from the start of the buffer.
        offset: usize,
        /// Bytes asked for.
        length: usize,
    },
    /// Guest memory at the buffer's address is missing or refused the access.
    #[error("guest memory refused the access: {0}; is the buffer's page part of guest memory?")]
    GuestMemory(String),
}

/// Why a snapshot was refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes do not begin with the magic of this kind of record.
    #[error("not a {expected} snapshot")]
    Magic {
        /// Name of the device whose snapshot was expected.
        expected: &'static str,
    },
    /// A newer release wrote it and says that this one cannot read it.
    #[error("needs a release that reads version {needed}, this one reads up to {supported}")]
    Version {
        /// Oldest version that a reader has to know.
        needed: u16,
        /// Newest version that this reader knows.
        supported: u16,
    },
    /// The header's version fields contradict each other.
    #[error("version {version} with minimum version {minimum} makes no sense")]
    Header {
        /// Version in the header.
        version: u16,
        /// Minimum version in the header.
        minimum: u16,
    },
    /// The record ends before its last field.
    #[error("cut off: {0} is missing")]
    Truncated(&'static str),
    /// Bytes follow the record's end.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A field holds a value that no device can be in.
    #[error("damaged: {0}")]
    Invalid(&'static str),
    /// The snapshot does not fit into the device that is to take it.
    #[error("{what} of {found} bytes does not fit; this device is configured for {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The largest size this device takes.
        limit: usize,
    },
}

/// Why an event log was refused, or an event could not be added.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError {
    /// The event does not fit into the log area. The log is unchanged and nothing is to be
    /// extended; give the guest a larger area.
    #[error("log area is full: {needed} bytes needed, {free} free")]
    Full {
        /// Bytes that the event takes.
        needed: usize,
        /// Bytes left in the area.
        free: usize,
    },
    /// A log needs at least one bank, and each bank once.
    #[error("bank list is empty or names a bank twice")]
    Banks,
    /// The digests do not match the log's banks, one for each.
    #[error("digests do not match the banks of the log")]
    Digests,
    /// PCR index outside 0 to 23.
    #[error("PCR {0} does not exist")]
    Pcr(u32),
    /// The bytes end inside a field.
    #[error("log is cut off in {0}")]
    Truncated(&'static str),
    /// The first event is no "Spec ID Event03" header.
    #[error("not a crypto-agile log: {0}")]
    Header(&'static str),
    /// An event carries a digest of an algorithm that the header does not list.
    #[error("event {event} carries a digest of unlisted algorithm {algorithm:#06x}")]
    UnlistedAlgorithm {
        /// Number of the event, the header being 0.
        event: usize,
        /// TPM algorithm identifier.
        algorithm: u16,
    },
    /// This crate cannot compute digests of that algorithm.
    #[error("cannot compute digests of algorithm {0:#06x}")]
    UnsupportedAlgorithm(u16),
}
