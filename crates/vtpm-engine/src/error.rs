//! Why a TPM could not be made or restored.

/// An error of the library's own functions. What a guest does wrong is a response code, never this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The platform gave no entropy.
    #[error("the platform has no entropy; a TPM cannot start without it")]
    Entropy,
    /// The bytes do not begin as a saved state does.
    #[error("this is not the saved state of a TPM")]
    NotState,
    /// The bytes end too early.
    #[error("the saved state is cut off; restore it from a complete copy")]
    Truncated,
    /// The bytes are not what was saved.
    #[error("the saved state is damaged ({0}); restore it from another copy")]
    Damaged(&'static str),
    /// A newer release saved the state, and said that older ones must not read it.
    #[error(
        "record {record} of the saved state needs a release that reads version {minimum}; \
         this one reads up to version {supported}"
    )]
    Newer {
        /// The record.
        record: &'static str,
        /// The oldest version whose readers may read it.
        minimum: u16,
        /// The newest version that this release reads.
        supported: u16,
    },
    /// The saved TPM has something that this release does not.
    #[error("the saved TPM has {0} that this release does not know")]
    Unsupported(&'static str),
}
