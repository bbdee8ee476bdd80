//! Saved state of a processor.
//!
//! Order matters on both sides. Saving reads the multiprocessing state first, since KVM folds a
//! pending start-up into the registers then. Restoring sets features, then the rest from the
//! outside in; the deadline of the timer comes behind the time stamp counter it is measured in.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state,
    kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Kvm, VcpuFd};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::error::{Error, Result};

/// Deadline of the local APIC's timer.
const MSR_TSC_DEADLINE: u32 = 0x6e0;
/// Memory types that the operating system has set: KVM does not list them.
const MTRRS: [u32; 28] = [
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c,
    0x20d, 0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e,
    0x26f, 0x2ff,
];
/// Largest difference of time stamp counter frequencies, in parts per million, that is left alone.
const TSC_TOLERANCE_PPM: u64 = 250;

/// One processor of a paused machine, in KVM's own form.
#[derive(Serialize, Deserialize)]
pub struct SavedVcpu {
    /// What it shows of itself.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// Frequency of its time stamp counter in kHz; 0 if the host does not say.
    pub tsc_khz: u32,
    /// Running, halted or waiting to be started.
    pub mp_state: kvm_mp_state,
    /// General registers.
    pub regs: kvm_regs,
    /// Segments and control registers.
    pub sregs: kvm_sregs,
    /// Floating point and vector registers.
    pub xsave: kvm_xsave,
    /// Extended control registers.
    pub xcrs: kvm_xcrs,
    /// Debug registers.
    pub debug_regs: kvm_debugregs,
    /// Local APIC.
    pub lapic: kvm_lapic_state,
    /// Model-specific registers.
    pub msrs: Vec<kvm_msr_entry>,
    /// Exceptions and interrupts on their way.
    pub events: kvm_vcpu_events,
}

/// The model-specific registers that are worth saving on this host.
pub(crate) fn msrs_to_save(kvm: &Kvm) -> Result<Vec<u32>> {
    let listed = kvm.get_msr_index_list().map_err(Error::kvm("list model-specific registers"))?;
    let mut indices: Vec<u32> = listed.as_slice().iter().copied().chain(MTRRS).collect();
    indices.sort_unstable();
    indices.dedup();
    // Last, since setting the time stamp counter moves it.
    indices.retain(|index| *index != MSR_TSC_DEADLINE);
    indices.push(MSR_TSC_DEADLINE);
    Ok(indices)
}

/// Saves a processor that does not run.
pub(super) fn save(fd: &VcpuFd, msrs: &[u32]) -> Result<SavedVcpu> {
    let mp_state = fd.get_mp_state().map_err(Error::kvm("save the processor's run state"))?;
    let cpuid = fd
        .get_cpuid2(KVM_MAX_CPUID_ENTRIES)
        .map_err(Error::kvm("save the processor's features"))?;
    Ok(SavedVcpu {
        mp_state,
        cpuid: cpuid.as_slice().to_vec(),
        tsc_khz: fd.get_tsc_khz().unwrap_or(0),
        regs: fd.get_regs().map_err(Error::kvm("save registers"))?,
        sregs: fd.get_sregs().map_err(Error::kvm("save segments"))?,
        xsave: fd.get_xsave().map_err(Error::kvm("save vector registers"))?,
        xcrs: fd.get_xcrs().map_err(Error::kvm("save extended control registers"))?,
        debug_regs: fd.get_debug_regs().map_err(Error::kvm("save debug registers"))?,
        lapic: fd.get_lapic().map_err(Error::kvm("save the local APIC"))?,
        msrs: save_msrs(fd, msrs)?,
        events: fd.get_vcpu_events().map_err(Error::kvm("save pending events"))?,
    })
}

/// Sets features and the speed of time; comes before the machine's interrupt controllers.
pub(super) fn restore_features(fd: &VcpuFd, saved: &SavedVcpu) -> Result<()> {
    let cpuid = CpuId::from_entries(&saved.cpuid)
        .map_err(|_| Error::Snapshot("a processor shows more than KVM can take".into()))?;
    fd.set_cpuid2(&cpuid).map_err(Error::kvm("restore the processor's features"))?;
    let here = u64::from(fd.get_tsc_khz().unwrap_or(0));
    let there = u64::from(saved.tsc_khz);
    if there != 0 && here.abs_diff(there) * 1_000_000 > here * TSC_TOLERANCE_PPM {
        fd.set_tsc_khz(saved.tsc_khz).map_err(Error::kvm("scale the time stamp counter"))?;
    }
    Ok(())
}

/// Sets everything else; comes after the machine's interrupt controllers.
pub(super) fn restore(fd: &VcpuFd, saved: &SavedVcpu) -> Result<()> {
    let SavedVcpu {
        cpuid: _,
        tsc_khz: _,
        mp_state,
        regs,
        sregs,
        xsave,
        xcrs,
        debug_regs,
        lapic,
        msrs,
        events,
    } = saved;
    fd.set_mp_state(*mp_state).map_err(Error::kvm("restore the processor's run state"))?;
    fd.set_regs(regs).map_err(Error::kvm("restore registers"))?;
    fd.set_sregs(sregs).map_err(Error::kvm("restore segments"))?;
    // SAFETY: no dynamically enabled feature (AMX) is ever shown to a guest of ours, so KVM reads
    // no more than the 4096 bytes of `kvm_xsave`.
    unsafe { fd.set_xsave(xsave) }.map_err(Error::kvm("restore vector registers"))?;
    fd.set_xcrs(xcrs).map_err(Error::kvm("restore extended control registers"))?;
    fd.set_debug_regs(debug_regs).map_err(Error::kvm("restore debug registers"))?;
    fd.set_lapic(lapic).map_err(Error::kvm("restore the local APIC"))?;
    restore_msrs(fd, msrs)?;
    fd.set_vcpu_events(events).map_err(Error::kvm("restore pending events"))?;
    // Tells the guest's watchdogs that time stood still. Refused without a clock to tell it by.
    if let Err(cause) = fd.kvmclock_ctrl() {
        debug!(%cause, "the guest has no paravirtual clock to tell of the pause");
    }
    Ok(())
}

/// Each register by itself: KVM stops at the first that it cannot read, and lists some that only
/// some processors have.
fn save_msrs(fd: &VcpuFd, indices: &[u32]) -> Result<Vec<kvm_msr_entry>> {
    let mut saved = Vec::with_capacity(indices.len());
    let mut rest = indices;
    while !rest.is_empty() {
        let entries: Vec<_> =
            rest.iter().map(|&index| kvm_msr_entry { index, ..Default::default() }).collect();
        let mut msrs = hold(&entries)?;
        let read = fd.get_msrs(&mut msrs).map_err(Error::kvm("save model-specific registers"))?;
        saved.extend(msrs.as_slice().iter().take(read));
        // The one at `read` cannot be read here.
        rest = rest.get(read.saturating_add(1)..).unwrap_or_default();
    }
    Ok(saved)
}

fn restore_msrs(fd: &VcpuFd, entries: &[kvm_msr_entry]) -> Result<()> {
    let mut rest = entries;
    while !rest.is_empty() {
        let msrs = hold(rest)?;
        let set = fd.set_msrs(&msrs).map_err(Error::kvm("restore model-specific registers"))?;
        if let Some(refused) = rest.get(set) {
            report_refused(refused);
        }
        rest = rest.get(set.saturating_add(1)..).unwrap_or_default();
    }
    Ok(())
}

/// Registers that are zero, or read-only ones, are often refused on restore; others are worth
/// knowing about.
fn report_refused(entry: &kvm_msr_entry) {
    if entry.data == 0 {
        debug!(index = entry.index, "a model-specific register cannot be set here");
    } else {
        let (index, value) = (entry.index, entry.data);
        warn!("model-specific register {index:#x} cannot be set to {value:#x} here");
    }
}

fn hold(entries: &[kvm_msr_entry]) -> Result<Msrs> {
    Msrs::from_entries(entries)
        .map_err(|_| Error::Snapshot("more model-specific registers than KVM takes at once".into()))
}
