//! What the engine needs from the world: time, entropy, and whether to stop.

/// The only way by which anything but commands reaches a [`Tpm`](crate::Tpm).
///
/// The engine has no clock, file, thread, socket or global: with the same platform answers and
/// the same commands, a run can be replayed. The one exception is the nonce of ECDSA, which the
/// cryptographic library makes itself.
pub trait Platform: Send {
    /// Milliseconds since a fixed moment of the platform's choosing. Must never go back within
    /// the lifetime of one [`Tpm`](crate::Tpm) value; after a restore it may start anywhere.
    fn now_ms(&mut self) -> u64;

    /// Fills `out` with entropy of full strength; `false` when there is none, which puts the TPM
    /// into failure mode.
    #[must_use]
    fn entropy(&mut self, out: &mut [u8]) -> bool;

    /// Whether the command that runs should be given up (`TPM_RC_CANCELED`). Asked from time to
    /// time by long operations.
    fn canceled(&self) -> bool {
        false
    }

    /// Whether physical presence is asserted now (Part 1, clause 38.3).
    fn physical_presence(&self) -> bool {
        false
    }
}
