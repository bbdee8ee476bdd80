//! The ACPI tables: what the guest learns about its hardware.
//!
//! ACPI 6.5, hardware-reduced: no fixed power management registers but sleep control and reset.

use acpi_tables::{
    Aml, AmlSink,
    aml::{Device, EISAName, IO, Interrupt, Memory32Fixed, Name, Package, ResourceTemplate, Scope},
    fadt::{FADTBuilder, Flags},
    gas::{AccessSize, AddressSpace, GAS},
    madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic},
    rsdp::Rsdp,
    sdt::Sdt,
    xsdt::XSDT,
};
use vm_memory::{Bytes, GuestAddress};
use vmm_device::acpi::{Interface, LogArea, Tpm2Table, TpmDevice};

use crate::{
    devices::power,
    error::{Error, Result},
    layout::{self, Range},
    memory::GuestMemory,
};

const OEM: [u8; 6] = *b"VTPM  ";
const OEM_TABLE: [u8; 8] = *b"VMM     ";
/// DSDT revision 2: 64-bit integers.
const DSDT_REVISION: u8 = 2;
/// `IAPC_BOOT_ARCH`: no VGA, no CMOS clock.
const NO_VGA_NO_CMOS: u16 = 1 << 2 | 1 << 5;
const IO_APIC_ID: u8 = 0;

/// The TPM as ACPI shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpm {
    /// Registers, and the CRB's buffer.
    pub interface: Interface,
    /// Interrupt, if it has one.
    pub interrupt: Option<u32>,
    /// The event log.
    pub log: Range,
}

/// What the tables speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Processors.
    pub cpus: u8,
    /// Virtio devices, from [`layout::VIRTIO`] on.
    pub virtio: usize,
    /// TPM.
    pub tpm: Option<Tpm>,
}

/// All tables, one after the other from [`layout::ACPI`] on, the root pointer first.
///
/// # Errors
/// [`Error::Layout`] if there is no room.
pub fn tables(hardware: &Hardware) -> Result<Vec<u8>> {
    let mut area = Area(vec![0; Rsdp::len().next_multiple_of(ALIGNMENT)]);
    let dsdt = area.append(&Bytewise(dsdt(hardware)));
    let mut entries = vec![area.append(&fadt(dsdt)), area.append(&madt(hardware.cpus))];
    if let Some(tpm) = hardware.tpm {
        let Range { base, size } = tpm.log;
        let log = Some(LogArea { address: base, size: size as u32 });
        let interface = tpm.interface;
        entries.push(area.append(&Tpm2Table {
            interface,
            log,
            oem_id: OEM,
            oem_table_id: OEM_TABLE,
        }));
    }
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, 1);
    entries.into_iter().for_each(|entry| xsdt.add_entry(entry));
    let xsdt = area.append(&xsdt);
    let mut root = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut root);
    for (slot, byte) in area.0.iter_mut().zip(root) {
        *slot = byte;
    }
    if area.0.len() as u64 > layout::ACPI_SIZE {
        let reason = format!("{} bytes are more than there is room for", area.0.len());
        return Err(Error::Layout { what: "ACPI tables", reason });
    }
    Ok(area.0)
}

/// Puts `tables` where the guest finds them.
///
/// # Errors
/// [`Error::Memory`].
pub fn write(memory: &GuestMemory, tables: &[u8]) -> Result<()> {
    memory
        .write_slice(tables, GuestAddress(layout::ACPI))
        .map_err(Error::memory("write ACPI tables"))
}

const ALIGNMENT: usize = 64;

/// Tables under construction.
struct Area(Vec<u8>);

impl Area {
    /// Appends a table and returns where the guest will see it.
    fn append(&mut self, table: &dyn Aml) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let address = layout::ACPI + self.0.len() as u64;
        table.to_aml_bytes(&mut self.0);
        address
    }
}

/// Bytes that are a table already.
struct Bytewise(Vec<u8>);

impl Aml for Bytewise {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn fadt(dsdt: u64) -> impl Aml {
    let port = |offset: u16| {
        let address = u64::from(layout::POWER + offset);
        GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, address)
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, 1)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup);
    fadt.iapc_boot_arch = NO_VGA_NO_CMOS.into();
    fadt.reset_reg = port(power::RESET);
    fadt.reset_value = power::RESET_VALUE;
    fadt.sleep_control_reg = port(power::SLEEP_CONTROL);
    fadt.sleep_status_reg = port(power::SLEEP_STATUS);
    fadt.finalize()
}

fn madt(cpus: u8) -> impl Aml {
    let local = LocalInterruptController::Address(layout::LOCAL_APIC);
    let mut madt = MADT::new(OEM, OEM_TABLE, 1, local);
    for index in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(index, index, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(IO_APIC_ID, layout::IO_APIC, 0));
    madt
}

fn dsdt(hardware: &Hardware) -> Vec<u8> {
    let mut code = Vec::new();
    let sleep = power::S5;
    let s5 = Package::new(vec![&sleep, &ZERO, &ZERO, &ZERO]);
    Name::new("_S5_".into(), &s5).to_aml_bytes(&mut code);
    let mut devices = Vec::new();
    serial_port(&mut devices);
    panic_device(&mut devices);
    for index in 0..hardware.virtio {
        virtio_device(index, &mut devices);
    }
    if let Some(tpm) = hardware.tpm {
        let node = TpmDevice { interface: tpm.interface, interrupt: tpm.interrupt, ppi: None };
        node.to_aml_bytes(&mut devices);
    }
    let devices = Bytewise(devices);
    Scope::new("_SB_".into(), vec![&devices]).to_aml_bytes(&mut code);
    let mut table = Sdt::new(*b"DSDT", HEADER, DSDT_REVISION, OEM, OEM_TABLE, 1);
    table.append_slice(&code);
    table.as_slice().to_vec()
}

/// Bytes of a table's header.
const HEADER: u32 = 36;
const ZERO: u8 = 0;
const EDGE: bool = true;

fn serial_port(sink: &mut dyn AmlSink) {
    let port = IO::new(layout::COM1, layout::COM1, 0, layout::COM1_SIZE as u8);
    let interrupt = Interrupt::new(true, EDGE, false, false, layout::COM1_IRQ);
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let uid = Name::new("_UID".into(), &ZERO);
    let ddn = Name::new("_DDN".into(), &"COM1");
    let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&port, &interrupt]));
    Device::new("COM1".into(), vec![&hid, &uid, &ddn, &crs]).to_aml_bytes(sink);
}

/// Linux's driver `pvpanic` knows this identifier.
fn panic_device(sink: &mut dyn AmlSink) {
    let at = layout::POWER + power::PANIC;
    let port = IO::new(at, at, 0, 1);
    let hid = Name::new("_HID".into(), &"QEMU0001");
    let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&port]));
    Device::new("PANC".into(), vec![&hid, &crs]).to_aml_bytes(sink);
}

fn virtio_device(index: usize, sink: &mut dyn AmlSink) {
    let base = layout::VIRTIO + layout::VIRTIO_SIZE * index as u64;
    let registers = Memory32Fixed::new(true, base as u32, layout::VIRTIO_SIZE as u32);
    let interrupt = Interrupt::new(true, EDGE, false, false, layout::VIRTIO_IRQ + index as u32);
    let hid = Name::new("_HID".into(), &"LNRO0005");
    let number = index as u32;
    let uid = Name::new("_UID".into(), &number);
    // A device of the guest's own memory: the guest's caches see what it writes.
    let one = 1u8;
    let cca = Name::new("_CCA".into(), &one);
    let crs = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&registers, &interrupt]));
    let name = format!("VR{index:02}");
    Device::new(name.as_str().into(), vec![&hid, &uid, &cca, &crs]).to_aml_bytes(sink);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let tpm = Tpm {
            interface: Interface::Crb {
                base: vmm_device::TPM_BASE,
                buffer: Some(layout::CRB_BUFFER),
            },
            interrupt: Some(layout::TPM_IRQ),
            log: Range { base: 0x3fff_0000, size: layout::LOG_SIZE },
        };
        tables(&Hardware { cpus: 2, virtio: 3, tpm: Some(tpm) }).unwrap()
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// The tables behind the root pointer, by their signatures.
    fn listed(area: &[u8]) -> Vec<(String, Vec<u8>)> {
        let table = |address: u64| {
            let at = (address - layout::ACPI) as usize;
            let length = u32::from_le_bytes(area[at + 4..at + 8].try_into().unwrap()) as usize;
            let bytes = area[at..at + length].to_vec();
            (String::from_utf8(bytes[..4].to_vec()).unwrap(), bytes)
        };
        let (_, xsdt) = table(word(area, 24));
        let mut found = vec![table(word(area, 24))];
        found.extend(xsdt[36..].chunks(8).map(|entry| table(word(entry, 0))));
        let (_, fadt) = found.iter().find(|(name, _)| name == "FACP").unwrap();
        found.push(table(word(fadt, 140)));
        found
    }

    #[test]
    fn every_table_is_found_from_the_root_and_has_a_sound_checksum() {
        let area = example();
        assert_eq!(&area[..8], b"RSD PTR ");
        let found = listed(&area);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["XSDT", "FACP", "APIC", "TPM2", "DSDT"]);
        for (name, bytes) in found {
            let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            assert_eq!(sum, 0, "{name}");
        }
    }

    #[test]
    fn a_machine_without_a_tpm_has_no_tpm_table() {
        let area = tables(&Hardware { cpus: 1, virtio: 0, tpm: None }).unwrap();
        assert!(listed(&area).iter().all(|(name, _)| name != "TPM2"));
        assert!(!area.windows(8).any(|part| part == b"MSFT0101"));
    }

    #[test]
    fn as_many_devices_as_there_are_interrupts_for_fit() {
        let hardware = Hardware { cpus: 64, virtio: layout::VIRTIO_LIMIT, tpm: None };
        let area = tables(&hardware).unwrap();
        assert_eq!(area.windows(8).filter(|part| part == b"LNRO0005").count(), 13);
    }
}
