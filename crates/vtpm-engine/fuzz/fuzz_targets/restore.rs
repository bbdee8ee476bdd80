//! Any bytes as a saved state; damaged states with a checksum that fits, so that the damage is
//! not the checksum's to find.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use vtpm_engine::Tpm;
use vtpm_engine_fuzz::{command, execute, host, states};

const CHECKSUM: usize = 32;

fn try_state(state: &[u8]) {
    let Ok(mut tpm) = Tpm::restore(state, host()) else { return };
    execute(&mut tpm, 0, &command(0x144, &[], 0, &[0, 0]));
    execute(&mut tpm, 0, &command(0x17a, &[], 0, &[0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 9]));
    execute(&mut tpm, 0, &command(0x173, &[0x8000_0000], 0, &[]));
    execute(&mut tpm, 0, &command(0x145, &[], 0, &[0, 1]));
    let again = tpm.save_running();
    Tpm::restore(&again, host()).expect("the engine restores what it saved");
}

fuzz_target!(|data: &[u8]| {
    try_state(data);
    static STATES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    let states = STATES.get_or_init(states);
    let Some((choice, patches)) = data.split_first() else { return };
    let mut state = states[usize::from(choice & 1)].clone();
    state.truncate(state.len() - CHECKSUM);
    for patch in patches.chunks_exact(3).take(16) {
        let at = usize::from(u16::from_be_bytes([patch[0], patch[1]])) % state.len();
        state[at] = patch[2];
    }
    let checksum = Sha256::digest(&state);
    state.extend_from_slice(&checksum);
    try_state(&state);
});
