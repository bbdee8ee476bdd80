//! `kill -9` at random moments under load: the state always opens, and what was answered is there.

mod common;

use std::time::{Duration, SystemTime};

use common::{Home, code, get_random, pcr_extend, write_index};

/// Rounds, each with one crash; the environment may ask for more.
fn rounds() -> u64 {
    let asked = std::env::var("VTPMD_CRASHES").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(40)
}

/// Up to 40 ms after the load began, different each time.
fn moment() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_micros(u64::from(now.subsec_nanos()) / 7 % 40_000)
}

/// Writes numbers that count up until the daemon is gone; gives the last that was answered.
fn count_up(mut data: common::Data, stored: u64) -> u64 {
    let mut answered = stored;
    loop {
        let next = answered + 1;
        match data.try_send(&write_index(&next.to_be_bytes())) {
            Ok(response) => assert_eq!(code(&response), 0),
            Err(_) => return answered,
        }
        answered = next;
    }
}

/// Commands that change nothing durable, between those that do.
fn make_noise(mut data: common::Data) {
    while data.try_send(&get_random(32)).and(data.try_send(&pcr_extend(16, &[1; 32]))).is_ok() {}
}

#[test]
fn what_was_answered_survives_a_crash_at_any_moment() {
    let home = Home::new();
    let daemon = home.start_up();
    home.data().define_index(8);
    home.data().write_index(&0u64.to_be_bytes());
    daemon.crash();
    let (mut written, rounds) = (0u64, rounds());
    for round in 0..rounds {
        let daemon = home.start_up();
        let mut data = home.data();
        let stored = u64::from_be_bytes(data.read_index(8).try_into().unwrap());
        // One write may have been done whose answer did not arrive.
        assert!((written..=written + 1).contains(&stored), "round {round}: {stored}, {written}");
        let noise = home.data();
        let noise = std::thread::spawn(move || make_noise(noise));
        let load = std::thread::spawn(move || count_up(data, stored));
        std::thread::sleep(moment());
        daemon.crash();
        written = load.join().unwrap();
        noise.join().unwrap();
    }
    assert!(written > rounds, "there was no load: {written}");
    println!("{rounds} crashes, {written} answered writes, none lost");
}
