//! Hash, event and MAC sequences (Part 1, clause 32).

use crate::crypto::cmac::Cmac;
use crate::crypto::hash::Hasher;
use crate::crypto::hmac::Hmac;
use crate::pcr::EventHashes;
use crate::wire::Auth;

/// A sequence in progress.
pub(crate) struct Sequence {
    /// Authorization value.
    pub(crate) auth: Auth,
    pub(crate) state: SequenceState,
}

/// What a sequence computes.
pub(crate) enum SequenceState {
    /// A digest, for which a ticket is made unless the data starts with `TPM_GENERATED_VALUE`.
    Hash {
        hasher: Hasher,
        /// The first bytes of the data, at most four.
        head: Vec<u8>,
    },
    /// A digest in each bank.
    Event(EventHashes),
    Hmac(Hmac),
    Cmac(Cmac),
}
