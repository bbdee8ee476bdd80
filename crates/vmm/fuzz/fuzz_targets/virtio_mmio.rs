//! Any access to registers, in any order, with snapshots in between.
#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use vm_memory::{Bytes, GuestAddress};
use vmm_fuzz::bench::{Bench, Kind, RAM, memory, register};

#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A 32-bit register.
    Write {
        register: u8,
        value: u32,
    },
    /// Bits of registers, which random numbers seldom hit.
    Status(u8),
    /// An address, as page and offset.
    Address {
        register: u8,
        page: u8,
        offset: u8,
    },
    /// Anything.
    WriteBytes {
        offset: u16,
        data: Vec<u8>,
    },
    Read {
        offset: u16,
        size: u8,
    },
    /// What a driver does to begin.
    SetUp {
        features: u64,
    },
    Memory {
        page: u8,
        offset: u8,
        value: u64,
    },
    Serve,
    Replace,
}

fuzz_target!(|input: Input| {
    let memory = memory();
    let mut bench = Bench::new(input.kind, &memory);
    bench.transport.resume().unwrap();
    for step in input.steps {
        match step {
            Step::Write { register, value } => bench.write(u64::from(register & !3), value),
            Step::Status(value) => bench.write(register::STATUS, value.into()),
            Step::Address { register, page, offset } => {
                let low = register::QUEUE_DESCRIPTORS + u64::from(register & 0x30);
                bench.write(low, u32::from(page) << 12 | u32::from(offset));
            }
            Step::WriteBytes { offset, data } => bench.transport.write(offset.into(), &data),
            Step::Read { offset, size } => {
                bench.transport.read(offset.into(), &mut vec![0; size.into()]);
            }
            Step::SetUp { features } => bench.set_up(features),
            Step::Memory { page, offset, value } => {
                let at = GuestAddress((u64::from(page) << 12 | u64::from(offset)) % (RAM - 8));
                memory.write_obj(value, at).unwrap();
            }
            Step::Serve => while bench.transport.serve() {},
            Step::Replace => bench = bench.replace(input.kind, &memory),
        }
    }
    bench.write(register::STATUS, 0);
    assert_eq!(bench.read(register::STATUS), 0, "a reset always works");
});
