//! An instance between two hosts: each step, called back, crashed, and failing.

mod common;

use common::{
    Disk, FAILURE, ID, RETRY, code, define_index, get_random, key, pcr_extend, pcr_read, plain,
    read_index, run, start_up, write_index,
};
use vtpm_engine::Profile;
use vtpm_host::{Error, Found, Handle, Instance, Outgoing, Prepared};
use vtpm_store::{Expect, Role, Store, TransferId};

const TRANSFER: TransferId = TransferId([3; 16]);

/// A machine in the middle of its work.
fn at_work(disk: &Disk) -> Handle {
    let instance = Instance::create(&disk.place(), &plain(), ID, Profile::default()).unwrap();
    let tpm = instance.start().unwrap();
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, write_index(7));
    run(&tpm, pcr_extend(4));
    tpm
}

fn found(disk: &Disk) -> Found {
    Found::open(&disk.place(), &plain(), &Expect::instance(ID)).unwrap()
}

/// What a crash now would leave of a disk.
fn crash(disk: &Disk) -> Disk {
    let left = Disk::default();
    left.files.put(common::PATH, disk.files.get(common::PATH).unwrap());
    left
}

fn role(disk: &Disk) -> Role {
    Store::inspect(&disk.place()).unwrap().role
}

#[test]
fn a_frozen_instance_asks_to_be_asked_again_and_goes_on_when_thawed() {
    let tpm = at_work(&Disk::default());
    let pcr = tpm.execute(0, pcr_read(4));
    let frozen = tpm.freeze().unwrap();
    assert_eq!(code(&tpm.execute(0, get_random())), RETRY);
    assert!(matches!(tpm.freeze(), Err(Error::Frozen)));
    assert!(matches!(tpm.init(), Err(Error::Frozen)));
    frozen.thaw();
    assert_eq!(tpm.execute(0, pcr_read(4)), pcr);
    drop(tpm.freeze().unwrap());
    run(&tpm, get_random());
}

#[test]
fn a_whole_handover_moves_the_running_machine_and_leaves_a_tombstone() {
    let (here, there) = (Disk::default(), Disk::default());
    let tpm = at_work(&here);
    let pcr = tpm.execute(0, pcr_read(4));

    let frozen = tpm.freeze().unwrap();
    let state = frozen.state();
    assert_eq!(frozen.epoch(), 0);
    let outgoing = frozen.begin_outgoing(TRANSFER, b"to there").unwrap();
    assert_eq!(code(&tpm.execute(0, get_random())), RETRY);
    let prepared =
        Prepared::create(&there.place(), ID, (TRANSFER, 0), key(), &state, b"from here").unwrap();
    let tombstone = outgoing.entomb(key(), b"send again").unwrap();
    assert_eq!(tombstone.note(), b"send again");
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
    let moved = prepared.activate().unwrap().start().unwrap();
    assert!(moved.is_powered());
    assert_eq!(moved.execute(0, pcr_read(4)), pcr);
    assert_eq!(read_index(&moved), 7);
    run(&moved, write_index(8));

    assert_eq!(role(&there), Role::Active { epoch: 1 });
    drop(tombstone);
    let refusal = Instance::open(&here.place(), &plain(), &Expect::anything()).unwrap_err();
    assert!(matches!(refusal, Error::NotActive { role: Role::Tombstone { .. } }));
    assert!(refusal.to_string().contains("bring it back"), "{refusal}");
}

#[test]
fn an_instance_comes_back_over_its_tombstone() {
    let (here, there) = (Disk::default(), Disk::default());
    let tpm = at_work(&here);
    let frozen = tpm.freeze().unwrap();
    let state = frozen.state();
    let outgoing = frozen.begin_outgoing(TRANSFER, b"").unwrap();
    let prepared = Prepared::create(&there.place(), ID, (TRANSFER, 0), key(), &state, b"").unwrap();
    let tombstone = outgoing.entomb(key(), b"").unwrap();
    let moved = prepared.activate().unwrap().start().unwrap();
    run(&moved, write_index(8));

    let frozen = moved.freeze().unwrap();
    let (state, epoch) = (frozen.state(), frozen.epoch());
    let back = TransferId([4; 16]);
    let outgoing = frozen.begin_outgoing(back, b"").unwrap();
    let prepared = tombstone.receive(back, epoch, key(), &state, b"note").unwrap();
    assert_eq!((prepared.id(), prepared.note()), (ID, &b"note"[..]));
    drop(outgoing.entomb(key(), b"").unwrap());
    let home = prepared.activate().unwrap().start().unwrap();
    assert_eq!(read_index(&home), 8);
    assert_eq!(role(&here), Role::Active { epoch: 2 });
}

#[test]
fn an_instance_that_is_called_back_goes_on_where_it_was() {
    let disk = Disk::default();
    let tpm = at_work(&disk);
    let pcr = tpm.execute(0, pcr_read(4));
    let outgoing = tpm.freeze().unwrap().begin_outgoing(TRANSFER, b"note").unwrap();
    assert!(matches!(role(&disk), Role::Outgoing { epoch: 0, .. }));
    assert!(outgoing.abort().unwrap().is_none());
    assert_eq!(role(&disk), Role::Active { epoch: 0 });
    assert_eq!(tpm.execute(0, pcr_read(4)), pcr);
    run(&tpm, write_index(9));
}

#[test]
fn a_crash_at_each_step_leaves_one_side_that_can_run_and_never_two() {
    let (here, there) = (Disk::default(), Disk::default());
    let tpm = at_work(&here);
    let frozen = tpm.freeze().unwrap();
    let state = frozen.state();
    assert!(matches!(found(&crash(&here)), Found::Active(_)));

    let outgoing = frozen.begin_outgoing(TRANSFER, b"note").unwrap();
    let Found::Outgoing(left) = found(&crash(&here)) else { panic!("not outgoing") };
    assert_eq!((left.transfer(), left.note()), (TRANSFER, &b"note"[..]));
    calls_back(left);

    let prepared =
        Prepared::create(&there.place(), ID, (TRANSFER, 0), key(), &state, b"n").unwrap();
    let Found::Prepared(arrived) = found(&crash(&there)) else { panic!("not prepared") };
    assert_eq!(arrived.note(), b"n");
    let refusal = Instance::open(&crash(&there).place(), &plain(), &Expect::anything());
    assert!(matches!(refusal, Err(Error::NotActive { .. })));

    drop(outgoing.entomb(key(), b"again").unwrap());
    let Found::Tombstone(gone) = found(&crash(&here)) else { panic!("not a tombstone") };
    assert_eq!((gone.transfer(), gone.note()), (TRANSFER, &b"again"[..]));

    drop(prepared.activate().unwrap());
    assert!(matches!(found(&crash(&there)), Found::Active(_)));
}

fn calls_back(left: Outgoing) {
    let again = left.abort().unwrap().expect("found in a file").start().unwrap();
    assert!(!again.is_powered(), "the machine is gone, with its memory");
    start_up(&again);
    assert_eq!(read_index(&again), 7);
}

#[test]
fn a_prepared_instance_that_is_not_wanted_leaves_nothing() {
    let (here, there) = (Disk::default(), Disk::default());
    let state = at_work(&here).freeze().unwrap().state();
    let prepared = Prepared::create(&there.place(), ID, (TRANSFER, 0), key(), &state, b"").unwrap();
    prepared.discard().unwrap();
    assert!(there.files.get(common::PATH).is_none());
}

#[test]
fn what_is_no_state_is_refused_before_anything_is_written() {
    let there = Disk::default();
    let refused = Prepared::create(&there.place(), ID, (TRANSFER, 0), key(), b"no state", b"");
    assert!(matches!(refused, Err(Error::Engine(_))));
    assert!(there.files.get(common::PATH).is_none());
}

#[test]
fn a_note_that_is_too_long_lets_the_instance_go_on() {
    let tpm = at_work(&Disk::default());
    let note = vec![0; vtpm_store::NOTE_MAX + 1];
    let refused = tpm.freeze().unwrap().begin_outgoing(TRANSFER, &note);
    assert!(matches!(refused, Err(Error::Store(vtpm_store::Error::TooLarge { .. }))));
    run(&tpm, write_index(8));
}

#[test]
fn a_step_that_cannot_be_journalled_stops_the_instance() {
    let disk = Disk::default();
    let tpm = at_work(&disk);
    let frozen = tpm.freeze().unwrap();
    disk.set_broken(true);
    assert!(frozen.begin_outgoing(TRANSFER, b"").is_err());
    disk.set_broken(false);
    assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
    assert!(tpm.stopped().is_some());

    for step in 0..2 {
        let disk = Disk::default();
        let tpm = at_work(&disk);
        let outgoing = tpm.freeze().unwrap().begin_outgoing(TRANSFER, b"").unwrap();
        disk.set_broken(true);
        if step == 0 {
            assert!(outgoing.abort().is_err());
        } else {
            assert!(outgoing.entomb(key(), b"").is_err());
        }
        disk.set_broken(false);
        assert_eq!(code(&tpm.execute(0, get_random())), FAILURE);
        assert!(matches!(found(&disk), Found::Outgoing(_)), "opening it tells");
    }
}

#[test]
fn an_ephemeral_instance_moves_without_a_journal() {
    let instance = Instance::ephemeral(Profile::default()).unwrap();
    let tpm = instance.start().unwrap();
    start_up(&tpm);
    run(&tpm, pcr_extend(4));
    let pcr = tpm.execute(0, pcr_read(4));
    let frozen = tpm.freeze().unwrap();
    let state = frozen.state();
    drop(frozen.begin_outgoing(TRANSFER, b"").unwrap().entomb(key(), b"").unwrap());
    let moved = Instance::ephemeral_from_running_state(&state).unwrap().start().unwrap();
    assert_eq!(moved.execute(0, pcr_read(4)), pcr);
}
