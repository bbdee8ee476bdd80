//! A machine: processors, memory and devices together.

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use crate::{
    acpi,
    boot::{self, Payload},
    bus::Bus,
    config::{Boot, Hardware},
    devices::{
        EdgeLine, LevelLine,
        power::Power,
        serial::{SerialPort, Sink},
        tpm::{self, TpmDevice},
    },
    error::{Error, Result},
    event::{self, Events, Reporter},
    layout::{self, Range},
    measure::{self, Measured},
    memory,
    tpm::Backend,
    vcpu::{Start, Vcpus},
    vm::Vm,
};

/// A machine that is paused or runs.
pub struct Machine {
    // First, so that the processors' threads end before what they use.
    vcpus: Vcpus,
    vm: Vm,
    devices: Devices,
    events: Events,
    hardware: Hardware,
}

/// Its devices.
pub(crate) struct Devices {
    pub(crate) serial: Arc<SerialPort>,
    pub(crate) tpm: Option<Arc<TpmDevice>>,
}

/// What a machine is connected to.
pub struct Connections {
    /// Where the console's output goes.
    pub console: Sink,
    /// The TPM, for a machine that has one.
    pub tpm: Option<Arc<dyn Backend>>,
}

impl Machine {
    /// Makes a machine, measures what boots, and leaves it paused at the kernel's first
    /// instruction. Nothing of it stays if that fails.
    ///
    /// # Errors
    /// Everything in [`Error`] that has to do with starting.
    pub fn boot(hardware: &Hardware, boot: &Boot, connections: Connections) -> Result<Self> {
        hardware.check()?;
        let ram = hardware.ram()?;
        let Boot { kernel, initrd, command_line } = boot;
        let payload = Payload::read(kernel, initrd.as_deref(), command_line)?;
        let slots = memory::slots(ram, hardware.has_crb());
        let memory = Arc::new(memory::allocate(&slots)?);
        let entry = boot::load(&memory, ram, &payload, kernel)?;
        let tables = acpi::tables(&hardware.acpi(ram, 0))?;
        acpi::write(&memory, &tables)?;
        if let Some(backend) = &connections.tpm {
            let measured = Measured { payload: &payload, acpi: &tables };
            let log = measure::boot(backend.as_ref(), &measured)?;
            memory
                .write_slice(&log, GuestAddress(ram.log().base))
                .map_err(Error::memory("write the event log"))?;
        }
        drop(payload);
        let vm = Vm::new(memory, slots)?;
        let (reporter, events) = event::channel()?;
        let (devices, bus) = connect(&vm, hardware, connections, &reporter)?;
        let start = Start::Entry(entry);
        let vcpus = Vcpus::new(&vm, hardware.cpus, start, &Arc::new(bus), &reporter, || Ok(()))?;
        Ok(Self { vcpus, vm, devices, events, hardware: hardware.clone() })
    }

    /// Lets the guest run.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn run(&mut self) -> Result<()> {
        self.vcpus.run()
    }

    /// Stops the guest between two instructions.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn pause(&mut self) -> Result<()> {
        self.vcpus.pause()
    }

    /// Whether the guest runs.
    pub fn is_running(&self) -> bool {
        self.vcpus.is_running()
    }

    /// What happens to it.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Its console.
    pub fn serial(&self) -> &SerialPort {
        &self.devices.serial
    }

    /// Its hardware.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// KVM's part of it.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }
}

/// Makes the devices and puts them on the bus.
fn connect(
    vm: &Vm,
    hardware: &Hardware,
    connections: Connections,
    reporter: &Reporter,
) -> Result<(Devices, Bus)> {
    let mut bus = Bus::default();
    let line = EdgeLine::new(vm.fd(), layout::COM1_IRQ)?;
    let serial = Arc::new(SerialPort::new(line, connections.console));
    bus.add_ports(layout::COM1, layout::COM1_SIZE, Arc::clone(&serial) as _)?;
    let power = std::sync::Mutex::new(Power::new(reporter.try_clone()?));
    bus.add_ports(layout::POWER, layout::POWER_SIZE, Arc::new(power))?;
    let tpm = match (hardware.tpm, connections.tpm) {
        (Some(interface), Some(backend)) => {
            let device = Arc::new(TpmDevice::new(tpm_parts(vm, hardware, interface, backend)));
            add_tpm(vm, &mut bus, interface, &device)?;
            Some(device)
        }
        (None, None) => None,
        _ => return Err(Error::option("--tpm", "registers and a TPM belong together")),
    };
    Ok((Devices { serial, tpm }, bus))
}

fn tpm_parts(
    vm: &Vm,
    hardware: &Hardware,
    interface: tpm::Interface,
    backend: Arc<dyn Backend>,
) -> tpm::Parts {
    let gsi = hardware.tpm_interrupts.then_some(layout::TPM_IRQ);
    tpm::Parts {
        interface,
        memory: Arc::clone(vm.memory()),
        line: LevelLine::new(Arc::clone(vm.fd()), gsi),
        interrupts: hardware.tpm_interrupts,
        backend,
    }
}

/// Puts the TPM on the bus, and has KVM hold back what may be held back: writes to the FIFO.
fn add_tpm(
    vm: &Vm,
    bus: &mut Bus,
    interface: tpm::Interface,
    device: &Arc<TpmDevice>,
) -> Result<()> {
    let base = vmm_device::TPM_BASE;
    bus.add_registers(base, interface.size(), Arc::clone(device) as _)?;
    for range in tpm::coalescible(interface) {
        let address = kvm_ioctls::IoEventAddress::Mmio(base + range.start);
        vm.fd()
            .register_coalesced_mmio(address, (range.end - range.start) as u32)
            .map_err(Error::kvm("coalesce writes"))?;
        bus.order_behind_coalesced(Range { base, size: interface.size() });
    }
    Ok(())
}
