//! Backups: out under the public key, back under the private one.

mod common;

use std::time::UNIX_EPOCH;

use common::{ID, TRANSFER, memory, small, state_file};
use vtpm_store::medium::Memory;
use vtpm_store::source::Plain;
use vtpm_store::{
    AuditEvent, BackupError, Birth, Error, Expect, MinimumGeneration, Override, Place,
    RecoveryPublicKey, RecoverySecretKey, Restore, SealedKey, Store,
};

const SECRET: &str = include_str!("golden/recovery-key.pem");
const PUBLIC: &str = include_str!("golden/recovery-public.pem");

fn store() -> Store {
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    let mut store = Store::create(&empty(), Birth::active(ID, 3), key, b"one", b"").unwrap();
    store.commit(b"a state worth keeping").unwrap();
    store
}

fn empty() -> Place {
    small(std::sync::Arc::new(Memory::new()))
}

fn secret() -> RecoverySecretKey {
    RecoverySecretKey::from_pem(SECRET).unwrap()
}

fn public() -> RecoveryPublicKey {
    RecoveryPublicKey::from_pem(PUBLIC).unwrap()
}

fn because() -> Restore {
    Restore::because(Override::because("host 7 burnt down", UNIX_EPOCH).unwrap())
}

fn import(backup: &[u8], restore: &Restore) -> Result<Store, Error> {
    Store::import(&empty(), backup, &secret(), &Plain::unencrypted(), restore)
}

#[test]
fn a_backup_comes_back_one_generation_later_and_says_so() {
    let original = store();
    let backup = original.export(&public()).unwrap();
    assert!(!common::contains(&backup, b"a state worth keeping"));
    let restored = import(&backup, &because()).unwrap();
    assert_eq!(&restored.state().unwrap()[..], b"a state worth keeping");
    assert_eq!(restored.instance(), ID);
    assert_eq!(restored.role(), original.role());
    assert_eq!((original.generation(), restored.generation()), (2, 3));
    let [entry] = restored.audit() else { panic!("{:?}", restored.audit()) };
    assert_eq!((entry.event, entry.generation), (AuditEvent::Imported, 2));
    assert_eq!(entry.reason, "host 7 burnt down");
    // The audit entries travel with the backups of it.
    let again = import(&restored.export(&public()).unwrap(), &because()).unwrap();
    assert_eq!(again.audit().len(), 2);
}

#[test]
fn two_backups_of_one_state_have_nothing_in_common() {
    let original = store();
    let (one, two) = (original.export(&public()).unwrap(), original.export(&public()).unwrap());
    assert_ne!(one[80..145], two[80..145], "the ephemeral keys");
    assert_ne!(one[145..], two[145..]);
}

#[test]
fn a_backup_older_than_remembered_needs_an_explicit_word() {
    let backup = store().export(&public()).unwrap();
    let remembered = because().at_least(MinimumGeneration(70));
    let error = import(&backup, &remembered).unwrap_err();
    assert!(matches!(error, Error::RolledBack { file: 2, remembered: 70 }), "{error}");
    let restored = import(&backup, &remembered.or_older()).unwrap();
    assert_eq!(restored.generation(), 71);
    assert_eq!(restored.audit()[0].remembered, 70);
}

#[test]
fn an_instance_on_the_move_is_not_backed_up() {
    let mut store = store();
    store.begin_outgoing(TRANSFER, b"frozen", b"").unwrap();
    assert!(matches!(store.export(&public()), Err(Error::WrongRole { .. })));
}

#[test]
fn a_changed_or_cut_backup_is_refused_at_every_byte() {
    let backup = store().export(&public()).unwrap();
    for at in 0..backup.len() {
        let mut flipped = backup.clone();
        flipped[at] ^= 1;
        assert!(matches!(import(&flipped, &because()), Err(Error::Backup(_))), "byte {at}");
        assert!(matches!(import(&backup[..at], &because()), Err(Error::Backup(_))), "cut {at}");
    }
}

#[test]
fn the_wrong_recovery_key_is_named() {
    let backup = store().export(&public()).unwrap();
    let mut other = backup.clone();
    other[48] ^= 1;
    let error = import(&other, &because()).unwrap_err();
    let Error::Backup(BackupError::WrongKey { offered, .. }) = &error else { panic!("{error}") };
    assert_eq!(*offered, public().fingerprint());
    assert!(error.to_string().contains(&offered.to_string()));
}

#[test]
fn a_newer_backup_asks_for_a_newer_release() {
    let mut backup = store().export(&public()).unwrap();
    backup[8..12].copy_from_slice(&[3, 0, 2, 0]);
    let error = import(&backup, &because()).unwrap_err();
    assert!(matches!(error, Error::Backup(BackupError::Newer { minimum: 2 })), "{error}");
}

#[test]
fn a_backup_is_never_restored_over_a_file() {
    let backup = store().export(&public()).unwrap();
    let (place, memory) = memory(b"precious".to_vec());
    let plain = Plain::unencrypted();
    let error = Store::import(&place, &backup, &secret(), &plain, &because()).unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(state_file(&memory), b"precious");
}

#[test]
fn a_backup_larger_than_the_place_allows_is_refused() {
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    let state = vec![1; 60_000];
    let store = Store::create(&empty(), Birth::active(ID, 0), key, &state, b"").unwrap();
    let backup = store.export(&public()).unwrap();
    let plain = Plain::unencrypted();
    for limit in [1000, 59_999] {
        let narrow = empty().with_state_limit(limit);
        let error = Store::import(&narrow, &backup, &secret(), &plain, &because()).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
}

#[test]
fn keys_in_other_forms_are_refused_and_a_secret_key_is_not_shown() {
    assert!(RecoverySecretKey::from_pem(PUBLIC).is_err());
    assert!(RecoveryPublicKey::from_pem(SECRET).is_err());
    assert!(RecoveryPublicKey::from_pem("").is_err());
    assert_eq!(secret().public_key(), public());
    let shown = format!("{:?}", secret());
    assert_eq!(shown, format!("RecoverySecretKey(of {})", public().fingerprint()));
}

#[test]
fn a_restored_file_opens_like_any_other() {
    let backup = store().export(&public()).unwrap();
    let place = empty();
    let plain = Plain::unencrypted();
    drop(Store::import(&place, &backup, &secret(), &plain, &because()).unwrap());
    let expect = Expect::instance(ID).at_least(MinimumGeneration(3));
    let opened = Store::open(&place, &plain, &expect).unwrap();
    assert_eq!(&opened.state[..], b"a state worth keeping");
}
