//! The facts that guest drivers depend on, one test each: here registers and reset.

mod exchange;
mod interrupts;
mod launch;
mod locality;
mod snapshot;

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
};

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
