//! Random accesses to CRB.

use proptest::{prelude::*, sample::select};
use vmm_device::crb::{Crb, InMemoryBuffer, spec};

use super::{Pair, check};
use crate::{
    machine::Machine,
    ours::{Ours, Wire},
    qemu::Qemu,
    script::Device,
};

/// Part of the data buffer that is used: zero-tail makes the rest differ.
const USED: u64 = 128;

type Both<'a> = Pair<'a, Ours<Crb<InMemoryBuffer, Wire>>>;

/// Something that a guest may do.
#[derive(Clone, Debug)]
enum Pick {
    Read { offset: u64, size: usize },
    Write { register: u64, add: u64, size: usize, value: u64 },
    Data { offset: u64, size: usize, value: u64 },
    Start { length: u8, size: usize },
    Answer(usize),
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let size = select(vec![1usize, 2, 4, 8]);
    let control = select(vec![
        (spec::LOC_CTRL, 8u64),
        (spec::CTRL_REQ, 3),
        (spec::CTRL_CANCEL, 2),
        (spec::CTRL_CANCEL, 2),
    ]);
    let control = control.prop_flat_map(|(register, limit)| (Just(register), 0..=limit));
    // Reads and writes anywhere, but a write of START is `Start`'s.
    let register = (0u64..spec::DATA_BUFFER / 4).prop_map(|word| word * 4);
    let quiet = register.clone().prop_filter("START is special", |register| {
        !(spec::CTRL_CANCEL - 4..=spec::CTRL_START).contains(register)
    });
    let pick = prop_oneof![
        6 => (0..spec::DATA_BUFFER + USED - 8, size.clone())
            .prop_map(|(offset, size)| Pick::Read { offset, size }),
        1 => (register, size.clone())
            .prop_map(|(offset, size)| Pick::Read { offset, size }),
        6 => (control, size.clone().prop_map(|size| size.min(4)))
            .prop_map(|((register, value), size)| Pick::Write { register, add: 0, size, value }),
        2 => (quiet, 0u64..4, size.clone(), 0u64..4)
            .prop_map(|(register, add, size, value)| Pick::Write { register, add, size, value }),
        3 => (0..USED - 8, size.clone(), any::<u64>())
            .prop_map(|(offset, size, value)| Pick::Data { offset, size, value }),
        4 => (10u8..100, select(vec![1usize, 2, 4]))
            .prop_map(|(length, size)| Pick::Start { length, size }),
        4 => (10usize..100).prop_map(Pick::Answer),
    ];
    prop::collection::vec(pick, 1..300)
}

/// Zeros the data buffer from `start` on: zero-tail.
fn clear(pair: &mut Both<'_>, start: u64) -> Result<(), String> {
    let odd = start..start.next_multiple_of(8);
    odd.into_iter().try_for_each(|at| pair.write(1, spec::DATA_BUFFER + at, 0))?;
    let mut even = (start.next_multiple_of(8)..USED).step_by(8);
    even.try_for_each(|at| pair.write(8, spec::DATA_BUFFER + at, 0))
}

fn take(pair: &mut Both<'_>, pick: &Pick) -> Result<(), String> {
    match *pick {
        Pick::Read { offset, size } => pair.read(size, offset, u64::MAX),
        Pick::Write { register, add, size, value } => pair.write(size, register + add, value),
        // What a guest writes while a command runs is the command for QEMU, and none for us.
        Pick::Data { offset, size, value } if !pair.running => {
            pair.write(size, spec::DATA_BUFFER + offset, value)
        }
        Pick::Start { length, size } => {
            if !pair.running {
                let header = [0x80, 1, 0, 0, 0, length, 0, 0];
                pair.write(8, spec::DATA_BUFFER, u64::from_le_bytes(header))?;
            }
            pair.write(size, spec::CTRL_START, 1)
        }
        Pick::Answer(length) if pair.running => {
            let mut response: Vec<u8> = (0..length as u8).collect();
            response[..6].copy_from_slice(&[0x80, 1, 0, 0, 0, length as u8]);
            pair.answer(&response)?;
            clear(pair, length as u64)
        }
        Pick::Data { .. } | Pick::Answer(_) => Ok(()),
    }
}

#[test]
#[ignore = "needs QEMU; scripts/stages/85-qtest runs it"]
fn random_accesses_to_crb_find_the_same_as_on_qemu() {
    let mut ours = Ours::<Crb<InMemoryBuffer, Wire>>::new();
    let mut qemu = Qemu::start(Device::Crb);
    check(&picks(), |picks| {
        let mut pair = Pair::new(&mut ours, &mut qemu as &mut dyn Machine);
        let outcome = clear(&mut pair, 0)
            .and_then(|()| picks.iter().try_for_each(|pick| take(&mut pair, pick)));
        pair.finish(outcome)
    });
}
