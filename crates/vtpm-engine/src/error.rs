//! Why a TPM could not be made or restored.

/// An error of the library's own functions. What a guest does wrong is a response code, never this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The platform gave no entropy.
    #[error("the platform has no entropy; a TPM cannot start without it")]
    Entropy,
}
