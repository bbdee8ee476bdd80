//! The seam to whoever judges a peer's evidence against this host's trust policy.

use std::fmt;

use crate::chip::{Challenge, Nonce};
use crate::evidence::Evidence;
use crate::pcr::PcrSelection;
use crate::secret::Secret;

/// A side of a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The instance leaves this host.
    Source,
    /// The instance arrives at this host.
    Destination,
}

impl Side {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// Judges the evidence of a peer. It holds the [`TrustPolicy`](crate::policy::TrustPolicy), and
/// what it takes to read TPM structures and certificates, which the protocol does not.
pub trait Judge {
    /// The registers that the policy has reference values for: what a peer is asked to quote.
    fn wanted(&self) -> PcrSelection;

    /// Decides whether to trust the peer, on the `side` of the handover that it takes.
    ///
    /// An implementation checks that the EK is pinned or its chain ends in a trusted root and
    /// certifies `ek_public`; that the AK is a restricted signing key fixed to its TPM; that the
    /// AK certified the HK, and the HK is a P-256 storage key (SHA-256, AES-128-CFB) fixed to its
    /// TPM; that the quote is the AK's, its qualifying data is `nonce`, its digest is that of the
    /// values shown, and these are what the policy wants; that the policy allows the peer's side.
    /// It then makes a credential for EK and AK with a fresh random secret: the peer's answer
    /// will prove that both are in one chip.
    ///
    /// # Errors
    /// Why the peer is not trusted. No state has left this host then.
    fn judge(
        &mut self,
        side: Side,
        nonce: &Nonce,
        evidence: &Evidence,
    ) -> Result<Judgement, Refusal>;
}

/// The peer is trusted, provided that it answers the challenge.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Who the peer is.
    pub peer: Peer,
    /// The credential for its EK and AK.
    pub challenge: Challenge,
    /// The secret in it, 16 to 64 bytes.
    pub secret: Secret,
}

/// A peer that was judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// What the policy calls it, for people: the name of a pinned host, or of the root that its
    /// chain ends in.
    pub label: String,
    /// The Name of its EK (TPM 2.0 Part 1, clause 14).
    pub ek_name: Vec<u8>,
    /// The Name of its AK.
    pub ak_name: Vec<u8>,
    /// The public point of its HK: SEC 1, uncompressed, 65 bytes.
    pub hk_point: [u8; 65],
    /// The registers that a key for this peer is to be bound to; empty to bind it to none.
    pub pcrs: PcrSelection,
    /// SHA-256 over the values of `pcrs`, as TPM2_PolicyPCR wants it.
    pub pcr_digest: [u8; 32],
}

/// Why a peer is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The EK is not pinned, and its chain ends in no root that the policy trusts.
    #[error(
        "the peer's endorsement key is not trusted: {0}; if the host is yours, add its root \
         certificate or its key to the trust policy"
    )]
    UntrustedEndorsement(String),

    /// A structure of the evidence cannot be read, or is not what it should be.
    #[error("the peer's {part} is not as it should be: {detail}; check its anchor, and upgrade it")]
    BadEvidence {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        detail: String,
    },

    /// The quote is bound to another session: it was recorded, or is relayed.
    #[error(
        "the peer's quote was made for another session: someone relays or replays an attestation; \
         find out who is between the hosts"
    )]
    Relayed,

    /// A register has a value that the policy does not allow.
    #[error(
        "the peer's register {index} of bank {bank:#06x} is {found}, which the trust policy does \
         not allow; find out what that host booted, or add the value to the policy"
    )]
    WrongPcr {
        /// The bank's algorithm.
        bank: u16,
        /// The register.
        index: u8,
        /// Its value in hexadecimal digits.
        found: String,
    },

    /// A register that the policy has values for is not in the quote.
    #[error(
        "the peer did not quote register {index} of bank {bank:#06x}; enable that bank in its TPM, \
         or take the register out of the trust policy"
    )]
    MissingPcr {
        /// The bank's algorithm.
        bank: u16,
        /// The register.
        index: u8,
    },

    /// The policy knows the host, but not on this side.
    #[error("the trust policy does not let {host} be the {side}; change its roles if it should be")]
    SideNotAllowed {
        /// What the policy calls the host.
        host: String,
        /// The side it took.
        side: Side,
    },

    /// The evidence could not be judged at all.
    #[error("the peer's evidence could not be judged: {0}; try again, and report it if it stays")]
    Unjudged(String),
}
