//! Hierarchies: seeds, proofs, authorizations (Part 1, clause 13).

use zeroize::Zeroizing;

use crate::tpm::{Policy, Tpm};
use crate::wire::{Auth, Handle, NvAttributes, NvType, Rc};

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

    /// Flushes the loaded objects of a hierarchy.
    pub(crate) fn flush_objects_of(&mut self, hierarchy: Hierarchy) {
        self.objects.retain(|object| object.is_none_or(|object| object.hierarchy != hierarchy));
    }

    /// Deletes the persistent objects of a hierarchy.
    fn delete_persistent_of(&mut self, hierarchy: Hierarchy) {
        self.nv.objects.retain(|_, object| object.hierarchy != hierarchy);
    }

    /// Deletes the NV indices that are not the platform's.
    fn delete_owner_indices(&mut self) {
        let mut max_counter = self.nv.max_counter;
        self.nv.indices.retain(|_, index| {
            let stays = index.has(NvAttributes::PLATFORM_CREATE);
            let counted = index.kind() == NvType::Counter && index.has(NvAttributes::WRITTEN);
            if !stays && counted {
                max_counter = max_counter.max(index.number());
            }
            stays
        });
        self.nv.max_counter = max_counter;
    }

    /// `TPM2_ChangePPS`: NV indices stay.
    pub(crate) fn change_platform_seed(&mut self) {
        let root = Root { seed: self.fresh_seed(), proof: self.fresh_seed() };
        self.permanent.hierarchies.platform = root;
        self.clear.platform_policy = None;
        self.permanent.pcr_policies.fill(None);
        self.flush_objects_of(Hierarchy::Platform);
        self.delete_persistent_of(Hierarchy::Platform);
        self.persist();
    }

    /// `TPM2_ChangeEPS`.
    pub(crate) fn change_endorsement_seed(&mut self) {
        let root = Root { seed: self.fresh_seed(), proof: self.fresh_seed() };
        self.permanent.hierarchies.endorsement = root;
        self.permanent.hierarchies.endorsement_auth = HierarchyAuth::default();
        self.clear.endorsement_enabled = true;
        self.flush_objects_of(Hierarchy::Endorsement);
        self.delete_persistent_of(Hierarchy::Endorsement);
        self.persist();
    }

    /// `TPM2_Clear`: the endorsement seed stays, its proof does not.
    pub(crate) fn clear_owner(&mut self) {
        let owner = Root { seed: self.fresh_seed(), proof: self.fresh_seed() };
        let endorsement_proof = self.fresh_seed();
        let hierarchies = &mut self.permanent.hierarchies;
        hierarchies.owner = owner;
        hierarchies.endorsement.proof = endorsement_proof;
        hierarchies.owner_auth = HierarchyAuth::default();
        hierarchies.endorsement_auth = HierarchyAuth::default();
        hierarchies.lockout_auth = HierarchyAuth::default();
        self.clear.storage_enabled = true;
        self.clear.endorsement_enabled = true;
        for hierarchy in [Hierarchy::Owner, Hierarchy::Endorsement] {
            self.flush_objects_of(hierarchy);
            self.delete_persistent_of(hierarchy);
        }
        self.delete_owner_indices();
        self.permanent.lockout = crate::lockout::Lockout::new();
        self.clock.clock = 0;
        self.clock.safe = true;
        self.permanent.reset_count = 0;
        self.reset.restart_count = 0;
        self.reset.clear_count = 0;
        self.permanent.audit.counter = 0;
        self.clear.pcr_auths.fill(Auth::empty());
        self.note_pcr_change(0);
        self.persist();
    }
}
