//! Where everything lies in the guest's physical address space.
//!
//! ```text
//!          0  real-mode area: GDT, boot parameters, page tables, command line
//!     A_0000  nothing (legacy video)
//!     E_0000  ACPI tables                       (e820: ACPI data)
//!    10_0000  RAM: kernel from here, initrd at the end
//!   end - 64K event log                         (e820: ACPI NVS)
//!  C000_0000  virtio-mmio devices, a page each
//!  FEC0_0000  I/O APIC
//!  FED4_0000  TPM registers
//!  FED4_6000  CRB data buffer: one page of RAM
//!  FEE0_0000  local APICs
//!  FFFB_C000  KVM's identity page and task state
//! 1_0000_0000 RAM above 4 GiB
//! ```

use crate::error::{Error, Result};

/// Size of a page.
pub const PAGE: u64 = 0x1000;
/// Global descriptor table of the boot processor's first instructions.
pub const GDT: u64 = 0x500;
/// Boot parameters of Linux ("zero page").
pub const BOOT_PARAMETERS: u64 = 0x7000;
/// The boot processor's first stack grows down from here.
pub const BOOT_STACK: u64 = 0x8ff0;
/// First page tables: one PML4, one PDPT, four page directories.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Bytes for it, its NUL included.
pub const COMMAND_LINE_SIZE: usize = 0x1_0000;
/// End of the RAM below the legacy hole.
pub const LOW_END: u64 = 0x9_fc00;
/// ACPI tables, the root pointer first: within the area that operating systems search for it.
pub const ACPI: u64 = 0xe_0000;
/// Bytes for them.
pub const ACPI_SIZE: u64 = 0x2_0000;
/// RAM from here on is free of legacy.
pub const HIGH_RAM: u64 = 0x10_0000;
/// RAM below 4 GiB ends here at the latest.
pub const MMIO: u64 = 0xc000_0000;
/// Registers of the first virtio device; the others follow, a page each.
pub const VIRTIO: u64 = MMIO;
/// Bytes of a virtio device's registers.
pub const VIRTIO_SIZE: u64 = PAGE;
/// I/O APIC, where KVM has it.
pub const IO_APIC: u32 = 0xfec0_0000;
/// CRB data buffer: the page behind the physical presence area, so that all of the TPM is together.
pub const CRB_BUFFER: u64 = 0xfed4_6000;
/// Local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// A page that KVM wants on Intel hosts for real mode.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three more.
pub const TASK_STATE: usize = 0xfffb_d000;
/// RAM above the hole.
pub const ABOVE_4G: u64 = 0x1_0000_0000;
/// Bytes of the event log's area, as in QEMU.
pub const LOG_SIZE: u64 = 0x1_0000;

/// First serial port, and its interrupt.
pub const COM1: u16 = 0x3f8;
/// Its ports.
pub const COM1_SIZE: u16 = 8;
/// Its interrupt.
pub const COM1_IRQ: u32 = 4;
/// The TPM's interrupt.
pub const TPM_IRQ: u32 = 10;
/// Interrupt of the first virtio device; the others follow. The I/O APIC ends at 23.
pub const VIRTIO_IRQ: u32 = 11;
/// Virtio devices that there are interrupts for.
pub const VIRTIO_LIMIT: usize = 13;
/// Sleep control, sleep status, reset and panic registers, a port each.
pub const POWER: u16 = 0x600;
/// Ports of them.
pub const POWER_SIZE: u16 = 4;

/// Smallest guest, in MiB: a kernel and its decompressor.
pub const MIN_MEMORY_MIB: u64 = 64;
/// Largest guest, in MiB: what 40 bits of physical address can hold beside the hole.
pub const MAX_MEMORY_MIB: u64 = 768 * 1024;

/// What the e820 map calls a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Use {
    /// Free for the operating system.
    Ram = 1,
    /// ACPI tables.
    AcpiData = 3,
    /// To be left alone.
    AcpiNvs = 4,
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Guest-physical address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

impl Range {
    /// First address behind it.
    pub fn end(self) -> u64 {
        self.base.saturating_add(self.size)
    }
}

/// The RAM of one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ram {
    low: u64,
    high: u64,
}

impl Ram {
    /// Places `mib` MiB of RAM.
    ///
    /// # Errors
    /// [`Error::Option`] outside of [`MIN_MEMORY_MIB`] and [`MAX_MEMORY_MIB`].
    pub fn new(mib: u64) -> Result<Self> {
        if !(MIN_MEMORY_MIB..=MAX_MEMORY_MIB).contains(&mib) {
            let reason = format!("{mib} MiB is not within {MIN_MEMORY_MIB} and {MAX_MEMORY_MIB}");
            return Err(Error::option("--memory", reason));
        }
        let bytes = mib << 20;
        let low = bytes.min(MMIO);
        Ok(Self { low, high: bytes - low })
    }

    /// The ranges with RAM behind them, lowest first; `crb` adds the CRB buffer's page.
    pub fn ranges(self, crb: bool) -> Vec<Range> {
        let mut ranges = vec![Range { base: 0, size: self.low }];
        if crb {
            ranges.push(Range { base: CRB_BUFFER, size: PAGE });
        }
        if self.high > 0 {
            ranges.push(Range { base: ABOVE_4G, size: self.high });
        }
        ranges
    }

    /// The area of the event log, at the end of the RAM below 4 GiB.
    pub fn log(self) -> Range {
        Range { base: self.low - LOG_SIZE, size: LOG_SIZE }
    }

    /// Where the kernel and the initrd may be loaded.
    pub fn loadable(self) -> Range {
        Range { base: HIGH_RAM, size: self.log().base - HIGH_RAM }
    }

    /// The memory map that the guest is given.
    pub fn e820(self) -> Vec<(Range, Use)> {
        let mut map = vec![
            (Range { base: 0, size: LOW_END }, Use::Ram),
            (Range { base: ACPI, size: ACPI_SIZE }, Use::AcpiData),
            (self.loadable(), Use::Ram),
            (self.log(), Use::AcpiNvs),
        ];
        if self.high > 0 {
            map.push((Range { base: ABOVE_4G, size: self.high }, Use::Ram));
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_above_the_hole_is_placed_above_4_gib() {
        let ram = Ram::new(4096).unwrap();
        let ranges = ram.ranges(true);
        assert_eq!(ranges[0], Range { base: 0, size: MMIO });
        assert_eq!(ranges[1], Range { base: CRB_BUFFER, size: PAGE });
        assert_eq!(ranges[2], Range { base: ABOVE_4G, size: 1 << 30 });
        assert_eq!(ram.e820().last().unwrap().0, ranges[2]);
    }

    #[test]
    fn the_memory_map_is_sorted_and_nothing_overlaps() {
        for mib in [MIN_MEMORY_MIB, 512, 3072, 3073, 8192] {
            let map = Ram::new(mib).unwrap().e820();
            for pair in map.windows(2) {
                assert!(pair[0].0.end() <= pair[1].0.base, "{mib} MiB: {pair:?}");
            }
        }
    }

    #[test]
    fn sizes_out_of_reach_are_refused() {
        assert!(Ram::new(0).is_err());
        assert!(Ram::new(MIN_MEMORY_MIB - 1).is_err());
        assert!(Ram::new(MAX_MEMORY_MIB + 1).is_err());
        assert!(Ram::new(u64::MAX).is_err());
    }
}
