//! Hierarchies: seeds, proofs, authorizations (Part 1, clause 13).

use zeroize::Zeroizing;

use crate::tpm::{Policy, Tpm};
use crate::wire::{Auth, Handle, Rc};

/// Size of a seed and of a proof in bytes.
pub(crate) const SEED_SIZE: usize = 64;

/// A seed or proof.
pub(crate) type SeedBytes = Zeroizing<[u8; SEED_SIZE]>;

/// One of the hierarchies.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hierarchy {
    Owner,
    Endorsement,
    Platform,
    Null,
}

impl Hierarchy {
    /// The hierarchy of a `TPMI_RH_HIERARCHY+`.
    pub(crate) fn of(handle: Handle) -> Option<Hierarchy> {
        Some(match handle {
            Handle::OWNER => Hierarchy::Owner,
            Handle::ENDORSEMENT => Hierarchy::Endorsement,
            Handle::PLATFORM => Hierarchy::Platform,
            Handle::NULL => Hierarchy::Null,
            _ => return None,
        })
    }

    /// The handle.
    pub(crate) const fn handle(self) -> Handle {
        match self {
            Hierarchy::Owner => Handle::OWNER,
            Hierarchy::Endorsement => Handle::ENDORSEMENT,
            Hierarchy::Platform => Handle::PLATFORM,
            Hierarchy::Null => Handle::NULL,
        }
    }
}

/// Authorization value and policy of a hierarchy.
#[derive(Clone, Default)]
pub(crate) struct HierarchyAuth {
    pub(crate) auth: Auth,
    pub(crate) policy: Option<Policy>,
}

/// A primary seed with the proof of its hierarchy.
pub(crate) struct Root {
    pub(crate) seed: SeedBytes,
    pub(crate) proof: SeedBytes,
}

/// The permanent part of all hierarchies.
pub(crate) struct Hierarchies {
    pub(crate) platform: Root,
    pub(crate) owner: Root,
    pub(crate) endorsement: Root,
    pub(crate) owner_auth: HierarchyAuth,
    pub(crate) endorsement_auth: HierarchyAuth,
    pub(crate) lockout_auth: HierarchyAuth,
    /// `TPMA_PERMANENT` `tpmGeneratedEPS`.
    pub(crate) tpm_generated_eps: bool,
}

impl Tpm {
    /// A fresh seed or proof.
    pub(crate) fn fresh_seed(&mut self) -> SeedBytes {
        let mut seed = Zeroizing::new([0; SEED_SIZE]);
        crate::crypto::Rng::fill(&mut self.drbg, seed.as_mut());
        seed
    }

    /// The primary seed of a hierarchy.
    pub(crate) fn seed(&self, hierarchy: Hierarchy) -> &SeedBytes {
        let permanent = &self.permanent.hierarchies;
        match hierarchy {
            Hierarchy::Owner => &permanent.owner.seed,
            Hierarchy::Endorsement => &permanent.endorsement.seed,
            Hierarchy::Platform => &permanent.platform.seed,
            Hierarchy::Null => &self.reset.null_seed,
        }
    }

    /// The proof of a hierarchy: the key of its tickets and contexts.
    pub(crate) fn proof(&self, hierarchy: Hierarchy) -> &SeedBytes {
        let permanent = &self.permanent.hierarchies;
        match hierarchy {
            Hierarchy::Owner => &permanent.owner.proof,
            Hierarchy::Endorsement => &permanent.endorsement.proof,
            Hierarchy::Platform => &permanent.platform.proof,
            Hierarchy::Null => &self.reset.null_proof,
        }
    }

    /// Whether a hierarchy is enabled; the null hierarchy always is.
    pub(crate) fn is_enabled(&self, hierarchy: Hierarchy) -> bool {
        match hierarchy {
            Hierarchy::Owner => self.clear.storage_enabled,
            Hierarchy::Endorsement => self.clear.endorsement_enabled,
            Hierarchy::Platform => self.platform_enabled,
            Hierarchy::Null => true,
        }
    }

    /// `TPM_RC_HIERARCHY` unless the hierarchy is enabled.
    pub(crate) fn check_enabled(&self, hierarchy: Hierarchy) -> Result<(), Rc> {
        if self.is_enabled(hierarchy) { Ok(()) } else { Err(Rc::HIERARCHY) }
    }

    /// `TPM_PT_CONTEXT_HASH`: the hash of contexts and proofs, and so the longest authorization
    /// value of a hierarchy.
    pub(crate) fn context_integrity_hash(&self) -> crate::crypto::hash::HashAlg {
        crate::crypto::hash::HashAlg::Sha512
    }
}
