//! What self-tests found (Part 1, clause 12.3).

/// Result of the self-tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelfTest {
    /// Why the TPM is in failure mode.
    pub(crate) failure: Option<&'static str>,
}
