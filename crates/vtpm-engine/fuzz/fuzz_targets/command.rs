//! Any bytes as one command.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vtpm_engine_fuzz::{execute, tpm};

fuzz_target!(|data: &[u8]| {
    let mut tpm = tpm();
    let (locality, command) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    execute(&mut tpm, locality, command);
    // With a true size in the header, an input gets past the first check.
    if command.len() >= 10 {
        let mut command = command.to_vec();
        let size = (command.len() as u32).to_be_bytes();
        command[2..6].copy_from_slice(&size);
        execute(&mut tpm, locality, &command);
    }
});
