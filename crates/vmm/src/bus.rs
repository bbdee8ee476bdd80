//! From a processor's access to the device that answers it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_device::{
    DeviceMmio, DevicePio,
    bus::{MmioAddress, MmioRange, PioAddress, PioRange},
    device_manager::{IoManager, MmioManager, PioManager},
};

use crate::{
    error::{Error, Result},
    layout::Range,
};

/// All devices of a machine, by address. Built once, then shared by the processors.
#[derive(Default)]
pub struct Bus {
    devices: IoManager,
    /// Registers whose writes KVM may hold back.
    coalesced: Vec<Range>,
    /// Held while the ring of held-back writes is emptied: it is one for all processors.
    draining: Mutex<()>,
}

impl Bus {
    /// Puts `device` at `size` ports from `base` on.
    ///
    /// # Errors
    /// [`Error::Layout`] if something is there already.
    pub fn add_ports(
        &mut self,
        base: u16,
        size: u16,
        device: Arc<dyn DevicePio + Send + Sync>,
    ) -> Result<()> {
        let range = PioRange::new(PioAddress(base), size).map_err(taken)?;
        self.devices.register_pio(range, device).map_err(taken)
    }

    /// Puts `device` at `size` bytes of the address space from `base` on.
    ///
    /// # Errors
    /// [`Error::Layout`] if something is there already.
    pub fn add_registers(
        &mut self,
        base: u64,
        size: u64,
        device: Arc<dyn DeviceMmio + Send + Sync>,
    ) -> Result<()> {
        let range = MmioRange::new(MmioAddress(base), size).map_err(taken)?;
        self.devices.register_mmio(range, device).map_err(taken)
    }

    /// Says that accesses to `range` must come behind the writes that KVM holds back.
    pub fn order_behind_coalesced(&mut self, range: Range) {
        self.coalesced.push(range);
    }

    /// Whether KVM holds back writes at all.
    pub fn has_coalesced(&self) -> bool {
        !self.coalesced.is_empty()
    }

    /// Whether an access to `address` must wait for the writes that KVM holds back.
    pub fn comes_behind_coalesced(&self, address: u64) -> bool {
        self.coalesced.iter().any(|range| (range.base..range.end()).contains(&address))
    }

    /// The right to empty KVM's ring of held-back writes.
    pub fn drain(&self) -> MutexGuard<'_, ()> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads registers. Where nothing is, all bits are set.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        if self.devices.mmio_read(MmioAddress(address), data).is_err() {
            data.fill(0xff);
        }
    }

    /// Writes registers. Where nothing is, nothing happens.
    pub fn write(&self, address: u64, data: &[u8]) {
        let _nobody_there = self.devices.mmio_write(MmioAddress(address), data);
    }

    /// Reads a port. Where nothing is, all bits are set.
    pub fn input(&self, port: u16, data: &mut [u8]) {
        if self.devices.pio_read(PioAddress(port), data).is_err() {
            data.fill(0xff);
        }
    }

    /// Writes a port. Where nothing is, nothing happens.
    pub fn output(&self, port: u16, data: &[u8]) {
        let _nobody_there = self.devices.pio_write(PioAddress(port), data);
    }
}

fn taken(cause: impl std::fmt::Display) -> Error {
    Error::Layout { what: "a device's registers", reason: cause.to_string() }
}
