//! PCR: banks, attributes, changes (Part 1, clause 11; PC Client Platform TPM Profile, clause 4.6).

use crate::crypto::hash::{self, HashAlg, Hasher};
use crate::tpm::{Policy, Tpm};
use crate::wire::{Auth, Digest, Handle, LocalityAttributes, PCR_COUNT, PcrSelection};

/// What may be done with a PCR, by locality, and when it is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct PcrAttributes {
    /// `TPM2_Shutdown(STATE)` and a TPM Resume keep the value.
    pub(crate) save_state: bool,
    /// Localities that may reset it.
    pub(crate) reset: LocalityAttributes,
    /// Localities that may extend it.
    pub(crate) extend: LocalityAttributes,
    /// Set to ones, not zeros, by a start; zeros by the D-RTM sequence.
    pub(crate) drtm: bool,
    /// A change does not count in the PCR update counter.
    pub(crate) no_increment: bool,
    /// One-based number of the group with a policy; zero for none.
    pub(crate) policy_group: u8,
    /// One-based number of the group with an authorization value; zero for none.
    pub(crate) auth_group: u8,
}

/// The PCR of the static root of trust for measurement in hardware.
pub(crate) const HCRTM_PCR: u32 = 0;
/// The PCR of the dynamic root of trust for measurement.
pub(crate) const DRTM_PCR: u32 = 17;

/// Number of PCR groups with a policy.
pub(crate) const POLICY_GROUPS: usize = 1;
/// Number of PCR groups with an authorization value.
pub(crate) const AUTH_GROUPS: usize = 1;

/// The attributes of a PCR.
pub(crate) const fn attributes(pcr: u32) -> PcrAttributes {
    let (save_state, reset, extend) = match pcr {
        0..=15 => (true, 0, 0x1f),
        16 | 23 => (false, 0x0f, 0x1f),
        17 | 18 => (false, 0x10, 0x1c),
        19 => (false, 0x10, 0x0c),
        20 => (false, 0x14, 0x0e),
        21 | 22 => (false, 0x14, 0x04),
        _ => (false, 0, 0),
    };
    PcrAttributes {
        save_state,
        reset: LocalityAttributes(reset),
        extend: LocalityAttributes(extend),
        drtm: matches!(pcr, 17..=22),
        no_increment: matches!(pcr, 16 | 21..=23),
        policy_group: matches!(pcr, 20..=22) as u8,
        auth_group: matches!(pcr, 20..=22) as u8,
    }
}

/// The values of one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    pub(crate) alg: HashAlg,
    /// Which PCR the bank has.
    pub(crate) allocated: PcrSelection,
    /// All values one after the other, those of PCR that are not allocated included.
    pub(crate) values: Vec<u8>,
}

impl Bank {
    fn range(&self, pcr: u32) -> core::ops::Range<usize> {
        let size = self.alg.digest_size();
        let start = (pcr as usize).saturating_mul(size);
        start..start.saturating_add(size)
    }

    /// The value of a PCR; absent when it is not allocated.
    pub(crate) fn value(&self, pcr: u32) -> Option<&[u8]> {
        if self.allocated.has(pcr) { self.values.get(self.range(pcr)) } else { None }
    }

    fn value_mut(&mut self, pcr: u32) -> Option<&mut [u8]> {
        let range = self.range(pcr);
        if self.allocated.has(pcr) { self.values.get_mut(range) } else { None }
    }

    /// Sets a PCR, if it is allocated.
    pub(crate) fn set(&mut self, pcr: u32, value: &[u8]) {
        if let Some(current) = self.value_mut(pcr)
            && current.len() == value.len()
        {
            current.copy_from_slice(value);
        }
    }

    /// Sets all bytes of a PCR, if it is allocated.
    pub(crate) fn fill(&mut self, pcr: u32, byte: u8) {
        if let Some(current) = self.value_mut(pcr) {
            current.fill(byte);
        }
    }

    /// Sets a PCR to the number of the locality that started the measurements (PC Client Platform
    /// TPM Profile, clause 4.6.2).
    pub(crate) fn mark_locality(&mut self, pcr: u32, locality: u8) {
        self.fill(pcr, 0);
        if let Some(last) = self.value_mut(pcr).and_then(|value| value.last_mut()) {
            *last = locality;
        }
    }

    /// Extends a PCR, if it is allocated.
    pub(crate) fn extend(&mut self, pcr: u32, digest: &[u8]) {
        let alg = self.alg;
        if let Some(current) = self.value_mut(pcr) {
            let extended = hash::hash(alg, &[current, digest]);
            current.copy_from_slice(&extended);
        }
    }
}

/// All PCR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pcrs {
    pub(crate) banks: Vec<Bank>,
}

impl Pcrs {
    /// Banks as allocated, all values zero.
    pub(crate) fn new(allocation: &[PcrSelection]) -> Self {
        let banks = allocation
            .iter()
            .map(|allocated| Bank {
                alg: allocated.hash,
                allocated: allocated.clone(),
                values: vec![0; allocated.hash.digest_size().saturating_mul(PCR_COUNT as usize)],
            })
            .collect();
        Self { banks }
    }

    /// The bank of a hash.
    pub(crate) fn bank(&self, alg: HashAlg) -> Option<&Bank> {
        self.banks.iter().find(|bank| bank.alg == alg)
    }

    /// The bank of a hash.
    pub(crate) fn bank_mut(&mut self, alg: HashAlg) -> Option<&mut Bank> {
        self.banks.iter_mut().find(|bank| bank.alg == alg)
    }

    /// Removes from a selection what is not allocated.
    pub(crate) fn filter(&self, selections: &mut [PcrSelection]) {
        for selection in selections {
            let allocated = self.bank(selection.hash).map(|bank| bank.allocated.select);
            for (byte, mask) in selection.select.iter_mut().zip(allocated.unwrap_or_default()) {
                *byte &= mask;
            }
        }
    }

    /// The digest of the selected PCR, in the order of the selection.
    pub(crate) fn digest(&self, alg: HashAlg, selections: &[PcrSelection]) -> Digest {
        let mut hasher = Hasher::new(alg);
        for selection in selections {
            let Some(bank) = self.bank(selection.hash) else { continue };
            selection.pcrs().filter_map(|pcr| bank.value(pcr)).for_each(|v| hasher.update(v));
        }
        Digest::from_slice(&hasher.finish())
    }
}

/// One hash a bank, over the same data: an event sequence, `TPM2_PCR_Event` or the D-RTM sequence.
#[derive(Clone)]
pub(crate) struct EventHashes(pub(crate) Vec<Hasher>);

impl EventHashes {
    /// One hash for each bank.
    pub(crate) fn new(pcrs: &Pcrs) -> Self {
        Self(pcrs.banks.iter().map(|bank| Hasher::new(bank.alg)).collect())
    }

    /// Adds data.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.0.iter_mut().for_each(|hasher| hasher.update(data));
    }

    /// The digests.
    pub(crate) fn finish(self) -> impl Iterator<Item = (HashAlg, hash::Digest)> {
        self.0.into_iter().map(|hasher| (hasher.alg(), hasher.finish()))
    }
}

impl Tpm {
    /// Whether the current locality may extend a PCR.
    pub(crate) fn may_extend(&self, pcr: u32) -> bool {
        attributes(pcr).extend.any(LocalityAttributes::of(self.locality))
    }

    /// Whether the current locality may reset a PCR.
    pub(crate) fn may_reset(&self, pcr: u32) -> bool {
        attributes(pcr).reset.any(LocalityAttributes::of(self.locality))
    }

    /// Extends a PCR in one bank, if it is allocated there.
    pub(crate) fn extend_pcr(&mut self, pcr: u32, alg: HashAlg, digest: &[u8]) {
        let bank = self.pcrs.bank_mut(alg);
        if let Some(bank) = bank.filter(|bank| bank.allocated.has(pcr)) {
            bank.extend(pcr, digest);
            self.note_pcr_change(pcr);
        }
    }

    /// Counts a change of a PCR, for the policies that depend on PCR.
    pub(crate) fn note_pcr_change(&mut self, pcr: u32) {
        if !attributes(pcr).no_increment {
            self.reset.pcr_counter = self.reset.pcr_counter.wrapping_add(1);
        }
    }

    /// The policy of a PCR's group.
    pub(crate) fn pcr_policy(&self, handle: Handle) -> Option<&Policy> {
        let group = usize::from(attributes(handle.0).policy_group).checked_sub(1)?;
        self.permanent.pcr_policies.get(group)?.as_ref()
    }

    /// Whether a PCR belongs to a group with a policy.
    pub(crate) fn has_pcr_policy_group(&self, handle: Handle) -> bool {
        attributes(handle.0).policy_group != 0
    }

    /// The authorization value of a PCR's group.
    pub(crate) fn pcr_auth(&self, handle: Handle) -> Auth {
        usize::from(attributes(handle.0).auth_group)
            .checked_sub(1)
            .and_then(|group| self.clear.pcr_auths.get(group).cloned())
            .unwrap_or_default()
    }

    /// Sets the values of a start; `kept` are those of a resume. Each PCR that starts anew counts
    /// as changed.
    pub(crate) fn start_pcrs(&mut self, kept: Option<&Pcrs>) {
        let hcrtm = self.pre_startup.hcrtm;
        let locality_3 = self.pre_startup.locality_3;
        for bank in &mut self.pcrs.banks {
            let kept = kept.and_then(|kept| kept.bank(bank.alg));
            for pcr in 0..PCR_COUNT {
                let attributes = attributes(pcr);
                match kept.and_then(|kept| kept.value(pcr)) {
                    Some(value) if attributes.save_state => bank.set(pcr, value),
                    // What the H-CRTM measured before the start stays.
                    _ if pcr == 0 && hcrtm => {}
                    _ => bank.fill(pcr, if attributes.drtm { 0xff } else { 0 }),
                }
            }
            if kept.is_none() && locality_3 && !hcrtm {
                bank.mark_locality(0, 3);
            }
        }
        for pcr in 0..PCR_COUNT {
            if kept.is_none() || !attributes(pcr).save_state {
                self.note_pcr_change(pcr);
            }
        }
    }
}
