//! What a guest learns about the TPM from ACPI: the TPM2 table and the device `MSFT0101`.

mod device;
mod ppi;

use acpi_tables::{Aml, AmlSink, sdt::Sdt};

pub use self::device::TpmDevice;

/// Which interface the guest is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// TIS at its base: start method 6.
    Tis {
        /// Guest-physical address of locality 0.
        base: u64,
    },
    /// CRB at its base: start method 7.
    Crb {
        /// Guest-physical address of the registers.
        base: u64,
        /// Where a mapped buffer lies, if it is not `DATA_BUFFER`; the same as
        /// [`CrbConfig::buffer_address`](crate::crb::CrbConfig::buffer_address).
        buffer: Option<u64>,
    },
}

/// Guest memory that holds the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogArea {
    /// Guest-physical address (LASA).
    pub address: u64,
    /// Bytes (LAML). QEMU has 64 KiB.
    pub size: u32,
}

/// Length of the table: TCG ACPI Specification, with log area.
const LENGTH: u32 = 76;
/// Revision of that table.
const REVISION: u8 = 4;
/// Offset of the control area in the CRB registers; Linux wants it in the table.
const CONTROL_AREA: u64 = 0x40;

/// The TPM2 table, 76 bytes, as QEMU builds it.
///
/// Without a log area the fields are 0, and the guest has no event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm2Table {
    /// Interface to use.
    pub interface: Interface,
    /// Where the event log is.
    pub log: Option<LogArea>,
    /// OEM identifier of all of the VMM's tables.
    pub oem_id: [u8; 6],
    /// OEM identifier of this table.
    pub oem_table_id: [u8; 8],
}

impl Aml for Tpm2Table {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let mut table = Sdt::new(*b"TPM2", LENGTH, REVISION, self.oem_id, self.oem_table_id, 1);
        let (control_area, start_method) = match self.interface {
            Interface::Tis { .. } => (0, 6),
            Interface::Crb { base, .. } => (base.wrapping_add(CONTROL_AREA), 7),
        };
        // 36: platform class 0 (client) and 38: reserved stay 0, and so do the twelve bytes of
        // start method parameters at 52.
        table.write_u64(40, control_area);
        table.write_u32(48, start_method);
        if let Some(LogArea { address, size }) = self.log {
            table.write_u32(64, size);
            table.write_u64(68, address);
        }
        table.update_checksum();
        sink.vec(table.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(interface: Interface) -> Vec<u8> {
        let log = Some(LogArea { address: 0x7FFF_0000, size: 0x1_0000 });
        let mut bytes = Vec::new();
        Tpm2Table { interface, log, oem_id: *b"VMMVMM", oem_table_id: *b"VMM TPM " }
            .to_aml_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn the_crb_table_has_76_bytes_revision_4_and_method_7_at_the_control_area() {
        let bytes = table(Interface::Crb { base: crate::TPM_BASE, buffer: None });
        assert_eq!(bytes.len(), 76);
        assert_eq!(&bytes[..4], b"TPM2");
        assert_eq!(&bytes[4..8], &76u32.to_le_bytes());
        assert_eq!(bytes[8], 4);
        assert_eq!(&bytes[36..40], &[0; 4], "client platform");
        assert_eq!(&bytes[40..48], &0xFED4_0040u64.to_le_bytes());
        assert_eq!(&bytes[48..52], &7u32.to_le_bytes());
        assert_eq!(&bytes[52..64], &[0; 12]);
        assert_eq!(&bytes[64..68], &0x1_0000u32.to_le_bytes());
        assert_eq!(&bytes[68..76], &0x7FFF_0000u64.to_le_bytes());
        assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "checksum");
    }

    #[test]
    fn the_tis_table_has_method_6_and_no_control_area() {
        let bytes = table(Interface::Tis { base: crate::TPM_BASE });
        assert_eq!(&bytes[40..48], &[0; 8]);
        assert_eq!(&bytes[48..52], &6u32.to_le_bytes());
        assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "checksum");
    }
}
