//! Arbitrary bytes as a backup.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{Override, Place, RecoverySecretKey, Restore, Store};

static KEY: LazyLock<RecoverySecretKey> = LazyLock::new(|| {
    let pem = include_str!("../../tests/golden/recovery-key.pem");
    RecoverySecretKey::from_pem(pem).expect("the golden key")
});

fuzz_target!(|bytes: &[u8]| {
    let place = Place::on(Arc::new(Memory::new()), "fuzz").with_state_limit(1 << 16);
    let by = Override::because("fuzz", UNIX_EPOCH).expect("a reason");
    let plain = Plain::unencrypted();
    let _ = Store::import(&place, bytes, &KEY, &plain, &Restore::because(by));
});
