//! Loading a Linux kernel: image, initrd and command line, read once, so that what is measured is
//! what runs.

mod kernel;
mod parameters;

use std::{fs::File, io::Read, path::Path};

use vm_memory::{Bytes, GuestAddress};

use self::kernel::Loaded;
use crate::{
    error::{Error, Result},
    layout::{self, Ram},
    memory::GuestMemory,
    vcpu::{self, Entry},
};

/// Largest kernel or initrd that is read, in bytes.
const MAX_FILE: u64 = 4 << 30;

/// The bytes that boot.
pub struct Payload {
    /// The kernel image, bzImage or ELF.
    pub kernel: Vec<u8>,
    /// The initial ramdisk; empty for none.
    pub initrd: Vec<u8>,
    /// The command line, without NUL.
    pub command_line: String,
}

impl Payload {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Kernel`], [`Error::Initrd`], [`Error::CommandLine`].
    pub fn read(kernel: &Path, initrd: Option<&Path>, command_line: &str) -> Result<Self> {
        check_command_line(command_line)?;
        let kernel = read_file(kernel, "read the kernel")?;
        let initrd = match initrd {
            Some(path) => {
                let bytes = read_file(path, "read the initrd")?;
                if bytes.is_empty() {
                    let reason = "it is empty; leave --initrd out for none".into();
                    return Err(Error::Initrd { path: path.into(), reason });
                }
                bytes
            }
            None => Vec::new(),
        };
        Ok(Self { kernel, initrd, command_line: command_line.into() })
    }
}

/// Puts `payload` into memory with all that a kernel finds at its start. `path` is for messages.
///
/// # Errors
/// [`Error::Kernel`], [`Error::Initrd`], [`Error::CommandLine`], [`Error::Memory`].
pub fn load(memory: &GuestMemory, ram: Ram, payload: &Payload, path: &Path) -> Result<Entry> {
    let loaded = kernel::load(memory, ram, &payload.kernel)
        .map_err(|reason| Error::Kernel { path: path.into(), reason })?;
    let initrd = place_initrd(memory, ram, &loaded, &payload.initrd)?;
    let limit = loaded.command_line_limit();
    if payload.command_line.len() > limit {
        let reason = format!("longer than the {limit} bytes that this kernel takes");
        return Err(Error::CommandLine(reason));
    }
    let text = [payload.command_line.as_bytes(), &[0]].concat();
    memory
        .write_slice(&text, GuestAddress(layout::COMMAND_LINE))
        .map_err(Error::memory("write the command line"))?;
    parameters::write(memory, ram, &loaded, initrd)?;
    vcpu::write_tables(memory)?;
    Ok(Entry { address: loaded.entry, parameters: layout::BOOT_PARAMETERS })
}

/// As high as the kernel can reach, where its decompressor does not come.
fn place_initrd(
    memory: &GuestMemory,
    ram: Ram,
    loaded: &Loaded,
    bytes: &[u8],
) -> Result<layout::Range> {
    if bytes.is_empty() {
        return Ok(layout::Range { base: 0, size: 0 });
    }
    let size = bytes.len() as u64;
    let end = ram.loadable().end().min(loaded.initrd_limit().saturating_add(1));
    let base = end.saturating_sub(size) & !(layout::PAGE - 1);
    if base < loaded.end {
        let needed = (loaded.end + size + layout::LOG_SIZE).div_ceil(1 << 20) + 1;
        return Err(Error::Layout {
            what: "the initrd",
            reason: format!("kernel and initrd need {needed} MiB; give --memory more"),
        });
    }
    memory.write_slice(bytes, GuestAddress(base)).map_err(Error::memory("write the initrd"))?;
    Ok(layout::Range { base, size })
}

fn check_command_line(text: &str) -> Result<()> {
    if text.len() >= layout::COMMAND_LINE_SIZE {
        let limit = layout::COMMAND_LINE_SIZE - 1;
        return Err(Error::CommandLine(format!("longer than {limit} bytes")));
    }
    match text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
        Some(c) => Err(Error::CommandLine(format!("{c:?} is no printable ASCII character"))),
        None => Ok(()),
    }
}

fn read_file(path: &Path, action: &'static str) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::file(action, path))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(Error::file(action, path))?;
    Ok(bytes)
}
