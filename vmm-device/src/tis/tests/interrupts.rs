//! Causes, the line, and observers.

use super::*;

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
