//! A driver in a guest, as far as devices can tell, and what it finds.

mod block;
mod entropy;
mod hostile;
mod net;
mod random;
mod registers;
mod snapshot;
mod worker;

use std::{path::Path, sync::Arc};

use vm_memory::{Bytes, GuestAddress};

use super::{
    spec::{register, status},
    *,
};
use crate::memory::GuestMemory;

/// RAM of the guest: queues in the first half, buffers in the other.
const RAM: u64 = 0x40_0000;
const BUFFERS: u64 = RAM / 2;

/// A descriptor's flags.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What one request consists of.
enum Piece<'a> {
    /// Bytes for the device.
    Out(&'a [u8]),
    /// Room for that many bytes from the device.
    In(usize),
}

/// A request in a queue.
struct Request {
    head: u16,
    /// Where the device answers.
    rooms: Vec<(u64, usize)>,
}

/// A driver's side of a queue.
#[derive(Clone, Copy)]
struct Queue {
    descriptors: u64,
    available: u64,
    used: u64,
    size: u16,
    next_descriptor: u16,
    next_available: u16,
    next_used: u16,
}

/// A guest with one device.
struct Guest {
    memory: Arc<GuestMemory>,
    transport: Transport,
    queues: Vec<Queue>,
    next_buffer: u64,
}

impl Guest {
    /// A running device without a driver.
    fn new(model: impl Model + 'static) -> Self {
        let guest = Self::paused(model, memory());
        guest.transport.resume().unwrap();
        guest
    }

    fn paused(model: impl Model + 'static, memory: Arc<GuestMemory>) -> Self {
        let transport = Transport::new("test", Box::new(model), Arc::clone(&memory)).unwrap();
        Self { memory, transport, queues: Vec::new(), next_buffer: BUFFERS }
    }

    /// A device whose driver accepts everything, with queues of 16.
    fn with_driver(model: impl Model + 'static) -> Self {
        Self::with_features(model, !0)
    }

    /// A device whose driver accepts `features` as far as they are offered.
    fn with_features(model: impl Model + 'static, features: u64) -> Self {
        let mut guest = Self::new(model);
        guest.set_up(features);
        guest
    }

    /// What drivers do first (clause 3.1.1).
    fn set_up(&mut self, features: u64) {
        self.write(register::STATUS, 0);
        self.write(register::STATUS, status::ACKNOWLEDGE);
        self.write(register::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        for half in [0, 1] {
            self.write(register::DEVICE_FEATURES_SELECT, half);
            self.write(register::DRIVER_FEATURES_SELECT, half);
            let offered = self.read(register::DEVICE_FEATURES);
            self.write(register::DRIVER_FEATURES, offered & (features >> (32 * half)) as u32);
        }
        let settled = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.write(register::STATUS, settled);
        assert_eq!(self.read(register::STATUS), settled);
        self.queues.clear();
        for index in 0.. {
            self.write(register::QUEUE_SELECT, index);
            if self.read(register::QUEUE_SIZE_MAX) == 0 {
                break;
            }
            let base = 0x1_0000 * (u64::from(index) + 1);
            self.set_up_queue(16, base, base + 0x2000, base + 0x3000);
        }
        self.write(register::STATUS, settled | status::DRIVER_OK);
        assert_eq!(self.status(), settled | status::DRIVER_OK);
    }

    fn set_up_queue(&mut self, size: u16, descriptors: u64, available: u64, used: u64) {
        self.write(register::QUEUE_SIZE, size.into());
        let addresses = [
            (register::QUEUE_DESCRIPTORS_LOW, descriptors),
            (register::QUEUE_AVAILABLE_LOW, available),
            (register::QUEUE_USED_LOW, used),
        ];
        for (offset, address) in addresses {
            self.write(offset, address as u32);
            self.write(offset + 4, (address >> 32) as u32);
        }
        self.write(register::QUEUE_READY, 1);
        let queue = Queue {
            descriptors,
            available,
            used,
            size,
            next_descriptor: 0,
            next_available: 0,
            next_used: 0,
        };
        self.queues.push(queue);
    }

    fn read(&self, offset: u64) -> u32 {
        let mut value = [0; 4];
        self.transport.read(offset, &mut value);
        u32::from_le_bytes(value)
    }

    fn write(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    fn status(&self) -> u32 {
        self.read(register::STATUS)
    }

    fn needs_reset(&self) -> bool {
        self.status() & status::NEEDS_RESET != 0
    }

    /// Puts a request into `queue` and rings.
    fn offer(&mut self, queue: usize, pieces: &[Piece<'_>]) -> Request {
        let request = self.place(queue, pieces);
        self.publish(queue, request.head);
        request
    }

    /// Describes a request, without telling the device.
    fn place(&mut self, queue: usize, pieces: &[Piece<'_>]) -> Request {
        let head = self.queues[queue].next_descriptor;
        let mut rooms = Vec::new();
        for (count, piece) in pieces.iter().enumerate() {
            let more = if count + 1 < pieces.len() { NEXT } else { 0 };
            let (address, size, flags) = match piece {
                Piece::Out(bytes) => {
                    let address = self.buffer(bytes.len());
                    self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
                    (address, bytes.len(), more)
                }
                Piece::In(size) => {
                    let address = self.buffer(*size);
                    rooms.push((address, *size));
                    (address, *size, more | WRITE)
                }
            };
            let at = self.queues[queue].next_descriptor;
            let next = (at + 1) % self.queues[queue].size;
            self.describe(queue, at, (address, size as u32, flags, next));
            self.queues[queue].next_descriptor = next;
        }
        Request { head, rooms }
    }

    /// Writes one descriptor: address, size, flags, next.
    fn describe(&self, queue: usize, index: u16, descriptor: (u64, u32, u16, u16)) {
        let at = self.queues[queue].descriptors + 16 * u64::from(index);
        self.describe_at(at, descriptor);
    }

    fn describe_at(&self, at: u64, (address, size, flags, next): (u64, u32, u16, u16)) {
        self.memory.write_obj(address, GuestAddress(at)).unwrap();
        self.memory.write_obj(size, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        self.memory.write_obj(next, GuestAddress(at + 14)).unwrap();
    }

    /// Makes a chain available and rings.
    fn publish(&mut self, queue: usize, head: u16) {
        let number = queue as u32;
        let queue = &mut self.queues[queue];
        let slot = u64::from(queue.next_available % queue.size);
        self.memory.write_obj(head, GuestAddress(queue.available + 4 + 2 * slot)).unwrap();
        queue.next_available = queue.next_available.wrapping_add(1);
        self.memory.write_obj(queue.next_available, GuestAddress(queue.available + 2)).unwrap();
        self.write(register::QUEUE_NOTIFY, number);
    }

    /// Has the device work, on this thread.
    fn serve(&self) {
        while self.transport.serve() {}
    }

    /// What came back since the last call: heads, and bytes written.
    fn used(&mut self, queue: usize) -> Vec<(u16, usize)> {
        let queue = &mut self.queues[queue];
        let mut found = Vec::new();
        let end: u16 = self.memory.read_obj(GuestAddress(queue.used + 2)).unwrap();
        while queue.next_used != end {
            let slot = u64::from(queue.next_used % queue.size);
            let at = GuestAddress(queue.used + 4 + 8 * slot);
            let [head, size]: [u32; 2] = self.memory.read_obj(at).unwrap();
            found.push((head as u16, size as usize));
            queue.next_used = queue.next_used.wrapping_add(1);
        }
        found
    }

    /// Serves one request in `queue`: bytes written, and what each room holds then.
    fn ask(&mut self, queue: usize, pieces: &[Piece<'_>]) -> (usize, Vec<Vec<u8>>) {
        let request = self.offer(queue, pieces);
        self.serve();
        assert!(!self.needs_reset(), "the device has given up");
        let used = self.used(queue);
        assert_eq!(used.len(), 1);
        assert_eq!(used[0].0, request.head);
        (used[0].1, self.answers(&request))
    }

    fn answers(&self, request: &Request) -> Vec<Vec<u8>> {
        request.rooms.iter().map(|(address, size)| self.bytes(*address, *size)).collect()
    }

    fn bytes(&self, address: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    /// Fresh guest memory, around again when it is used up.
    fn buffer(&mut self, size: usize) -> u64 {
        let size = (size as u64).next_multiple_of(64);
        if self.next_buffer + size > RAM {
            self.next_buffer = BUFFERS;
        }
        self.next_buffer += size;
        self.next_buffer - size
    }

    /// Whether the device has interrupted since the last call.
    fn interrupted(&self) -> bool {
        self.transport.interrupt().read().is_ok()
    }
}

fn memory() -> Arc<GuestMemory> {
    Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap())
}

/// A disk image of `sectors` sectors, the number of each in all of its bytes.
fn image(sectors: u8) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..sectors).flat_map(|sector| [sector; 512]).collect();
    std::fs::write(file.path(), bytes).unwrap();
    file
}

fn disk(path: &Path) -> Block {
    Block::open(path, false, "serial-1").unwrap()
}

/// A disk request's header.
fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    header
}
