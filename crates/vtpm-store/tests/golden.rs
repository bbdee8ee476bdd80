//! Files of every released format version open for ever. See `golden/README.md`.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use common::{TRANSFER, memory, state_file};
use vtpm_store::medium::Memory;
use vtpm_store::source::{Cost, KeyFile, Passphrase, Plain};
use vtpm_store::{
    AuditEvent, Birth, Expect, InstanceId, KeySource, MinimumGeneration, Override, Place,
    RecoveryPublicKey, RecoverySecretKey, Restore, Role, SealedKey, SlotFault, Store,
};
use zeroize::Zeroizing;

const ID: InstanceId = InstanceId(*b"golden instance!");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Reads the text form: `length N`, then lines of `offset: bytes`; what is not there is zero.
fn read(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(length) = line.strip_prefix("length ") {
            bytes = vec![0; length.parse().unwrap()];
            continue;
        }
        let (offset, hex) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (at, byte) in hex.split(' ').enumerate() {
            bytes[offset + at] = u8::from_str_radix(byte, 16).unwrap();
        }
    }
    bytes
}

/// Writes the text form, to a new file only: a golden file is never replaced.
fn write(name: &str, comment: &str, bytes: &[u8]) {
    let mut text = format!("# {comment}\nlength {}\n", bytes.len());
    for (line, chunk) in bytes.chunks(16).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            let hex: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{:04x}: {}", line * 16, hex.join(" ")).unwrap();
        }
    }
    match std::fs::File::create_new(folder().join(name)) {
        Ok(mut file) => file.write_all(text.as_bytes()).unwrap(),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists),
    }
}

/// The key file of the golden files, copied to where it is private.
fn key_file() -> KeyFile {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::copy(folder().join("key-file.key"), &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeyFile::open(&path).unwrap()
}

fn passphrase() -> Passphrase {
    let cost = Cost { memory_kib: 64, passes: 2, lanes: 2 };
    Passphrase::with_cost(Zeroizing::new(b"a golden passphrase".to_vec()), cost).unwrap()
}

fn recovery() -> RecoverySecretKey {
    RecoverySecretKey::from_pem(include_str!("golden/recovery-key.pem")).unwrap()
}

fn open(name: &str, source: &dyn KeySource) -> vtpm_store::Opened {
    let (place, _) = memory(read(name));
    let opened = Store::open(&place, source, &Expect::instance(ID)).unwrap();
    assert_eq!(opened.store.key_source(), source.kind());
    opened
}

#[test]
fn version_1_plain_opens_with_its_audit_entry() {
    let opened = open("v1-plain.txt", &Plain::unencrypted());
    assert_eq!(&opened.state[..], b"the fourth state");
    assert_eq!((opened.store.generation(), opened.recovered), (42, None));
    assert_eq!(opened.store.role(), Role::Active { epoch: 7 });
    let [entry] = opened.store.audit() else { panic!("one entry") };
    assert_eq!((entry.event, entry.sequence), (AuditEvent::RollbackAccepted, 1));
    assert_eq!((entry.generation, entry.remembered), (3, 40));
    assert_eq!((entry.unix_seconds, &entry.reason[..]), (1_800_000_000, "golden reason"));
}

#[test]
fn version_1_under_a_key_file_opens_on_its_way_out() {
    let opened = open("v1-key-file-outgoing.txt", &key_file());
    assert_eq!(opened.store.role(), Role::Outgoing { transfer: TRANSFER, epoch: 7 });
    assert_eq!((&opened.state[..], &opened.note[..]), (&b"frozen"[..], &b"peer"[..]));
}

#[test]
fn version_1_under_a_passphrase_opens_prepared() {
    let opened = open("v1-passphrase-prepared.txt", &passphrase());
    assert_eq!(opened.store.role(), Role::Prepared { transfer: TRANSFER, epoch: 7 });
    assert_eq!((&opened.state[..], &opened.note[..]), (&b"received"[..], &b"peer"[..]));
}

#[test]
fn version_1_tombstone_opens_with_its_note_and_no_state() {
    let opened = open("v1-tombstone.txt", &key_file());
    assert_eq!(opened.store.role(), Role::Tombstone { transfer: TRANSFER, epoch: 7 });
    assert_eq!((&opened.state[..], &opened.note[..]), (&b""[..], &b"it is yours"[..]));
}

#[test]
fn version_1_torn_opens_at_the_older_state() {
    let opened = open("v1-torn.txt", &Plain::unencrypted());
    assert_eq!(&opened.state[..], b"the second state");
    assert_eq!(opened.recovered, Some(SlotFault::Payload { generation: 3 }));
}

#[test]
fn version_1_backup_is_restored() {
    let place = common::small(std::sync::Arc::new(Memory::new()));
    let restore = Restore::because(Override::because("test", UNIX_EPOCH).unwrap());
    let backup = read("v1-backup.txt");
    let plain = Plain::unencrypted();
    let store = Store::import(&place, &backup, &recovery(), &plain, &restore).unwrap();
    assert_eq!(&store.state().unwrap()[..], b"the fourth state");
    assert_eq!((store.instance(), store.generation()), (ID, 43));
    assert_eq!((store.role(), store.audit().len()), (Role::Active { epoch: 7 }, 2));
}

#[test]
fn what_this_release_writes_is_still_version_1() {
    let memory = Memory::new();
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    let place = common::small(std::sync::Arc::new(memory.clone()));
    drop(Store::create(&place, Birth::active(ID, 7), key, b"the first state", b"").unwrap());
    let (ours, golden) = (state_file(&memory), read("v1-plain.txt"));
    assert_eq!(ours[..12], golden[..12], "a new version needs new golden files");
}

fn fresh(source: &dyn KeySource, birth: Birth, state: &[u8], note: &[u8]) -> (Memory, Store) {
    let memory = Memory::new();
    let place: Place = common::small(std::sync::Arc::new(memory.clone()));
    let key = SealedKey::new(source, &ID).unwrap();
    let store = Store::create(&place, birth, key, state, note).unwrap();
    (memory, store)
}

#[test]
#[ignore = "writes the golden files of the current version that are missing"]
fn write_missing_golden_files() {
    let active = Birth::active(ID, 7);
    let plain = Plain::unencrypted();
    let (memory, mut store) = fresh(&plain, active, b"the first state", b"");
    store.commit(b"the second state").unwrap();
    store.commit(b"the third state").unwrap();
    let mut torn = state_file(&memory);
    torn[..4096].iter_mut().rfind(|byte| **byte != 0).map(|byte| *byte ^= 0xff).unwrap();
    write("v1-torn.txt", "sealed plainly; the last byte of generation 3 was not written", &torn);
    let place = store.place().clone();
    drop(store);

    let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let by = Override::because("golden reason", at).unwrap();
    let expect = Expect::instance(ID).at_least(MinimumGeneration(40)).or_older(by);
    let mut store = Store::open(&place, &plain, &expect).unwrap().store;
    store.commit(b"the fourth state").unwrap();
    let comment = "sealed plainly; generation 42, with an audit entry";
    write("v1-plain.txt", comment, &state_file(&memory));
    let public: RecoveryPublicKey = recovery().public_key();
    let backup = store.export(&public).unwrap();
    write("v1-backup.txt", "a backup of v1-plain.txt for recovery-public.pem", &backup);

    let keys = key_file();
    let (memory, mut store) = fresh(&keys, active, b"running", b"");
    store.begin_outgoing(TRANSFER, b"frozen", b"peer").unwrap();
    let comment = "sealed by key-file.key; on its way out";
    write("v1-key-file-outgoing.txt", comment, &state_file(&memory));
    store.entomb(SealedKey::new(&keys, &ID).unwrap(), b"it is yours").unwrap();
    write("v1-tombstone.txt", "sealed by key-file.key; gone", &state_file(&memory));

    let prepared = Birth::prepared(ID, TRANSFER, 7);
    let (memory, _store) = fresh(&passphrase(), prepared, b"received", b"peer");
    let comment = "sealed by the passphrase \"a golden passphrase\"; received, not yet active";
    write("v1-passphrase-prepared.txt", comment, &state_file(&memory));
}
