//! A machine: processors, memory and devices together.
//!
//! ```text
//!   boot:     memory <- kernel, tables, event log -> devices -> processors at the entry
//!   restore:  Incoming::memory <- pages           -> Incoming::restore(SavedMachine) -> paused
//! ```
//!
//! A saved machine is in three parts, because they travel differently: [`SavedMachine`] here, the
//! pages of memory, and the TPM's state, which is a secret of its own.

mod devices;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress};

use self::devices::Devices;
pub use self::devices::SavedDevices;
use crate::{
    acpi,
    boot::{self, Payload},
    config::{Boot, Hardware},
    devices::{
        serial::{SerialPort, Sink},
        tpm::TpmDevice,
    },
    error::{Error, Result},
    event::{self, Events},
    measure::{self, Measured},
    memory::{self, GuestMemory, Slot},
    seccomp,
    tpm::Backend,
    vcpu::{Entry, SavedVcpu, Start, Vcpus},
    vm::{SavedVm, Vm},
};

/// How long a TPM command may take before a pause asks it to end early.
const TPM_PATIENCE: Duration = Duration::from_secs(10);

/// A machine that is paused or runs.
pub struct Machine {
    // First, so that the processors' threads end before what they use.
    vcpus: Vcpus,
    devices: Devices,
    vm: Vm,
    events: Events,
    hardware: Hardware,
}

/// What a machine is connected to.
pub struct Connections {
    /// Where the console's output goes.
    pub console: Sink,
    /// The TPM, for a machine that has one.
    pub tpm: Option<Arc<dyn Backend>>,
    /// Whether the threads of processors and devices get their filters of system calls.
    pub filters: bool,
}

impl Connections {
    fn prepare_vcpu(&self) -> fn() -> Result<()> {
        if self.filters { seccomp::vcpu } else { || Ok(()) }
    }
}

/// All of a paused machine but its memory and its TPM's state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMachine {
    /// What the guest sees.
    pub hardware: Hardware,
    /// Interrupt controllers, timer, clock.
    pub vm: SavedVm,
    /// Processors, by number.
    pub vcpus: Vec<SavedVcpu>,
    /// Devices.
    pub devices: SavedDevices,
}

impl Machine {
    /// Makes a machine, measures what boots, and leaves it paused at the kernel's first
    /// instruction. Nothing of it stays if that fails.
    ///
    /// # Errors
    /// As [`Prepared::new`] and [`Prepared::start`].
    pub fn boot(hardware: &Hardware, boot: &Boot, connections: Connections) -> Result<Self> {
        Prepared::new(hardware, boot)?.start(connections)
    }

    /// Lets the guest run.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn run(&mut self) -> Result<()> {
        self.devices.resume()?;
        self.vcpus.run()
    }

    /// Stops the guest between two instructions and its devices between two requests. Guest memory
    /// does not change any more when this returns.
    ///
    /// # Errors
    /// [`Error::Thread`], [`Error::Tpm`] if a TPM command does not end.
    pub fn pause(&mut self) -> Result<()> {
        self.vcpus.pause()?;
        self.devices.pause(TPM_PATIENCE)
    }

    /// Stops the processors alone, for a moment; [`Machine::let_go`] lets them go on.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub(crate) fn hold(&mut self) -> Result<()> {
        self.vcpus.pause()
    }

    /// Lets processors go on that were held.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub(crate) fn let_go(&mut self) -> Result<()> {
        self.vcpus.run()
    }

    /// Whether the guest runs.
    pub fn is_running(&self) -> bool {
        self.vcpus.is_running()
    }

    /// Saves it; it must be paused.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it is not, [`Error::Kvm`], [`Error::Device`], [`Error::Thread`].
    pub fn save(&self) -> Result<SavedMachine> {
        if self.is_running() {
            return Err(Error::Snapshot("the machine has to be paused first".into()));
        }
        Ok(SavedMachine {
            hardware: self.hardware.clone(),
            vcpus: self.vcpus.save()?,
            vm: self.vm.save()?,
            devices: self.devices.save()?,
        })
    }

    /// What happens to it.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Its console.
    pub fn serial(&self) -> &SerialPort {
        &self.devices.serial
    }

    /// Its TPM's registers.
    pub fn tpm(&self) -> Option<&Arc<TpmDevice>> {
        self.devices.tpm.as_ref()
    }

    /// Its hardware.
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// KVM's part of it: memory, slots, dirty pages.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }
}

/// A machine that is not there yet: memory with all that boots in it. What is wrong with a kernel,
/// an initrd or a command line shows here, before a TPM or a disk is touched.
pub struct Prepared {
    incoming: Incoming,
    payload: Payload,
    tables: Vec<u8>,
    entry: Entry,
}

impl Prepared {
    /// Reads and loads what boots.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::File`], [`Error::Kernel`], [`Error::Initrd`],
    /// [`Error::CommandLine`], [`Error::Layout`], [`Error::Memory`].
    pub fn new(hardware: &Hardware, boot: &Boot) -> Result<Self> {
        let ram = hardware.ram()?;
        let Boot { kernel, initrd, command_line } = boot;
        let payload = Payload::read(kernel, initrd.as_deref(), command_line)?;
        let incoming = Incoming::new(hardware.clone())?;
        let entry = boot::load(incoming.memory(), ram, &payload, kernel)?;
        let tables = acpi::tables(&hardware.acpi(ram))?;
        acpi::write(incoming.memory(), &tables)?;
        Ok(Self { incoming, payload, tables, entry })
    }

    /// Connects the machine, measures what boots, and leaves it paused at its first instruction.
    ///
    /// # Errors
    /// [`Error::Kvm`], [`Error::File`], [`Error::Virtio`], [`Error::Tpm`], [`Error::Log`] and
    /// others that have to do with starting.
    pub fn start(self, connections: Connections) -> Result<Machine> {
        let Self { incoming, payload, tables, entry } = self;
        let hardware = incoming.hardware.clone();
        // Devices before measurements: a disk that cannot be opened leaves the TPM as it is.
        let (vm, events, devices, bus, reporter) = incoming.connect(&connections, None)?;
        if let Some(backend) = &connections.tpm {
            let measured = Measured { payload: &payload, acpi: &tables };
            let log = measure::boot(backend.as_ref(), &measured)?;
            let at = GuestAddress(hardware.ram()?.log().base);
            vm.memory().write_slice(&log, at).map_err(Error::memory("write the event log"))?;
        }
        let start = Start::Entry(entry);
        let prepare = connections.prepare_vcpu();
        let vcpus = Vcpus::new(&vm, hardware.cpus, start, &bus, &reporter, prepare)?;
        devices.attach_console(connections.console);
        Ok(Machine { vcpus, devices, vm, events, hardware })
    }
}

/// A machine that is not there yet: memory, to be filled with pages.
pub struct Incoming {
    hardware: Hardware,
    memory: Arc<GuestMemory>,
    slots: Vec<Slot>,
}

impl Incoming {
    /// Memory for a machine with this hardware.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::Memory`].
    pub fn new(hardware: Hardware) -> Result<Self> {
        hardware.check()?;
        let slots = memory::slots(hardware.ram()?, hardware.has_crb());
        let memory = Arc::new(memory::allocate(&slots)?);
        Ok(Self { hardware, memory, slots })
    }

    /// The memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Its slots, in the order in which they are saved.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The machine, paused, with all its memory in place. The TPM behind `connections` must have
    /// its state already.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if `saved` is that of another machine or damaged, and as
    /// [`Machine::boot`].
    pub fn restore(self, saved: SavedMachine, connections: Connections) -> Result<Machine> {
        let SavedMachine { hardware, vm: saved_vm, vcpus: saved_vcpus, devices: saved_devices } =
            saved;
        if hardware != self.hardware {
            return Err(Error::Snapshot("its hardware is not that of its memory".into()));
        }
        let parts = self.connect(&connections, Some(&saved_devices))?;
        let (vm, events, devices, bus, reporter) = parts;
        let prepare = connections.prepare_vcpu();
        let vcpus = Vcpus::new(&vm, hardware.cpus, Start::Saved, &bus, &reporter, prepare)?;
        vcpus.restore(saved_vcpus, || vm.restore(&saved_vm))?;
        devices.attach_console(connections.console);
        Ok(Machine { vcpus, devices, vm, events, hardware })
    }

    fn connect(self, connections: &Connections, saved: Option<&SavedDevices>) -> Result<Parts> {
        let vm = Vm::new(self.memory, self.slots)?;
        let (reporter, events) = event::channel()?;
        let (devices, bus) = devices::connect(&vm, &self.hardware, connections, saved, &reporter)?;
        Ok((vm, events, devices, Arc::new(bus), reporter))
    }
}

/// Everything but the processors.
type Parts = (Vm, Events, Devices, Arc<crate::bus::Bus>, event::Reporter);
