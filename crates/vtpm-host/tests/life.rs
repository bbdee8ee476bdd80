//! The life of an instance on one host: power, commits, and what becomes of it when they fail.

mod common;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Disk, FAILURE, ID, code, create_rsa_4096, define_index, get_random, pcr_extend, pcr_read,
    plain, read_index, run, start_up, startup, write_index,
};
use vtpm_engine::Profile;
use vtpm_host::{CommandRun, Error, Instance, Observer, Saved, Whose};
use vtpm_store::{Expect, MinimumGeneration, Role, Store};

fn created(disk: &Disk) -> vtpm_host::Handle {
    let instance = Instance::create(&disk.place(), &plain(), ID, Profile::default()).unwrap();
    instance.start().unwrap()
}

fn opened(disk: &Disk) -> vtpm_host::Handle {
    let instance = Instance::open(&disk.place(), &plain(), &Expect::instance(ID)).unwrap();
    instance.start().unwrap()
}

#[test]
fn an_instance_is_switched_off_until_it_is_initialized() {
    let tpm = Instance::ephemeral(Profile::default()).unwrap().start().unwrap();
    assert!(!tpm.is_powered());
    assert_eq!(code(&tpm.execute(0, startup())), FAILURE);
    start_up(&tpm);
    assert!(tpm.is_powered());
    run(&tpm, get_random());
    tpm.power_off().unwrap();
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
}

#[test]
fn a_reset_loses_what_is_in_memory_only() {
    let tpm = Instance::ephemeral(Profile::default()).unwrap().start().unwrap();
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, write_index(5));
    let fresh = tpm.execute(0, pcr_read(4));
    run(&tpm, pcr_extend(4));
    assert_ne!(tpm.execute(0, pcr_read(4)), fresh);
    start_up(&tpm);
    assert_eq!(tpm.execute(0, pcr_read(4))[24..], fresh[24..]);
    assert_eq!(read_index(&tpm), 5);
}

#[test]
fn what_was_answered_is_in_the_file() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    run(&tpm, define_index());
    for value in 1..20 {
        run(&tpm, write_index(value));
        // A copy of the disk as a crash would leave it now.
        let crashed = Disk::default();
        crashed.files.put(common::PATH, disk.files.get(common::PATH).unwrap());
        let again = opened(&crashed);
        start_up(&again);
        assert_eq!(read_index(&again), value);
    }
}

#[test]
fn a_command_that_changes_nothing_durable_writes_nothing() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    run(&tpm, pcr_extend(4));
    let (syncs, generation) = (disk.syncs(), tpm.generation());
    for _ in 0..5 {
        run(&tpm, pcr_extend(4));
        run(&tpm, get_random());
    }
    assert_eq!((disk.syncs(), tpm.generation()), (syncs, generation));
    run(&tpm, define_index());
    assert_eq!((disk.syncs(), tpm.generation()), (syncs + 1, generation + 1));
}

#[test]
fn a_commit_that_fails_is_never_answered_with_success_and_stops_the_instance() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, write_index(1));
    disk.set_broken(true);
    assert_eq!(code(&tpm.execute(0, write_index(2))), FAILURE);
    disk.set_broken(false);
    // Going on would answer from a memory that is ahead of the file.
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
    assert!(!tpm.is_powered());
    assert!(matches!(tpm.init(), Err(Error::Stopped { .. })));
    assert!(tpm.stopped().unwrap().contains("the disk is gone"));
    // The file is closed by then: it can be opened while the handle still is there.
    let again = opened(&disk);
    start_up(&again);
    assert_eq!(read_index(&again), 1);
}

#[test]
fn an_established_flag_that_cannot_be_reset_durably_stops_the_instance() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    tpm.hash_start();
    tpm.hash_data(b"launch".to_vec());
    tpm.hash_end().unwrap();
    assert!(tpm.established());
    assert!(matches!(tpm.reset_established(0), Err(Error::Locality(0))));
    disk.set_broken(true);
    assert!(matches!(tpm.reset_established(3), Err(Error::Stopped { .. })));
    disk.set_broken(false);
    let again = opened(&disk);
    again.init().unwrap();
    assert!(again.established());
    again.reset_established(4).unwrap();
    assert!(!again.established());
}

#[test]
fn a_launch_is_measured_in_the_order_of_submission() {
    let tpm = Instance::ephemeral(Profile::default()).unwrap().start().unwrap();
    start_up(&tpm);
    let before = tpm.execute(0, pcr_read(17));
    tpm.hash_start();
    tpm.hash_data(b"launch".to_vec());
    tpm.submit_hash_end();
    assert_ne!(tpm.execute(0, pcr_read(17)), before);
}

#[test]
fn submitting_does_not_wait_and_a_long_command_can_be_given_up() {
    let tpm = Instance::ephemeral(Profile::default()).unwrap().start().unwrap();
    start_up(&tpm);
    let (sender, answers) = mpsc::channel();
    for command in [create_rsa_4096(), get_random()] {
        let sender = sender.clone();
        tpm.submit(0, command, move |response| sender.send(code(&response)).unwrap());
    }
    assert!(answers.recv_timeout(Duration::from_millis(1)).is_err(), "it did not wait");
    tpm.cancel();
    assert_eq!(answers.recv().unwrap(), 0x909);
    assert_eq!(answers.recv().unwrap(), 0, "the next one is not given up");
}

#[test]
fn everything_submitted_is_answered_even_when_the_instance_ends() {
    let tpm = Instance::ephemeral(Profile::default()).unwrap().start().unwrap();
    start_up(&tpm);
    let (sender, answers) = mpsc::channel();
    for _ in 0..100 {
        let sender = sender.clone();
        tpm.submit(0, get_random(), move |response| sender.send(code(&response)).unwrap());
    }
    tpm.shutdown();
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
    drop(sender);
    assert_eq!(answers.iter().count(), 100);
    assert!(matches!(tpm.init(), Err(Error::Ended)));
}

#[test]
fn a_shutdown_closes_the_file() {
    let disk = Disk::default();
    let tpm = created(&disk);
    let refused = Instance::open(&disk.place(), &plain(), &Expect::anything());
    assert!(matches!(refused, Err(Error::Store(vtpm_store::Error::Locked { .. }))));
    tpm.shutdown();
    Instance::open(&disk.place(), &plain(), &Expect::anything()).unwrap();
}

#[test]
fn a_snapshot_brings_back_all_that_was_there() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, write_index(1));
    run(&tpm, pcr_extend(4));
    let (snapshot, pcr) = (tpm.save(Saved::Running).unwrap(), tpm.execute(0, pcr_read(4)));
    run(&tpm, write_index(2));
    run(&tpm, pcr_extend(4));
    assert!(matches!(tpm.load(Saved::Running, snapshot.clone()), Err(Error::PoweredOn)));
    tpm.power_off().unwrap();
    assert!(matches!(tpm.load(Saved::Running, vec![1, 2, 3].into()), Err(Error::Engine(_))));
    tpm.load(Saved::Running, snapshot).unwrap();
    assert_eq!(tpm.execute(0, pcr_read(4)), pcr);
    assert_eq!(read_index(&tpm), 1);
    tpm.shutdown();
    let again = opened(&disk);
    start_up(&again);
    assert_eq!(read_index(&again), 1, "the snapshot is what is durable");
}

#[test]
fn a_lock_that_was_given_away_is_taken_back_unless_somebody_went_on() {
    let disk = Disk::default();
    let tpm = created(&disk);
    start_up(&tpm);
    tpm.release().unwrap();
    let other = Instance::open(&disk.place(), &plain(), &Expect::anything()).unwrap();
    assert!(matches!(tpm.reacquire(), Err(Error::Store(vtpm_store::Error::Locked { .. }))));
    assert_eq!(code(&tpm.execute(0, get_random())), common::RETRY);
    drop(other);
    run(&tpm, get_random());
    tpm.release().unwrap();
    let other = opened(&disk);
    start_up(&other);
    other.shutdown();
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE, "there are not two of it");
    assert!(tpm.stopped().unwrap().contains("changed"));
}

#[test]
fn an_older_file_than_the_anchor_remembers_is_refused_with_what_to_do() {
    let disk = Disk::default();
    created(&disk).shutdown();
    let expect = Expect::instance(ID).at_least(MinimumGeneration(9));
    let refusal = Instance::open(&disk.place(), &plain(), &expect).unwrap_err().to_string();
    assert!(refusal.contains("older copy") && refusal.contains("override"), "{refusal}");
    let whose = Whose { id: ID, remembered: MinimumGeneration(9) };
    let fresh = Disk::default();
    let made = Instance::create(&fresh.place(), &plain(), whose, Profile::default()).unwrap();
    assert_eq!(made.generation(), 10);
}

#[test]
fn resealing_keeps_the_state_and_changes_who_can_open_it() {
    let disk = Disk::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let source = vtpm_store::source::KeyFile::generate(&path).unwrap();
    let tpm = created(&disk);
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, write_index(3));
    tpm.reseal(Box::new(vtpm_store::source::KeyFile::open(&path).unwrap())).unwrap();
    run(&tpm, write_index(4));
    tpm.shutdown();
    assert!(Instance::open(&disk.place(), &plain(), &Expect::anything()).is_err());
    let instance = Instance::open(&disk.place(), &source, &Expect::anything()).unwrap();
    let again = instance.start().unwrap();
    start_up(&again);
    assert_eq!(read_index(&again), 4);
    assert!(matches!(Store::inspect(&disk.place()).unwrap().role, Role::Active { epoch: 0 }));
}

#[derive(Default)]
struct Seen(Mutex<(Vec<CommandRun>, Vec<u64>, Vec<String>)>);

impl Observer for Seen {
    fn command(&self, run: &CommandRun) {
        self.0.lock().unwrap().0.push(*run);
    }
    fn committed(&self, generation: u64) {
        self.0.lock().unwrap().1.push(generation);
    }
    fn stopped(&self, why: &str) {
        self.0.lock().unwrap().2.push(why.to_owned());
    }
}

#[test]
fn an_observer_sees_commands_commits_and_the_end() {
    let (disk, seen) = (Disk::default(), Arc::new(Seen::default()));
    let instance = Instance::create(&disk.place(), &plain(), ID, Profile::default()).unwrap();
    let tpm = instance.start_observed(Arc::clone(&seen) as Arc<dyn Observer>).unwrap();
    start_up(&tpm);
    run(&tpm, get_random());
    run(&tpm, define_index());
    disk.set_broken(true);
    assert_eq!(code(&tpm.execute(3, write_index(1))), FAILURE);
    let (commands, generations, ends) = &*seen.0.lock().unwrap();
    let shown: Vec<_> = commands
        .iter()
        .map(|run| (run.code.unwrap(), run.response_code, run.locality, run.commit.is_some()))
        .collect();
    let expected =
        [(0x144, 0, 0, true), (0x17b, 0, 0, false), (0x12a, 0, 0, true), (0x137, FAILURE, 3, true)];
    assert_eq!(shown, expected);
    assert!(commands.iter().all(|run| run.commit.is_none_or(|commit| commit <= run.took)));
    assert_eq!(*generations, [2, 3]);
    assert_eq!(ends.len(), 1);
}
