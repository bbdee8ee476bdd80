//! The rust-vmm bus traits of the `vm-device` crate.
//!
//! `vm_device::MutDeviceMmio` is implemented here; `DeviceMmio` follows for `Mutex<MmioDevice<..>>`
//! by that crate's own blanket implementation.

use vm_device::{
    MutDeviceMmio,
    bus::{MmioAddress, MmioAddressOffset},
};

use crate::{Action, RegisterModel};

/// A register model on a bus, with the place where its actions go.
///
/// `sink` is called in the vCPU's thread and must not run the command itself: it hands the action
/// to the worker.
pub struct MmioDevice<M, S> {
    model: M,
    sink: S,
}

impl<M: RegisterModel, S: FnMut(Action)> MmioDevice<M, S> {
    /// Puts `model` on the bus. `sink` gets each action but [`Action::None`].
    pub fn new(model: M, sink: S) -> Self {
        Self { model, sink }
    }

    /// The model, to complete commands and to save it.
    pub fn model(&mut self) -> &mut M {
        &mut self.model
    }
}

impl<M: RegisterModel, S: FnMut(Action)> MutDeviceMmio for MmioDevice<M, S> {
    fn mmio_read(&mut self, _base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.model.read(offset, data);
    }

    fn mmio_write(&mut self, _base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        match self.model.write(offset, data) {
            Action::None => {}
            action => (self.sink)(action),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use vm_device::{
        bus::MmioRange,
        device_manager::{IoManager, MmioManager},
    };

    use super::*;
    use crate::{
        Polled, TPM_BASE,
        crb::{Crb, CrbConfig, InMemoryBuffer, spec},
    };

    #[test]
    fn a_command_goes_from_a_rust_vmm_bus_to_the_worker_and_back() {
        let (sender, receiver) = mpsc::channel();
        let crb = Crb::new(CrbConfig::default(), InMemoryBuffer::default(), Polled);
        let device = MmioDevice::new(crb, move |action| sender.send(action).unwrap());
        let device = Arc::new(Mutex::new(device));
        let mut bus = IoManager::new();
        let range = MmioRange::new(MmioAddress(TPM_BASE), spec::SIZE).unwrap();
        bus.register_mmio(range, device.clone()).unwrap();

        let at = |offset| MmioAddress(TPM_BASE + offset);
        bus.mmio_write(at(spec::LOC_CTRL), &1u32.to_le_bytes()).unwrap();
        bus.mmio_write(at(spec::DATA_BUFFER), &[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x7b]).unwrap();
        bus.mmio_write(at(spec::CTRL_START), &1u32.to_le_bytes()).unwrap();
        assert!(matches!(receiver.try_recv(), Ok(Action::Execute { .. })));
        assert!(receiver.try_recv().is_err(), "only actions reach the sink");

        device.lock().unwrap().model().complete(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]).unwrap();
        let mut start = [0xFF; 4];
        bus.mmio_read(at(spec::CTRL_START), &mut start).unwrap();
        assert_eq!(start, [0; 4]);
    }
}
