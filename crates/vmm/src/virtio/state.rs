//! Saved state of a device, apart from the types that it runs with.
//!
//! None of our device types remembers anything between requests, and each request is either in the
//! queue or done while a device is paused. So the transport's registers and the queues' positions
//! are all there is.

use serde::{Deserialize, Serialize};

/// Version that is written.
pub const VERSION: u32 = 1;

/// A paused device. What a driver has seen of it is here too, to be checked where it is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDevice {
    /// Version of this record: [`VERSION`].
    pub version: u32,
    /// Device type (virtio 1.2, clause 5).
    pub kind: u32,
    /// Configuration space.
    pub config: Vec<u8>,
    /// Half of the device's features that is shown.
    pub device_features_select: u32,
    /// Half of the driver's features that is set.
    pub driver_features_select: u32,
    /// Features that the driver has accepted.
    pub driver_features: u64,
    /// Queue whose registers are shown.
    pub queue_select: u32,
    /// Status, DEVICE_NEEDS_RESET included.
    pub status: u32,
    /// Interrupts that the driver has not acknowledged.
    pub interrupt_status: u32,
    /// Queues.
    pub queues: Vec<SavedQueue>,
}

/// One queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQueue {
    /// Descriptors.
    pub size: u32,
    /// Whether it is in use.
    pub ready: bool,
    /// Address of the descriptor table.
    pub descriptors: u64,
    /// Address of the available ring.
    pub available: u64,
    /// Address of the used ring.
    pub used: u64,
    /// Where the device reads the available ring next.
    pub next_available: u16,
    /// Where the device writes the used ring next.
    pub next_used: u16,
}
