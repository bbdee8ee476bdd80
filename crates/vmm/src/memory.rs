//! Guest memory, and its slots in KVM.

use vm_memory::{GuestAddress, GuestMemoryMmap, bitmap::AtomicBitmap};

use crate::{
    error::{Error, Result},
    layout::{Ram, Range},
};

/// All of the guest's memory. What the VMM itself writes is noted in the regions' bitmaps; what the
/// guest writes is in KVM's dirty log.
pub type GuestMemory = GuestMemoryMmap<AtomicBitmap>;

/// One range of guest memory, as KVM knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number in KVM.
    pub number: u32,
    /// Where the guest sees it.
    pub range: Range,
}

/// The slots of a guest with this RAM, and with the CRB buffer's page if it has one.
pub fn slots(ram: Ram, crb: bool) -> Vec<Slot> {
    (0..).zip(ram.ranges(crb)).map(|(number, range)| Slot { number, range }).collect()
}

/// Memory for `slots`, all zeros; the host gives pages as they are touched.
///
/// # Errors
/// [`Error::Memory`] if the host has no room for it.
pub fn allocate(slots: &[Slot]) -> Result<GuestMemory> {
    let too_large = || Error::Memory {
        action: "allocate",
        reason: "larger than this host's address space".into(),
    };
    let ranges = slots
        .iter()
        .map(|slot| {
            let size = usize::try_from(slot.range.size).map_err(|_| too_large())?;
            Ok((GuestAddress(slot.range.base), size))
        })
        .collect::<Result<Vec<_>>>()?;
    GuestMemory::from_ranges(&ranges).map_err(Error::memory("allocate"))
}
