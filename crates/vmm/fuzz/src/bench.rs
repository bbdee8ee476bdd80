//! A guest's side of a virtio device, for fuzzers: devices of each type, and registers by name.

use std::{
    os::unix::net::UnixDatagram,
    sync::{Arc, OnceLock},
};

use crate::{
    memory::GuestMemory,
    virtio::{Block, Entropy, Mac, Model, Net, Transport},
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tempfile::NamedTempFile;
use vm_memory::GuestAddress;

/// RAM of the guest. Its first half is for queues, the other for buffers.
pub const RAM: u64 = 0x10_0000;
/// Sectors of disks.
pub const SECTORS: u64 = 64;

/// Offsets of registers (virtio 1.2, clause 4.2.2).
pub mod register {
    pub const DEVICE_FEATURES: u64 = 0x10;
    pub const DEVICE_FEATURES_SELECT: u64 = 0x14;
    pub const DRIVER_FEATURES: u64 = 0x20;
    pub const DRIVER_FEATURES_SELECT: u64 = 0x24;
    pub const QUEUE_SELECT: u64 = 0x30;
    pub const QUEUE_SIZE_MAX: u64 = 0x34;
    pub const QUEUE_SIZE: u64 = 0x38;
    pub const QUEUE_READY: u64 = 0x44;
    pub const QUEUE_NOTIFY: u64 = 0x50;
    pub const STATUS: u64 = 0x70;
    pub const QUEUE_DESCRIPTORS: u64 = 0x80;
    pub const QUEUE_AVAILABLE: u64 = 0x90;
    pub const QUEUE_USED: u64 = 0xa0;
}

/// Types of devices.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Kind {
    Disk,
    ReadOnlyDisk,
    Card,
    Entropy,
}

/// A device, and what is at its other end.
pub struct Bench {
    pub transport: Transport,
    /// The network, for a card.
    pub network: Option<UnixDatagram>,
}

impl Bench {
    /// A paused device of that type.
    pub fn new(kind: Kind, memory: &Arc<GuestMemory>) -> Self {
        let mut network = None;
        let model: Box<dyn Model> = match kind {
            Kind::Disk => Box::new(Block::open(image(), false, "fuzz").unwrap()),
            Kind::ReadOnlyDisk => Box::new(Block::open(image(), true, "fuzz").unwrap()),
            Kind::Card => {
                let (inside, outside) = UnixDatagram::pair().unwrap();
                outside.set_nonblocking(true).unwrap();
                network = Some(outside);
                Box::new(Net::new(inside, Mac::new([2, 0, 0, 0, 0, 1]).unwrap()).unwrap())
            }
            Kind::Entropy => Box::new(Entropy::new().unwrap()),
        };
        let transport = Transport::new("fuzz", model, Arc::clone(memory)).unwrap();
        Self { transport, network }
    }

    /// Writes a 32-bit register.
    pub fn write(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Reads a 32-bit register.
    pub fn read(&self, offset: u64) -> u32 {
        let mut value = [0; 4];
        self.transport.read(offset, &mut value);
        u32::from_le_bytes(value)
    }

    /// Resets the device, and has a driver accept `features` and set up queues of 16.
    pub fn set_up(&self, features: u64) {
        self.write(register::STATUS, 0);
        self.write(register::STATUS, 3);
        for half in [0, 1] {
            self.write(register::DEVICE_FEATURES_SELECT, half);
            self.write(register::DRIVER_FEATURES_SELECT, half);
            let offered = self.read(register::DEVICE_FEATURES);
            self.write(register::DRIVER_FEATURES, offered & (features >> (32 * half)) as u32);
        }
        self.write(register::STATUS, 0xb);
        for queue in 0..2 {
            self.write(register::QUEUE_SELECT, queue);
            self.write(register::QUEUE_SIZE, 16);
            let base = queue_base(queue);
            self.write(register::QUEUE_DESCRIPTORS, base);
            self.write(register::QUEUE_AVAILABLE, base + 0x100);
            self.write(register::QUEUE_USED, base + 0x200);
            self.write(register::QUEUE_READY, 1);
        }
        self.write(register::STATUS, 0xf);
    }

    /// Saves the device and goes on with another one of the same type.
    pub fn replace(self, kind: Kind, memory: &Arc<GuestMemory>) -> Self {
        self.transport.pause().unwrap();
        let saved = self.transport.save().unwrap();
        drop(self);
        let next = Self::new(kind, memory);
        next.transport.restore(&saved).unwrap();
        assert_eq!(next.transport.save().unwrap(), saved);
        next.transport.resume().unwrap();
        next
    }
}

/// Where [`Bench::set_up`] puts a queue: its descriptors; rings follow at 0x100 and 0x200.
pub fn queue_base(queue: u32) -> u32 {
    0x1000 * (queue + 1)
}

/// Zeroed guest memory.
pub fn memory() -> Arc<GuestMemory> {
    Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap())
}

/// A disk image, the same for all.
pub fn image() -> &'static std::path::Path {
    static IMAGE: OnceLock<NamedTempFile> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let image = NamedTempFile::new().unwrap();
            image.as_file().set_len(SECTORS * 512).unwrap();
            image
        })
        .path()
}
