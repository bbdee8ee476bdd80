//! Arbitrary bytes as a state file: no panic, no change by a refusal, and what opens goes on.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{Expect, Place, Store};

fuzz_target!(|bytes: &[u8]| {
    let memory = Memory::new();
    memory.put("fuzz", bytes.to_vec());
    let place = Place::on(Arc::new(memory.clone()), "fuzz").with_state_limit(1 << 16);
    let _ = Store::inspect(&place);
    assert_eq!(memory.get("fuzz").as_deref(), Some(bytes));
    match Store::open(&place, &Plain::unencrypted(), &Expect::anything()) {
        Err(error) => {
            let _ = error.to_string();
            assert_eq!(memory.get("fuzz").as_deref(), Some(bytes));
        }
        Ok(opened) => {
            let mut store = opened.store;
            let _ = store.commit(b"it goes on");
            let _ = store.destroy();
        }
    }
});
