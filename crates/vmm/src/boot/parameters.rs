//! Linux's boot parameters ("zero page").

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{Bytes, GuestAddress};

use super::Loaded;
use crate::{
    error::{Error, Result},
    layout::{self, Ram, Range},
    memory::GuestMemory,
};

/// A boot loader without a number of its own.
const UNKNOWN_LOADER: u8 = 0xff;

/// Writes them for this kernel.
pub(super) fn write(memory: &GuestMemory, ram: Ram, loaded: &Loaded, initrd: Range) -> Result<()> {
    let mut parameters = boot_params { hdr: loaded.header, ..Default::default() };
    parameters.hdr.type_of_loader = UNKNOWN_LOADER;
    parameters.hdr.cmd_line_ptr = layout::COMMAND_LINE as u32;
    parameters.hdr.cmdline_size = loaded.command_line_limit() as u32;
    // The initrd lies below 4 GiB (`Ram::loadable`).
    parameters.hdr.ramdisk_image = initrd.base as u32;
    parameters.hdr.ramdisk_size = initrd.size as u32;
    parameters.acpi_rsdp_addr = layout::ACPI;
    let mut table = parameters.e820_table;
    let map = ram.e820();
    for (slot, (range, usage)) in table.iter_mut().zip(&map) {
        *slot = boot_e820_entry { addr: range.base, size: range.size, r#type: *usage as u32 };
    }
    parameters.e820_table = table;
    parameters.e820_entries = map.len() as u8;
    memory
        .write_obj(parameters, GuestAddress(layout::BOOT_PARAMETERS))
        .map_err(Error::memory("write the boot parameters"))
}
