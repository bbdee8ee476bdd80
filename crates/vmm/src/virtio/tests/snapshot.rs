//! Saved and restored, above all in the middle of a stream of requests.

use std::os::unix::net::UnixDatagram;

use super::*;

/// The device of `guest`, saved and continued by another transport and model on the same memory.
fn move_to(guest: Guest, model: impl Model + 'static) -> Guest {
    guest.transport.pause().unwrap();
    let state = guest.transport.save().unwrap();
    // Through the form that a snapshot or a stream has.
    let state = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
    let Guest { memory, transport, queues, next_buffer } = guest;
    drop(transport);
    let there = Guest::paused(model, memory);
    there.transport.restore(&state).unwrap();
    assert_eq!(there.transport.save().unwrap(), state, "what is saved again is the same");
    there.transport.resume().unwrap();
    Guest { queues, next_buffer, ..there }
}

fn disk_state() -> (tempfile::NamedTempFile, SavedDevice) {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    let header = header(0, 1);
    guest.ask(0, &[Piece::Out(&header), Piece::In(512), Piece::In(1)]);
    guest.transport.pause().unwrap();
    let state = guest.transport.save().unwrap();
    (image, state)
}

#[test]
fn a_stream_of_requests_goes_on_where_it_was() {
    let image = image(200);
    let mut guest = Guest::with_driver(disk(image.path()));
    let mut open: Vec<(Request, u8)> = Vec::new();
    for sector in 0..200u8 {
        let header = header(0, sector.into());
        let pieces = [Piece::Out(&header), Piece::In(512), Piece::In(1)];
        open.push((guest.offer(0, &pieces), sector));
        if sector % 3 == 0 {
            guest.serve();
        }
        if sector % 5 == 0 {
            // Requests that nobody has looked at yet move with their queue.
            guest = move_to(guest, disk(image.path()));
        }
        if sector % 2 == 0 {
            guest.serve();
        }
        for (head, written) in guest.used(0) {
            let (request, sector) = open.remove(0);
            assert_eq!((request.head, 513), (head, written));
            let answers = guest.answers(&request);
            assert_eq!((&answers[0][..], &answers[1][..]), (&[sector; 512][..], &[0][..]));
        }
    }
    guest.serve();
    assert_eq!(guest.used(0).len(), open.len());
}

#[test]
fn a_paused_device_leaves_memory_alone_and_loses_nothing() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    guest.transport.pause().unwrap();
    guest.offer(0, &[Piece::In(8)]);
    guest.serve();
    assert_eq!(guest.used(0), []);
    guest.transport.resume().unwrap();
    guest.serve();
    assert_eq!(guest.used(0).len(), 1);
}

#[test]
fn a_running_device_is_not_saved() {
    let guest = Guest::with_driver(Entropy::new().unwrap());
    let state = guest.transport.save().unwrap_err().to_string();
    assert!(state.contains("is not paused"), "{state}");
}

#[test]
fn an_interrupt_that_nobody_acknowledged_comes_again() {
    let mut guest = Guest::with_driver(Entropy::new().unwrap());
    guest.ask(0, &[Piece::In(8)]);
    assert!(guest.interrupted());
    let guest = move_to(guest, Entropy::new().unwrap());
    assert!(guest.interrupted());
    assert_eq!(guest.read(register::INTERRUPT_STATUS), 1);
    guest.write(register::INTERRUPT_ACK, 1);
    let guest = move_to(guest, Entropy::new().unwrap());
    assert!(!guest.interrupted());
}

#[test]
fn a_device_moves_before_its_driver_is_ready() {
    let guest = Guest::new(Entropy::new().unwrap());
    guest.write(register::STATUS, 3);
    guest.write(register::QUEUE_USED_LOW, 0x5000);
    guest.write(register::DRIVER_FEATURES_SELECT, 1);
    let mut guest = move_to(guest, Entropy::new().unwrap());
    assert_eq!(guest.status(), 3);
    guest.set_up(!0);
    assert_eq!(guest.ask(0, &[Piece::In(8)]).0, 8);
}

#[test]
fn a_broken_device_stays_broken_until_it_is_reset() {
    let guest = Guest::with_driver(Entropy::new().unwrap());
    let index = GuestAddress(guest.queues[0].available + 2);
    guest.memory.write_obj(17u16, index).unwrap();
    guest.serve();
    let guest = move_to(guest, Entropy::new().unwrap());
    assert!(guest.needs_reset());
    guest.write(register::STATUS, 0);
    assert_eq!(guest.status(), 0);
}

#[test]
fn a_disk_of_another_size_is_refused_and_nothing_changes() {
    let (_image, state) = disk_state();
    let other = image(9);
    let there = Guest::paused(disk(other.path()), memory());
    let fresh = there.transport.save().unwrap();
    let error = there.transport.restore(&state).unwrap_err().to_string();
    assert!(error.contains("9 sectors, but had 8"), "{error}");
    assert_eq!(there.transport.save().unwrap(), fresh);
}

#[test]
fn a_read_only_disk_does_not_continue_a_writable_one() {
    let (image, state) = disk_state();
    let there = Guest::paused(Block::open(image.path(), true, "").unwrap(), memory());
    let error = there.transport.restore(&state).unwrap_err().to_string();
    assert!(error.contains("features that it lacks"), "{error}");
}

#[test]
fn damaged_states_are_refused() {
    let (image, state) = disk_state();
    type Damage = fn(&mut SavedDevice);
    let damages: [(&str, Damage); 13] = [
        ("version", |state| state.version = 2),
        ("kind", |state| state.kind = 4),
        ("config", |state| state.config.clear()),
        ("limits", |state| state.config[12] ^= 1),
        ("features", |state| state.driver_features |= 1 << 63),
        ("no features", |state| state.driver_features = 0),
        ("no queues", |state| state.queues.clear()),
        ("too many queues", |state| state.queues.push(state.queues[0])),
        ("size", |state| state.queues[0].size = 0x1_0010),
        ("table", |state| state.queues[0].descriptors = u64::MAX - 15),
        ("alignment", |state| state.queues[0].available += 1),
        ("used", |state| state.queues[0].used = RAM),
        ("position", |state| state.queues[0].next_used ^= 0x8000),
    ];
    for (what, damage) in damages {
        let mut damaged = state.clone();
        damage(&mut damaged);
        let there = Guest::paused(disk(image.path()), memory());
        let fresh = there.transport.save().unwrap();
        assert!(there.transport.restore(&damaged).is_err(), "{what}");
        assert_eq!(there.transport.save().unwrap(), fresh, "{what}");
    }
    let there = Guest::paused(disk(image.path()), memory());
    there.transport.restore(&state).unwrap();
}

#[test]
fn a_card_without_an_address_is_refused() {
    let card = || Net::new(UnixDatagram::pair().unwrap().0, Mac::random().unwrap()).unwrap();
    let guest = Guest::paused(card(), memory());
    let state = guest.transport.save().unwrap();
    for config in [vec![], vec![0; 8], vec![1; 8], vec![2; 7], vec![2; 9]] {
        let damaged = SavedDevice { config, ..state.clone() };
        assert!(guest.transport.restore(&damaged).is_err(), "{:?}", damaged.config);
    }
    guest.transport.restore(&state).unwrap();
}

/// The first version's record, as it was written then: it must be read for ever.
const VERSION_1: &str = r#"{"version":1,"kind":2,"config":[8,0,0,0,0,0,0,0,0,0,16,0,254,0,0,0,0,0,
0,0,0,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,64,0,16,0,0,0,8,0,0,0,0,0,1,0,16,0,0,0,1,0,0,0],
"device_features_select":1,"driver_features_select":1,"driver_features":5100298822,"queue_select":1,
"status":15,"interrupt_status":1,"queues":[{"size":16,"ready":true,"descriptors":65536,
"available":73728,"used":77824,"next_available":1,"next_used":1}]}"#;

#[test]
fn the_first_versions_record_is_still_read() {
    let (image, state) = disk_state();
    let golden: SavedDevice = serde_json::from_str(VERSION_1).unwrap();
    assert_eq!(golden, state, "{}", serde_json::to_string(&state).unwrap());
    let there = Guest::paused(disk(image.path()), memory());
    there.transport.restore(&golden).unwrap();
}
