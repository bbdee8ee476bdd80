//! Virtio devices over virtio-mmio (virtio 1.2, modern drivers only): disk, network card, entropy.
//!
//! ```text
//!   vCPU ── registers ──> Transport ──────── DRIVER_OK, reset ────────┐
//!                            │ restore, save, pause, resume           v
//!   KVM  ── doorbells (ioeventfd) ──> worker ── turn ──> [ Model + rings ] ── file, tap
//!   KVM  <── interrupt (irqfd) ──────────────────────────────┘   └─ guest memory (bitmap)
//! ```
//!
//! * [`Transport`] is the device that a VMM handles: its registers on the bus, its doorbells and
//!   interrupt for KVM, its worker, its life.
//! * [`Model`] is what one device type does: [`Block`], [`Net`], [`Entropy`].
//! * [`Ring`] is a queue in use, [`Chain`] a request in it, [`Buffer`] the bytes of one side of a
//!   request.
//!
//! # Life of a device
//!
//! ```text
//!   new ──> paused ── resume ──> running ── pause ──> paused ── save ──> SavedDevice
//!             ^                                                              │
//!             └── restore, on a device that was made alike <─────────────────┘
//! ```
//!
//! A new device is paused, so that a fresh machine and a restored one start the same way: make
//! the devices, [`Transport::restore`] them if there is something to restore, [`Transport::start`]
//! their workers, [`Transport::resume`] them, then let the processors run. The other way around to
//! stop: processors first, then [`Transport::pause`]. A paused device holds nothing that another
//! machine may need, and what was written to its disk is durable.
//!
//! # What a guest can do
//!
//! Everything in registers, queues and requests is the guest's word, and other processors of it may
//! change memory at any moment. So each value is read once, and checked before it is used.
//!
//! * A driver that breaks the rules of queues or chains (clause 2.7) gets DEVICE_NEEDS_RESET; the
//!   device does nothing until it is reset.
//! * A well-formed request that cannot be served gets its device type's own error.
//! * What a driver must not do to registers (clauses 2.1, 3.1 and 4.2) has no effect.
//! * No allocation depends on a length that a guest names; no loop on more than
//!   [`MAX_DESCRIPTORS`]; the log gets a bounded number of lines from each device.
//!
//! A processor waits for a device's worker only where the specification has it wait: for a reset,
//! for DRIVER_OK, and to stop a queue; and then for one request.
//!
//! Architecture invariant: guest memory is touched only by whoever holds the device's lock, and
//! not while it is paused. All writes go through `vm-memory`, whose bitmap a live migration reads.
//!
//! Architecture invariant: a request is either in its queue or done when the lock is free. So a
//! snapshot needs no requests, and none is lost or done twice: after [`Transport::resume`] the
//! worker looks into every queue, whether or not somebody rang.
//!
//! # System calls
//!
//! [`Transport::start`] runs a closure on the worker's thread before anything else: the place for
//! a seccomp filter of [`Transport::system_calls`]. A test runs every device type under it.
//! Opening files and interfaces, [`Transport::pause`] and [`Transport::resume`] (flock, fdatasync,
//! and eventfd writes) happen on the caller's thread.
//!
//! | worker | beside [`WORKER_SYSTEM_CALLS`] |
//! |---|---|
//! | disk | lseek, fdatasync, fallocate, pwrite64 |
//! | network card | none: read and write |
//! | entropy | none: read |

mod block;
mod buffer;
mod entropy;
mod mmio;
mod model;
mod net;
mod registers;
mod ring;
mod shared;
mod snapshot;
mod spec;
mod state;
mod worker;

#[cfg(test)]
mod tests;

pub use self::{
    block::{Block, IDENTIFIER_SIZE, SECTOR},
    buffer::Buffer,
    entropy::Entropy,
    mmio::{QUEUE_NOTIFY, Transport},
    model::{Model, Next},
    net::{Mac, Net, Tap},
    ring::{Chain, Fault, MAX_DESCRIPTORS, Ring, Turn},
    state::{SavedDevice, SavedQueue, VERSION},
    worker::WORKER_SYSTEM_CALLS,
};
