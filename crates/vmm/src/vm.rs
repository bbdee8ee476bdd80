//! The virtual machine in KVM: memory slots, interrupt controllers, timer, clock.

mod state;

use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryBackend};

pub use self::state::{SavedInterrupts, SavedVm};
use crate::{
    error::{Error, Result},
    layout,
    memory::{GuestMemory, Slot},
};

/// A virtual machine with memory and interrupt controllers, without processors.
pub struct Vm {
    kvm: Kvm,
    fd: Arc<VmFd>,
    memory: Arc<GuestMemory>,
    slots: Vec<Slot>,
}

impl Vm {
    /// Makes it.
    ///
    /// # Errors
    /// [`Error::Kvm`], [`Error::Capability`].
    pub fn new(memory: Arc<GuestMemory>, slots: Vec<Slot>) -> Result<Self> {
        let kvm = open_kvm()?;
        let fd = kvm.create_vm().map_err(Error::kvm("create a machine"))?;
        fd.set_identity_map_address(layout::IDENTITY_MAP)
            .map_err(Error::kvm("place the identity page"))?;
        fd.set_tss_address(layout::TASK_STATE).map_err(Error::kvm("place the task state"))?;
        fd.create_irq_chip().map_err(Error::kvm("create the interrupt controllers"))?;
        let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        fd.create_pit2(pit).map_err(Error::kvm("create the timer"))?;
        let vm = Self { kvm, fd: Arc::new(fd), memory, slots };
        vm.log_dirty_pages(false)?;
        Ok(vm)
    }

    /// KVM's handle, for interrupt lines and I/O events.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// KVM itself, for what it supports.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The guest's memory.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Its slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What KVM lets guests see of the processor here.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn supported_cpuid(&self) -> Result<CpuId> {
        self.kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(Error::kvm("ask for processor features"))
    }

    /// Makes processor `index`, which must be below 255.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn create_vcpu(&self, index: u8) -> Result<VcpuFd> {
        self.fd.create_vcpu(index.into()).map_err(Error::kvm("create a processor"))
    }

    /// Has KVM note the pages that the guest writes, or stops it. Also what gives KVM the memory in
    /// the first place.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn log_dirty_pages(&self, log: bool) -> Result<()> {
        for slot in &self.slots {
            let host = self
                .memory
                .get_host_address(GuestAddress(slot.range.base))
                .map_err(Error::memory("map a slot"))?;
            let region = kvm_userspace_memory_region {
                slot: slot.number,
                flags: if log { KVM_MEM_LOG_DIRTY_PAGES } else { 0 },
                guest_phys_addr: slot.range.base,
                memory_size: slot.range.size,
                userspace_addr: host as u64,
            };
            // SAFETY: the range is one region of `self.memory`, which lives as long as `self`, and
            // slots do not overlap in the guest's address space (`layout::Ram::ranges`).
            unsafe { self.fd.set_user_memory_region(region) }
                .map_err(Error::kvm("give memory to the machine"))?;
        }
        Ok(())
    }

    /// The pages of `slot` that the guest wrote since the last call: bit 0 of the first word is the
    /// slot's first page. Needs [`Vm::log_dirty_pages`].
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn dirty_pages(&self, slot: &Slot) -> Result<Vec<u64>> {
        let size = usize::try_from(slot.range.size)
            .map_err(|_| Error::Memory { action: "track", reason: "slot too large".into() })?;
        self.fd.get_dirty_log(slot.number, size).map_err(Error::kvm("read the dirty log"))
    }
}

fn open_kvm() -> Result<Kvm> {
    let kvm = Kvm::new().map_err(|source| Error::File {
        action: "use",
        path: "/dev/kvm".into(),
        source: std::io::Error::from_raw_os_error(source.errno()),
    })?;
    let needed = [
        (Cap::Irqchip, "in-kernel interrupt controller"),
        (Cap::Irqfd, "interrupts by eventfd"),
        (Cap::Ioeventfd, "doorbells by eventfd"),
        (Cap::Pit2, "in-kernel timer"),
        (Cap::UserMemory, "memory from user space"),
        (Cap::ImmediateExit, "immediate exit"),
        (Cap::ExtCpuid, "processor features"),
        (Cap::AdjustClock, "adjustable clock"),
        (Cap::CoalescedMmio, "coalesced register writes"),
    ];
    match needed.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, what)) => Err(Error::Capability(what)),
        None => Ok(kvm),
    }
}
