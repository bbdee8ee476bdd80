//! Every place at which a handover can be disturbed, one after the other: messages altered at
//! each byte, cut at each length, repeated, swapped, lost; either side killed before and after
//! each message and at each operation on its disk, with the real store as its journal.
//!
//! After each: never two live; each side's last words say what to do; and a restart of both and a
//! resume lead to exactly one live, with the state it had.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod journal;
mod run;

use run::{Disturbance, Kill, Pair, Side};

/// The messages of a handover without a disturbance.
const MESSAGES: usize = 12;

#[test]
fn without_a_disturbance_it_moves() {
    let mut pair = Pair::new();
    assert_eq!(pair.run(&Disturbance::None), MESSAGES);
    assert_eq!(pair.live(), (false, true));
    pair.check("undisturbed");
}

#[test]
fn any_lost_connection_ends_with_one_live_instance() {
    for message in 0..MESSAGES {
        for delivered in [false, true] {
            let mut pair = Pair::new();
            pair.run(&Disturbance::Cut { message, delivered });
            pair.check(&format!("cut at message {message}, delivered: {delivered}"));
        }
    }
}

#[test]
fn a_kill_before_and_after_any_message_ends_with_one_live_instance() {
    for side in [Side::Source, Side::Destination] {
        for message in 0..MESSAGES {
            for when in [Kill::Before, Kill::Handled, Kill::Answered] {
                let mut pair = Pair::new();
                pair.run(&Disturbance::Kill { side, message, when });
                pair.check(&format!("{side:?} killed {when:?} at message {message}"));
            }
        }
    }
}

#[test]
fn a_kill_at_any_operation_on_a_disk_ends_with_one_live_instance() {
    for side in [Side::Source, Side::Destination] {
        let mut operations = 0;
        loop {
            let mut pair = Pair::new();
            pair.run(&Disturbance::Disk { side, operation: operations });
            let died = pair.died(side);
            pair.check(&format!("{side:?}'s disk died at operation {operations}"));
            if !died {
                break;
            }
            operations += 1;
        }
        assert!(operations >= 6, "{side:?}: {operations} operations");
    }
}

#[test]
fn a_disk_that_dies_while_it_is_settled_can_be_settled_again() {
    let commit = MESSAGES - 2;
    for operation in 0..20 {
        let mut pair = Pair::new();
        pair.run(&Disturbance::Cut { message: commit, delivered: false });
        assert_eq!(pair.live(), (false, false), "between tombstone and commit, none");
        pair.restart();
        pair.settle(Some((Side::Destination, operation)));
        assert!(!pair.two_live());
        pair.check(&format!("settled with a disk that dies at operation {operation}"));
    }
}

#[test]
fn a_message_altered_at_any_byte_ends_with_one_live_instance() {
    let mut cases = 0;
    for message in 0..MESSAGES {
        let length = Pair::new().length_of(message);
        let before = Pair::before(message);
        for at in 0..length {
            for flip in [0x01, 0x80] {
                let mut pair = before.branch();
                pair.run(&Disturbance::Flip { message, at, flip });
                pair.check_in_memory(&format!("byte {at} of message {message} flipped {flip:#x}"));
                cases += 1;
            }
        }
    }
    assert!(cases > 3000, "{cases}");
}

#[test]
fn a_message_cut_at_any_length_ends_with_one_live_instance() {
    for message in 0..MESSAGES {
        let length = Pair::new().length_of(message);
        let before = Pair::before(message);
        for length in 0..length {
            let mut pair = before.branch();
            pair.run(&Disturbance::Truncate { message, length });
            pair.check_in_memory(&format!("message {message} cut to {length}"));
        }
    }
}

#[test]
fn repeated_and_swapped_messages_end_with_one_live_instance() {
    for message in 0..MESSAGES {
        for instead in 0..MESSAGES {
            let mut pair = Pair::new();
            pair.run(&Disturbance::Replace { message, with: instead });
            pair.check_in_memory(&format!("message {instead} instead of {message}"));
        }
        let mut pair = Pair::new();
        pair.run(&Disturbance::Repeat { message });
        pair.check_in_memory(&format!("message {message} twice"));
    }
}
