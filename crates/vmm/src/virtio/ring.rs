//! A split virtqueue in use (clause 2.7), seen from the device.
//!
//! `virtio-queue` walks descriptors; what it silently cuts short (loops, indices out of range,
//! tables within tables) is told from a proper end here, and becomes a [`Fault`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use thiserror::Error;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{
    buffer::Buffer,
    spec::{interrupt, status},
};
use crate::{
    error::{Error, Result as VmmResult},
    memory::GuestMemory,
};

/// Descriptors of a chain at most, also behind an indirect one: no queue here is longer, and a
/// chain must not be longer than its queue (clause 2.7.5.3.1).
pub const MAX_DESCRIPTORS: usize = 256;

/// Used buffers after which the driver is told even while there are more.
const SIGNAL_AFTER: u16 = 16;

/// Chains that are served in one go before others get a turn.
pub(super) const BATCH: usize = 256;

/// How a driver broke the rules of its queues: the device stops and wants to be reset.
///
/// Not an error of the VMM, so not in [`crate::Error`]: it never leaves this module but as a bit of
/// the status register, and a line in the log.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A descriptor chain breaks the rules.
    #[error("descriptor chain {head}: {reason}")]
    Chain {
        /// Its first descriptor.
        head: u16,
        /// Which rule.
        reason: &'static str,
    },
    /// A ring breaks the rules.
    #[error("queue: {0}")]
    Queue(#[from] virtio_queue::Error),
    /// Guest memory is not where it was when the queue was set up.
    #[error("guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// What a driver made available: first what the device reads, then what it writes.
#[derive(Debug)]
pub struct Chain {
    /// Its name: the index of its first descriptor.
    pub head: u16,
    /// What the driver says.
    pub readable: Buffer,
    /// Where the device answers.
    pub writable: Buffer,
}

/// The device's interrupt: a reason that the driver reads, and an eventfd.
#[derive(Debug)]
pub(super) struct Interrupt {
    status: AtomicU32,
    needs_reset: AtomicBool,
    event: EventFd,
}

impl Interrupt {
    pub(super) fn new() -> VmmResult<Self> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)
            .map_err(Error::host("make a virtio device's interrupt"))?;
        Ok(Self { status: AtomicU32::new(0), needs_reset: AtomicBool::new(false), event })
    }

    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    pub(super) fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    pub(super) fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }

    /// What the status register shows beside the driver's own bits.
    pub(super) fn device_status(&self) -> u32 {
        if self.needs_reset() { status::NEEDS_RESET } else { 0 }
    }

    pub(super) fn needs_reset(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    /// The driver must reset the device before anything goes on (clause 2.1.2).
    pub(super) fn demand_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
        self.raise(interrupt::CONFIG);
    }

    pub(super) fn raise(&self, bits: u32) {
        self.status.fetch_or(bits, Ordering::AcqRel);
        self.repeat();
    }

    /// Sends the interrupt again, if the driver has not acknowledged it.
    pub(super) fn repeat(&self) {
        if self.status() != 0 {
            // A full counter would refuse: then the interrupt is on its way anyway.
            let _full = self.event.write(1);
        }
    }

    pub(super) fn set(&self, status: u32, needs_reset: bool) {
        self.status.store(status, Ordering::Release);
        self.needs_reset.store(needs_reset, Ordering::Release);
    }
}

/// Tells a device that somebody waits to pause or reset it.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    waiting: &'a AtomicU32,
}

impl<'a> Turn<'a> {
    pub(super) fn new(waiting: &'a AtomicU32) -> Self {
        Self { waiting }
    }

    /// Whether to stop after the request at hand.
    pub fn is_over(self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }
}

/// A queue of a device that a driver has set up.
#[derive(Debug)]
pub struct Ring {
    queue: Queue,
    memory: Arc<GuestMemory>,
    interrupt: Arc<Interrupt>,
    /// Buffers used since the driver was last told.
    unsignalled: u16,
}

impl Ring {
    pub(super) fn new(queue: Queue, memory: Arc<GuestMemory>, interrupt: Arc<Interrupt>) -> Self {
        Self { queue, memory, interrupt, unsignalled: 0 }
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// No chain is taken from it any more.
    pub(super) fn stop(&mut self) {
        self.queue.set_ready(false);
    }

    /// Serves what is available: `serve` gets each chain and says how many bytes of the writable
    /// part it has written, from its start on. Returns whether there is more, because the turn or
    /// the batch was over.
    ///
    /// # Errors
    /// [`Fault`], from `serve` or if the queue is malformed.
    pub fn drain(
        &mut self,
        turn: Turn<'_>,
        mut serve: impl FnMut(&GuestMemory, Chain) -> Result<usize, Fault>,
    ) -> Result<bool, Fault> {
        for _ in 0..BATCH {
            if turn.is_over() {
                return Ok(true);
            }
            let Some(chain) = self.next_or_wait()? else { return Ok(false) };
            let head = chain.head;
            let memory = Arc::clone(&self.memory);
            let written = serve(&memory, chain)?;
            self.complete(head, written)?;
        }
        Ok(true)
    }

    /// The next chain. Without one, the driver is asked to ring when there is.
    ///
    /// # Errors
    /// [`Fault`] if the queue is malformed.
    pub fn next_or_wait(&mut self) -> Result<Option<Chain>, Fault> {
        loop {
            if let Some(chain) = self.next()? {
                return Ok(Some(chain));
            }
            if !self.queue.ready() || !self.queue.enable_notification(&*self.memory)? {
                return Ok(None);
            }
            self.queue.disable_notification(&*self.memory)?;
        }
    }

    /// Makes the chain that was taken last available again, untouched.
    pub fn put_back(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Returns a chain to the driver, with the first `written` bytes of its writable part written.
    ///
    /// # Errors
    /// [`Fault`] if the queue is malformed.
    pub fn complete(&mut self, head: u16, written: usize) -> Result<(), Fault> {
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        self.queue.add_used(&*self.memory, head, written)?;
        self.unsignalled = self.unsignalled.saturating_add(1);
        if self.unsignalled >= SIGNAL_AFTER { self.signal() } else { Ok(()) }
    }

    /// The guest's memory, which its chains are in.
    pub fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }

    /// Tells the driver of used buffers, if it wants to know.
    pub(super) fn signal(&mut self) -> Result<(), Fault> {
        if self.unsignalled == 0 {
            return Ok(());
        }
        self.unsignalled = 0;
        // Comes first: it orders what was written before against what is read now.
        let by_index = self.queue.needs_notification(&*self.memory)?;
        let wanted =
            if self.queue.event_idx_enabled() { by_index } else { !self.interrupts_are_off()? };
        if wanted {
            self.interrupt.raise(interrupt::USED);
        }
        Ok(())
    }

    fn interrupts_are_off(&self) -> Result<bool, Fault> {
        let flags = GuestAddress(self.queue.avail_ring());
        let flags = self.memory.load::<u16>(flags, Ordering::Acquire).map(u16::from_le)?;
        Ok(u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT != 0)
    }

    fn next(&mut self) -> Result<Option<Chain>, Fault> {
        if !self.queue.ready() {
            return Ok(None);
        }
        let memory = &*self.memory;
        match self.queue.iter(memory)?.next() {
            Some(chain) => read_chain(memory, chain).map(Some),
            None => Ok(None),
        }
    }
}

/// Collects the buffers of a chain, all of them or a fault.
fn read_chain(memory: &GuestMemory, chain: DescriptorChain<&GuestMemory>) -> Result<Chain, Fault> {
    let head = chain.head_index();
    let fault = |reason| Fault::Chain { head, reason };
    let mut found = Chain { head, readable: Buffer::default(), writable: Buffer::default() };
    // What the chain ends with if it is cut short, even before its first descriptor.
    let mut goes_on = true;
    for (count, descriptor) in chain.enumerate() {
        if count == MAX_DESCRIPTORS {
            return Err(fault("longer than any queue"));
        }
        goes_on = descriptor.has_next();
        let size = descriptor.len() as usize;
        if size == 0 {
            continue;
        }
        if !memory.check_range(descriptor.addr(), size) {
            return Err(fault("a buffer is not in guest memory"));
        }
        if descriptor.is_write_only() {
            found.writable.push(descriptor.addr(), size);
        } else if found.writable.is_empty() {
            found.readable.push(descriptor.addr(), size);
        } else {
            return Err(fault("a readable buffer behind a writable one"));
        }
    }
    if goes_on { Err(fault("it is a loop, or leads out of its table")) } else { Ok(found) }
}
