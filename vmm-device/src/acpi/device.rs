//! The device node `MSFT0101`.

use acpi_tables::{
    Aml, AmlSink,
    aml::{BufferData, Device, Interrupt, Memory32Fixed, Method, Name, ResourceTemplate, Return},
};

use super::{Interface, ppi};
use crate::{crb, tis};

/// The TPM's node in the ACPI namespace: `_HID`, `_STR`, `_UID`, `_STA`, `_CRS`, and `_DSM` if
/// there is a PPI area. It belongs under `\_SB`.
///
/// Addresses are below 4 GiB, as `_CRS` declares them with 32 bits; bits above are cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmDevice {
    /// Interface whose memory `_CRS` declares.
    pub interface: Interface,
    /// Global system interrupt: level-triggered, active high, not shared. `None` lets guests poll.
    pub interrupt: Option<u32>,
    /// Guest-physical address of the PPI area ([`crate::ppi::BASE`]).
    pub ppi: Option<u64>,
}

impl Aml for TpmDevice {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = Name::new("_HID".into(), &"MSFT0101");
        // ACPI wants UTF-16 here.
        let utf16 = "TPM 2.0 Device\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let description = Name::new("_STR".into(), &BufferData::new(utf16));
        let uid = Name::new("_UID".into(), &1u8);
        // Present, enabled, shown, working.
        let status = Return::new(&0x0Fu8);
        let sta = Method::new("_STA".into(), 0, false, vec![&status]);
        let regions = self.regions();
        let interrupt =
            self.interrupt.map(|number| Interrupt::new(true, false, false, false, number));
        let mut resources: Vec<&dyn Aml> = Vec::new();
        resources.extend(regions.iter().map(|region| region as &dyn Aml));
        resources.extend(interrupt.iter().map(|interrupt| interrupt as &dyn Aml));
        let crs = Name::new("_CRS".into(), &ResourceTemplate::new(resources));
        let presence = self.ppi.map(ppi::PresenceMethods);
        let mut children: Vec<&dyn Aml> = vec![&hid, &description, &uid, &sta, &crs];
        children.extend(presence.iter().map(|methods| methods as &dyn Aml));
        Device::new("TPM0".into(), children).to_aml_bytes(sink);
    }
}

impl TpmDevice {
    /// Linux refuses a buffer outside of these.
    fn regions(&self) -> Vec<Memory32Fixed> {
        let region = |base: u64, size: u64| Memory32Fixed::new(true, base as u32, size as u32);
        match self.interface {
            Interface::Tis { base } => vec![region(base, tis::spec::SIZE)],
            Interface::Crb { base, buffer } => std::iter::once(base)
                .chain(buffer)
                .map(|address| region(address, crb::spec::SIZE))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(interface: Interface, interrupt: Option<u32>, ppi: Option<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        TpmDevice { interface, interrupt, ppi }.to_aml_bytes(&mut bytes);
        bytes
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    fn memory(base: u32, size: u32) -> Vec<u8> {
        [&[0x86, 9, 0, 1], base.to_le_bytes().as_slice(), &size.to_le_bytes()].concat()
    }

    #[test]
    fn the_tis_node_declares_five_localities_and_its_interrupt() {
        let bytes = node(Interface::Tis { base: 0xFED4_0000 }, Some(10), None);
        assert!(holds(&bytes, b"_HID\x0dMSFT0101\0"));
        assert!(holds(&bytes, &memory(0xFED4_0000, 0x5000)));
        assert!(holds(&bytes, &[0x89, 6, 0, 0x01, 1, 10, 0, 0, 0]), "level, high, GSI 10");
        assert!(!holds(&bytes, b"_DSM"));
    }

    #[test]
    fn the_crb_node_declares_the_mapped_buffer_too() {
        let interface = Interface::Crb { base: 0xFED4_0000, buffer: Some(0xFED4_6000) };
        let bytes = node(interface, None, None);
        assert!(holds(&bytes, &memory(0xFED4_0000, 0x1000)));
        assert!(holds(&bytes, &memory(0xFED4_6000, 0x1000)));
        assert!(!holds(&bytes, &[0x89, 6, 0]), "no interrupt");
    }

    #[test]
    fn physical_presence_brings_dsm_with_both_interfaces() {
        let bytes = node(Interface::Tis { base: 0xFED4_0000 }, None, Some(crate::ppi::BASE));
        assert!(holds(&bytes, b"_DSM"));
        assert!(holds(&bytes, b"MOVV"));
        // 3DDDFAA6-361B-4EB4-A424-8D10089D1653 and 376054ED-CC13-4675-901C-4756D7F2D45D
        assert!(holds(&bytes, &[0xA6, 0xFA, 0xDD, 0x3D, 0x1B, 0x36, 0xB4, 0x4E]));
        assert!(holds(&bytes, &[0xED, 0x54, 0x60, 0x37, 0x13, 0xCC, 0x75, 0x46]));
    }
}
