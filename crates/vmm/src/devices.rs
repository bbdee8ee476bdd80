//! Device models, except for the TPM's registers, which are a crate of their own.

pub mod power;
pub mod serial;
pub mod tpm;

use std::sync::Arc;

use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::{Error, Result};

/// An interrupt that is an edge: each write to the eventfd raises it, inside KVM.
#[derive(Debug)]
pub struct EdgeLine(EventFd);

impl EdgeLine {
    /// Connects interrupt `gsi`.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Kvm`].
    pub fn new(vm: &VmFd, gsi: u32) -> Result<Self> {
        let fd =
            EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(Error::host("make an eventfd"))?;
        vm.register_irqfd(&fd, gsi).map_err(Error::kvm("connect an interrupt"))?;
        Ok(Self(fd))
    }

    /// Raises it.
    ///
    /// # Errors
    /// What the system says; an eventfd of KVM does not fail.
    pub fn raise(&self) -> std::io::Result<()> {
        self.0.write(1)
    }
}

impl vm_superio::Trigger for EdgeLine {
    type E = std::io::Error;

    fn trigger(&self) -> std::io::Result<()> {
        self.raise()
    }
}

/// An interrupt that is a level, as the TPM's node in ACPI says.
///
/// By KVM_IRQ_LINE and not by an irqfd, because an irqfd lowers the line at once: a cause that
/// comes while the guest still serves the one before would be lost.
#[derive(Clone)]
pub struct LevelLine {
    vm: Arc<VmFd>,
    gsi: Option<u32>,
}

impl LevelLine {
    /// Interrupt `gsi`, or none at all.
    pub fn new(vm: Arc<VmFd>, gsi: Option<u32>) -> Self {
        Self { vm, gsi }
    }
}

impl vmm_device::Trigger for LevelLine {
    type E = kvm_ioctls::Error;

    fn set_level(&self, asserted: bool) -> Result<(), kvm_ioctls::Error> {
        tracing::trace!(gsi = self.gsi, asserted, "interrupt");
        self.gsi.map_or(Ok(()), |gsi| self.vm.set_irq_line(gsi, asserted))
    }
}
