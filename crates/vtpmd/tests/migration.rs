//! Moves of a state between processes: under a migration key, and over a shared disk.

mod common;

use std::fs;

use common::{Daemon, Home, pcr_extend, pcr_read};

/// Says a new key into a file of a directory.
fn key_file(home: &Home, name: &str, digit: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = home.0.path().join(name);
    fs::write(&path, digit.repeat(64)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("file={},mode=aes-256-cbc", path.display())
}

/// Sets a blob as encrypted.
fn set_encrypted(home: &Home, kind: u32, blob: &[u8]) -> u32 {
    home.control().result(&[0x0d, 2, kind, blob.len() as u32], blob)
}

/// A blob as it comes, with the flags that it comes with.
fn raw_blob(home: &Home, kind: u32) -> (u32, Vec<u8>) {
    use std::io::{Read as _, Write as _};
    let mut stream = home.control().0;
    stream.write_all(&common::words(&[0x0c, 1, kind, 0])).unwrap();
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0);
    let mut blob = vec![0; word(12) as usize];
    stream.read_exact(&mut blob).unwrap();
    (word(4), blob)
}

#[test]
fn a_state_moves_encrypted_under_a_migration_key_and_under_no_other() {
    let (here, there, other) = (Home::new(), Home::new(), Home::new());
    let _source = here.start(&["--migration-key", &key_file(&here, "key", "a")]);
    assert_eq!(here.control().result(&[0x02, 0], b""), 0);
    here.data().start_up();
    assert_eq!(here.control().ask(&[0x0f], b"")[4..], [0, 0, 0, 2]);
    assert_eq!(here.data().run(&pcr_extend(16, &[7; 32])), 0);
    let pcr = here.data().send(&pcr_read(16));
    let (permanent, volatile) = (raw_blob(&here, 1), raw_blob(&here, 2));
    assert_eq!((permanent.0, volatile.0), (2, 2), "both say that they are encrypted");
    assert!(!volatile.1.windows(4).any(|part| part == b"PERM"), "the state shows");

    let _destination = there.start(&["--migration-key", &key_file(&there, "key", "a")]);
    assert_eq!(there.control().set_blob(1, b"anything"), 3, "not encrypted");
    assert_eq!(set_encrypted(&there, 1, &permanent.1), 0);
    assert_eq!(set_encrypted(&there, 2, &volatile.1), 0);
    assert_eq!(there.control().result(&[0x02, 1], b""), 0);
    assert_eq!(there.data().send(&pcr_read(16)), pcr);

    let _stranger = other.start(&["--migration-key", &key_file(&other, "key", "b")]);
    assert_eq!(set_encrypted(&other, 1, &permanent.1), 3);
}

#[test]
fn a_blob_in_parts_is_of_one_state() {
    let home = Home::new();
    let _daemon = home.start_up();
    let whole = home.control().blob(1, 0);
    home.data().define_index(8);
    let rest = home.control().blob(1, 10);
    assert_eq!(rest, whole[10..]);
    assert_ne!(home.control().blob(1, 0), whole);
}

/// A destination on the same directory, with sockets of its own.
fn destination(here: &Home, there: &Home) -> Daemon {
    let mut command = there.command_without_state(&["--migration", "incoming"]);
    command.arg("--tpmstate").arg(format!("dir={}", here.0.path().display()));
    command.arg("--ctrl").arg(format!("type=unixio,path={}", there.control_path().display()));
    command.arg("--server").arg(format!("type=unixio,path={}", there.data_path().display()));
    let mut daemon = Daemon(command.spawn().unwrap());
    daemon.wait_for(&there.control_path());
    daemon.wait_for(&there.data_path());
    daemon
}

#[test]
fn over_a_shared_disk_the_source_lets_go_and_the_destination_goes_on() {
    let (here, there) = (Home::new(), Home::new());
    let source = here.start(&["--migration", "release-lock-outgoing"]);
    assert_eq!(here.control().result(&[0x02, 0], b""), 0);
    here.data().start_up();
    here.data().define_index(4);
    here.data().write_index(b"move");
    let _destination = destination(&here, &there);
    assert_eq!(there.data().run(&common::startup(0)), 0x101, "it waits for INIT");
    let mut control = here.control();
    let (permanent, running) = (control.blob(1, 0), control.blob(2, 0));
    assert_eq!(control.result(&[0x0c, 1, 3, 0], b""), 0x800);
    assert_eq!(there.control().set_blob(1, &permanent), 0);
    assert_eq!(there.control().set_blob(2, &running), 0);
    assert_eq!(there.control().result(&[0x02, 1], b""), 0);
    assert_eq!(there.data().read_index(4), b"move");
    there.data().write_index(b"done");
    // Two of one TPM must not be: the source cannot go on.
    assert_eq!(control.result(&[0x13, 2], b""), 9);
    assert_eq!(here.data().run(&common::get_random(8)), 0x922);
    assert_eq!(control.result(&[0x03], b""), 0);
    assert!(source.end().success());
    assert_eq!(there.data().read_index(4), b"done");
}

#[test]
fn after_a_move_that_failed_the_source_takes_its_state_back() {
    let home = Home::new();
    let _daemon = home.start(&["--migration", "release-lock-outgoing"]);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    home.data().define_index(4);
    let mut control = home.control();
    control.blob(2, 0);
    assert_eq!(control.result(&[0x0c, 1, 3, 0], b""), 0x800);
    assert_eq!(control.result(&[0x13, 300], b""), 0);
    home.data().write_index(b"here");
    assert_eq!(control.result(&[0x0c, 1, 3, 0], b""), 0x800);
    home.data().write_index(b"more");
    assert_eq!(home.data().read_index(4), b"more");
}
