//! One flipped bit at every byte of a file: never wrong data.

mod common;

use common::{ID, TRANSFER, Vault, memory, state_file};
use vtpm_store::medium::Memory;
use vtpm_store::{Birth, Expect, Role, SealedKey, Store};

fn file(source: &Vault, act: impl Fn(&mut Store)) -> Vec<u8> {
    let memory = Memory::new();
    let place = common::small(std::sync::Arc::new(memory.clone()));
    let key = SealedKey::new(source, &ID).unwrap();
    let mut store =
        Store::create(&place, Birth::active(ID, 0), key, b"the oldest state", b"").unwrap();
    act(&mut store);
    state_file(&memory)
}

/// What opens of `bytes`; `None` if they are refused.
fn opens(source: &Vault, bytes: Vec<u8>) -> Option<(Role, Vec<u8>, bool)> {
    let (place, _) = memory(bytes);
    let opened = Store::open(&place, source, &Expect::instance(ID)).ok()?;
    Some((opened.store.role(), opened.state.to_vec(), opened.recovered.is_some()))
}

/// Every file that differs from `bytes` in one bit, with the place of the flip.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(|at| {
        [0x01, 0x80].map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= bit;
            (at, flipped)
        })
    })
}

fn field(slot: &[u8], at: usize) -> usize {
    u32::from_le_bytes(slot[at..at + 4].try_into().unwrap()) as usize
}

fn header_length(slot: &[u8]) -> usize {
    field(slot, 12)
}

fn record_length(slot: &[u8]) -> usize {
    header_length(slot) + field(slot, 100)
}

#[test]
fn a_flip_in_the_newest_record_brings_back_the_older_or_a_refusal_and_elsewhere_nothing() {
    let source = Vault::new("vault");
    let bytes = file(&source, |store| {
        store.commit(b"the older state").unwrap();
        store.commit(b"the newest state").unwrap();
    });
    let active = Role::Active { epoch: 0 };
    // Generations 1 and 3 are in slot 0, generation 2 is in slot 1.
    let (newest, older) = (record_length(&bytes), header_length(&bytes[4096..]));
    for (at, flipped) in flipped(&bytes) {
        let found = opens(&source, flipped);
        if at < newest {
            let expected = (active, b"the older state".to_vec(), true);
            assert!(found.is_none() || found == Some(expected), "byte {at}: {found:?}");
        } else {
            // The payload of an older record is not even read.
            let in_older = (4096..4096 + older).contains(&at);
            let expected = (active, b"the newest state".to_vec(), in_older);
            assert_eq!(found, Some(expected), "byte {at}");
        }
    }
}

#[test]
fn a_flip_in_a_tombstone_never_brings_the_instance_back() {
    let source = Vault::new("vault");
    let bytes = file(&source, |store| {
        store.commit(b"alive").unwrap();
        store.begin_outgoing(TRANSFER, b"frozen", b"note").unwrap();
        store.entomb(SealedKey::new(&source, &ID).unwrap(), b"gone").unwrap();
    });
    let mut opened = 0;
    for (at, flipped) in flipped(&bytes) {
        if let Some((role, state, _)) = opens(&source, flipped) {
            opened += 1;
            assert_eq!(role, Role::Tombstone { transfer: TRANSFER, epoch: 0 }, "byte {at}");
            assert!(state.is_empty());
        }
    }
    assert!(opened > bytes.len(), "most flips leave one tombstone whole");
}

#[test]
fn a_flip_in_the_only_record_is_refused() {
    let source = Vault::new("vault");
    let bytes = file(&source, |_| {});
    let record = record_length(&bytes);
    for (at, flipped) in flipped(&bytes[..]).take_while(|(at, _)| *at < record) {
        assert_eq!(opens(&source, flipped), None, "byte {at}");
    }
}
