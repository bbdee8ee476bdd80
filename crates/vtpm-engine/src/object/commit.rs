//! Commitments of `TPM2_Commit` and `TPM2_EC_Ephemeral` (Part 1, clause C.2.3).

use zeroize::Zeroizing;

/// How many commitments can be open at once.
pub(crate) const WINDOW: u16 = 128;

/// The open commitments. The secret of number `n` is derived from the nonce, so nothing but a bit
/// is kept for it.
#[derive(Clone)]
pub(crate) struct Commits {
    /// Key of the derivation.
    pub(crate) nonce: Zeroizing<[u8; 32]>,
    /// Number of the next commitment.
    pub(crate) counter: u64,
    /// Bit `n % 128` is set while commitment `n` is open.
    pub(crate) open: u128,
}
