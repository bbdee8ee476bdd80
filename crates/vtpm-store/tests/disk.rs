//! The real disk: modes, locks, links, hand-over of the lock.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::ID;
use vtpm_store::source::Plain;
use vtpm_store::{Birth, Error, Expect, Place, SealedKey, Store};

fn create(path: &Path) -> Store {
    let key = SealedKey::new(&Plain::unencrypted(), &ID).unwrap();
    Store::create(&Place::at(path), Birth::active(ID, 0), key, b"state", b"").unwrap()
}

fn open(path: &Path) -> Result<vtpm_store::Opened, Error> {
    Store::open(&Place::at(path), &Plain::unencrypted(), &Expect::instance(ID))
}

#[test]
fn every_file_is_private_to_its_owner_before_and_after_growth() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    let mut store = create(&path);
    for round in 0..2 {
        for entry in dir.path().read_dir().unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?} in round {round}", entry.path());
        }
        store.commit(&[1; 100_000]).unwrap();
    }
    drop(store);
    assert_eq!(open(&path).unwrap().state.len(), 100_000);
}

#[test]
fn a_second_open_is_refused_by_the_name_of_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    let store = create(&path);
    let error = open(&path).unwrap_err();
    let Error::Locked { holder: Some(holder), .. } = &error else { panic!("{error}") };
    assert_eq!(holder.pid, std::process::id());
    assert!(error.to_string().contains(&format!("process {} on host", holder.pid)), "{error}");
    assert!(Store::erase(store.place()).is_err(), "nor can it be erased");
    drop(store);
    open(&path).unwrap();
}

#[test]
fn a_lock_that_outlived_its_process_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    drop(create(&path));
    std::fs::write(dir.path().join("guest.vtpm.lock"), "4194304 gone\n").unwrap();
    open(&path).unwrap();
}

#[test]
fn a_released_store_comes_back_if_nobody_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    let released = create(&path).release();
    let other = open(&path).unwrap();
    let (released, error) = released.acquire().unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(other);
    let mut store = released.acquire().map_err(|(_, error)| error).unwrap();
    store.commit(b"mine again").unwrap();
}

#[test]
fn a_released_store_does_not_come_back_over_what_another_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    let released = create(&path).release();
    let mut other = open(&path).unwrap().store;
    other.commit(b"theirs").unwrap();
    drop(other);
    let (_, error) = released.acquire().unwrap_err();
    assert!(matches!(error, Error::ChangedElsewhere { .. }), "{error}");
    assert_eq!(&open(&path).unwrap().state[..], b"theirs");
}

#[test]
fn links_and_directories_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    drop(create(&path));
    let link = dir.path().join("link.vtpm");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), Err(Error::NotRegular { .. })));
    assert!(matches!(open(dir.path()), Err(Error::Io { .. } | Error::NotRegular { .. })));
    let fifo = dir.path().join("fifo.vtpm");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    assert!(matches!(open(&fifo), Err(Error::NotRegular { .. })), "and it does not hang");
}

#[test]
fn destroying_leaves_no_file_and_the_path_is_free_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    create(&path).destroy().unwrap();
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    create(&path);
}

#[test]
fn a_file_that_cannot_be_opened_can_be_erased() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    std::fs::write(&path, b"not a store").unwrap();
    Store::erase(&Place::at(&path)).unwrap();
    assert!(!path.exists());
    assert!(matches!(Store::erase(&Place::at(&path)), Err(Error::NotFound { .. })));
}

#[test]
fn what_an_interrupted_growth_left_is_removed_by_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.vtpm");
    drop(create(&path));
    let leftover = dir.path().join("guest.vtpm.new");
    std::fs::write(&leftover, b"half a file").unwrap();
    open(&path).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_relative_path_without_a_directory_works() {
    // The directory of such a path is the current one; syncing it must not fail.
    use vtpm_store::medium::{Disk, Medium};
    Disk.sync_directory(Path::new("guest.vtpm")).unwrap();
}
