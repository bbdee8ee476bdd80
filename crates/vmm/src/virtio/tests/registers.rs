//! Clauses 2.1, 3.1 and 4.2.2.

use super::*;
use crate::virtio::spec::{MAGIC, feature};

#[test]
fn a_device_shows_what_it_is() {
    let guest = Guest::new(Entropy::new().unwrap());
    assert_eq!(guest.read(register::MAGIC), MAGIC);
    assert_eq!(guest.read(register::VERSION), 2);
    assert_eq!(guest.read(register::DEVICE_ID), 4);
    assert_eq!(guest.read(register::CONFIG_GENERATION), 0);
    assert_eq!(guest.read(register::SHARED_LENGTH_LOW), u32::MAX, "no shared memory");
    assert_eq!(guest.status(), 0);
}

#[test]
fn features_are_offered_in_halves() {
    let guest = Guest::new(Entropy::new().unwrap());
    assert_eq!(guest.read(register::DEVICE_FEATURES), feature::TRANSPORT as u32);
    guest.write(register::DEVICE_FEATURES_SELECT, 1);
    assert_eq!(guest.read(register::DEVICE_FEATURES), (feature::TRANSPORT >> 32) as u32);
    guest.write(register::DEVICE_FEATURES_SELECT, 2);
    assert_eq!(guest.read(register::DEVICE_FEATURES), 0);
}

#[test]
fn features_that_are_not_offered_are_not_accepted() {
    let guest = Guest::new(Entropy::new().unwrap());
    guest.write(register::DRIVER_FEATURES_SELECT, 1);
    guest.write(register::DRIVER_FEATURES, 1 | 1 << 31);
    guest.write(register::STATUS, 3);
    guest.write(register::STATUS, 3 | status::FEATURES_OK);
    assert_eq!(guest.status(), 3);
    guest.write(register::DRIVER_FEATURES, 1);
    guest.write(register::STATUS, 3 | status::FEATURES_OK);
    assert_eq!(guest.status(), 3 | status::FEATURES_OK);
}

#[test]
fn a_legacy_driver_is_not_accepted() {
    let guest = Guest::new(Entropy::new().unwrap());
    guest.write(register::DRIVER_FEATURES, 0);
    guest.write(register::STATUS, 3 | status::FEATURES_OK);
    assert_eq!(guest.status(), 3);
}

#[test]
fn settled_features_do_not_change() {
    let guest = Guest::with_driver(Entropy::new().unwrap());
    guest.write(register::DRIVER_FEATURES_SELECT, 0);
    guest.write(register::DRIVER_FEATURES, 0);
    guest.transport.pause().unwrap();
    assert_eq!(guest.transport.save().unwrap().driver_features, feature::TRANSPORT);
}

#[test]
fn a_driver_cannot_go_on_without_settled_features() {
    let guest = Guest::new(Entropy::new().unwrap());
    guest.write(register::STATUS, 3 | status::DRIVER_OK);
    assert_eq!(guest.status(), 3);
}

#[test]
fn status_bits_go_away_by_reset_alone() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    let before = guest.status();
    guest.write(register::STATUS, status::ACKNOWLEDGE);
    assert_eq!(guest.status(), before);
    guest.write(register::STATUS, 0);
    assert_eq!(guest.status(), 0);
    guest.write(register::QUEUE_SELECT, 0);
    assert_eq!(guest.read(register::QUEUE_READY), 0);
    guest.set_up(!0);
    let (written, _) = guest.ask(0, &[Piece::In(16)]);
    assert_eq!(written, 16, "the device works again");
}

#[test]
fn a_driver_cannot_set_what_the_device_says() {
    let guest = Guest::new(Entropy::new().unwrap());
    guest.write(register::STATUS, 3 | status::NEEDS_RESET);
    assert_eq!(guest.status(), 3);
}

#[test]
fn a_queue_outside_of_memory_demands_a_reset() {
    let cases: [(u16, u64, u64, u64); 10] = [
        (16, RAM - 128, 0x2000, 0x3000),
        (16, 0x1000, RAM - 8, 0x3000),
        (16, 0x1000, 0x2000, RAM - 64),
        (16, u64::MAX - 15, 0x2000, 0x3000),
        (16, 0x1001, 0x2000, 0x3000),
        (16, 0x1000, 0x2001, 0x3000),
        (16, 0x1000, 0x2000, 0x3002),
        (0, 0x1000, 0x2000, 0x3000),
        (15, 0x1000, 0x2000, 0x3000),
        (512, 0x1000, 0x2000, 0x8000),
    ];
    for (size, descriptors, available, used) in cases {
        let mut guest = Guest::new(Entropy::new().unwrap());
        guest.set_up_queue(size, descriptors, available, used);
        assert_eq!(guest.read(register::QUEUE_READY), 0, "{size} {descriptors:#x}");
        assert!(guest.needs_reset());
        assert!(guest.interrupted());
        assert_eq!(guest.read(register::INTERRUPT_STATUS), 2);
    }
}

#[test]
fn a_queue_in_use_cannot_be_moved_but_stopped() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    guest.write(register::QUEUE_SELECT, 0);
    guest.write(register::QUEUE_USED_LOW, 0x9000);
    guest.write(register::QUEUE_SIZE, 1);
    assert_eq!(guest.ask(0, &[Piece::In(4)]).0, 4);
    guest.write(register::QUEUE_READY, 0);
    assert_eq!(guest.read(register::QUEUE_READY), 0);
    guest.offer(0, &[Piece::In(4)]);
    guest.serve();
    assert_eq!(guest.used(0), []);
    guest.write(register::QUEUE_READY, 1);
    assert_eq!(guest.read(register::QUEUE_READY), 0, "not behind the device's back");
    assert!(!guest.needs_reset());
}

#[test]
fn queues_that_do_not_exist_are_shown_as_such() {
    let guest = Guest::new(Entropy::new().unwrap());
    for queue in [1, 17, u32::MAX] {
        guest.write(register::QUEUE_SELECT, queue);
        assert_eq!(guest.read(register::QUEUE_SIZE_MAX), 0);
        guest.write(register::QUEUE_SIZE, 1);
        guest.write(register::QUEUE_READY, 1);
        assert_eq!(guest.read(register::QUEUE_READY), 0);
        guest.write(register::QUEUE_NOTIFY, queue);
    }
    assert!(!guest.needs_reset());
}

#[test]
fn interrupts_are_acknowledged_bit_by_bit() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    assert!(!guest.interrupted());
    guest.ask(0, &[Piece::In(4)]);
    assert!(guest.interrupted());
    assert_eq!(guest.read(register::INTERRUPT_STATUS), 1);
    guest.write(register::INTERRUPT_ACK, 2);
    assert_eq!(guest.read(register::INTERRUPT_STATUS), 1);
    guest.write(register::INTERRUPT_ACK, 1);
    assert_eq!(guest.read(register::INTERRUPT_STATUS), 0);
}

#[test]
fn a_driver_that_wants_no_interrupt_gets_none() {
    let no_events = !feature::EVENT_IDX;
    let mut guest = Guest::with_features(Entropy::new().unwrap(), no_events);
    let flags = GuestAddress(guest.queues[0].available);
    guest.memory.write_obj(1u16, flags).unwrap();
    guest.ask(0, &[Piece::In(4)]);
    assert!(!guest.interrupted());
    guest.memory.write_obj(0u16, flags).unwrap();
    guest.ask(0, &[Piece::In(4)]);
    assert!(guest.interrupted());
}

#[test]
fn a_driver_that_asks_for_an_event_gets_one_interrupt_there() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    let event = GuestAddress(guest.queues[0].available + 4 + 2 * 16);
    guest.memory.write_obj(2u16, event).unwrap();
    let interrupts: Vec<bool> = (0..5)
        .map(|_| {
            guest.ask(0, &[Piece::In(4)]);
            guest.interrupted()
        })
        .collect();
    assert_eq!(interrupts, [false, false, true, false, false]);
}

#[test]
fn accesses_of_other_widths_do_nothing() {
    let guest = Guest::new(Entropy::new().unwrap());
    let mut byte = [0xaa];
    guest.transport.read(register::MAGIC, &mut byte);
    assert_eq!(byte, [0]);
    let mut wide = [0xaa; 8];
    guest.transport.read(register::MAGIC, &mut wide);
    assert_eq!(wide, [0; 8]);
    guest.transport.write(register::STATUS, &[1]);
    guest.transport.write(register::STATUS + 1, &[1, 0, 0, 0]);
    guest.transport.write(register::STATUS, &[1; 16]);
    assert_eq!(guest.status(), 0);
    guest.transport.read(0, &mut []);
    guest.transport.write(0, &[]);
}

#[test]
fn configuration_ends_where_it_ends() {
    let image = image(9);
    let guest = Guest::new(disk(image.path()));
    let mut capacity = [0; 8];
    guest.transport.read(register::CONFIG, &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), 9);
    let mut end = [0xaa; 8];
    guest.transport.read(register::CONFIG + 56, &mut end);
    assert_eq!(end, [1, 0, 0, 0, 0, 0, 0, 0], "zeros behind the last field");
    for offset in [register::CONFIG + 60, 0xfff, u64::MAX] {
        let mut beyond = [0xaa; 4];
        guest.transport.read(offset, &mut beyond);
        assert_eq!(beyond, [0; 4]);
    }
    guest.transport.write(register::CONFIG, &[0xff; 4]);
    guest.transport.read(register::CONFIG, &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), 9);
}
