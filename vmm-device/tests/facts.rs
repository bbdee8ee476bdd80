//! QEMU's register values after reset, as a table, read as guests read them: by 1, 2, 4 and, for
//! CRB, 8 bytes. The values are those that QEMU's `tpm-tis` and `tpm-crb` set at reset.

use vmm_device::{
    Polled, RegisterModel, TPM_BASE,
    crb::{Crb, CrbConfig, InMemoryBuffer},
    ppi,
    tis::{Tis, TisConfig},
};

struct Row {
    name: &'static str,
    offset: u64,
    value: u32,
}

const fn row(name: &'static str, offset: u64, value: u32) -> Row {
    Row { name, offset, value }
}

const TIS: [Row; 11] = [
    row("ACCESS", 0x00, 0x81),
    row("INT_ENABLE", 0x08, 0x08),
    row("INT_VECTOR", 0x0C, 0),
    row("INT_STATUS", 0x10, 0),
    row("INTF_CAPABILITY", 0x14, 0x3000_0697),
    row("STS", 0x18, 0xFFFF_FFFF),
    row("DATA_FIFO", 0x24, 0xFFFF_FFFF),
    row("INTERFACE_ID", 0x30, 0x2100),
    row("XDATA_FIFO", 0x80, 0xFFFF_FFFF),
    row("DID_VID", 0xF00, 0x0001_1014),
    row("RID", 0xF04, 1),
];

const CRB: [Row; 16] = [
    row("LOC_STATE", 0x00, 0x81),
    row("LOC_CTRL", 0x08, 0),
    row("LOC_STS", 0x0C, 0),
    row("INTF_ID", 0x30, 0x25811),
    row("INTF_ID2", 0x34, 0x1014),
    row("CTRL_EXT", 0x38, 0),
    row("CTRL_REQ", 0x40, 0),
    row("CTRL_STS", 0x44, 2),
    row("CTRL_CANCEL", 0x48, 0),
    row("CTRL_START", 0x4C, 0),
    row("INT_ENABLE", 0x50, 0),
    row("INT_STS", 0x54, 0),
    row("CMD_SIZE", 0x58, 0xF80),
    row("CMD_LADDR", 0x5C, 0xFED4_0080),
    row("RSP_SIZE", 0x64, 0xF80),
    row("RSP_ADDR", 0x68, 0xFED4_0080),
];

fn read(model: &mut impl RegisterModel, offset: u64, size: usize) -> Vec<u8> {
    let mut data = vec![0; size];
    model.read(offset, &mut data);
    data
}

fn compare(model: &mut impl RegisterModel, page: u64, rows: &[Row]) {
    for Row { name, offset, value } in rows {
        let offset = page + offset;
        assert_eq!(read(model, offset, 4), value.to_le_bytes(), "{name} by 4");
        let halves = [read(model, offset, 2), read(model, offset + 2, 2)].concat();
        assert_eq!(halves, value.to_le_bytes(), "{name} by 2");
        let bytes: Vec<u8> = (0..4).flat_map(|at| read(model, offset + at, 1)).collect();
        assert_eq!(bytes, value.to_le_bytes(), "{name} by 1");
    }
}

#[test]
fn tis_shows_qemu_s_values_in_every_locality() {
    let mut tis = Tis::new(TisConfig::default(), Polled);
    for locality in 0..5 {
        compare(&mut tis, locality << 12, &TIS);
    }
}

#[test]
fn crb_shows_qemu_s_values() {
    let mut crb = Crb::new(CrbConfig::default(), InMemoryBuffer::default(), Polled);
    compare(&mut crb, 0, &CRB);
    assert_eq!(read(&mut crb, 0x68, 8), 0xFED4_0080u64.to_le_bytes());
}

#[test]
fn the_regions_are_qemu_s() {
    assert_eq!((TPM_BASE, vmm_device::tis::spec::SIZE), (0xFED4_0000, 0x5000));
    assert_eq!(vmm_device::crb::spec::SIZE, 0x1000);
    assert_eq!((ppi::BASE, ppi::SIZE), (0xFED4_5000, 0x400));
}
