//! Saved state of what KVM keeps for the machine as a whole.

use kvm_bindings::{
    KVM_CLOCK_HOST_TSC, KVM_CLOCK_REALTIME, KVM_CLOCK_TSC_STABLE, KVM_IRQCHIP_IOAPIC,
    KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_clock_data, kvm_irqchip, kvm_pit_state2,
};
use serde::{Deserialize, Serialize};

use super::Vm;
use crate::error::{Error, Result};

/// Interrupt controllers, timer and clock of a paused machine, in KVM's own form.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedVm {
    /// Interrupt controllers.
    pub interrupts: SavedInterrupts,
    /// Timer (PIT).
    pub timer: kvm_pit_state2,
    /// Clock of the guest, in nanoseconds, and whatever else this kernel says about it.
    pub clock: kvm_clock_data,
}

/// The two PICs and the I/O APIC.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedInterrupts {
    /// First PIC.
    pub pic_master: kvm_irqchip,
    /// Second PIC.
    pub pic_slave: kvm_irqchip,
    /// I/O APIC.
    pub io_apic: kvm_irqchip,
}

impl Vm {
    /// Saves interrupt controllers, timer and clock. All processors must be paused.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn save(&self) -> Result<SavedVm> {
        let chip = |chip_id| -> Result<kvm_irqchip> {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            self.fd()
                .get_irqchip(&mut chip)
                .map_err(Error::kvm("save the interrupt controllers"))?;
            Ok(chip)
        };
        let interrupts = SavedInterrupts {
            pic_master: chip(KVM_IRQCHIP_PIC_MASTER)?,
            pic_slave: chip(KVM_IRQCHIP_PIC_SLAVE)?,
            io_apic: chip(KVM_IRQCHIP_IOAPIC)?,
        };
        let timer = self.fd().get_pit2().map_err(Error::kvm("save the timer"))?;
        let clock = self.fd().get_clock().map_err(Error::kvm("save the clock"))?;
        Ok(SavedVm { interrupts, timer, clock })
    }

    /// Restores them, after the processors' features are set and before their registers are.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn restore(&self, saved: &SavedVm) -> Result<()> {
        let SavedVm { interrupts, timer, clock } = saved;
        self.fd().set_pit2(timer).map_err(Error::kvm("restore the timer"))?;
        self.restore_clock(clock)?;
        let SavedInterrupts { pic_master, pic_slave, io_apic } = interrupts;
        for chip in [pic_master, pic_slave, io_apic] {
            self.fd().set_irqchip(chip).map_err(Error::kvm("restore the interrupt controllers"))?;
        }
        Ok(())
    }

    /// The guest's clock goes on where it stood: what passed while it was saved did not happen for
    /// it. The flags describe the host that saved, and are refused as input.
    fn restore_clock(&self, saved: &kvm_clock_data) -> Result<()> {
        let about_host = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
        let clock = kvm_clock_data { flags: saved.flags & !about_host, ..*saved };
        self.fd().set_clock(&clock).map_err(Error::kvm("restore the clock"))
    }
}
