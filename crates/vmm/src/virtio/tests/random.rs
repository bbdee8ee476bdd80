//! Whatever a guest writes, and wherever.

use std::{collections::BTreeSet, os::unix::net::UnixDatagram};

use proptest::prelude::*;
use vm_memory::{GuestMemoryBackend, bitmap::Bitmap};

use super::*;

const PAGE: usize = 0x1000;
/// End of what is filled before the device looks.
const FILLED: u64 = BUFFERS + 0x4_0000;

/// A descriptor with mostly sensible values.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![
        8 => BUFFERS..FILLED,
        1 => RAM - 64..RAM + 64,
        1 => any::<u64>(),
    ];
    let size = prop_oneof![
        4 => Just(16u32),
        2 => Just(1),
        4 => 0u32..2048,
        1 => any::<u32>(),
    ];
    let flags = prop_oneof![8 => 0u16..4, 2 => 0u16..8, 1 => any::<u16>()];
    let next = prop_oneof![8 => 0u16..16, 1 => any::<u16>()];
    (address, size, flags, next)
}

/// What the guest puts into its memory before it rings.
#[derive(Clone, Debug)]
struct Contents {
    tables: Vec<Vec<(u64, u32, u16, u16)>>,
    heads: Vec<Vec<u16>>,
    index: Vec<u16>,
    /// Bytes of the buffers, again and again: headers above all.
    seed: Vec<u8>,
    features: u64,
}

fn contents() -> impl Strategy<Value = Contents> {
    let table = prop::collection::vec(descriptor(), 16);
    let head = prop_oneof![9 => 0u16..16, 1 => any::<u16>()];
    let index = prop_oneof![9 => 0u16..=16, 1 => any::<u16>()];
    let byte = prop_oneof![4 => Just(0u8), 4 => 0u8..16, 1 => any::<u8>()];
    (
        prop::collection::vec(table, 2),
        prop::collection::vec(prop::collection::vec(head, 16), 2),
        prop::collection::vec(index, 2),
        prop::collection::vec(byte, 1..64),
        any::<u64>().prop_map(|features| features | 1 << 32),
    )
        .prop_map(|(tables, heads, index, seed, features)| Contents {
            tables,
            heads,
            index,
            seed,
            features,
        })
}

fn fill(guest: &Guest, contents: &Contents) {
    let bytes: Vec<u8> =
        contents.seed.iter().copied().cycle().take((FILLED - BUFFERS) as usize).collect();
    guest.memory.write_slice(&bytes, GuestAddress(BUFFERS)).unwrap();
    for (number, queue) in guest.queues.iter().enumerate() {
        for (index, found) in (0..).zip(&contents.tables[number]) {
            guest.describe(number, index, *found);
        }
        for (slot, head) in contents.heads[number].iter().enumerate() {
            let at = queue.available + 4 + 2 * slot as u64;
            guest.memory.write_obj(*head, GuestAddress(at)).unwrap();
        }
        let at = GuestAddress(queue.available + 2);
        guest.memory.write_obj(contents.index[number], at).unwrap();
    }
}

/// Pages that the guest has lent for writing, directly or in a table, and those of used rings.
fn writable_pages(guest: &Guest, memory: &[u8]) -> BTreeSet<usize> {
    let mut pages: BTreeSet<usize> =
        guest.queues.iter().map(|queue| queue.used as usize / PAGE).collect();
    let mut lend = |(address, size, flags, _): (u64, u32, u16, u16)| {
        if flags & WRITE != 0 && size > 0 && address < RAM {
            let end = (address + u64::from(size)).min(RAM);
            pages.extend(address as usize / PAGE..=(end - 1) as usize / PAGE);
        }
    };
    let read = |at: u64| -> (u64, u32, u16, u16) {
        let bytes = &memory[at as usize..at as usize + 16];
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        (address, u32::from_le_bytes(bytes[8..12].try_into().unwrap()), half(12), half(14))
    };
    for queue in &guest.queues {
        for index in 0..16 {
            let found = read(queue.descriptors + 16 * index);
            lend(found);
            if found.2 & INDIRECT != 0 {
                for entry in 0..u64::from(found.1 / 16).min(65_536) {
                    match found.0.checked_add(16 * entry) {
                        Some(at) if at <= RAM - 16 => lend(read(at)),
                        _ => break,
                    }
                }
            }
        }
    }
    pages
}

/// Serves the contents: whatever changes is lent, and is noted for a migration.
fn check(model: impl Model + 'static, contents: &Contents) {
    let mut guest = Guest::new(model);
    guest.set_up(contents.features);
    fill(&guest, contents);
    let before = guest.bytes(0, RAM as usize);
    let lent = writable_pages(&guest, &before);
    let region = guest.memory.iter().next().unwrap();
    let dirty = region.bitmap();
    dirty.reset();
    guest.serve();
    let after = guest.bytes(0, RAM as usize);
    for (page, (before, after)) in before.chunks(PAGE).zip(after.chunks(PAGE)).enumerate() {
        if before != after {
            assert!(dirty.dirty_at(page * PAGE), "page {page} changed unnoticed");
            assert!(lent.contains(&page), "page {page} was not lent");
        }
    }
    // And it comes back.
    guest.write(register::STATUS, 0);
    assert_eq!(guest.status(), 0);
    guest.memory.write_slice(&vec![0; BUFFERS as usize], GuestAddress(0)).unwrap();
    guest.set_up(!0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_disk_writes_only_where_it_was_let(contents in contents()) {
        let image = image(16);
        check(disk(image.path()), &contents);
        prop_assert_eq!(std::fs::metadata(image.path()).unwrap().len(), 16 * 512);
    }

    #[test]
    fn an_entropy_device_writes_only_where_it_was_let(contents in contents()) {
        check(Entropy::new().unwrap(), &contents);
    }

    #[test]
    fn a_network_card_writes_only_where_it_was_let(contents in contents()) {
        let (inside, outside) = UnixDatagram::pair().unwrap();
        outside.set_nonblocking(true).unwrap();
        for size in [14, 60, 1514, 9000] {
            outside.send(&vec![7; size]).unwrap();
        }
        check(Net::new(inside, Mac::random().unwrap()).unwrap(), &contents);
    }

    #[test]
    fn registers_take_any_access(
        accesses in prop::collection::vec(
            (
                prop_oneof![8 => (0u64..0x50).prop_map(|at| at * 4), 1 => any::<u64>()],
                prop_oneof![
                    8 => prop_oneof![
                        4 => 0u32..16,
                        2 => (0u32..32).prop_map(|bit| 1 << bit),
                        2 => (0u32..64).prop_map(|page| page << 12),
                        1 => any::<u32>(),
                    ].prop_map(|value| value.to_le_bytes().to_vec()),
                    1 => prop::collection::vec(any::<u8>(), 0..9),
                ],
            ),
            0..200,
        ),
    ) {
        let guest = Guest::new(Entropy::new().unwrap());
        for (offset, data) in accesses {
            guest.transport.write(offset, &data);
            let mut read = vec![0; data.len()];
            guest.transport.read(offset, &mut read);
            guest.transport.serve();
        }
        guest.write(register::STATUS, 0);
        prop_assert_eq!(guest.status(), 0);
    }
}
