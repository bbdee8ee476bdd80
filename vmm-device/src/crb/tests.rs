//! The facts that guest drivers depend on, one test each.

use std::cell::Cell;

use super::{spec::*, *};
use crate::{BufferError, Polled, SnapshotError};

/// TPM2_GetRandom of 8 bytes.
const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
const RESPONSE: [u8; 20] = [0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

#[derive(Default)]
struct Line(Cell<bool>);

impl Trigger for Line {
    type E = ();

    fn set_level(&self, asserted: bool) -> Result<(), ()> {
        self.0.set(asserted);
        Ok(())
    }
}

/// A guest driver's view of the device.
struct Guest<B: CommandBuffer = InMemoryBuffer>(Crb<B, Line>);

fn guest() -> Guest {
    let config = CrbConfig { interrupts: true, ..Default::default() };
    Guest(Crb::new(config, InMemoryBuffer::default(), Line::default()))
}

impl<B: CommandBuffer> Guest<B> {
    fn read(&mut self, register: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read(register, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&mut self, register: u64, value: u32) -> Action {
        self.0.write(register, &value.to_le_bytes())
    }

    fn set(&mut self, register: u64, value: u32) {
        assert_eq!(self.write(register, value), Action::None);
    }

    fn data(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.0.read(DATA_BUFFER, &mut data);
        data
    }

    fn put(&mut self, bytes: &[u8]) {
        assert_eq!(self.0.write(DATA_BUFFER, bytes), Action::None);
    }

    fn start(&mut self) -> Action {
        self.write(CTRL_START, 1)
    }

    /// Brings a device after reset to a running command.
    fn run(&mut self) {
        self.set(LOC_CTRL, LOC_CTRL_REQUEST);
        self.set(CTRL_REQ, CTRL_REQ_READY);
        self.put(&COMMAND);
        assert!(matches!(self.start(), Action::Execute { .. }));
    }
}

#[test]
fn registers_after_reset_are_those_of_qemu() {
    let mut guest =
        Guest(Crb::new(CrbConfig::default(), InMemoryBuffer::default(), Line::default()));
    let expected = [
        (LOC_STATE, 0x81),
        (LOC_CTRL, 0),
        (LOC_STS, 0),
        (INTF_ID, 0x25811),
        (INTF_ID2, 0x1014),
        (0x38, 0),
        (0x3C, 0),
        (CTRL_REQ, 0),
        (CTRL_STS, 2),
        (CTRL_CANCEL, 0),
        (CTRL_START, 0),
        (INT_ENABLE, 0),
        (INT_STATUS, 0),
        (CMD_SIZE, 3968),
        (CMD_LADDR, 0xFED4_0080),
        (CMD_HADDR, 0),
        (RSP_SIZE, 3968),
        (RSP_LADDR, 0xFED4_0080),
        (RSP_HADDR, 0),
        (DATA_BUFFER, 0),
    ];
    for (register, value) in expected {
        assert_eq!(guest.read(register), value, "register {register:#x}");
    }
    guest.set(INT_ENABLE, u32::MAX);
    assert_eq!(guest.read(INT_ENABLE), 0, "no interrupt registers unless configured");
}

#[test]
fn the_established_bit_is_1_until_a_dynamic_launch() {
    let mut guest = guest();
    assert_eq!(guest.read(LOC_STATE) & 1, 1);
    guest.0.set_established(true);
    assert_eq!(guest.read(LOC_STATE) & 1, 0);
    guest.set(LOC_CTRL, 8);
    assert!(guest.0.established(), "locality 0 cannot clear it");
}

#[test]
fn a_request_of_the_locality_is_granted_and_taken_back() {
    let mut guest = guest();
    guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
    assert_eq!(guest.read(LOC_STATE), 0x83, "Linux polls assigned and valid");
    assert_eq!(guest.read(LOC_STS), 1, "edk2 polls granted; beenSeized is 0");
    assert_eq!(guest.read(LOC_CTRL), 0);
    guest.set(LOC_CTRL, 4);
    assert_eq!(guest.read(LOC_STS), 1, "locality 0 has nobody to seize from");
    guest.set(LOC_CTRL, LOC_CTRL_RELINQUISH);
    assert_eq!((guest.read(LOC_STATE), guest.read(LOC_STS)), (0x81, 0));
}

#[test]
fn ready_and_idle_take_effect_at_once_and_the_request_reads_0() {
    let mut guest = guest();
    guest.set(CTRL_REQ, CTRL_REQ_READY);
    assert_eq!((guest.read(CTRL_REQ), guest.read(CTRL_STS)), (0, 0));
    guest.set(CTRL_REQ, CTRL_REQ_READY | CTRL_REQ_IDLE);
    assert_eq!(guest.read(CTRL_STS), 0, "both at once mean nothing");
    guest.set(CTRL_REQ, CTRL_REQ_IDLE);
    assert_eq!((guest.read(CTRL_REQ), guest.read(CTRL_STS)), (0, 2));
}

#[test]
fn a_command_is_as_long_as_its_header_says_and_start_reads_1_until_it_is_complete() {
    let mut guest = guest();
    guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
    guest.put(&[&COMMAND[..], &[0xEE; 50]].concat());
    let command = Bytes::from(COMMAND.as_slice());
    assert_eq!(guest.start(), Action::Execute { locality: Locality::ZERO, command });
    assert_eq!(guest.read(CTRL_START), 1);
    assert_eq!(guest.start(), Action::None, "not while it runs");
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!((guest.read(CTRL_START), guest.read(CTRL_STS) & 1), (0, 0));
    assert_eq!(guest.data(20), RESPONSE);
    assert_eq!(guest.data(3968)[20..], [0; 3948], "the tail is zeroed");
}

#[test]
fn start_needs_the_locality() {
    let mut guest = guest();
    guest.put(&COMMAND);
    assert_eq!(guest.start(), Action::None);
    assert_eq!(guest.read(CTRL_START), 0);
}

#[test]
fn a_length_that_is_impossible_is_cut_to_what_is_possible() {
    for (announced, length) in [(0u32, 10), (9, 10), (10, 10), (3968, 3968), (3969, 3968)] {
        let mut guest = guest();
        guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
        guest.put(&[&[0x80, 1][..], &announced.to_be_bytes()].concat());
        let action = guest.start();
        assert!(matches!(&action, Action::Execute { command, .. } if command.len() == length));
        assert_eq!(guest.read(CTRL_STS) & 1, 0, "and the TPM is not broken");
    }
}

#[test]
fn the_running_command_is_the_one_that_was_started() {
    let mut guest = guest();
    guest.run();
    guest.put(&[0xFF; 12]);
    let locality = Locality::ZERO;
    let execute = Action::Execute { locality, command: Bytes::from(COMMAND.as_slice()) };
    assert_eq!(guest.0.resume(), [execute]);
}

#[test]
fn a_failure_sets_the_error_bit_and_clears_start() {
    for response in [None, Some(9), Some(3969)] {
        let mut guest = guest();
        guest.run();
        match response {
            None => guest.0.fail().unwrap(),
            Some(length) => guest.0.complete(&vec![0; length]).unwrap(),
        }
        assert_eq!((guest.read(CTRL_START), guest.read(CTRL_STS)), (0, CTRL_STS_ERROR));
        assert_eq!(guest.data(3968), [0; 3968], "nothing of the command stays");
        assert_eq!(guest.0.reset(), Action::None);
        assert_eq!(guest.read(CTRL_STS), CTRL_STS_IDLE);
    }
}

#[test]
fn a_response_without_a_command_is_refused() {
    let mut guest = guest();
    assert_eq!(guest.0.complete(&RESPONSE), Err(Error::NoCommand));
    assert_eq!(guest.0.fail(), Err(Error::NoCommand));
    assert_eq!(guest.read(CTRL_STS), CTRL_STS_IDLE);
}

#[test]
fn cancel_acts_only_while_a_command_runs() {
    let mut guest = guest();
    guest.set(CTRL_CANCEL, 0);
    guest.set(CTRL_CANCEL, 1);
    guest.run();
    guest.set(CTRL_CANCEL, 0);
    assert_eq!(guest.write(CTRL_CANCEL, 1), Action::Cancel);
    assert_eq!(guest.read(CTRL_CANCEL), 0, "Linux would stop waiting at a 1");
    guest.0.complete(&RESPONSE).unwrap();
    guest.set(CTRL_CANCEL, 1);
    assert_eq!(guest.data(20), RESPONSE);
}

#[test]
fn edk2_writes_sizes_and_addresses_without_effect() {
    let mut guest = guest();
    for register in [CMD_SIZE, CMD_LADDR, CMD_HADDR, RSP_SIZE] {
        let before = guest.read(register);
        guest.set(register, 0x1234_5678);
        assert_eq!(guest.read(register), before);
    }
    assert_eq!(guest.0.write(RSP_LADDR, &0x1234_5678_9ABCu64.to_le_bytes()), Action::None);
    assert_eq!((guest.read(RSP_LADDR), guest.read(RSP_HADDR)), (0xFED4_0080, 0));
}

#[test]
fn seabios_selects_and_locks_the_interface_without_effect() {
    let mut guest = guest();
    guest.set(INTF_ID, 1 << 17);
    guest.set(INTF_ID, 1 << 19);
    assert_eq!(guest.read(INTF_ID), 0x25811);
}

#[test]
fn accesses_of_1_2_4_and_8_bytes_work() {
    let mut guest = guest();
    assert_eq!(guest.0.write(LOC_CTRL, &[1]), Action::None);
    let mut wide = [0; 8];
    guest.0.read(INTF_ID, &mut wide);
    assert_eq!(u64::from_le_bytes(wide), 0x1014_0002_5811);
    guest.0.read(RSP_LADDR, &mut wide);
    assert_eq!(u64::from_le_bytes(wide), 0xFED4_0080);
    for (at, byte) in COMMAND.iter().enumerate() {
        assert_eq!(guest.0.write(DATA_BUFFER + at as u64, &[*byte]), Action::None);
    }
    assert!(matches!(guest.0.write(CTRL_START, &[1]), Action::Execute { .. }));
    guest.0.complete(&RESPONSE).unwrap();
    let mut half = [0; 2];
    guest.0.read(DATA_BUFFER + 4, &mut half);
    assert_eq!(half, RESPONSE[4..6]);
    let mut byte = [0];
    guest.0.read(INTF_ID + 1, &mut byte);
    assert_eq!(byte, [0x58]);
}

#[test]
fn bytes_behind_the_region_read_ones_and_take_no_writes() {
    let mut guest = guest();
    guest.put(&[0x55; 3968]);
    let mut edge = [0; 8];
    assert_eq!(guest.0.write(0xFFC, &[1; 8]), Action::None);
    guest.0.read(0xFFC, &mut edge);
    assert_eq!(edge, [1, 1, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF]);
    guest.0.read(0x1000, &mut edge);
    assert_eq!(edge, [0xFF; 8]);
    guest.0.read(u64::MAX - 3, &mut edge);
    assert_eq!(edge, [0xFF; 8]);
    guest.0.read(0x7C, &mut edge);
    assert_eq!(edge, [0, 0, 0, 0, 0x55, 0x55, 0x55, 0x55], "across registers and buffer");
}

#[test]
fn interrupts_say_start_ready_and_locality_and_the_line_drops_when_all_are_cleared() {
    let mut guest = guest();
    guest.set(INT_ENABLE, u32::MAX);
    assert_eq!(guest.read(INT_ENABLE), 0x8000_000F);
    guest.run();
    assert_eq!(guest.read(INT_STATUS), INT_LOCALITY_CHANGE | INT_READY);
    guest.set(INT_STATUS, INT_LOCALITY_CHANGE);
    assert!(guest.0.trigger().0.get());
    guest.set(INT_STATUS, INT_READY);
    assert!(!guest.0.trigger().0.get());
    guest.0.complete(&RESPONSE).unwrap();
    assert_eq!(guest.read(INT_STATUS), INT_START);
    assert!(guest.0.trigger().0.get());
    assert_eq!(guest.0.reset(), Action::None);
    assert!(!guest.0.trigger().0.get());
}

#[test]
fn interrupts_need_the_global_bit_and_their_own() {
    for enable in [INT_CAUSES, INT_GLOBAL, INT_GLOBAL | INT_READY] {
        let mut guest = guest();
        guest.set(CTRL_REQ, CTRL_REQ_READY);
        guest.set(INT_ENABLE, enable);
        guest.run();
        guest.0.complete(&RESPONSE).unwrap();
        assert_eq!(guest.read(INT_STATUS), 0, "enable {enable:#x}");
    }
}

#[test]
fn a_reset_during_a_command_cancels_it_and_refuses_its_response() {
    let mut guest = guest();
    guest.run();
    assert_eq!(guest.0.reset(), Action::Cancel);
    assert_eq!(guest.0.complete(&RESPONSE), Err(Error::NoCommand));
    assert_eq!((guest.read(LOC_STATE), guest.read(CTRL_STS)), (0x81, 2));
}

/// Guest memory that is not there.
struct Nowhere;

impl CommandBuffer for Nowhere {
    fn read(&self, _offset: usize, _data: &mut [u8]) -> Result<(), BufferError> {
        Err(BufferError::GuestMemory("nowhere".into()))
    }

    fn write(&mut self, _offset: usize, _data: &[u8]) -> Result<(), BufferError> {
        Err(BufferError::GuestMemory("nowhere".into()))
    }
}

#[test]
fn a_buffer_that_is_missing_makes_start_an_error_and_reads_ones() {
    let mut guest = Guest(Crb::new(CrbConfig::default(), Nowhere, Line::default()));
    guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
    assert_eq!(guest.start(), Action::None);
    assert_eq!((guest.read(CTRL_START), guest.read(CTRL_STS)), (0, 3));
    assert_eq!(guest.data(4), [0xFF; 4]);
    assert!(matches!(guest.0.save(), Err(Error::Buffer(_))));
}

#[cfg(feature = "vm-memory")]
#[test]
fn a_mapped_buffer_is_shown_in_the_address_registers_and_needs_no_exit() {
    use std::sync::Arc;

    use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

    let address = GuestAddress(0xFED4_6000);
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&[(address, 0x1000)]).unwrap());
    let buffer = GuestBuffer::new(memory.clone(), address, DATA_BUFFER_SIZE);
    let config = CrbConfig { buffer_address: Some(address.0), ..Default::default() };
    let mut guest = Guest(Crb::new(config.clone(), buffer.clone(), Line::default()));
    assert_eq!(guest.read(CMD_LADDR), 0xFED4_6000);
    assert_eq!(guest.read(RSP_LADDR), 0xFED4_6000);

    guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
    memory.write_slice(&COMMAND, address).unwrap();
    assert!(matches!(guest.start(), Action::Execute { command, .. } if *command == COMMAND));
    let state = guest.0.save().unwrap();
    assert!(state.to_bytes().len() < 100, "the buffer travels with guest memory");
    let restored = Crb::restore(config, buffer, Line::default(), NoEvents, &state).unwrap();
    let mut guest = Guest(restored);
    guest.0.complete(&RESPONSE).unwrap();
    let mut response = [0; 20];
    memory.read_slice(&mut response, address).unwrap();
    assert_eq!(response, RESPONSE);
    assert_eq!(guest.data(20), RESPONSE, "edk2's window shows the same bytes");
}

#[cfg(feature = "vm-memory")]
#[test]
fn a_guest_buffer_stays_inside_its_size() {
    use std::sync::Arc;

    use vm_memory::{GuestAddress, GuestMemoryMmap};

    let ranges = [(GuestAddress(0), 0x1000)];
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&ranges).unwrap());
    let mut buffer = GuestBuffer::new(memory.clone(), GuestAddress(0x100), 16);
    assert!(buffer.write(8, &[0; 8]).is_ok());
    let outside = BufferError::OutOfRange { offset: 9, length: 8 };
    assert_eq!(buffer.write(9, &[0; 8]), Err(outside.clone()));
    assert_eq!(buffer.read(9, &mut [0; 8]), Err(outside));
    assert!(buffer.read(usize::MAX, &mut [0]).is_err());
    let missing = GuestBuffer::new(memory, GuestAddress(0x2000), 16);
    assert!(matches!(missing.read(0, &mut [0]), Err(BufferError::GuestMemory(_))));
}

fn restore(guest: &Guest) -> Guest {
    let state = CrbState::from_bytes(&guest.0.save().unwrap().to_bytes()).unwrap();
    assert_eq!(state, guest.0.save().unwrap());
    let config = guest.0.config.clone();
    let buffer = InMemoryBuffer::default();
    Guest(Crb::restore(config, buffer, Line::default(), NoEvents, &state).unwrap())
}

#[test]
fn a_snapshot_taken_anywhere_in_an_exchange_goes_on_where_it_was() {
    let mut guest = restore(&guest());
    guest.set(INT_ENABLE, INT_GLOBAL | INT_START);
    guest.set(LOC_CTRL, LOC_CTRL_REQUEST);
    guest = restore(&guest);
    guest.set(CTRL_REQ, CTRL_REQ_READY);
    guest.put(&COMMAND);
    guest = restore(&guest);
    assert!(matches!(guest.start(), Action::Execute { .. }));
    assert_eq!(guest.write(CTRL_CANCEL, 1), Action::Cancel);
    guest = restore(&guest);
    let locality = Locality::ZERO;
    let execute = Action::Execute { locality, command: Bytes::from(COMMAND.as_slice()) };
    assert_eq!(guest.0.resume(), [execute, Action::Cancel]);
    guest.0.complete(&RESPONSE).unwrap();
    guest = restore(&guest);
    assert_eq!(guest.0.resume(), []);
    assert!(guest.0.trigger().0.get(), "the line is driven as it was");
    assert_eq!(guest.data(20), RESPONSE);
    assert_eq!((guest.read(LOC_STATE), guest.read(CTRL_STS)), (0x83, 0));
}

#[test]
fn a_snapshot_that_is_cut_is_refused() {
    let bytes = guest().0.save().unwrap().to_bytes();
    for length in 0..bytes.len() {
        assert!(CrbState::from_bytes(&bytes[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_snapshot_in_an_impossible_state_is_refused_by_name() {
    let mut guest = guest();
    guest.run();
    let bytes = guest.0.save().unwrap().to_bytes();
    let refuse = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let state = CrbState::from_bytes(&bytes)?;
        let config = guest.0.config.clone();
        let buffer = InMemoryBuffer::default();
        Crb::restore(config, buffer, Polled, NoEvents, &state).map(|_| ())
    };
    let invalid = |what| Err(Error::Snapshot(SnapshotError::Invalid(what)));
    // Six flags behind the header's twelve bytes, two registers, the command's length.
    assert_eq!(refuse(12, 2), invalid("the locality flag"));
    assert_eq!(refuse(16, 1), invalid("the interrupt line"));
    assert_eq!(refuse(19, 1), invalid("INT_ENABLE"));
    assert_eq!(refuse(22, 16), invalid("INT_STATUS"));
    let long =
        SnapshotError::TooLarge { what: "the running command", found: 268_435_468, limit: 3968 };
    assert_eq!(refuse(29, 16), Err(Error::Snapshot(long)));
    let mut state = guest.0.save().unwrap().to_bytes();
    state[18] = 1;
    let state = CrbState::from_bytes(&state).unwrap();
    let silent = CrbConfig::default();
    let refused = Crb::restore(silent, InMemoryBuffer::default(), Polled, NoEvents, &state);
    assert_eq!(refused.map(|_| ()), invalid("interrupts of a device that has none"));
}
