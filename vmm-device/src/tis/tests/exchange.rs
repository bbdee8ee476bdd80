//! Commands in, responses out.

use super::*;

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
    guest.0.read(STS + 2, &mut half);
    assert_eq!(u16::from_le_bytes(half), 0x0410, "wider reads get all of it");
    guest.0.read(STS + 1, &mut half);
    assert_eq!(u16::from_le_bytes(half), 0xFF, "unaligned, it is two reads of a byte");
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
