//! Queues with any contents, on every type of device.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use vm_memory::{Bytes, GuestAddress};
use vmm_fuzz::{
    bench::{Bench, Kind, RAM, SECTORS, image, memory, queue_base, register},
    memory::GuestMemory,
};

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    features: u64,
    rounds: Vec<Round>,
}

/// What the guest does before the device looks.
#[derive(Arbitrary, Debug)]
struct Round {
    queue: bool,
    chains: Vec<Vec<Descriptor>>,
    /// Instead of how many chains there are.
    index: Option<u16>,
    /// Frames from the network.
    frames: Vec<u16>,
    replace: bool,
}

#[derive(Arbitrary, Debug)]
enum Descriptor {
    /// Bytes for the device.
    Out(Vec<u8>),
    /// A disk request's header, with likely values.
    Header { kind: u8, sector: u8 },
    /// A range of a disk request.
    Range { sector: u8, count: u8, flags: u8 },
    /// Room for the device.
    In(u16),
    /// Anything.
    Raw { address: u64, size: u32, flags: u16, next: u16 },
    /// A table of others, in place of the descriptors to come.
    Table { size: u32 },
}

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

fuzz_target!(|input: Input| {
    let memory = memory();
    let mut bench = Bench::new(input.kind, &memory);
    bench.transport.resume().unwrap();
    bench.set_up(input.features | 1 << 32);
    let mut published = [0u16; 2];
    for round in input.rounds.into_iter().take(8) {
        if let Some(network) = &bench.network {
            for size in round.frames.iter().take(16) {
                let _full = network.send(&vec![7; usize::from(*size)]);
            }
        }
        let queue = u32::from(round.queue);
        let base = u64::from(queue_base(queue));
        let mut space = Space { next: RAM / 2, slot: 0 };
        let published = &mut published[usize::from(round.queue)];
        for chain in round.chains.into_iter().take(16) {
            let at = base + 0x100 + 4 + 2 * u64::from(*published % 16);
            memory.write_obj(space.slot % 16, GuestAddress(at)).unwrap();
            *published = published.wrapping_add(1);
            describe(&memory, base, chain, &mut space);
        }
        *published = round.index.unwrap_or(*published);
        memory.write_obj(*published, GuestAddress(base + 0x102)).unwrap();
        bench.write(register::QUEUE_NOTIFY, queue);
        while bench.transport.serve() {}
        if round.replace {
            bench = bench.replace(input.kind, &memory);
        }
    }
    drop(bench);
    assert_eq!(std::fs::metadata(image()).unwrap().len(), SECTORS * 512);
});

/// Where the next buffer and the next descriptor go.
struct Space {
    next: u64,
    slot: u16,
}

impl Space {
    fn take(&mut self, size: u64) -> u64 {
        if self.next + size > RAM {
            self.next = RAM / 2;
        }
        self.next += size;
        self.next - size
    }
}

fn describe(memory: &GuestMemory, base: u64, chain: Vec<Descriptor>, space: &mut Space) {
    let mut table = base;
    let mut slot = space.slot % 16;
    let mut slots = 16;
    let count = chain.len();
    for (index, descriptor) in chain.into_iter().enumerate().take(64) {
        let more = if index + 1 < count { NEXT } else { 0 };
        let next = (slot + 1) % slots;
        let mut out = |bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(0x1000)];
            let at = space.take(bytes.len() as u64);
            memory.write_slice(bytes, GuestAddress(at)).unwrap();
            (at, bytes.len() as u32, more, next)
        };
        let mut inner = None;
        let (address, size, flags, next) = match descriptor {
            Descriptor::Out(bytes) => out(&bytes),
            Descriptor::Header { kind, sector } => {
                let mut header = [0; 16];
                header[0] = kind;
                header[8] = sector;
                out(&header)
            }
            Descriptor::Range { sector, count, flags } => {
                let mut range = [0; 16];
                range[0] = sector;
                range[8] = count;
                range[12] = flags;
                out(&range)
            }
            Descriptor::In(size) => (space.take(size.into()), size.into(), more | WRITE, next),
            Descriptor::Raw { address, size, flags, next } => (address, size, flags, next),
            Descriptor::Table { size } => {
                let at = space.take(0x400);
                inner = Some(at);
                (at, size % 0x800, INDIRECT, 0)
            }
        };
        let at = table + 16 * u64::from(slot);
        memory.write_obj(address, GuestAddress(at)).unwrap();
        memory.write_obj(size, GuestAddress(at + 8)).unwrap();
        memory.write_obj(flags, GuestAddress(at + 12)).unwrap();
        memory.write_obj(next, GuestAddress(at + 14)).unwrap();
        if table == base {
            space.slot = space.slot.wrapping_add(1);
        }
        slot = (slot + 1) % slots;
        if let Some(inner) = inner {
            (table, slot, slots) = (inner, 0, 64);
        }
    }
}
