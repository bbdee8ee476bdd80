//! Numbers of virtio 1.2 that several files need; the rest comes from `virtio-bindings`.

use virtio_bindings::{
    virtio_config::{
        VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK,
        VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
        VIRTIO_F_VERSION_1,
    },
    virtio_mmio as mmio,
    virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC},
};

/// Registers of a device, as offsets (clause 4.2.2).
pub(super) mod register {
    use super::mmio;

    pub(crate) const MAGIC: u64 = mmio::VIRTIO_MMIO_MAGIC_VALUE as u64;
    pub(crate) const VERSION: u64 = mmio::VIRTIO_MMIO_VERSION as u64;
    pub(crate) const DEVICE_ID: u64 = mmio::VIRTIO_MMIO_DEVICE_ID as u64;
    pub(crate) const VENDOR_ID: u64 = mmio::VIRTIO_MMIO_VENDOR_ID as u64;
    pub(crate) const DEVICE_FEATURES: u64 = mmio::VIRTIO_MMIO_DEVICE_FEATURES as u64;
    pub(crate) const DEVICE_FEATURES_SELECT: u64 = mmio::VIRTIO_MMIO_DEVICE_FEATURES_SEL as u64;
    pub(crate) const DRIVER_FEATURES: u64 = mmio::VIRTIO_MMIO_DRIVER_FEATURES as u64;
    pub(crate) const DRIVER_FEATURES_SELECT: u64 = mmio::VIRTIO_MMIO_DRIVER_FEATURES_SEL as u64;
    pub(crate) const QUEUE_SELECT: u64 = mmio::VIRTIO_MMIO_QUEUE_SEL as u64;
    pub(crate) const QUEUE_SIZE_MAX: u64 = mmio::VIRTIO_MMIO_QUEUE_NUM_MAX as u64;
    pub(crate) const QUEUE_SIZE: u64 = mmio::VIRTIO_MMIO_QUEUE_NUM as u64;
    pub(crate) const QUEUE_READY: u64 = mmio::VIRTIO_MMIO_QUEUE_READY as u64;
    pub(crate) const QUEUE_NOTIFY: u64 = mmio::VIRTIO_MMIO_QUEUE_NOTIFY as u64;
    pub(crate) const INTERRUPT_STATUS: u64 = mmio::VIRTIO_MMIO_INTERRUPT_STATUS as u64;
    pub(crate) const INTERRUPT_ACK: u64 = mmio::VIRTIO_MMIO_INTERRUPT_ACK as u64;
    pub(crate) const STATUS: u64 = mmio::VIRTIO_MMIO_STATUS as u64;
    pub(crate) const QUEUE_DESCRIPTORS_LOW: u64 = mmio::VIRTIO_MMIO_QUEUE_DESC_LOW as u64;
    pub(crate) const QUEUE_DESCRIPTORS_HIGH: u64 = mmio::VIRTIO_MMIO_QUEUE_DESC_HIGH as u64;
    pub(crate) const QUEUE_AVAILABLE_LOW: u64 = mmio::VIRTIO_MMIO_QUEUE_AVAIL_LOW as u64;
    pub(crate) const QUEUE_AVAILABLE_HIGH: u64 = mmio::VIRTIO_MMIO_QUEUE_AVAIL_HIGH as u64;
    pub(crate) const QUEUE_USED_LOW: u64 = mmio::VIRTIO_MMIO_QUEUE_USED_LOW as u64;
    pub(crate) const QUEUE_USED_HIGH: u64 = mmio::VIRTIO_MMIO_QUEUE_USED_HIGH as u64;
    pub(crate) const SHARED_LENGTH_LOW: u64 = mmio::VIRTIO_MMIO_SHM_LEN_LOW as u64;
    pub(crate) const SHARED_BASE_HIGH: u64 = mmio::VIRTIO_MMIO_SHM_BASE_HIGH as u64;
    pub(crate) const CONFIG_GENERATION: u64 = mmio::VIRTIO_MMIO_CONFIG_GENERATION as u64;
    /// Configuration of the device type, from here to the end of the page.
    pub(crate) const CONFIG: u64 = mmio::VIRTIO_MMIO_CONFIG as u64;
}

/// "virt", little-endian.
pub(super) const MAGIC: u32 = 0x7472_6976;
/// Version of the registers: not the legacy ones.
pub(super) const VERSION: u32 = 2;
/// Vendor, which drivers print at most.
pub(super) const VENDOR: u32 = u32::from_le_bytes(*b"VTPM");

/// Bits of the device's status (clause 2.1).
pub(super) mod status {
    pub(crate) const ACKNOWLEDGE: u32 = super::VIRTIO_CONFIG_S_ACKNOWLEDGE;
    pub(crate) const DRIVER: u32 = super::VIRTIO_CONFIG_S_DRIVER;
    pub(crate) const DRIVER_OK: u32 = super::VIRTIO_CONFIG_S_DRIVER_OK;
    pub(crate) const FEATURES_OK: u32 = super::VIRTIO_CONFIG_S_FEATURES_OK;
    pub(crate) const NEEDS_RESET: u32 = super::VIRTIO_CONFIG_S_NEEDS_RESET;
    pub(crate) const FAILED: u32 = super::VIRTIO_CONFIG_S_FAILED;
    /// All that a driver may set.
    pub(crate) const BY_DRIVER: u32 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
}

/// Bits of the interrupt status.
pub(super) mod interrupt {
    use super::mmio;

    /// Buffers were used.
    pub(crate) const USED: u32 = mmio::VIRTIO_MMIO_INT_VRING;
    /// Configuration or status changed.
    pub(crate) const CONFIG: u32 = mmio::VIRTIO_MMIO_INT_CONFIG;
}

/// Features that this transport offers with every device (clause 6).
pub(super) mod feature {
    pub(crate) const VERSION_1: u64 = 1 << super::VIRTIO_F_VERSION_1;
    pub(crate) const EVENT_IDX: u64 = 1 << super::VIRTIO_RING_F_EVENT_IDX;
    pub(crate) const INDIRECT: u64 = 1 << super::VIRTIO_RING_F_INDIRECT_DESC;
    pub(crate) const TRANSPORT: u64 = VERSION_1 | EVENT_IDX | INDIRECT;
}
