//! The devices of one machine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kvm_ioctls::IoEventAddress;
use serde::{Deserialize, Serialize};
use vmm_device::TPM_BASE;

use crate::{
    bus::Bus,
    config::{Hardware, Virtio},
    devices::{
        EdgeLine, LevelLine,
        power::Power,
        serial::{SavedSerial, SerialPort, Sink},
        tpm::{self, SavedTpmDevice, TpmDevice},
    },
    error::{Error, Result},
    event::Reporter,
    layout::{self, Range},
    machine::Connections,
    seccomp,
    tpm::Backend,
    virtio::{self, Block, Entropy, Mac, Model, Net, SavedDevice, Tap, Transport},
    vm::Vm,
};

/// All devices that have state.
pub(super) struct Devices {
    pub(super) serial: Arc<SerialPort>,
    pub(super) tpm: Option<Arc<TpmDevice>>,
    virtio: Vec<Arc<Transport>>,
}

/// Their saved state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDevices {
    /// Serial port.
    pub serial: SavedSerial,
    /// The TPM's registers; its own state is elsewhere.
    pub tpm: Option<SavedTpmDevice>,
    /// Virtio devices, in the order of the hardware's list.
    pub virtio: Vec<SavedDevice>,
}

impl Devices {
    pub(super) fn pause(&self, patience: Duration) -> Result<()> {
        self.virtio.iter().try_for_each(|device| device.pause())?;
        self.tpm.iter().try_for_each(|tpm| tpm.quiesce(patience))
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.virtio.iter().try_for_each(|device| device.resume())
    }

    pub(super) fn save(&self) -> Result<SavedDevices> {
        Ok(SavedDevices {
            serial: self.serial.save(),
            tpm: self.tpm.as_ref().map(|tpm| tpm.save()).transpose()?,
            virtio: self.virtio.iter().map(|device| device.save()).collect::<Result<_>>()?,
        })
    }

    pub(super) fn attach_console(&self, sink: Sink) {
        self.serial.attach(sink);
    }
}

/// Makes the devices, as new or as saved, and puts them on a bus.
pub(super) fn connect(
    vm: &Vm,
    hardware: &Hardware,
    connections: &Connections,
    saved: Option<&SavedDevices>,
    reporter: &Reporter,
) -> Result<(Devices, Bus)> {
    let mut bus = Bus::default();
    let line = EdgeLine::new(vm.fd(), layout::COM1_IRQ)?;
    let serial = Arc::new(match saved {
        Some(saved) => SerialPort::restore(&saved.serial, line)?,
        None => SerialPort::new(line),
    });
    bus.add_ports(layout::COM1, layout::COM1_SIZE, Arc::clone(&serial) as _)?;
    let power = Mutex::new(Power::new(reporter.try_clone()?));
    bus.add_ports(layout::POWER, layout::POWER_SIZE, Arc::new(power))?;
    let virtio = connect_virtio(vm, hardware, saved, connections.filters, &mut bus)?;
    let tpm = connect_tpm(vm, hardware, connections.tpm.as_ref(), saved, &mut bus)?;
    Ok((Devices { serial, tpm, virtio }, bus))
}

fn connect_tpm(
    vm: &Vm,
    hardware: &Hardware,
    backend: Option<&Arc<dyn Backend>>,
    saved: Option<&SavedDevices>,
    bus: &mut Bus,
) -> Result<Option<Arc<TpmDevice>>> {
    let (interface, backend) = match (hardware.tpm, backend) {
        (Some(interface), Some(backend)) => (interface, backend),
        (None, None) => return Ok(None),
        _ => return Err(Error::option("--tpm", "registers and a TPM belong together")),
    };
    let gsi = hardware.tpm_interrupts.then_some(layout::TPM_IRQ);
    let parts = tpm::Parts {
        interface,
        memory: Arc::clone(vm.memory()),
        line: LevelLine::new(Arc::clone(vm.fd()), gsi),
        interrupts: hardware.tpm_interrupts,
        backend: Arc::clone(backend),
    };
    let device = Arc::new(match saved.map(|saved| saved.tpm.as_ref()) {
        None => TpmDevice::new(parts),
        Some(Some(saved)) => TpmDevice::restore(parts, saved)?,
        Some(None) => return Err(Error::Snapshot("its TPM's registers are missing".into())),
    });
    bus.add_registers(TPM_BASE, interface.size(), Arc::clone(&device) as _)?;
    let coalescible = tpm::coalescible(interface);
    for range in &coalescible {
        let address = IoEventAddress::Mmio(TPM_BASE + range.start);
        vm.fd()
            .register_coalesced_mmio(address, (range.end - range.start) as u32)
            .map_err(Error::kvm("coalesce writes"))?;
    }
    if !coalescible.is_empty() {
        bus.order_behind_coalesced(Range { base: TPM_BASE, size: interface.size() });
    }
    Ok(Some(device))
}

fn connect_virtio(
    vm: &Vm,
    hardware: &Hardware,
    saved: Option<&SavedDevices>,
    filters: bool,
    bus: &mut Bus,
) -> Result<Vec<Arc<Transport>>> {
    if saved.is_some_and(|saved| saved.virtio.len() != hardware.virtio.len()) {
        return Err(Error::Snapshot("it has not the virtio devices of its hardware".into()));
    }
    let mut transports = Vec::new();
    for (index, wanted) in hardware.virtio.iter().enumerate() {
        let name = format!("virtio-{index}");
        let model = open(wanted, &name)?;
        let transport = Arc::new(Transport::new(&name, model, Arc::clone(vm.memory()))?);
        let base = layout::VIRTIO + layout::VIRTIO_SIZE * index as u64;
        bus.add_registers(base, layout::VIRTIO_SIZE, Arc::clone(&transport) as _)?;
        let at = IoEventAddress::Mmio(base + virtio::QUEUE_NOTIFY);
        for (queue, doorbell) in (0u32..).zip(transport.doorbells()) {
            vm.fd()
                .register_ioevent(doorbell, &at, queue)
                .map_err(Error::kvm("connect a doorbell"))?;
        }
        vm.fd()
            .register_irqfd(transport.interrupt(), layout::VIRTIO_IRQ + index as u32)
            .map_err(Error::kvm("connect an interrupt"))?;
        if let Some(saved) = saved.and_then(|saved| saved.virtio.get(index)) {
            transport.restore(saved)?;
        }
        let calls = transport.system_calls();
        transport.start(move || if filters { seccomp::device(&calls) } else { Ok(()) })?;
        transports.push(transport);
    }
    Ok(transports)
}

/// The device behind the registers.
fn open(wanted: &Virtio, name: &str) -> Result<Box<dyn Model>> {
    Ok(match wanted {
        Virtio::Disk { path, read_only } => Box::new(Block::open(path, *read_only, name)?),
        Virtio::Net { tap, mac } => {
            let mac: Mac = mac.parse().map_err(|reason: String| Error::option("--net", reason))?;
            Box::new(Net::new(Tap::open(tap)?, mac)?)
        }
        Virtio::Rng => Box::new(Entropy::new()?),
    })
}
