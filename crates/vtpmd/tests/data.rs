//! The data channel: framing, localities, and callers that misbehave on either channel.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::{Home, PATIENCE, code, connect, get_random, is_closed, startup, words};

/// A command with the header that names a locality, and its response without header and trailer.
fn in_locality(home: &Home, locality: u8, command: &[u8]) -> u32 {
    let mut stream = connect(&home.data_path());
    let head = [&words(&[8])[..], &[locality], &words(&[command.len() as u32])].concat();
    stream.write_all(&[&head, command].concat()).unwrap();
    let mut answer = [0; 18];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], [0, 0, 0, 10]);
    assert_eq!(answer[14..], [0; 4]);
    code(&answer[4..14])
}

#[test]
fn the_command_header_sets_the_locality() {
    let home = Home::new();
    let _daemon = home.start_up();
    // PCR_Reset of PCR 20 is for locality 2 and 4.
    let reset = common::authorized(0x13d, &[20], b"");
    assert_eq!(home.data().run(&reset), 0x907);
    let mut control = home.control();
    assert_eq!(control.result(&[0x05], &[2]), 0);
    assert_eq!(home.data().run(&reset), 0);
    assert_eq!(in_locality(&home, 0, &startup(0)), 0x100);
    assert_eq!(home.data().run(&reset), 0x907);
    assert_eq!(in_locality(&home, 9, &startup(0)), 0x907);
}

#[test]
fn locality_4_can_be_rejected() {
    let home = Home::new();
    let _daemon = home.start(&["--locality", "reject-locality-4"]);
    assert_eq!(home.control().result(&[0x05], &[4]), 0x3d);
    assert_eq!(home.control().result(&[0x05], &[3]), 0);
    assert_eq!(in_locality(&home, 4, &startup(0)), 0x907);
}

#[test]
fn a_command_of_the_wrong_length_is_answered_and_the_next_one_works() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut data = home.data();
    let good = get_random(8);
    let too_long = [&good[..], b"more"].concat();
    assert_eq!(data.run(&too_long), 0x142);
    assert_eq!(data.run(&good), 0);
    let mut too_short = good.clone();
    too_short[5] = 200;
    assert_eq!(data.run(&too_short), 0x142);
    assert_eq!(data.run(&good), 0);
    let mut empty = good.clone();
    empty[2..6].fill(0);
    assert_eq!(data.run(&empty), 0x142);
    let mut huge = good.clone();
    huge[2..6].fill(0xff);
    assert_eq!(data.run(&huge), 0x142);
    // Not even a header: TPM_RC_INSUFFICIENT.
    assert_eq!(data.run(&[0x80]), 0x9a);
    assert_eq!(data.run(&good), 0);
}

#[test]
fn a_command_in_pieces_is_put_together() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut data = home.data();
    for byte in get_random(8) {
        data.0.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(code(&data.read_response().unwrap()), 0);
}

#[test]
fn silent_and_half_open_callers_hold_nobody_up() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(&home.data_path()));
        silent.push(connect(&home.control_path()));
        let mut begun = connect(&home.control_path());
        begun.write_all(&[0, 0]).unwrap();
        silent.push(begun);
        let half = connect(&home.data_path());
        half.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(home.data().run(&get_random(8)), 0);
    assert_eq!(home.control().ask(&[0x04], b"").len(), 8);
    // A message that was begun is answered and its connection ended; silence is no offence.
    assert_eq!(silent[2].read(&mut [0; 8]).unwrap(), 4);
    assert!(is_closed(&mut silent[2]));
    silent[1].write_all(&words(&[0x0f])).unwrap();
    assert_eq!(silent[1].read(&mut [0; 8]).unwrap(), 8);
}

#[test]
fn a_flood_of_connections_is_turned_away_and_the_earlier_ones_live() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut data = home.data();
    assert_eq!(data.run(&get_random(8)), 0);
    let mut flood: Vec<_> = (0..200).map(|_| connect(&home.data_path())).collect();
    assert!(is_closed(flood.last_mut().unwrap()));
    assert_eq!(data.run(&get_random(8)), 0);
    drop(flood);
    let begun = Instant::now();
    loop {
        if home.data().try_send(&get_random(8)).is_ok_and(|response| code(&response) == 0) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody is let in after the flood");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sizes_that_cannot_be_true_end_the_connection_after_an_answer() {
    let home = Home::new();
    let _daemon = home.start(&[]);
    for head in [&[0x0d, 0, 1, u32::MAX][..], &[0x0d, 0, 1, 512 * 1024 + 1]] {
        let mut control = home.control();
        assert_eq!(control.ask(head, b""), [0, 0, 0, 3]);
        assert!(is_closed(&mut control.0));
    }
}

#[test]
fn noise_on_both_channels_leaves_the_tpm_as_it_was() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut data = home.data();
    data.define_index(8);
    data.write_index(b"12345678");
    // A fixed generator: what fails can be run again.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..300 {
        let length = random() % 64 + 1;
        let mut noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        let on_data = round % 2 == 0;
        if !on_data {
            // Commands that exist, but none that stops the TPM or replaces its state.
            noise.splice(
                0..0,
                [0, 0, 0, [1, 4, 5, 7, 8, 9, 12, 15, 17, 18][random() as usize % 10]],
            );
        }
        let path = if on_data { home.data_path() } else { home.control_path() };
        let mut stream = connect(&path);
        // The other side may have closed already.
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(Shutdown::Write);
    }
    assert_eq!(home.control().result(&[0x05], &[0]), 0);
    assert_eq!(home.data().read_index(8), b"12345678");
}

#[test]
fn who_looks_for_a_tpm_1_2_does_not_find_one() {
    let home = Home::new();
    let _daemon = home.start_up();
    // TPM_GetTicks of TPM 1.2, as OVMF sends it.
    let response = home.data().send(&[0x00, 0xc1, 0, 0, 0, 10, 0, 0, 0, 0xf1]);
    assert_eq!(response, [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x84]);
}
