//! The same with both checksums of each header made right, so that the fuzzer gets past them.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{Error, Expect, Place, Store};

const SLOT: usize = 4096;

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Makes the digests of the record in `slot` right, if its lengths allow it.
fn forge(slot: &mut [u8], index: u8) -> Option<()> {
    slot.get_mut(..8)?.copy_from_slice(b"VTPMSLOT");
    slot.get_mut(16..20)?.copy_from_slice(&(SLOT as u32).to_le_bytes());
    *slot.get_mut(20)? = index;
    let field = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(slot.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let (header, payload) = (field(12)?, field(100)?);
    if header < 64 {
        return None;
    }
    let payload_digest = digest(slot.get(header..header.checked_add(payload)?)?);
    slot.get_mut(header - 64..header - 32)?.copy_from_slice(&payload_digest);
    let header_digest = digest(slot.get(..header - 32)?);
    slot.get_mut(header - 32..header)?.copy_from_slice(&header_digest);
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    file.resize(2 * SLOT, 0);
    let (first, second) = file.split_at_mut(SLOT);
    let _ = forge(first, 0);
    let _ = forge(second, 1);
    let memory = Memory::new();
    memory.put("fuzz", file.clone());
    let place = Place::on(Arc::new(memory.clone()), "fuzz").with_state_limit(1 << 16);
    let opened = Store::open(&place, &Plain::unencrypted(), &Expect::anything());
    match opened {
        Err(Error::Exhausted { .. }) => {}
        Err(_) => assert_eq!(memory.get("fuzz"), Some(file)),
        Ok(opened) => drop(opened.store.destroy()),
    }
});
