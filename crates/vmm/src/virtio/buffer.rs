//! The bytes that a driver lends to the device: pieces of guest memory, as if they were one.

use std::collections::VecDeque;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, VolatileSlice, bitmap::MS};

use super::ring::Fault;
use crate::memory::GuestMemory;

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    base: GuestAddress,
    size: usize,
}

/// Pieces of guest memory in the order of a descriptor chain (clause 2.7.4.2: how a driver cuts its
/// message means nothing). Each piece was checked to be memory when the chain was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    segments: VecDeque<Segment>,
    size: usize,
}

impl Buffer {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Cuts off the first `size` bytes and returns them; `None` if there are not so many.
    pub fn split_to(&mut self, size: usize) -> Option<Self> {
        let rest = self.size.checked_sub(size)?;
        let mut front = Self::default();
        while front.size < size {
            let segment = self.segments.pop_front()?;
            let taken = segment.size.min(size - front.size);
            front.push(segment.base, taken);
            if taken < segment.size {
                let base = GuestAddress(segment.base.0.checked_add(taken as u64)?);
                self.segments.push_front(Segment { base, size: segment.size - taken });
            }
        }
        self.size = rest;
        Some(front)
    }

    /// Cuts off the last `size` bytes and returns them; `None` if there are not so many.
    pub fn split_off(&mut self, size: usize) -> Option<Self> {
        let front = self.split_to(self.size.checked_sub(size)?)?;
        Some(std::mem::replace(self, front))
    }

    /// Copies from the start of the buffer into `data` and says how many bytes there were.
    ///
    /// # Errors
    /// [`Fault::Memory`].
    pub fn read(&self, memory: &GuestMemory, data: &mut [u8]) -> Result<usize, Fault> {
        let mut done = 0;
        for segment in &self.segments {
            let Some(rest) = data.get_mut(done..).filter(|rest| !rest.is_empty()) else { break };
            let size = segment.size.min(rest.len());
            let Some(part) = rest.get_mut(..size) else { break };
            memory.read_slice(part, segment.base)?;
            done += size;
        }
        Ok(done)
    }

    /// Copies `data` to the start of the buffer and says how many bytes found room.
    ///
    /// # Errors
    /// [`Fault::Memory`].
    pub fn write(&self, memory: &GuestMemory, data: &[u8]) -> Result<usize, Fault> {
        let mut done = 0;
        for segment in &self.segments {
            let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) else { break };
            let size = segment.size.min(rest.len());
            let Some(part) = rest.get(..size) else { break };
            memory.write_slice(part, segment.base)?;
            done += size;
        }
        Ok(done)
    }

    /// The pieces as memory of this process, for system calls that fill or send them. What is
    /// written through them is noted in the memory's bitmap.
    pub fn slices<'m>(
        &self,
        memory: &'m GuestMemory,
    ) -> impl Iterator<Item = Result<VolatileSlice<'m, MS<'m, GuestMemory>>, Fault>> {
        self.segments
            .iter()
            .flat_map(|segment| memory.get_slices(segment.base, segment.size))
            .map(|slice| slice.map_err(Fault::from))
    }

    /// Adds a piece, which the caller has checked.
    pub(super) fn push(&mut self, base: GuestAddress, size: usize) {
        self.size = self.size.saturating_add(size);
        self.segments.push_back(Segment { base, size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> Buffer {
        let mut buffer = Buffer::default();
        buffer.push(GuestAddress(0x1000), 3);
        buffer.push(GuestAddress(0x2000), 4);
        buffer
    }

    fn memory() -> GuestMemory {
        GuestMemory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap()
    }

    #[test]
    fn a_cut_may_fall_inside_of_a_piece() {
        let mut rest = buffer();
        let front = rest.split_to(5).unwrap();
        assert_eq!((front.len(), rest.len()), (5, 2));
        assert_eq!(rest.segments, [Segment { base: GuestAddress(0x2002), size: 2 }]);
        assert_eq!(front.segments[1], Segment { base: GuestAddress(0x2000), size: 2 });
    }

    #[test]
    fn more_than_there_is_cannot_be_cut_off() {
        let mut all = buffer();
        assert_eq!(all.split_to(8), None);
        assert_eq!(all.split_off(8), None);
        assert_eq!(all.len(), 7);
        assert_eq!(all.split_off(7).unwrap().len(), 7);
        assert!(all.is_empty());
    }

    #[test]
    fn bytes_go_through_the_pieces_in_order() {
        let (buffer, memory) = (buffer(), memory());
        assert_eq!(buffer.write(&memory, b"abcdefghij").unwrap(), 7);
        let mut back = [0; 10];
        assert_eq!(buffer.read(&memory, &mut back).unwrap(), 7);
        assert_eq!(&back, b"abcdefg\0\0\0");
        let mut end = [0; 2];
        let mut cut = buffer.clone();
        cut.split_off(2).unwrap().read(&memory, &mut end).unwrap();
        assert_eq!(&end, b"fg");
    }
}
