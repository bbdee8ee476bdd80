//! Drivers that break the rules of clause 2.7.

use super::*;

fn guest() -> Guest {
    Guest::with_driver(Entropy::new().unwrap())
}

/// The chain at descriptor 0 stops the device, and a reset brings it back.
fn stops(mut guest: Guest) {
    guest.publish(0, 0);
    guest.serve();
    assert!(guest.needs_reset());
    assert!(guest.interrupted());
    assert_eq!(guest.used(0), [], "nothing is returned");
    guest.publish(0, 1);
    guest.serve();
    assert_eq!(guest.used(0), [], "nothing is done any more");
    guest.write(register::STATUS, 0);
    assert_eq!(guest.status(), 0);
    for at in [guest.queues[0].available, guest.queues[0].used] {
        guest.memory.write_obj(0u32, GuestAddress(at)).unwrap();
    }
    guest.set_up(!0);
    assert_eq!(guest.ask(0, &[Piece::In(8)]).0, 8);
}

#[test]
fn a_chain_that_bites_its_tail_stops_the_device() {
    let guest = guest();
    guest.describe(0, 0, (BUFFERS, 8, WRITE | NEXT, 1));
    guest.describe(0, 1, (BUFFERS, 8, WRITE | NEXT, 0));
    stops(guest);
}

#[test]
fn a_chain_out_of_its_table_stops_the_device() {
    let guest = guest();
    guest.describe(0, 0, (BUFFERS, 8, WRITE | NEXT, 16));
    stops(guest);
}

#[test]
fn buffers_outside_of_memory_stop_the_device() {
    for (address, size) in [
        (RAM, 1),
        (RAM - 4, 5),
        (u64::MAX, 1),
        (u64::MAX - 3, 8),
        (0, RAM as u32 + 1),
        (BUFFERS, u32::MAX),
    ] {
        let guest = guest();
        guest.describe(0, 0, (address, size, WRITE, 0));
        stops(guest);
    }
}

#[test]
fn what_is_read_behind_what_is_written_stops_the_device() {
    let guest = guest();
    guest.describe(0, 0, (BUFFERS, 8, WRITE | NEXT, 1));
    guest.describe(0, 1, (BUFFERS, 8, 0, 0));
    stops(guest);
}

#[test]
fn a_head_out_of_the_table_stops_the_device() {
    let mut guest = guest();
    guest.publish(0, 16);
    guest.serve();
    assert!(guest.needs_reset());
}

#[test]
fn an_available_index_that_jumps_stops_the_device() {
    let guest = guest();
    let index = GuestAddress(guest.queues[0].available + 2);
    guest.memory.write_obj(17u16, index).unwrap();
    guest.serve();
    assert!(guest.needs_reset());
}

#[test]
fn tables_that_cannot_be_stop_the_device() {
    // Address and size of the table, and its first descriptor.
    let good = (BUFFERS, 8, WRITE, 0);
    let cases = [
        (BUFFERS, 0, good),
        (BUFFERS, 15, good),
        (RAM, 16, good),
        (u64::MAX, 16, good),
        (BUFFERS, 16, (BUFFERS, 16, INDIRECT, 0)),
        (BUFFERS, 16, (BUFFERS, 8, WRITE | NEXT, 1)),
        (BUFFERS, 16, (RAM, 8, WRITE, 0)),
        (BUFFERS, 0x20_0000, (BUFFERS, 8, WRITE | NEXT, 0)),
    ];
    for (address, size, first) in cases {
        let guest = guest();
        guest.describe_at(BUFFERS, first);
        guest.describe(0, 0, (address, size, INDIRECT, 0));
        stops(guest);
    }
}

#[test]
fn a_chain_longer_than_any_queue_stops_the_device() {
    let chain = |length: u16| {
        let guest = guest();
        for index in 0..length {
            let flags = if index + 1 < length { WRITE | NEXT } else { WRITE };
            let at = BUFFERS + 16 * u64::from(index);
            guest.describe_at(at, (BUFFERS + 0x10_0000, 1, flags, index + 1));
        }
        guest.describe(0, 0, (BUFFERS, 16 * u32::from(length), INDIRECT, 0));
        guest
    };
    stops(chain(257));
    let mut longest = chain(256);
    longest.publish(0, 0);
    longest.serve();
    assert_eq!(longest.used(0), [(0, 256)]);
}

#[test]
fn a_table_behind_a_direct_descriptor_is_followed() {
    let mut guest = guest();
    let table = guest.buffer(16);
    let room = guest.buffer(64);
    guest.describe_at(table, (room + 32, 8, WRITE, 0));
    guest.describe(0, 0, (room, 8, WRITE | NEXT, 1));
    guest.describe(0, 1, (table, 16, INDIRECT, 0));
    guest.publish(0, 0);
    guest.serve();
    assert_eq!(guest.used(0), [(0, 16)]);
}

#[test]
fn a_disk_request_without_header_or_status_stops_the_disk() {
    let image = image(1);
    let header = header(0, 0);
    let cases: [&[Piece<'_>]; 4] = [
        &[Piece::Out(&header[..15]), Piece::In(513)],
        &[Piece::In(513)],
        &[Piece::Out(&header)],
        &[Piece::Out(&header), Piece::In(0)],
    ];
    for pieces in cases {
        let mut guest = Guest::with_driver(disk(image.path()));
        guest.offer(0, pieces);
        guest.serve();
        assert!(guest.needs_reset());
    }
}

#[test]
fn a_request_may_write_over_its_own_queue() {
    let image = image(16);
    let mut guest = Guest::with_driver(disk(image.path()));
    let table = guest.queues[0].descriptors;
    let request = guest.place(0, &[Piece::Out(&header(0, 0)), Piece::In(512), Piece::In(1)]);
    guest.describe(0, request.head + 1, (table, 4096, WRITE | NEXT, request.head + 2));
    guest.publish(0, request.head);
    guest.serve();
    assert_eq!(guest.used(0), [(request.head, 4097)]);
    assert_eq!(guest.bytes(table + 512, 512), [1; 512]);
}
