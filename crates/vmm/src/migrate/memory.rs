//! The guest's memory as numbered pages, and what was written of it since it was last asked.

use std::sync::Arc;

use kvm_ioctls::VmFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, MmapRegion};

use super::pages::{PAGE_SIZE, PagesError, Run, runs};
use super::precopy::Pages;
use crate::{
    error::{Error, Result},
    machine::{Incoming, Machine},
    memory::{GuestMemory, Slot},
};

/// All pages of a machine: those of its slots, one slot after the other.
pub struct GuestPages {
    memory: Arc<GuestMemory>,
    fd: Arc<VmFd>,
    slots: Vec<Slot>,
}

impl GuestPages {
    /// The pages of a machine, from now on noting what is written: by processors in KVM's log, by
    /// devices in the memory's own.
    ///
    /// # Errors
    /// [`Error::Kvm`].
    pub fn watch(machine: &Machine) -> Result<Self> {
        let vm = machine.vm();
        let (memory, fd, slots) =
            (Arc::clone(vm.memory()), Arc::clone(vm.fd()), vm.slots().to_vec());
        // What devices wrote before goes with the first round, as all pages do.
        memory.iter().for_each(|region| drop(MmapRegion::bitmap(region).get_and_reset()));
        vm.log_dirty_pages(true)?;
        Ok(Self { memory, fd, slots })
    }
}

impl Pages for GuestPages {
    type Error = Error;

    fn count(&self) -> u64 {
        count(&self.slots)
    }

    fn read(&self, number: u64, content: &mut [u8; PAGE_SIZE]) -> Result<()> {
        let address = address(&self.slots, number).ok_or_else(outside)?;
        self.memory.read_slice(content, address).map_err(Error::memory("read a page"))
    }

    fn take_dirty(&mut self) -> Result<Vec<u64>> {
        let words = usize::try_from(self.count().div_ceil(64)).map_err(|_| outside())?;
        let mut all = vec![0; words];
        let mut first = 0;
        for (slot, region) in self.slots.iter().zip(self.memory.iter()) {
            let size = usize::try_from(slot.range.size).map_err(|_| outside())?;
            let by_guest = self.fd.get_dirty_log(slot.number, size);
            mark(&mut all, first, &by_guest.map_err(Error::kvm("read the dirty log"))?);
            mark(&mut all, first, &MmapRegion::bitmap(region).get_and_reset());
            first += slot.range.size / PAGE_SIZE as u64;
        }
        Ok(all)
    }
}

/// Puts pages that came into the memory of a machine to be.
pub(super) fn store(incoming: &Incoming, batch: &[u8]) -> Result<()> {
    let slots = incoming.slots();
    for run in runs(batch, count(slots)) {
        match run? {
            Run::Content(pages, content) => {
                for (number, page) in pages.zip(content.chunks_exact(PAGE_SIZE)) {
                    write(incoming, number, page)?;
                }
            }
            Run::Zero(pages) => {
                for number in pages {
                    write(incoming, number, &[0; PAGE_SIZE])?;
                }
            }
        }
    }
    Ok(())
}

fn write(incoming: &Incoming, number: u64, page: &[u8]) -> Result<()> {
    let address = address(incoming.slots(), number).ok_or_else(outside)?;
    incoming.memory().write_slice(page, address).map_err(Error::memory("write a page"))
}

fn outside() -> Error {
    Error::Memory { action: "find a page", reason: "there is none of that number".into() }
}

impl From<PagesError> for Error {
    fn from(cause: PagesError) -> Self {
        Self::Migration(cause.to_string())
    }
}

fn count(slots: &[Slot]) -> u64 {
    slots.iter().map(|slot| slot.range.size / PAGE_SIZE as u64).sum()
}

fn address(slots: &[Slot], number: u64) -> Option<GuestAddress> {
    let mut rest = number;
    for slot in slots {
        let pages = slot.range.size / PAGE_SIZE as u64;
        if rest < pages {
            return Some(GuestAddress(slot.range.base + rest * PAGE_SIZE as u64));
        }
        rest -= pages;
    }
    None
}

/// Sets in `all` the bits of `some`, moved up by `first`.
fn mark(all: &mut [u64], first: u64, some: &[u64]) {
    let (Ok(word), shift) = (usize::try_from(first / 64), first % 64) else { return };
    for (index, bits) in some.iter().enumerate() {
        if let Some(low) = all.get_mut(word + index) {
            *low |= bits << shift;
        }
        if shift != 0
            && let Some(high) = all.get_mut(word + index + 1)
        {
            *high |= bits >> (64 - shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Range;

    #[test]
    fn pages_are_numbered_through_all_slots_and_holes_have_no_number() {
        let slot = |number, base, size| Slot { number, range: Range { base, size } };
        let slots = [slot(0, 0, 0x3000), slot(1, 0x10_0000, 0x2000)];
        assert_eq!(count(&slots), 5);
        assert_eq!(address(&slots, 2), Some(GuestAddress(0x2000)));
        assert_eq!(address(&slots, 3), Some(GuestAddress(0x10_0000)));
        assert_eq!(address(&slots, 5), None);
    }

    #[test]
    fn bits_of_a_slot_are_moved_to_where_its_pages_are() {
        let mut all = [0; 3];
        mark(&mut all, 3, &[1 | 1 << 63, 1]);
        assert_eq!(all, [1 << 3, 1 << 2 | 1 << 3, 0]);
        let mut all = [0; 2];
        mark(&mut all, 64, &[5]);
        assert_eq!(all, [0, 5]);
        // What is beyond the last page is left out.
        mark(&mut all, 127, &[3]);
        assert_eq!(all, [0, 5 | 1 << 63]);
    }
}
