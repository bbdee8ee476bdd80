//! Requests of disks (clause 5.2.6).

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

fn read(guest: &mut Guest, sector: u64, size: usize) -> (u8, Vec<u8>) {
    let pieces = [Piece::Out(&header(IN, sector)), Piece::In(size), Piece::In(1)];
    let (written, answers) = guest.ask(0, &pieces);
    let status = answers[1][0];
    assert_eq!(written, if status == OK { size + 1 } else { 0 });
    (status, answers[0].clone())
}

fn write(guest: &mut Guest, sector: u64, data: &[u8]) -> u8 {
    send(guest, OUT, sector, data)
}

/// A request with data for the device.
fn send(guest: &mut Guest, kind: u32, sector: u64, data: &[u8]) -> u8 {
    let header = header(kind, sector);
    let pieces = [Piece::Out(&header), Piece::Out(data), Piece::In(1)];
    let (written, answers) = guest.ask(0, &pieces);
    assert_eq!(written, 1);
    answers[0][0]
}

fn range(sector: u64, count: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat()
}

#[test]
fn sectors_are_read_where_they_are() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    assert_eq!(read(&mut guest, 3, 1024), (OK, [[3; 512], [4; 512]].concat()));
    assert_eq!(read(&mut guest, 7, 512), (OK, vec![7; 512]));
}

#[test]
fn sectors_are_written_where_they_belong() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    assert_eq!(write(&mut guest, 2, &[0xab; 1024]), OK);
    let bytes = fs::read(image.path()).unwrap();
    assert_eq!(bytes.len(), 8 * 512);
    assert_eq!(bytes[1024..2048], [0xab; 1024]);
    assert_eq!(bytes[..1024], [[0; 512], [1; 512]].concat());
    assert_eq!(bytes[2048..2560], [4; 512]);
    assert_eq!(send(&mut guest, FLUSH, 0, &[]), OK);
}

#[test]
fn how_a_request_is_cut_into_buffers_means_nothing() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    let header = header(IN, 5);
    let pieces = [
        Piece::Out(&header[..3]),
        Piece::Out(&header[3..]),
        Piece::In(100),
        Piece::In(0),
        Piece::In(412 + 1),
    ];
    let (written, answers) = guest.ask(0, &pieces);
    assert_eq!(written, 513);
    assert_eq!(answers[0], [5; 100]);
    assert_eq!(answers[2][..412], [5; 412]);
    assert_eq!(answers[2][412], OK);
}

#[test]
fn nothing_beyond_the_end_is_touched() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    let cases = [(8, 512), (7, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (u64::MAX - 1, 1024)];
    for (sector, size) in cases {
        assert_eq!(read(&mut guest, sector, size), (IOERR, vec![0; size]), "{sector}");
        assert_eq!(write(&mut guest, sector, &vec![9; size]), IOERR, "{sector}");
    }
    assert_eq!(fs::metadata(image.path()).unwrap().len(), 8 * 512);
}

#[test]
fn parts_of_sectors_are_refused() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    assert_eq!(read(&mut guest, 0, 511).0, IOERR);
    assert_eq!(write(&mut guest, 0, &[9; 513]), IOERR);
    assert_eq!(fs::read(image.path()).unwrap()[..512], [0; 512]);
}

#[test]
fn a_read_only_disk_is_not_written() {
    let image = image(8);
    let before = fs::read(image.path()).unwrap();
    let mut guest = Guest::with_driver(Block::open(image.path(), true, "").unwrap());
    let features = guest.transport.pause().and_then(|()| guest.transport.save()).unwrap();
    assert_eq!(features.driver_features & 1 << 5, 1 << 5, "VIRTIO_BLK_F_RO");
    guest.transport.resume().unwrap();
    assert_eq!(write(&mut guest, 1, &[9; 512]), IOERR);
    assert_eq!(send(&mut guest, DISCARD, 0, &range(0, 1, 0)), UNSUPP);
    assert_eq!(send(&mut guest, WRITE_ZEROES, 0, &range(0, 1, 0)), UNSUPP);
    assert_eq!(send(&mut guest, FLUSH, 0, &[]), OK);
    assert_eq!(read(&mut guest, 1, 512), (OK, vec![1; 512]));
    assert_eq!(fs::read(image.path()).unwrap(), before);
}

#[test]
fn the_identifier_is_padded_or_cut() {
    let image = image(1);
    for (identifier, expected) in
        [("short", *b"short\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), (&"x".repeat(30), [b'x'; 20])]
    {
        let mut guest = Guest::with_driver(Block::open(image.path(), true, identifier).unwrap());
        let header = header(GET_ID, 0);
        let pieces = [Piece::Out(&header), Piece::In(20), Piece::In(1)];
        let (written, answers) = guest.ask(0, &pieces);
        assert_eq!((written, &answers[0][..]), (21, &expected[..]));
        let (written, answers) = guest.ask(0, &[Piece::Out(&header), Piece::In(24), Piece::In(1)]);
        assert_eq!((written, answers[1][0]), (20, OK), "a gap before the status");
    }
}

#[test]
fn discarded_sectors_may_be_anything_and_others_stay() {
    let image = image(32);
    let mut guest = Guest::with_driver(disk(image.path()));
    assert_eq!(send(&mut guest, DISCARD, 0, &range(8, 8, 0)), OK);
    assert_eq!(read(&mut guest, 7, 512), (OK, vec![7; 512]));
    assert_eq!(read(&mut guest, 16, 512), (OK, vec![16; 512]));
    assert_eq!(fs::metadata(image.path()).unwrap().len(), 32 * 512);
}

#[test]
fn zeroed_sectors_are_zero_with_and_without_holes() {
    let image = image(32);
    let mut guest = Guest::with_driver(disk(image.path()));
    let ranges = [range(2, 3, 0), range(8, 8, 1)].concat();
    assert_eq!(send(&mut guest, WRITE_ZEROES, 0, &ranges), OK);
    let bytes = fs::read(image.path()).unwrap();
    for sector in 0..32u8 {
        let zero = (2..5).contains(&sector) || (8..16).contains(&sector);
        let expected = if zero { 0 } else { sector };
        let at = usize::from(sector) * 512;
        assert_eq!(bytes[at..at + 512], [expected; 512], "{sector}");
    }
}

#[test]
fn ranges_are_checked_before_any_is_done() {
    let image = image(32);
    let before = fs::read(image.path()).unwrap();
    let mut guest = Guest::with_driver(disk(image.path()));
    let beyond = [range(0, 1, 0), range(31, 2, 0)].concat();
    let many = range(0, 1, 0).repeat(17);
    let cases = [
        (WRITE_ZEROES, beyond, IOERR),
        (WRITE_ZEROES, range(u64::MAX, 1, 0), IOERR),
        (WRITE_ZEROES, range(0, u32::MAX, 0), IOERR),
        (WRITE_ZEROES, range(0, 1, 2), UNSUPP),
        (WRITE_ZEROES, range(0, 1, 0)[..15].to_vec(), IOERR),
        (WRITE_ZEROES, many, IOERR),
        (WRITE_ZEROES, vec![], IOERR),
        (DISCARD, range(0, 1, 1), UNSUPP),
        (DISCARD, range(32, 1, 0), IOERR),
    ];
    for (kind, data, status) in cases {
        assert_eq!(send(&mut guest, kind, 0, &data), status, "{kind} {data:x?}");
    }
    assert_eq!(fs::read(image.path()).unwrap(), before);
}

#[test]
fn unknown_requests_are_unsupported() {
    let image = image(1);
    let mut guest = Guest::with_driver(disk(image.path()));
    for kind in [2, 3, 7, 14, 16, u32::MAX] {
        assert_eq!(send(&mut guest, kind, 0, &[1, 2, 3]), UNSUPP, "{kind}");
    }
}

#[test]
fn a_request_that_was_not_negotiated_is_unsupported() {
    let image = image(8);
    let none = spec::feature::VERSION_1;
    let mut guest = Guest::with_features(disk(image.path()), none);
    assert_eq!(send(&mut guest, DISCARD, 0, &range(0, 1, 0)), UNSUPP);
    assert_eq!(send(&mut guest, WRITE_ZEROES, 0, &range(0, 1, 0)), UNSUPP);
    assert_eq!(write(&mut guest, 0, &[7; 512]), OK, "durable at once");
}

#[test]
fn an_image_that_shrinks_under_a_guest_is_an_error_of_the_disk() {
    let image = image(8);
    let mut guest = Guest::with_driver(disk(image.path()));
    image.as_file().set_len(512).unwrap();
    assert_eq!(read(&mut guest, 0, 512).0, OK);
    assert_eq!(read(&mut guest, 4, 512).0, IOERR);
}

#[test]
fn a_request_larger_than_the_limits_is_refused() {
    let image = image(1);
    image.as_file().set_len(1 << 30).unwrap();
    let mut guest = Guest::with_driver(disk(image.path()));
    // The same memory again and again makes the longest requests.
    let request = guest.place(0, &[Piece::Out(&header(IN, 0))]);
    let table = guest.buffer(16 * 200);
    let room = BUFFERS as u32;
    for index in 0..199u16 {
        guest.describe_at(table + 16 * u64::from(index), (0, room, NEXT | WRITE, index + 1));
    }
    let status = guest.buffer(1);
    guest.describe_at(table + 16 * 199, (status, 1, WRITE, 0));
    let at = request.head + 1;
    let address = guest.bytes(guest.queues[0].descriptors, 8);
    let address = u64::from_le_bytes(address.try_into().unwrap());
    guest.describe(0, request.head, (address, 16, NEXT, at));
    guest.describe(0, at, (table, 16 * 200, INDIRECT, 0));
    guest.publish(0, request.head);
    guest.serve();
    assert!(!guest.needs_reset());
    assert_eq!(guest.used(0), [(request.head, 0)]);
    assert_eq!(guest.bytes(status, 1), [IOERR]);
}

#[test]
fn images_that_cannot_be_come_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let advice = |path: &Path, read_only| {
        Block::open(path, read_only, "").map(|_| ()).unwrap_err().to_string()
    };
    let missing = folder.path().join("missing.raw");
    assert!(advice(&missing, false).contains("truncate -s 4G"), "{}", advice(&missing, false));
    let odd = folder.path().join("odd.raw");
    fs::write(&odd, [0; 513]).unwrap();
    assert!(advice(&odd, false).contains("truncate -s 1024"), "{}", advice(&odd, false));
    let empty = folder.path().join("empty.raw");
    fs::write(&empty, []).unwrap();
    assert!(advice(&empty, false).contains("it is empty"), "{}", advice(&empty, false));
    assert!(advice(folder.path(), true).contains("it is a folder"));
    assert!(advice(folder.path(), false).contains("it is a folder"));
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may do it all the same, and then the size is what is wrong.
    let denied = advice(&odd, false);
    assert!(denied.contains("read-only") || denied.contains("truncate"), "{denied}");
}

#[test]
fn one_running_machine_has_a_disk_and_a_paused_one_lends_it() {
    let image = image(8);
    let first = Guest::new(disk(image.path()));
    let second = Guest::paused(disk(image.path()), memory());
    let refused = second.transport.resume().unwrap_err().to_string();
    assert!(refused.contains("another machine uses it"), "{refused}");
    first.transport.pause().unwrap();
    second.transport.resume().unwrap();
    assert!(first.transport.resume().is_err());
    second.transport.pause().unwrap();
    first.transport.resume().unwrap();
}

#[test]
fn read_only_machines_share_a_disk() {
    let image = image(8);
    let open = || Block::open(image.path(), true, "").unwrap();
    let _first = Guest::new(open());
    let _second = Guest::new(open());
    assert!(Guest::paused(disk(image.path()), memory()).transport.resume().is_err());
}
