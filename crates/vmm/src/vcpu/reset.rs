//! The boot processor's first registers: 64-bit mode, as Linux's boot protocol wants them.

use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::{
    error::{Error, Result},
    layout::{self, PAGE},
    memory::GuestMemory,
};

/// Where a processor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First instruction.
    pub address: u64,
    /// What `rsi` points to: Linux's boot parameters.
    pub parameters: u64,
}

/// Descriptors: null, unused, 64-bit code, data, task state. Linux wants selectors 0x10 and 0x18.
const GDT: [u64; 5] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x008f_8b00_0000_ffff];
const CODE: usize = 2;
const DATA: usize = 3;
const TASK: usize = 4;

const CR0_PE: u64 = 1 << 0;
const CR0_MP: u64 = 1 << 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const PTE_PRESENT_WRITABLE: u64 = 3;
const PTE_LARGE: u64 = 1 << 7;
/// Bytes that one page directory maps, with pages of 2 MiB.
const DIRECTORY_SPAN: u64 = 1 << 30;
const DIRECTORIES: u64 = 4;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MISC_ENABLE_FAST_STRING: u64 = 1;
const MSR_MTRR_DEFAULT: u32 = 0x2ff;
/// Enabled, write-back.
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;

/// Writes descriptors and page tables into guest memory: the first 4 GiB, mapped as they are.
///
/// # Errors
/// [`Error::Memory`].
pub fn write_tables(memory: &GuestMemory) -> Result<()> {
    let put = |value: u64, address: u64| {
        memory
            .write_obj(value, GuestAddress(address))
            .map_err(Error::memory("write the first tables"))
    };
    for (at, descriptor) in (layout::GDT..).step_by(8).zip(GDT) {
        put(descriptor, at)?;
    }
    let pointers = layout::PAGE_TABLES + PAGE;
    put(pointers | PTE_PRESENT_WRITABLE, layout::PAGE_TABLES)?;
    for number in 0..DIRECTORIES {
        let directory = pointers + PAGE * (number + 1);
        put(directory | PTE_PRESENT_WRITABLE, pointers + 8 * number)?;
        for entry in 0..512 {
            let page = number * DIRECTORY_SPAN + (entry << 21);
            put(page | PTE_PRESENT_WRITABLE | PTE_LARGE, directory + 8 * entry)?;
        }
    }
    Ok(())
}

/// Sets the registers of the processor that starts the machine.
///
/// # Errors
/// [`Error::Kvm`].
pub(super) fn set_registers(fd: &VcpuFd, entry: Entry) -> Result<()> {
    let regs = kvm_regs {
        rip: entry.address,
        rsi: entry.parameters,
        rsp: layout::BOOT_STACK,
        rbp: layout::BOOT_STACK,
        rflags: 2,
        ..Default::default()
    };
    fd.set_regs(&regs).map_err(Error::kvm("set the first registers"))?;
    let mut sregs = fd.get_sregs().map_err(Error::kvm("read the segments"))?;
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = (size_of_val(&GDT) - 1) as u16;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cs = segment(CODE);
    let data = segment(DATA);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = segment(TASK);
    sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_PG;
    sregs.cr3 = layout::PAGE_TABLES;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME | EFER_LMA;
    fd.set_sregs(&sregs).map_err(Error::kvm("set the segments"))
}

/// Sets what every processor has after power-on and KVM leaves to us.
///
/// # Errors
/// [`Error::Kvm`].
pub(super) fn set_defaults(fd: &VcpuFd) -> Result<()> {
    let fpu = kvm_fpu { fcw: 0x37f, mxcsr: 0x1f80, ..Default::default() };
    fd.set_fpu(&fpu).map_err(Error::kvm("set the floating point unit"))?;
    for (index, data) in
        [(MSR_MTRR_DEFAULT, MTRR_WRITE_BACK), (MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING)]
    {
        let entry = kvm_msr_entry { index, data, ..Default::default() };
        let msrs = Msrs::from_entries(&[entry]).map_err(|cause| Error::Memory {
            action: "hold one register",
            reason: format!("{cause:?}"),
        })?;
        // Not every processor has both; those that have not do without.
        fd.set_msrs(&msrs).map_err(Error::kvm("set model-specific registers"))?;
    }
    Ok(())
}

/// The segment register for descriptor `index` of [`GDT`].
fn segment(index: usize) -> kvm_segment {
    let descriptor = GDT.get(index).copied().unwrap_or_default();
    let bit = |position: u32| (descriptor >> position & 1) as u8;
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector: (index * 8) as u16,
        type_: (descriptor >> 40 & 0xf) as u8,
        s: bit(44),
        dpl: 0,
        present: bit(47),
        avl: 0,
        l: bit(53),
        db: bit(54),
        g: bit(55),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layout::Ram, memory};

    #[test]
    fn the_first_page_tables_map_four_gib_onto_themselves() {
        let slots = memory::slots(Ram::new(64).unwrap(), false);
        let memory = memory::allocate(&slots).unwrap();
        write_tables(&memory).unwrap();
        let entry = |table: u64, index: u64| -> u64 {
            memory.read_obj(GuestAddress((table & !0xfff) + index * 8)).unwrap()
        };
        for address in [0u64, 0x20_0000, 0x7fe0_0000, 0xffe0_0000] {
            let pointers = entry(layout::PAGE_TABLES, 0);
            let directory = entry(pointers, address >> 30);
            let page = entry(directory, address >> 21 & 511);
            assert_eq!(page & !0xfff, address);
            assert_eq!(page & (PTE_LARGE | PTE_PRESENT_WRITABLE), 0x83);
        }
    }

    #[test]
    fn code_is_64_bit_and_data_writable() {
        let (code, data) = (segment(CODE), segment(DATA));
        assert_eq!((code.selector, code.l, code.db, code.present), (0x10, 1, 0, 1));
        assert_eq!((data.selector, data.type_ & 2, data.s), (0x18, 2, 1));
    }
}
