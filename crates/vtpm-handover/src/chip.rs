//! The seam to this host's physical TPM: what it must prove, answer and open.

use std::error::Error as StdError;
use std::fmt;

use crate::evidence::Evidence;
use crate::pcr::PcrSelection;
use crate::secret::{Key, Secret};

/// What a quote and a challenge are bound to: the TLS session, the role of who proves, and
/// everything said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

/// This host's physical TPM and the keys of ours in it.
///
/// All of these are slow on real hardware (up to seconds). The protocol calls them only before
/// the blackout.
pub trait Chip {
    /// Proves who this host is and what it booted: see [`Evidence`]. The quote is fresh, its
    /// qualifying data is `nonce`, and it covers at least the registers in `wanted`, each of
    /// whose values is in the evidence.
    ///
    /// # Errors
    /// Why the chip cannot, and what the operator can do.
    fn evidence(&mut self, nonce: &Nonce, wanted: &PcrSelection) -> Result<Evidence, ChipError>;

    /// Opens a credential that was made for this chip's EK and AK (TPM2_ActivateCredential).
    ///
    /// The challenge comes from the peer: it is not to be trusted.
    ///
    /// # Errors
    /// Why the chip cannot: above all, if the credential was made for another AK or EK.
    fn activate(&mut self, challenge: &Challenge) -> Result<Secret, ChipError>;

    /// Opens a transfer key that was wrapped to this host's handover key: TPM2_Import and
    /// TPM2_Load under it, TPM2_Unseal (with a TPM2_PolicyPCR session over `wrapped.pcrs` unless
    /// that is empty), and nothing of it stays in the chip.
    ///
    /// The wrapped key comes from the peer: it is not to be trusted.
    ///
    /// # Errors
    /// Why the chip cannot: above all, if it was wrapped to another handover key, or the
    /// registers have changed since the quote.
    fn unwrap(&mut self, wrapped: &WrappedKey) -> Result<Key, ChipError>;
}

/// A credential for an EK and an AK, as TPM2_MakeCredential makes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Challenge {
    /// The contents of the TPM2B_ID_OBJECT, without its size field: outer HMAC (itself a
    /// TPM2B_DIGEST) and encrypted credential.
    pub credential: Vec<u8>,
    /// The contents of the TPM2B_ENCRYPTED_SECRET, without its size field.
    pub secret: Vec<u8>,
}

/// A transfer key as a sealed data object, ready for TPM2_Import under the destination's
/// handover key without an inner wrapper.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// The object's public area, a TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// The contents of the TPM2B_PRIVATE, without its size field: outer HMAC (itself a
    /// TPM2B_DIGEST) and encrypted TPM2B_SENSITIVE.
    pub duplicate: Vec<u8>,
    /// The contents of the TPM2B_ENCRYPTED_SECRET, without its size field: the ephemeral
    /// TPMS_ECC_POINT.
    pub seed: Vec<u8>,
    /// The registers that the object's policy (TPM2_PolicyPCR) is over; if there are none, the
    /// object has an empty authorization value and no policy.
    pub pcrs: PcrSelection,
}

/// A source of random bytes. The protocol has none of its own, so that any run can be replayed.
pub trait Entropy {
    /// Fills `out` with bytes that nobody can predict.
    ///
    /// # Errors
    /// If there are none; the handover then fails.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), ChipError>;
}

/// Why a chip could not do its work: what happened, what to do, and the cause below.
#[derive(Debug)]
pub struct ChipError {
    what: String,
    hint: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ChipError {
    /// `what` happened (a clause, such as "the TPM does not answer"), and the `hint` on what the
    /// operator can do next.
    #[must_use]
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), cause: None }
    }

    /// The same with the error that led to it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the operator can do next.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for ChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.hint)
    }
}

impl StdError for ChipError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
