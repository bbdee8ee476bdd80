//! A list of steps: well-formed commands with arbitrary parameters, resets, D-RTM, save and
//! restore.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vtpm_engine::Tpm;
use vtpm_engine_fuzz::{command, execute, host, tpm};

/// Handles that mean something in the prepared TPM, and some that do not.
const HANDLES: [u32; 16] = [
    0x4000_0001,
    0x4000_0007,
    0x4000_000a,
    0x4000_000b,
    0x4000_000c,
    0x8000_0000,
    0x8000_0001,
    0x8000_0002,
    0x0200_0000,
    0x0300_0001,
    0x0100_0005,
    0x8100_0001,
    0x0000_0010,
    0x0000_0000,
    0x4000_0110,
    0x0100_0006,
];

fn step<'a>(tpm: &mut Tpm, data: &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = data.split_first_chunk::<4>()?;
    let [what, handles, sessions, length] = *head;
    let (parameters, rest) = rest.split_at_checked(usize::from(length))?;
    match what {
        0..=0x81 => {
            let code = 0x11f + u32::from(what);
            let handle = |shift: u8| HANDLES[usize::from(handles >> shift) & 0xf];
            let list = [handle(0), handle(4), handle(2)];
            let count = usize::from(sessions & 3);
            let passwords = usize::from(sessions >> 2 & 3).min(count);
            execute(tpm, sessions >> 5, &command(code, &list[..count], passwords, parameters));
        }
        0x90 => {
            tpm.init();
            execute(tpm, 0, &command(0x144, &[], 0, &[0, handles & 1]));
        }
        0x91 => tpm.hash_start(),
        0x92 => tpm.hash_data(parameters),
        0x93 => {
            tpm.hash_end();
        }
        0x94 => {
            let _ = tpm.reset_established(handles);
        }
        0x95 => {
            let running = tpm.save_running();
            *tpm = Tpm::restore(&running, host()).expect("the engine restores what it saved");
        }
        0x96 => {
            let permanent = tpm.save_permanent();
            *tpm = Tpm::restore(&permanent, host()).expect("the engine restores what it saved");
            execute(tpm, 0, &command(0x144, &[], 0, &[0, handles & 1]));
        }
        _ => {}
    }
    Some(rest)
}

fuzz_target!(|data: &[u8]| {
    let mut tpm = tpm();
    let mut data = data;
    for _ in 0..32 {
        match step(&mut tpm, data) {
            Some(rest) => data = rest,
            None => break,
        }
    }
});
