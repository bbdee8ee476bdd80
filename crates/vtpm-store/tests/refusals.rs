//! What is refused, with what words, and that a refused file is not changed.

mod common;

use std::time::{Duration, UNIX_EPOCH};

use common::{ID, PATH, TRANSFER, Vault, memory, small, state_file};
use sha2::{Digest, Sha256};
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{
    AuditEvent, Birth, Error, Expect, InstanceId, Key, KeySource, MinimumGeneration, Override,
    Role, SealedKey, SlotFault, SourceError, Store,
};

/// A file with generations 1 to 3.
fn file() -> Vec<u8> {
    let memory = Memory::new();
    let place = small(std::sync::Arc::new(memory.clone()));
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    let mut store = Store::create(&place, Birth::active(ID, 0), key, b"one", b"").unwrap();
    store.commit(b"two").unwrap();
    store.commit(b"three").unwrap();
    state_file(&memory)
}

/// Opens `bytes`, which must be refused and stay as they are.
fn refused_with(bytes: Vec<u8>, source: &dyn KeySource, expect: &Expect) -> Error {
    let (place, memory) = memory(bytes.clone());
    let error = Store::open(&place, source, expect).unwrap_err();
    assert_eq!(state_file(&memory), bytes, "a refused file was changed");
    assert!(memory.get(format!("{PATH}.new")).is_none());
    let hints = [
        "restore a backup",
        "check the path",
        "upgrade",
        "put the right file back",
        "mend it",
        "find out who",
        "raise the limit",
        "stop that one",
    ];
    let text = error.to_string();
    assert!(hints.iter().any(|hint| text.contains(hint)), "no hint what to do: {text}");
    error
}

fn refused(bytes: Vec<u8>) -> Error {
    refused_with(bytes, &Plain::unencrypted(), &Expect::instance(ID))
}

/// Makes the digest of the header in `slot` anew.
fn with_valid_header(mut bytes: Vec<u8>, slot: usize) -> Vec<u8> {
    let header = &mut bytes[slot * 4096..];
    let length = u32::from_le_bytes(header[12..16].try_into().unwrap()) as usize;
    let digest: [u8; 32] = Sha256::digest(&header[..length - 32]).into();
    header[length - 32..length].copy_from_slice(&digest);
    bytes
}

#[test]
fn a_missing_file_is_not_found_and_leaves_no_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = vtpm_store::Place::at(dir.path().join("none.vtpm"));
    let error = Store::open(&place, &Plain::unencrypted(), &Expect::anything()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_empty_or_blank_file_is_told_from_a_damaged_one() {
    assert!(matches!(refused(vec![]), Error::Empty { .. }));
    assert!(matches!(refused(vec![0; 8192]), Error::Blank { .. }));
    assert!(matches!(refused(vec![0; 65536]), Error::Blank { .. }));
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = file();
    for length in 1..whole.len() {
        let error = refused(whole[..length].to_vec());
        assert!(matches!(error, Error::WrongLength { .. }), "at {length}: {error}");
    }
    let error = refused(whole[..5000].to_vec());
    assert!(error.to_string().contains("5000 bytes long instead of 8192"), "{error}");
}

#[test]
fn an_extended_file_is_refused() {
    for extra in [1, 4096, 8192, 1 << 20] {
        let mut bytes = file();
        bytes.resize(bytes.len() + extra, 0);
        assert!(matches!(refused(bytes), Error::WrongLength { expected: Some(8192), .. }));
    }
}

#[test]
fn another_kind_of_file_is_not_a_store() {
    for length in [16, 17, 4096, 8192, 10_000] {
        assert!(matches!(refused(vec![b'x'; length]), Error::NotAStore { .. }), "{length}");
    }
}

#[test]
fn a_file_with_two_damaged_slots_names_both_faults() {
    let mut bytes = file();
    bytes[200] ^= 1;
    bytes[4096 + 30] ^= 1;
    let error = refused(bytes);
    let Error::Damaged { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults[1], SlotFault::Header);
    assert!(error.to_string().contains("slot 1: torn or flipped header"), "{error}");
}

#[test]
fn a_newer_format_is_refused_even_if_only_one_slot_has_it_and_it_is_the_older() {
    for slot in [0, 1] {
        let mut bytes = file();
        let start = slot * 4096;
        bytes[start + 8..start + 12].copy_from_slice(&[9, 0, 7, 0]);
        let error = refused(with_valid_header(bytes, slot));
        assert!(matches!(error, Error::Newer { version: 9, minimum: 7, .. }), "{error}");
    }
}

#[test]
fn a_forged_header_is_not_authentic() {
    let mut bytes = file();
    bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = refused(with_valid_header(bytes, 0));
    assert!(matches!(error, Error::Tampered { slot: 0, .. }), "{error}");
}

#[test]
fn two_slots_of_one_generation_are_refused() {
    let mut bytes = file();
    let generation: [u8; 8] = bytes[24..32].try_into().unwrap();
    bytes[4096 + 24..4096 + 32].copy_from_slice(&generation);
    let error = refused(with_valid_header(bytes, 1));
    let fault = SlotFault::SameGeneration { generation: 3 };
    assert!(matches!(error, Error::Damaged { faults, .. } if faults == [fault; 2]));
}

#[test]
fn a_record_that_was_moved_to_the_other_slot_is_not_taken() {
    let mut bytes = file();
    bytes.copy_within(..4096, 4096);
    let (place, _) = memory(bytes);
    let opened = Store::open(&place, &Plain::unencrypted(), &Expect::instance(ID)).unwrap();
    assert_eq!((&opened.state[..], opened.recovered), (&b"three"[..], Some(SlotFault::Misplaced)));
}

#[test]
fn a_file_with_slots_beyond_the_limit_is_not_read() {
    let memory = Memory::new();
    let shared = std::sync::Arc::new(memory.clone());
    let large = vtpm_store::Place::on(shared.clone(), PATH).with_slot_size(1 << 20);
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    drop(Store::create(&large, Birth::active(ID, 0), key, b"s", b"").unwrap());
    let error =
        Store::open(&small(shared), &Plain::unencrypted(), &Expect::anything()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { length: 1_048_576, .. }), "{error}");
}

#[test]
fn the_wrong_instance_is_refused() {
    let other = InstanceId([9; 16]);
    let error = refused_with(file(), &Plain::unencrypted(), &Expect::instance(other));
    assert!(matches!(error, Error::WrongInstance { found: ID, .. }), "{error}");
}

#[test]
fn a_file_sealed_by_a_weaker_source_is_not_opened_by_a_stronger() {
    let error = refused_with(file(), &Vault::new("tpm"), &Expect::instance(ID));
    let text = error.to_string();
    assert!(text.contains("sealed by \"plain\"") && text.contains("\"tpm\" was offered"), "{text}");
}

struct Broken;

impl KeySource for Broken {
    fn kind(&self) -> &str {
        "plain"
    }
    fn seal_key(&self, _: &InstanceId, _: &Key) -> Result<Vec<u8>, SourceError> {
        Err(SourceError::new("it broke", "mend it").because("a deep cause"))
    }
    fn unseal_key(&self, instance: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let _ = sealed;
        self.seal_key(instance, &Key::generate().unwrap()).map(|_| unreachable!())
    }
}

#[test]
fn a_source_that_fails_keeps_its_cause_and_its_hint() {
    let error = refused_with(file(), &Broken, &Expect::instance(ID));
    assert_eq!(error.to_string(), "it broke; mend it");
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "a deep cause");

    let (place, memory) = memory(file());
    let mut store =
        Store::open(&place, &Plain::unencrypted(), &Expect::instance(ID)).unwrap().store;
    assert!(matches!(store.reseal(&Broken), Err(Error::Source(_))));
    assert_eq!(state_file(&memory).len(), 8192);
    store.commit(b"goes on").unwrap();
}

#[test]
fn a_source_that_gives_the_wrong_key_opens_nothing() {
    struct Wrong;
    impl KeySource for Wrong {
        fn kind(&self) -> &str {
            "plain"
        }
        fn seal_key(&self, _: &InstanceId, _: &Key) -> Result<Vec<u8>, SourceError> {
            Ok(vec![1])
        }
        fn unseal_key(&self, _: &InstanceId, _: &[u8]) -> Result<Key, SourceError> {
            Ok(Key::generate().unwrap())
        }
    }
    let error = refused_with(file(), &Wrong, &Expect::instance(ID));
    assert!(matches!(error, Error::Tampered { .. }), "{error}");
}

#[test]
fn an_older_file_than_remembered_is_refused_with_both_generations() {
    let expect = Expect::instance(ID).at_least(MinimumGeneration(8));
    let error = refused_with(file(), &Plain::unencrypted(), &expect);
    assert!(matches!(error, Error::RolledBack { file: 3, remembered: 8 }), "{error}");
    let enough = Expect::instance(ID).at_least(MinimumGeneration(3));
    let (place, _) = memory(file());
    assert!(Store::open(&place, &Plain::unencrypted(), &enough).is_ok());
}

#[test]
fn an_accepted_rollback_is_recorded_in_the_file_and_needed_once() {
    let (place, memory) = memory(file());
    let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let by = Override::because("disk died, ticket 17", at).unwrap();
    let remembered = Expect::instance(ID).at_least(MinimumGeneration(8));
    let plain = Plain::unencrypted();
    let opened = Store::open(&place, &plain, &remembered.clone().or_older(by.clone())).unwrap();
    assert_eq!(&opened.state[..], b"three");
    assert_eq!(opened.store.generation(), 9);
    drop(opened);
    assert!(common::contains(&state_file(&memory), b"disk died, ticket 17"));

    let again = Store::open(&place, &plain, &remembered).unwrap();
    let [entry] = again.store.audit() else { panic!("{:?}", again.store.audit()) };
    assert_eq!(entry.event, AuditEvent::RollbackAccepted);
    assert_eq!((entry.generation, entry.remembered), (3, 8));
    assert_eq!((entry.unix_seconds, entry.sequence), (1_700_000_000, 1));
    assert_eq!(entry.reason, "disk died, ticket 17");
    drop(again);
    // An override that was not needed leaves no trace.
    let newest = Expect::instance(ID).at_least(MinimumGeneration(9)).or_older(by);
    assert_eq!(Store::open(&place, &plain, &newest).unwrap().store.audit().len(), 1);
}

#[test]
fn no_override_leads_past_the_last_generation() {
    let by = Override::because("why", UNIX_EPOCH).unwrap();
    let expect = Expect::anything().at_least(MinimumGeneration(u64::MAX)).or_older(by);
    let (place, memory) = memory(file());
    let before = state_file(&memory);
    let error = Store::open(&place, &Plain::unencrypted(), &expect).unwrap_err();
    assert!(matches!(error, Error::Exhausted { .. }), "{error}");
    assert_eq!(state_file(&memory), before);
}

#[test]
fn what_is_too_large_or_for_another_instance_writes_nothing() {
    let (place, memory) = memory(file());
    let before = state_file(&memory);
    let mut store =
        Store::open(&place, &Plain::unencrypted(), &Expect::instance(ID)).unwrap().store;
    let error = store.commit(&vec![0; 64 * 1024 + 1]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 65536, .. }), "{error}");
    let note = vec![0; vtpm_store::NOTE_MAX + 1];
    assert!(matches!(store.begin_outgoing(TRANSFER, b"", &note), Err(Error::TooLarge { .. })));
    let foreign = SealedKey::new(&Plain::unencrypted(), &InstanceId([9; 16])).unwrap();
    assert!(matches!(store.rekey(foreign), Err(Error::Invalid { .. })));
    assert_eq!(state_file(&memory), before);
    store.commit(&vec![0; 64 * 1024]).unwrap();
}

#[test]
fn nothing_is_created_over_an_existing_file() {
    let (place, memory) = memory(b"precious".to_vec());
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    let error = Store::create(&place, Birth::active(ID, 0), key, b"", b"").unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(state_file(&memory), b"precious");
}

#[test]
fn a_step_that_does_not_fit_the_role_is_refused_and_writes_nothing() {
    type Step = fn(&mut Store, SealedKey) -> Result<(), Error>;
    let steps: [(&str, Step); 6] = [
        ("commit", |store, _| store.commit(b"")),
        ("begin", |store, _| store.begin_outgoing(TRANSFER, b"frozen", b"")),
        ("abort", |store, _| store.abort_outgoing()),
        ("entomb", |store, key| store.entomb(key, b"")),
        ("receive", |store, key| store.receive(TRANSFER, 1, key, b"back", b"")),
        ("activate", |store, _| store.activate()),
    ];
    let transfer = TRANSFER;
    let roles: [(Role, &[&str]); 4] = [
        (Role::Active { epoch: 0 }, &["commit", "begin"]),
        (Role::Outgoing { transfer, epoch: 0 }, &["abort", "entomb"]),
        (Role::Tombstone { transfer, epoch: 0 }, &["receive"]),
        (Role::Prepared { transfer, epoch: 1 }, &["activate"]),
    ];
    let plain = Plain::unencrypted();
    let key = || SealedKey::new(&plain, &ID).unwrap();
    for (at, (role, allowed)) in roles.into_iter().enumerate() {
        for (name, step) in steps {
            let (place, memory) = memory(file());
            let mut store = Store::open(&place, &plain, &Expect::instance(ID)).unwrap().store;
            let path: [Step; 3] = [steps[1].1, steps[3].1, steps[4].1];
            path[..at].iter().for_each(|step| step(&mut store, key()).unwrap());
            assert_eq!(store.role(), role);
            let before = state_file(&memory);
            let done = step(&mut store, key());
            if allowed.contains(&name) {
                done.unwrap();
            } else {
                assert!(matches!(done, Err(Error::WrongRole { .. })), "{name} in {role}");
                assert_eq!(state_file(&memory), before, "{name} in {role}");
            }
        }
    }
}

#[test]
fn an_instance_cannot_come_back_older_than_it_left() {
    let (place, _) = memory(file());
    let plain = Plain::unencrypted();
    let key = || SealedKey::new(&plain, &ID).unwrap();
    let mut store = Store::open(&place, &plain, &Expect::instance(ID)).unwrap().store;
    store.begin_outgoing(TRANSFER, b"", b"").unwrap();
    store.entomb(key(), b"").unwrap();
    let error = store.receive(TRANSFER, 0, key(), b"", b"").unwrap_err();
    assert!(matches!(error, Error::StaleEpoch { left: 0, offered: 0 }), "{error}");
}

#[test]
fn a_tombstone_has_no_state_and_keeps_its_note() {
    let (place, memory) = memory(file());
    let plain = Plain::unencrypted();
    let mut store = Store::open(&place, &plain, &Expect::instance(ID)).unwrap().store;
    store.begin_outgoing(TRANSFER, b"frozen", b"peer").unwrap();
    let live = state_file(&memory);
    store.entomb(SealedKey::new(&plain, &ID).unwrap(), b"send this again").unwrap();
    drop(store);
    let opened = Store::open(&place, &plain, &Expect::instance(ID)).unwrap();
    assert_eq!((&opened.state[..], &opened.note[..]), (&b""[..], &b"send this again"[..]));
    let summary = Store::inspect(&place).unwrap();
    assert_eq!(summary.role, Role::Tombstone { transfer: TRANSFER, epoch: 0 });
    // A plain seal is the key itself: it must be gone.
    assert!(!common::contains(&state_file(&memory), &live[117..150]));
    assert!(common::contains(&live, &live[117..150]));
}

#[test]
fn inspecting_needs_no_key_and_changes_nothing() {
    let mut bytes = file();
    bytes[4096 + 300] ^= 1;
    let (place, memory) = memory(bytes.clone());
    let summary = Store::inspect(&place).unwrap();
    assert_eq!((summary.instance, summary.generation), (ID, 3));
    assert_eq!((summary.key_source.as_str(), summary.slot_size), ("plain", 4096));
    assert_eq!(state_file(&memory), bytes);
}
