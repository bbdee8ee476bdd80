//! The kernel image: bzImage or ELF.

use std::io::Cursor;

use linux_loader::loader::{BzImage, Elf, KernelLoader, bootparam::setup_header};
use vm_memory::{Address, GuestAddress};

use crate::{
    layout::{self, Ram},
    memory::GuestMemory,
};

/// "HdrS": a bzImage says so at offset 0x202.
const BZIMAGE_MAGIC: u32 = 0x5372_6448;
const BZIMAGE_MAGIC_AT: usize = 0x202;
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// Where 64-bit code begins in a bzImage.
const ENTRY_64: u64 = 0x200;
/// `xloadflags`: the image has a 64-bit entry.
const XLF_KERNEL_64: u16 = 1;
/// `boot_flag` and loader type for a kernel that brings no header.
const BOOT_FLAG: u16 = 0xaa55;
const UNKNOWN_LOADER: u8 = 0xff;
/// Boot protocol 2.15: the newest.
const PROTOCOL: u16 = 0x020f;
/// Initrd limit of a kernel that does not say.
const INITRD_LIMIT: u32 = 0x37ff_ffff;
/// Command line limit of a kernel that does not say, without NUL.
const COMMAND_LINE_LIMIT: usize = 2047;
/// Boot protocol that first says the command line's limit.
const PROTOCOL_WITH_COMMAND_LINE_SIZE: u16 = 0x0206;

/// A kernel in memory.
pub(super) struct Loaded {
    /// Its first instruction.
    pub(super) entry: u64,
    /// Behind the last byte that it uses before it reads the memory map.
    pub(super) end: u64,
    /// What it says about itself.
    pub(super) header: setup_header,
}

impl Loaded {
    /// Highest address of an initrd.
    pub(super) fn initrd_limit(&self) -> u64 {
        match self.header.initrd_addr_max {
            0 => INITRD_LIMIT.into(),
            limit => limit.into(),
        }
    }

    /// Longest command line in bytes, without NUL.
    pub(super) fn command_line_limit(&self) -> usize {
        let said = self.header.cmdline_size as usize;
        if self.header.version < PROTOCOL_WITH_COMMAND_LINE_SIZE || said == 0 {
            return COMMAND_LINE_LIMIT;
        }
        said.min(layout::COMMAND_LINE_SIZE - 1)
    }
}

/// Loads `image`; the error says what is wrong with it.
pub(super) fn load(memory: &GuestMemory, ram: Ram, image: &[u8]) -> Result<Loaded, String> {
    let magic = image.get(BZIMAGE_MAGIC_AT..).and_then(|rest| rest.first_chunk::<4>());
    if image.starts_with(&ELF_MAGIC) {
        load_elf(memory, ram, image)
    } else if magic.is_some_and(|magic| u32::from_le_bytes(*magic) == BZIMAGE_MAGIC) {
        load_bzimage(memory, ram, image)
    } else {
        Err("neither a bzImage nor an ELF file".into())
    }
}

fn load_bzimage(memory: &GuestMemory, ram: Ram, image: &[u8]) -> Result<Loaded, String> {
    let start = GuestAddress(layout::HIGH_RAM);
    let result = BzImage::load(memory, None, &mut Cursor::new(image), Some(start))
        .map_err(|cause| format!("cannot be loaded: {cause}"))?;
    let header = result.setup_header.ok_or("it has no setup header")?;
    if { header.xloadflags } & XLF_KERNEL_64 == 0 {
        return Err("it has no 64-bit entry; build it with CONFIG_X86_64".into());
    }
    // It unpacks itself to where it prefers to be, or behind where it lies.
    let unpacked = header.pref_address.max(result.kernel_load.raw_value());
    let end = unpacked.saturating_add(header.init_size.into()).max(result.kernel_end);
    if end > ram.loadable().end() {
        let needed = end.saturating_add(layout::LOG_SIZE).div_ceil(1 << 20);
        return Err(format!("needs {needed} MiB to unpack itself; give --memory more"));
    }
    let entry = result.kernel_load.raw_value() + ENTRY_64;
    Ok(Loaded { entry, end, header })
}

fn load_elf(memory: &GuestMemory, ram: Ram, image: &[u8]) -> Result<Loaded, String> {
    let start = GuestAddress(layout::HIGH_RAM);
    let result = Elf::load(memory, None, &mut Cursor::new(image), Some(start))
        .map_err(|cause| format!("cannot be loaded: {cause}"))?;
    let (entry, end) = (result.kernel_load.raw_value(), result.kernel_end);
    let usable = ram.loadable();
    if end <= usable.base {
        return Err("has nothing to load at or above 1 MiB".into());
    }
    if !(usable.base..usable.end()).contains(&entry) || end > usable.end() {
        return Err(format!("its entry {entry:#x} or its end {end:#x} is outside of memory"));
    }
    let header = setup_header {
        boot_flag: BOOT_FLAG,
        header: BZIMAGE_MAGIC,
        version: PROTOCOL,
        type_of_loader: UNKNOWN_LOADER,
        kernel_alignment: 0x20_0000,
        cmdline_size: COMMAND_LINE_LIMIT as u32,
        initrd_addr_max: u32::MAX,
        ..Default::default()
    };
    Ok(Loaded { entry, end, header })
}
