//! The facts that guest drivers depend on, one test each.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
};

use proptest::prelude::*;

use super::{spec::*, *};
use crate::{Polled, SnapshotError, record};

/// TPM2_GetRandom of 8 bytes.
pub(super) const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
pub(super) const RESPONSE: [u8; 20] =
    [0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// Remembers how the line was driven.
#[derive(Default)]
struct Line {
    level: Cell<bool>,
    raised: Cell<u32>,
}

impl Trigger for Line {
    type E = Infallible;

    fn set_level(&self, asserted: bool) -> Result<(), Infallible> {
        self.level.set(asserted);
        self.raised.set(self.raised.get() + u32::from(asserted));
        Ok(())
    }
}

/// A guest driver's view of the device.
struct Guest<T: Trigger = Line, E: Events = NoEvents>(Tis<T, E>);

fn guest() -> Guest {
    let config = TisConfig { locality_four: LocalityFour::Open, irq: 5, ..Default::default() };
    Guest(Tis::new(config, Line::default()))
}

impl<T: Trigger, E: Events> Guest<T, E> {
    fn read(&mut self, locality: u64, register: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read(locality << 12 | register, &mut data);
        u32::from_le_bytes(data)
    }

    fn read8(&mut self, locality: u64, register: u64) -> u8 {
        let mut data = [0];
        self.0.read(locality << 12 | register, &mut data);
        data[0]
    }

    fn write(&mut self, locality: u64, register: u64, value: u32) -> Action {
        self.0.write(locality << 12 | register, &value.to_le_bytes())
    }

    fn set(&mut self, locality: u64, register: u64, value: u32) {
        assert_eq!(self.write(locality, register, value), Action::None);
    }

    fn request(&mut self, locality: u64) {
        self.set(locality, ACCESS, ACCESS_REQUEST);
    }

    fn access(&mut self, locality: u64) -> u32 {
        self.read(locality, ACCESS)
    }

    /// STS without family and burst count.
    fn sts(&mut self, locality: u64) -> u32 {
        self.read(locality, STS) & 0xFF
    }

    fn burst(&mut self, locality: u64) -> u32 {
        self.read(locality, STS) >> 8 & 0xFFFF
    }

    fn ready(&mut self, locality: u64) {
        self.set(locality, STS, STS_COMMAND_READY);
    }

    fn send(&mut self, locality: u64, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(self.0.write(locality << 12 | DATA_FIFO, &[*byte]), Action::None);
        }
    }

    fn receive(&mut self, locality: u64, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.read8(locality, DATA_FIFO)).collect()
    }

    /// Brings an idle device to Execution at `locality`.
    fn run(&mut self, locality: u64) {
        self.request(locality);
        self.ready(locality);
        self.send(locality, &COMMAND);
        assert!(matches!(self.write(locality, STS, STS_GO), Action::Execute { .. }));
    }

    /// Brings an idle device to Completion at `locality`.
    fn respond(&mut self, locality: u64) {
        self.run(locality);
        self.0.complete(&RESPONSE).unwrap();
    }

    fn enable(&mut self, locality: u64, causes: u32) {
        self.set(locality, INT_ENABLE, INT_GLOBAL | causes);
    }
}

#[test]
fn registers_after_reset_are_those_of_qemu() {
    let mut guest = guest();
    for locality in 0..5 {
        assert_eq!(guest.access(locality), 0x81);
        assert_eq!(guest.read(locality, INT_ENABLE), 0x08);
        assert_eq!(guest.read(locality, INT_VECTOR), 5);
        assert_eq!(guest.read(locality, INT_STATUS), 0);
        assert_eq!(guest.read(locality, INTF_CAPABILITY), 0x3000_0697);
        assert_eq!(guest.read(locality, STS), 0xFFFF_FFFF);
        assert_eq!(guest.read(locality, INTERFACE_ID), 0x2100);
        assert_eq!(guest.read(locality, DID_VID), 0x0001_1014);
        assert_eq!(guest.read(locality, RID), 1);
        assert_eq!(guest.read(locality, 0xF90), 0xFFFF_FFFF, "unknown registers are all ones");
    }
    guest.request(0);
    assert_eq!(guest.read(0, STS), 0x0410_0000, "TPM 2, a burst of 4096, idle");
}

#[test]
fn the_locality_is_in_address_bits_12_to_14() {
    let mut guest = guest();
    guest.request(3);
    assert_eq!(guest.0.active_locality(), Locality::new(3));
    assert_eq!(guest.read(5, ACCESS), 0xFFFF_FFFF, "there is no locality 5");
    guest.set(5, ACCESS, ACCESS_REQUEST);
    assert_eq!(guest.read(1 << 20, ACCESS), 0xFFFF_FFFF);
}

#[test]
fn status_and_fifo_of_an_inactive_locality_are_all_ones() {
    let mut guest = guest();
    guest.respond(0);
    assert_eq!(guest.read(1, STS), 0xFFFF_FFFF);
    assert_eq!(guest.read(1, DATA_FIFO), 0xFFFF_FFFF);
    assert_eq!(guest.read(1, XDATA_FIFO), 0xFFFF_FFFF);
    assert_eq!(guest.receive(0, 20), RESPONSE, "and nothing was consumed");
}

#[test]
fn a_command_passes_through_all_states_with_linux_s_flags() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    assert_eq!(guest.sts(0), STS_COMMAND_READY);
    let (last, first) = COMMAND.split_last().unwrap();
    for byte in first {
        guest.send(0, &[*byte]);
        assert_eq!(guest.sts(0), STS_VALID | STS_EXPECT, "expect after every byte but the last");
    }
    guest.send(0, &[*last]);
    assert_eq!(guest.sts(0), STS_VALID);
    let action = guest.write(0, STS, STS_GO);
    let command = Bytes::from(COMMAND.as_slice());
    assert_eq!(action, Action::Execute { locality: Locality::ZERO, command });
    assert!(guest.0.is_busy());
    assert_eq!(guest.sts(0), STS_VALID);
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.sts(0), STS_VALID | STS_DATA_AVAILABLE);
    assert_eq!(guest.burst(0), 20, "the burst count is what is left");
    assert_eq!(guest.receive(0, 19), RESPONSE[..19]);
    assert_eq!(guest.sts(0), STS_VALID | STS_DATA_AVAILABLE);
    assert_eq!(guest.burst(0), 1);
    assert_eq!(guest.receive(0, 1), RESPONSE[19..]);
    assert_eq!(guest.sts(0), STS_VALID, "data available clears, valid stays");
    assert_eq!(guest.receive(0, 2), [NO_DATA; 2]);
    guest.ready(0);
    assert_eq!(guest.sts(0), STS_COMMAND_READY);
}

#[test]
fn wide_accesses_move_as_many_bytes_through_either_fifo() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.set(0, DATA_FIFO, u32::from_le_bytes(COMMAND[..4].try_into().unwrap()));
    assert_eq!(guest.0.write(XDATA_FIFO, &COMMAND[4..]), Action::None);
    assert_eq!(guest.sts(0), STS_VALID);
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
    guest.0.complete(&RESPONSE).unwrap();
    let mut bytes = [0; 16];
    guest.0.read(0xB0, &mut bytes);
    assert_eq!(bytes, RESPONSE[..16]);
    assert_eq!(guest.read(0, DATA_FIFO).to_le_bytes(), RESPONSE[16..]);
}

#[test]
fn a_read_past_the_response_gives_ff_for_the_missing_bytes() {
    let mut guest = guest();
    guest.respond(0);
    guest.receive(0, 18);
    assert_eq!(guest.read(0, DATA_FIFO).to_le_bytes(), [7, 8, 0xFF, 0xFF]);
}

#[test]
fn a_byte_read_of_the_burst_count_clamps_at_ff() {
    let mut guest = guest();
    guest.request(0);
    assert_eq!(guest.burst(0), 4096);
    assert_eq!(guest.read8(0, STS + 1), 0xFF);
    assert_eq!(guest.read8(0, STS + 2), 0);
    assert_eq!(guest.read8(0, STS + 3), 0x04);
    let mut half = [0; 2];
    guest.0.read(STS + 1, &mut half);
    assert_eq!(u16::from_le_bytes(half), 4096, "wider reads get all of it");
}

#[test]
fn byte_wide_accesses_work_everywhere() {
    let mut guest = guest();
    assert_eq!(guest.0.write(ACCESS, &[ACCESS_REQUEST as u8]), Action::None);
    assert_eq!(guest.read8(0, ACCESS), 0xA1);
    let bytes: Vec<u8> = (0..4).map(|at| guest.read8(0, DID_VID + at)).collect();
    assert_eq!(bytes, [0x14, 0x10, 1, 0]);
    assert_eq!(guest.0.write(INT_ENABLE + 3, &[0x80]), Action::None);
    assert_eq!(guest.read(0, INT_ENABLE), 0x8000_0008, "the other bytes stay");
    assert_eq!(guest.0.write(STS, &[STS_COMMAND_READY as u8]), Action::None);
    guest.send(0, &COMMAND);
    assert!(matches!(guest.0.write(STS, &[STS_GO as u8]), Action::Execute { .. }));
    assert_eq!(guest.0.write(STS + 3, &[1]), Action::Cancel, "bit 24 by its byte");
}

#[test]
fn bytes_are_dropped_in_idle_execution_and_completion() {
    let mut guest = guest();
    guest.request(0);
    guest.send(0, &[1]);
    assert_eq!(guest.sts(0), 0, "idle");
    guest.ready(0);
    guest.send(0, &COMMAND);
    let action = guest.write(0, STS, STS_GO);
    guest.send(0, &[1]);
    assert!(matches!(action, Action::Execute { command, .. } if *command == COMMAND));
    guest.0.complete(&RESPONSE).unwrap();
    guest.send(0, &[1]);
    assert_eq!(guest.receive(0, 20), RESPONSE);
}

#[test]
fn bytes_behind_the_announced_length_are_dropped() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.send(0, &COMMAND);
    guest.send(0, &[9, 9, 9]);
    let action = guest.write(0, STS, STS_GO);
    assert!(matches!(action, Action::Execute { command, .. } if *command == COMMAND));
}

#[test]
fn go_works_only_when_nothing_is_missing() {
    let mut guest = guest();
    guest.request(0);
    guest.set(0, STS, STS_GO);
    guest.ready(0);
    guest.set(0, STS, STS_GO);
    guest.send(0, &COMMAND[..11]);
    guest.set(0, STS, STS_GO);
    guest.send(0, &COMMAND[11..]);
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
    guest.set(0, STS, STS_GO);
    guest.0.complete(&RESPONSE).unwrap();
    guest.set(0, STS, STS_GO);
    assert_eq!(guest.sts(0), STS_VALID | STS_DATA_AVAILABLE);
}

#[test]
fn a_length_that_is_too_small_is_the_engine_s_to_refuse() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.send(0, &[0x80, 1, 0, 0, 0, 0]);
    assert_eq!(guest.sts(0), STS_VALID);
    let action = guest.write(0, STS, STS_GO);
    assert!(matches!(action, Action::Execute { command, .. } if command.len() == 6));
}

#[test]
fn a_command_longer_than_the_buffer_ends_with_the_buffer() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.send(0, &[0x80, 1, 0xFF, 0xFF, 0xFF, 0xFF]);
    guest.send(0, &vec![0; 4089]);
    assert_eq!((guest.sts(0), guest.burst(0)), (STS_VALID | STS_EXPECT, 1));
    guest.send(0, &[0]);
    assert_eq!((guest.sts(0), guest.burst(0)), (STS_VALID, 0));
    let action = guest.write(0, STS, STS_GO);
    assert!(matches!(action, Action::Execute { command, .. } if command.len() == 4096));
}

#[test]
fn command_ready_in_ready_and_reception_starts_over() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.ready(0);
    guest.send(0, &COMMAND[..5]);
    assert_eq!(guest.burst(0), 4091);
    guest.ready(0);
    assert_eq!((guest.sts(0), guest.burst(0)), (STS_COMMAND_READY, 4096));
    guest.send(0, &COMMAND);
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
}

#[test]
fn command_ready_in_execution_cancels_and_discards_the_response() {
    let mut guest = guest();
    guest.run(0);
    assert_eq!(guest.write(0, STS, STS_COMMAND_READY), Action::Cancel);
    assert_eq!(guest.sts(0), STS_VALID, "it waits for the command's end");
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!((guest.sts(0), guest.burst(0)), (STS_COMMAND_READY, 4096));
    assert_eq!(guest.receive(0, 1), [NO_DATA]);
}

#[test]
fn command_ready_in_completion_drops_the_rest_of_the_response() {
    let mut guest = guest();
    guest.respond(0);
    guest.receive(0, 3);
    guest.ready(0);
    assert_eq!((guest.sts(0), guest.burst(0)), (STS_COMMAND_READY, 4096));
}

#[test]
fn response_retry_rewinds_the_response() {
    let mut guest = guest();
    guest.respond(0);
    for count in [5, 20] {
        guest.receive(0, count);
        guest.set(0, STS, STS_RESPONSE_RETRY);
        assert_eq!(guest.sts(0), STS_VALID | STS_DATA_AVAILABLE);
        assert_eq!(guest.burst(0), 20);
    }
    assert_eq!(guest.receive(0, 20), RESPONSE);
    guest.ready(0);
    guest.set(0, STS, STS_RESPONSE_RETRY);
    assert_eq!(guest.sts(0), STS_COMMAND_READY, "only in Completion");
}

#[test]
fn several_command_bits_in_one_write_do_nothing() {
    let mut guest = guest();
    guest.request(0);
    guest.set(0, STS, STS_COMMAND_READY | STS_GO);
    assert_eq!(guest.sts(0), 0);
}

#[test]
fn cancel_acts_only_while_a_command_runs_and_leaves_the_response() {
    let mut guest = guest();
    guest.request(0);
    guest.set(0, STS, STS_CANCEL);
    guest.run(0);
    assert_eq!(guest.write(0, STS, STS_CANCEL), Action::Cancel);
    assert_eq!(guest.write(1, STS, STS_CANCEL), Action::None, "not from another locality");
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.receive(0, 20), RESPONSE);
    guest.set(0, STS, STS_CANCEL);
}

#[test]
fn a_response_that_cannot_be_is_replaced_by_tpm_rc_failure() {
    for bad in [vec![], vec![0; 9], vec![0; 4097]] {
        let mut guest = guest();
        guest.run(0);
        guest.0.complete(&bad).unwrap();
        assert_eq!(guest.receive(0, 10), FAILURE);
        assert_eq!(guest.sts(0), STS_VALID);
    }
    let mut guest = guest();
    guest.run(0);
    guest.0.fail().unwrap();
    assert_eq!(guest.receive(0, 10), FAILURE);
}

#[test]
fn a_response_without_a_command_is_refused() {
    let mut guest = guest();
    assert_eq!(guest.0.complete(&RESPONSE), Err(Error::NoCommand));
    guest.respond(0);
    assert_eq!(guest.0.complete(&RESPONSE), Err(Error::NoCommand));
    assert_eq!(guest.0.fail(), Err(Error::NoCommand));
    assert_eq!(guest.receive(0, 20), RESPONSE);
}

#[test]
fn self_test_done_stays_until_a_reset() {
    let mut guest = guest();
    guest.0.set_self_test_done();
    guest.request(0);
    guest.ready(0);
    assert_eq!(guest.sts(0), STS_COMMAND_READY | STS_SELF_TEST_DONE);
    assert_eq!(guest.0.reset(), Action::None);
    guest.request(0);
    assert_eq!(guest.sts(0), 0);
}

#[test]
fn a_request_is_granted_at_once_when_nobody_is_active() {
    let mut guest = guest();
    guest.request(2);
    assert_eq!(guest.access(2), 0xA1);
    assert_eq!(guest.access(0), 0x81);
}

#[test]
fn a_request_waits_for_the_active_locality_which_sees_it_pending() {
    let mut guest = guest();
    guest.request(0);
    guest.request(1);
    assert_eq!(guest.access(0), 0xA1 | ACCESS_PENDING);
    assert_eq!(guest.access(1), 0x81 | ACCESS_REQUEST, "its own request is not pending for it");
    assert_eq!(guest.access(2), 0x81 | ACCESS_PENDING);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.access(1), 0x81, "an inactive locality's release takes its request back");
    assert_eq!(guest.access(0), 0xA1);
}

#[test]
fn a_release_hands_over_to_the_highest_requester() {
    let mut guest = guest();
    guest.request(0);
    for locality in [1, 3, 2] {
        guest.request(locality);
    }
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.0.active_locality(), Locality::new(3));
    assert_eq!(guest.access(3), 0xA1 | ACCESS_PENDING);
    assert_eq!(guest.access(0), 0x81 | ACCESS_PENDING);
    guest.set(3, ACCESS, ACCESS_ACTIVE);
    guest.set(2, ACCESS, ACCESS_ACTIVE);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.0.active_locality(), None);
}

#[test]
fn seabios_releases_localities_4_to_0_without_harm() {
    let mut guest = guest();
    for locality in (0..5).rev() {
        guest.set(locality, ACCESS, ACCESS_ACTIVE);
        assert_eq!(guest.access(locality), 0x81);
    }
}

#[test]
fn a_seize_takes_the_tpm_from_a_lower_locality_only() {
    let mut guest = guest();
    guest.request(2);
    for locality in [0, 1, 2] {
        guest.set(locality, ACCESS, ACCESS_SEIZE);
        assert_eq!(guest.0.active_locality(), Locality::new(2));
    }
    guest.set(3, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.access(3), 0xA1, "seize never reads back");
    assert_eq!(guest.access(2), 0x81 | ACCESS_BEEN_SEIZED);
    guest.set(2, ACCESS, ACCESS_BEEN_SEIZED);
    assert_eq!(guest.access(2), 0x81, "write 1 to clear");
}

#[test]
fn a_seize_of_a_free_tpm_is_granted() {
    let mut guest = guest();
    guest.set(0, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.access(0), 0xA1);
}

#[test]
fn seize_makes_request_and_release_in_the_same_write_void() {
    let mut guest = guest();
    guest.request(1);
    guest.set(1, ACCESS, ACCESS_SEIZE | ACCESS_ACTIVE | ACCESS_REQUEST);
    assert_eq!(guest.access(1), 0xA1);
    guest.set(0, ACCESS, ACCESS_SEIZE | ACCESS_REQUEST);
    assert_eq!(guest.access(0), 0x81);
}

#[test]
fn a_seize_waits_for_the_running_command_and_cancels_it() {
    let mut guest = guest();
    guest.run(0);
    assert_eq!(guest.write(1, ACCESS, ACCESS_SEIZE), Action::Cancel);
    assert_eq!(guest.access(0), 0xA1, "still active");
    assert_eq!(guest.access(1), 0x81, "not yet, and the seize does not show");
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(0), 0x81 | ACCESS_BEEN_SEIZED);
    assert_eq!(guest.access(1), 0xA1);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!(guest.sts(0), 0, "the response is gone");
}

#[test]
fn of_two_pending_seizes_the_higher_wins() {
    for (first, second) in [(1, 3), (3, 1), (3, 2)] {
        let mut guest = guest();
        guest.run(0);
        assert_eq!(guest.write(first, ACCESS, ACCESS_SEIZE), Action::Cancel);
        let _: Action = guest.write(second, ACCESS, ACCESS_SEIZE);
        guest.0.complete(&RESPONSE).unwrap();
        assert_eq!(guest.0.active_locality(), Locality::new(3), "{first} then {second}");
        assert_eq!(guest.access(1), 0x81);
    }
}

#[test]
fn a_release_to_a_requester_waits_for_the_running_command() {
    let mut guest = guest();
    guest.run(0);
    guest.request(1);
    assert_eq!(guest.write(0, ACCESS, ACCESS_ACTIVE), Action::Cancel);
    assert_eq!(guest.0.active_locality(), Some(Locality::ZERO));
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(1), 0xA1);
    assert_eq!(guest.access(0), 0x81, "released, not seized");
}

#[test]
fn a_locality_that_releases_while_its_command_runs_finds_the_response_later() {
    let mut guest = guest();
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.access(0), 0x81);
    guest.0.complete(&RESPONSE).unwrap();
    guest.request(0);
    assert_eq!(guest.receive(0, 20), RESPONSE);
}

#[test]
fn a_request_during_the_command_of_a_locality_that_left_waits_for_it() {
    let mut guest = guest();
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.write(1, ACCESS, ACCESS_REQUEST), Action::Cancel);
    assert_eq!(guest.access(1), 0x81 | ACCESS_REQUEST);
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.access(1), 0xA1);
}

#[test]
fn a_response_is_never_shown_to_another_locality() {
    let mut guest = guest();
    guest.respond(0);
    guest.set(2, ACCESS, ACCESS_SEIZE);
    assert_eq!(guest.sts(2), 0);
    assert_eq!(guest.receive(2, 4), [NO_DATA; 4]);
    guest.ready(2);
    guest.send(2, &COMMAND);
    let action = guest.write(2, STS, STS_GO);
    let locality = Locality::new(2).unwrap();
    assert!(matches!(action, Action::Execute { locality: l, .. } if l == locality));
    guest.0.complete(&RESPONSE).unwrap();
    guest.set(2, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!((guest.sts(0), guest.receive(0, 4)), (0, vec![NO_DATA; 4]));
}

#[test]
fn ready_survives_a_release_so_that_linux_need_not_wait() {
    let mut guest = guest();
    guest.respond(0);
    guest.ready(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!(guest.sts(0), STS_COMMAND_READY);
}

#[test]
fn the_interface_lock_is_the_only_writable_bit_and_locks_all_localities() {
    let mut guest = guest();
    guest.set(2, INTERFACE_ID, !INTERFACE_ID_LOCK);
    assert_eq!(guest.read(2, INTERFACE_ID), 0x2100);
    guest.set(2, INTERFACE_ID, INTERFACE_ID_LOCK);
    for locality in 0..5 {
        assert_eq!(guest.read(locality, INTERFACE_ID), 0x8_2100);
    }
    guest.set(2, INTERFACE_ID, 0);
    assert_eq!(guest.read(2, INTERFACE_ID), 0x8_2100, "until reset");
}

#[test]
fn read_only_registers_ignore_writes() {
    let mut guest = guest();
    guest.request(0);
    for register in [INT_VECTOR, INTF_CAPABILITY, DID_VID, RID] {
        let before = guest.read(0, register);
        guest.set(0, register, !before);
        assert_eq!(guest.read(0, register), before);
    }
}

#[test]
fn interrupts_are_raised_by_enabled_causes_only() {
    let mut guest = guest();
    guest.request(0);
    guest.set(0, INT_ENABLE, INT_CAUSES);
    guest.ready(0);
    assert!(!guest.0.trigger().level.get(), "not without the global bit");
    guest.enable(0, INT_DATA_AVAILABLE);
    guest.respond(0);
    assert_eq!(guest.read(0, INT_STATUS), INT_DATA_AVAILABLE);
    assert!(guest.0.trigger().level.get());
}

#[test]
fn the_line_drops_only_when_all_causes_are_cleared() {
    let mut guest = guest();
    guest.request(0);
    guest.enable(0, INT_CAUSES);
    guest.respond(0);
    assert_eq!(guest.read(0, INT_STATUS), INT_DATA_AVAILABLE | INT_STS_VALID | INT_COMMAND_READY);
    guest.set(0, INT_STATUS, INT_COMMAND_READY);
    guest.set(0, INT_STATUS, INT_STS_VALID);
    assert!(guest.0.trigger().level.get());
    guest.set(1, INT_STATUS, INT_DATA_AVAILABLE);
    assert!(guest.0.trigger().level.get(), "another locality cannot clear it");
    guest.set(0, INT_STATUS, INT_DATA_AVAILABLE);
    assert!(!guest.0.trigger().level.get());
    assert_eq!(guest.read(0, INT_STATUS), 0);
}

#[test]
fn sts_valid_interrupts_only_when_valid_goes_from_0_to_1_or_a_response_comes() {
    let mut guest = guest();
    guest.request(0);
    guest.ready(0);
    guest.enable(0, INT_STS_VALID);
    guest.send(0, &COMMAND);
    assert_eq!(guest.0.trigger().raised.get(), 1, "the first byte");
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.0.trigger().raised.get(), 2, "the response");
    guest.receive(0, 20);
    assert_eq!(guest.0.trigger().raised.get(), 2, "valid stays at the last byte");
}

#[test]
fn command_ready_interrupts_when_the_tpm_becomes_ready() {
    let mut guest = guest();
    guest.request(0);
    guest.enable(0, INT_COMMAND_READY);
    guest.ready(0);
    assert_eq!(guest.0.trigger().raised.get(), 1);
    guest.ready(0);
    assert_eq!(guest.0.trigger().raised.get(), 1, "it was ready");
    guest.send(0, &COMMAND);
    guest.ready(0);
    assert_eq!(guest.0.trigger().raised.get(), 2, "an abort");
}

#[test]
fn locality_change_interrupts_the_new_locality_by_its_own_enable() {
    let mut guest = guest();
    guest.request(1);
    guest.enable(1, INT_LOCALITY_CHANGE);
    guest.set(1, ACCESS, ACCESS_ACTIVE);
    guest.request(0);
    assert_eq!(guest.0.trigger().raised.get(), 0, "locality 0 has it off");
    guest.request(1);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.read(1, INT_STATUS), INT_LOCALITY_CHANGE);
    assert_eq!(guest.read(0, INT_STATUS), 0);
}

#[test]
fn an_aborted_command_raises_no_data_available() {
    let mut guest = guest();
    guest.request(0);
    guest.enable(0, INT_DATA_AVAILABLE);
    guest.run(0);
    assert_eq!(guest.write(0, STS, STS_COMMAND_READY), Action::Cancel);
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.read(0, INT_STATUS), 0);
}

#[test]
fn interrupt_enable_keeps_its_writable_bits_and_belongs_to_the_active_locality() {
    let mut guest = guest();
    guest.set(0, INT_ENABLE, u32::MAX);
    assert_eq!(guest.read(0, INT_ENABLE), 0x08);
    guest.request(0);
    guest.set(0, INT_ENABLE, u32::MAX);
    assert_eq!(guest.read(0, INT_ENABLE), 0x8000_009F);
}

#[test]
fn an_interrupt_controller_s_failure_is_reported_and_harms_nobody() {
    #[derive(Default)]
    struct Count(Cell<u32>);
    impl Events for &Count {
        fn interrupt_failed(&self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let count = Count::default();
    let broken = |_| Err::<(), _>("broken");
    let mut guest = Guest(Tis::with_events(TisConfig::default(), broken, &count));
    guest.request(0);
    guest.enable(0, INT_DATA_AVAILABLE);
    guest.respond(0);
    assert_eq!(count.0.get(), 1);
    assert_eq!(guest.receive(0, 20), RESPONSE);
}

#[test]
fn observers_see_commands_cancels_and_localities() {
    #[derive(Default)]
    struct Log(RefCell<Vec<String>>);
    impl Events for &Log {
        fn command_started(&self, locality: Locality, length: usize) {
            self.0.borrow_mut().push(format!("start {locality} {length}"));
        }
        fn command_finished(&self, locality: Locality, length: usize) {
            self.0.borrow_mut().push(format!("finish {locality} {length}"));
        }
        fn cancel_requested(&self) {
            self.0.borrow_mut().push("cancel".into());
        }
        fn locality_changed(&self, active: Option<Locality>) {
            self.0.borrow_mut().push(format!("active {:?}", active.map(Locality::number)));
        }
    }
    let log = Log::default();
    let mut guest = Guest(Tis::with_events(TisConfig::default(), Polled, &log));
    guest.run(0);
    assert_eq!(guest.write(0, STS, STS_CANCEL), Action::Cancel);
    guest.0.complete(&RESPONSE).unwrap();
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    let seen = ["active Some(0)", "start 0 12", "cancel", "finish 0 20", "active None"];
    assert_eq!(*log.0.borrow(), seen);
}

#[test]
fn the_established_flag_is_shown_inverted_and_cleared_from_localities_3_and_4_only() {
    let mut guest = guest();
    guest.0.set_established(true);
    assert_eq!(guest.access(0), 0x80);
    for locality in 0..5 {
        guest.0.set_established(true);
        guest.request(locality);
        let action = guest.write(locality, STS, STS_RESET_ESTABLISHMENT);
        if locality < 3 {
            assert_eq!(action, Action::None);
            assert!(guest.0.established());
        } else {
            let locality = Locality::new(locality as u8).unwrap();
            assert_eq!(action, Action::ResetEstablished { locality });
            assert!(!guest.0.established());
        }
        guest.set(locality, ACCESS, ACCESS_ACTIVE);
    }
}

#[test]
fn a_dynamic_launch_goes_from_locality_4_to_the_engine() {
    let mut guest = guest();
    assert_eq!(guest.write(4, HASH_START, 0), Action::HashStart);
    assert_eq!(guest.access(4), 0xA0, "locality 4 is active, the launch is noted");
    let data = |bytes: &[u8]| Action::HashData(Bytes::from(bytes));
    assert_eq!(guest.write(4, DATA_FIFO, 0x0403_0201), data(&[1, 2, 3, 4]));
    assert_eq!(guest.0.write(0x4000 | DATA_FIFO, &[5]), data(&[5]));
    assert_eq!(guest.0.write(0x4000 | XDATA_FIFO, &[6, 7]), data(&[6, 7]));
    assert_eq!(guest.write(4, HASH_END, 0), Action::HashEnd);
    assert_eq!(guest.access(4), 0x80);
    assert_eq!(guest.write(4, HASH_END, 0), Action::None);
}

#[test]
fn a_dynamic_launch_needs_a_free_tpm() {
    let mut guest = guest();
    guest.request(0);
    assert_eq!(guest.write(4, HASH_START, 0), Action::None);
    assert!(!guest.0.established());
    guest.run(0);
    guest.set(0, ACCESS, ACCESS_ACTIVE);
    assert_eq!(guest.write(4, HASH_START, 0), Action::None, "a command runs");
}

#[test]
fn a_dynamic_launch_is_disturbed_by_nobody_and_ends_with_a_handover() {
    let mut guest = guest();
    assert_eq!(guest.write(4, HASH_START, 0), Action::HashStart);
    guest.request(1);
    guest.set(3, ACCESS, ACCESS_SEIZE);
    guest.set(4, ACCESS, ACCESS_ACTIVE);
    guest.set(4, STS, STS_COMMAND_READY);
    assert_eq!(guest.0.active_locality(), Some(Locality::FOUR));
    assert_eq!(guest.write(4, HASH_END, 0), Action::HashEnd);
    assert_eq!(guest.0.active_locality(), Locality::new(1));
}

#[test]
fn hash_registers_exist_at_locality_4_only() {
    let mut guest = guest();
    for locality in 0..4 {
        guest.set(locality, HASH_START, 0);
        guest.set(locality, HASH_END, 0);
        assert_eq!(guest.read(locality, HASH_START), u32::MAX);
    }
    assert_eq!(guest.0.active_locality(), None);
}

#[test]
fn locality_4_is_closed_to_the_guest_by_default() {
    let mut guest = Guest(Tis::new(TisConfig::default(), Polled));
    guest.request(4);
    guest.set(4, HASH_START, 0);
    assert_eq!(guest.access(4), 0x81);
    assert_eq!(guest.0.hash_start(), Action::HashStart, "the VMM itself may");
    assert_eq!(guest.access(4), 0xA0);
    assert_eq!(guest.0.hash_end(), Action::HashEnd);
}

#[test]
fn a_reset_keeps_only_the_established_flag() {
    let mut guest = guest();
    guest.0.set_established(true);
    guest.request(0);
    guest.enable(0, INT_CAUSES);
    guest.respond(0);
    guest.set(0, INTERFACE_ID, INTERFACE_ID_LOCK);
    assert_eq!(guest.0.reset(), Action::None);
    assert!(!guest.0.trigger().level.get(), "the line drops");
    assert_eq!(guest.access(0), 0x80);
    assert_eq!(guest.read(0, INT_ENABLE), 0x08);
    assert_eq!(guest.read(0, INTERFACE_ID), 0x2100);
    guest.request(0);
    assert_eq!(guest.read(0, STS), 0x0410_0000);
}

#[test]
fn a_reset_during_a_command_cancels_it_and_refuses_its_response() {
    let mut guest = guest();
    guest.run(0);
    assert_eq!(guest.0.reset(), Action::Cancel);
    assert_eq!(guest.0.complete(&RESPONSE), Err(Error::NoCommand));
}

#[test]
fn coalescible_writes_are_the_fifos_of_a_locality() {
    let ranges = Tis::<Polled>::coalescible(Locality::THREE);
    assert_eq!(ranges, [0x3024..0x3028, 0x3080..0x30C0]);
}

fn restore(guest: &Guest) -> Guest {
    let state = TisState::from_bytes(&guest.0.save().to_bytes()).unwrap();
    assert_eq!(state, guest.0.save());
    let config = guest.0.config.clone();
    Guest(Tis::restore(config, Line::default(), NoEvents, &state).unwrap())
}

#[test]
fn a_snapshot_taken_at_any_byte_of_an_exchange_goes_on_where_it_was() {
    let mut guest = restore(&guest());
    guest.request(0);
    guest = restore(&guest);
    guest.ready(0);
    for byte in COMMAND {
        guest = restore(&guest);
        guest.send(0, &[byte]);
    }
    guest = restore(&guest);
    assert!(matches!(guest.write(0, STS, STS_GO), Action::Execute { .. }));
    guest = restore(&guest);
    guest.0.complete(&RESPONSE).unwrap();
    let mut received = Vec::new();
    for _ in 0..20 {
        guest = restore(&guest);
        received.extend(guest.receive(0, 1));
    }
    assert_eq!(received, RESPONSE);
    assert_eq!(restore(&guest).sts(0), STS_VALID);
}

#[test]
fn a_restored_device_says_what_to_do_about_the_command_in_flight() {
    let mut guest = guest();
    assert_eq!(guest.0.resume(), []);
    guest.run(0);
    let locality = Locality::ZERO;
    let execute = Action::Execute { locality, command: Bytes::from(COMMAND.as_slice()) };
    assert_eq!(restore(&guest).0.resume(), std::slice::from_ref(&execute));
    assert_eq!(guest.write(0, STS, STS_CANCEL), Action::Cancel);
    assert_eq!(restore(&guest).0.resume(), [execute.clone(), Action::Cancel]);
    assert_eq!(guest.write(1, ACCESS, ACCESS_SEIZE), Action::Cancel);
    let mut restored = restore(&guest);
    assert_eq!(restored.0.resume(), [execute, Action::Cancel]);
    restored.0.complete(&RESPONSE).unwrap();
    assert_eq!(restored.access(1), 0xA1, "the seize has survived");
}

#[test]
fn a_restored_device_drives_its_line_as_it_was() {
    let mut guest = guest();
    guest.request(0);
    guest.enable(0, INT_DATA_AVAILABLE);
    assert!(!restore(&guest).0.trigger().level.get());
    guest.respond(0);
    let mut restored = restore(&guest);
    assert!(restored.0.trigger().level.get());
    restored.set(0, INT_STATUS, INT_DATA_AVAILABLE);
    assert!(!restored.0.trigger().level.get());
}

#[test]
fn a_snapshot_that_is_cut_or_of_another_device_is_refused() {
    let mut guest = guest();
    guest.respond(0);
    let bytes = guest.0.save().to_bytes();
    for length in 0..bytes.len() {
        assert!(TisState::from_bytes(&bytes[..length]).is_err(), "length {length}");
    }
    let crb = record::Writer::new().finish(&record::Kind {
        magic: *b"VDCR",
        name: "CRB",
        version: 1,
        minimum: 1,
    });
    let expected = Error::Snapshot(SnapshotError::Magic { expected: "TIS" });
    assert_eq!(TisState::from_bytes(&crb), Err(expected));
}

#[test]
fn a_snapshot_with_a_longer_buffer_than_the_device_s_is_refused() {
    let mut guest = guest();
    guest.run(0);
    guest.0.complete(&[0; 100]).unwrap();
    let config = TisConfig { buffer_size: 64, ..Default::default() };
    let refused = Tis::restore(config, Polled, NoEvents, &guest.0.save()).map(|_| ());
    let expected = SnapshotError::TooLarge { what: "a FIFO", found: 100, limit: 64 };
    assert_eq!(refused, Err(Error::Snapshot(expected)));
}

#[test]
fn a_snapshot_in_an_impossible_state_is_refused_by_name() {
    let mut guest = guest();
    guest.run(0);
    let bytes = guest.0.save().to_bytes();
    let refuse = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let state = TisState::from_bytes(&bytes)?;
        Tis::restore(TisConfig::default(), Polled, NoEvents, &state).map(|_| ())
    };
    let invalid = |what| Err(Error::Snapshot(SnapshotError::Invalid(what)));
    // Each locality has ten bytes behind the header's twelve: state first, flags last.
    assert_eq!(refuse(12, 7), invalid("a locality's state"));
    assert_eq!(refuse(12, 0), invalid("FIFO bytes without an owner"));
    assert_eq!(refuse(12, 2), invalid("a command's length differs from its header"));
    assert_eq!(refuse(22, 4), invalid("two localities use the FIFO"));
    assert_eq!(refuse(14, 1), invalid("interrupt bits"));
    assert_eq!(refuse(21, 8), invalid("a locality's flags"));
    assert_eq!(refuse(21, 1), invalid("the active locality requests"));
    assert_eq!(refuse(31, 2), invalid("a seize that is not awaited"));
    assert_eq!(refuse(62, 5), invalid("a locality's number"));
    assert_eq!(refuse(62, 1), invalid("the FIFO belongs to a locality that is not active"));
    assert_eq!(refuse(63, 1), invalid("a switch waits for no cancelled command"));
    assert_eq!(refuse(64, 1), invalid("a switch waits for no cancelled command"));
    assert_eq!(refuse(64, 2), invalid("the abort flag"));
    assert_eq!(refuse(65, 1), invalid("a hash sequence outside locality 4"));
    assert_eq!(refuse(69, 1), invalid("an interrupt without a cause"));
}

/// What a guest and a VMM can do to a device.
#[derive(Clone, Debug)]
enum Step {
    Read { offset: u64, length: usize },
    Write { offset: u64, data: Vec<u8> },
    Complete(Vec<u8>),
    Fail,
    SaveAndRestore,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let registers = prop::sample::select(vec![
        ACCESS,
        INT_ENABLE,
        INT_STATUS,
        STS,
        STS,
        STS,
        STS + 3,
        HASH_END,
        DATA_FIFO,
        DATA_FIFO,
        HASH_START,
        INTERFACE_ID,
        XDATA_FIFO,
        0xBC,
    ]);
    let offset = (0u64..5, registers).prop_map(|(locality, register)| locality << 12 | register);
    let offset = prop_oneof![9 => offset, 1 => any::<u64>(), 1 => 0u64..0x5010];
    let bit = (0u32..32).prop_map(|bit| (1u32 << bit).to_le_bytes().to_vec());
    let data = prop_oneof![
        3 => bit,
        1 => Just(COMMAND.to_vec()),
        1 => Just(COMMAND[..8].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    let step = prop_oneof![
        4 => (offset.clone(), 0usize..9).prop_map(|(offset, length)| Step::Read { offset, length }),
        20 => (offset, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        3 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Complete),
        1 => Just(Step::Fail),
        1 => Just(Step::SaveAndRestore),
        1 => prop::bool::weighted(0.1)
            .prop_map(|reset| if reset { Step::Reset } else { Step::SaveAndRestore }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn no_sequence_of_accesses_panics_or_reaches_an_impossible_state(steps in steps()) {
        let mut guest = guest();
        for step in steps {
            let busy = guest.0.is_busy();
            match step {
                Step::Read { offset, length } => guest.0.read(offset, &mut vec![0; length]),
                Step::Write { offset, data } => match guest.0.write(offset, &data) {
                    Action::Execute { .. } => prop_assert!(!busy, "two commands at once"),
                    Action::Cancel => prop_assert!(busy, "nothing to cancel"),
                    _ => {}
                },
                Step::Complete(response) => {
                    prop_assert_eq!(guest.0.complete(&response).is_ok(), busy);
                }
                Step::Fail => prop_assert_eq!(guest.0.fail().is_ok(), busy),
                Step::SaveAndRestore => guest = restore(&guest),
                Step::Reset => prop_assert_eq!(guest.0.reset() == Action::Cancel, busy),
            }
            prop_assert_eq!(guest.0.check(), Ok(()));
            let active = (0..5).filter(|l| guest.access(*l) & ACCESS_ACTIVE != 0).count();
            prop_assert!(active <= 1, "{} active localities", active);
        }
    }
}
