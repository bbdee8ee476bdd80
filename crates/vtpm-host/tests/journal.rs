//! The journals of a handover over real stores, as the protocol's state machines call them.

mod common;

use common::{
    Disk, ID, PATH, define_index, pcr_extend, pcr_read, plain, read_index, run, start_up,
};
use vtpm_engine::Profile;
use vtpm_handover::{
    DestinationJournal, InstanceId as MovingId, Offer, RequestId, SourceJournal, Standing,
    TransferId as MovingBy,
};
use vtpm_host::{Arriving, Handle, Homes, Instance, Leaving};
use vtpm_store::{InstanceId, Place};

const MOVING: MovingId = MovingId(ID.0);

fn at_work(disk: &Disk) -> Handle {
    let instance = Instance::create(&disk.place(), &plain(), ID, Profile::default()).unwrap();
    let tpm = instance.start().unwrap();
    start_up(&tpm);
    run(&tpm, define_index());
    run(&tpm, common::write_index(9));
    run(&tpm, pcr_extend(4));
    tpm
}

fn leaving(tpm: &Handle) -> Leaving {
    Leaving::new(tpm.clone(), Box::new(plain()))
}

fn arriving(disk: &Disk) -> Arriving {
    Arriving::new(Box::new(disk.place()), Box::new(plain()))
}

fn offer(by: u8, epoch: u64) -> Offer {
    Offer {
        instance: MOVING,
        transfer: MovingBy([by; 16]),
        request: RequestId::NONE,
        epoch,
        state_limit: 1 << 20,
    }
}

/// Moves the instance behind `tpm` to `disk`, and gives its handle there.
fn moved(tpm: &Handle, disk: &Disk, by: u8, epoch: u64) -> (Leaving, Handle) {
    let (mut from, mut to) = (leaving(tpm), arriving(disk));
    let offer = offer(by, epoch);
    assert_eq!(from.standing().unwrap(), Standing::Active { epoch });
    assert!(!to.standing(&MOVING).unwrap().is_live());
    to.get_ready(&offer).unwrap();
    from.get_ready().unwrap();
    let state = from.freeze().unwrap();
    from.begin_outgoing(&offer.transfer, &state, b"out").unwrap();
    to.prepare(&offer, &state, b"in").unwrap();
    assert!(matches!(to.standing(&MOVING).unwrap(), Standing::Prepared { .. }));
    from.entomb(b"gone").unwrap();
    to.activate(&MOVING).unwrap();
    let arrived = to.take().unwrap();
    assert_eq!(arrived.epoch(), epoch + 1);
    (from, arrived.start().unwrap())
}

#[test]
fn an_instance_moves_and_comes_back_over_its_tombstone_with_all_that_it_was() {
    let (a, b) = (Disk::default(), Disk::default());
    let on_a = at_work(&a);
    let pcr = on_a.execute(0, pcr_read(4));
    let (mut gone, on_b) = moved(&on_a, &b, 1, 0);
    assert_eq!(on_b.execute(0, pcr_read(4)), pcr);
    assert!(matches!(gone.standing().unwrap(), Standing::Tombstone { epoch: 0, .. }));
    assert!(gone.freeze().is_err());
    drop(gone);
    let (_, back_on_a) = moved(&on_b, &a, 2, 1);
    assert_eq!(back_on_a.execute(0, pcr_read(4)), pcr);
    assert_eq!(read_index(&back_on_a), 9);
}

#[test]
fn an_instance_that_is_called_back_goes_on_and_nothing_of_it_stays_at_the_destination() {
    let (a, b) = (Disk::default(), Disk::default());
    let tpm = at_work(&a);
    let (mut from, mut to) = (leaving(&tpm), arriving(&b));
    let offer = offer(1, 0);
    to.get_ready(&offer).unwrap();
    from.get_ready().unwrap();
    let state = from.freeze().unwrap();
    from.begin_outgoing(&offer.transfer, &state, b"out").unwrap();
    to.prepare(&offer, &state, b"in").unwrap();
    from.call_back().unwrap();
    to.discard(&MOVING).unwrap();
    run(&tpm, pcr_extend(5));
    assert_eq!(to.standing(&MOVING).unwrap(), Standing::Absent);
    assert!(b.files.get(PATH).is_none());
    assert_eq!(from.standing().unwrap(), Standing::Active { epoch: 0 });
}

#[test]
fn what_was_prepared_before_a_crash_is_activated_after_it() {
    let (a, b) = (Disk::default(), Disk::default());
    let tpm = at_work(&a);
    let (mut from, mut to) = (leaving(&tpm), arriving(&b));
    let offer = offer(1, 0);
    to.get_ready(&offer).unwrap();
    from.get_ready().unwrap();
    let state = from.freeze().unwrap();
    from.begin_outgoing(&offer.transfer, &state, b"out").unwrap();
    to.prepare(&offer, &state, b"in").unwrap();
    from.entomb(b"gone").unwrap();
    drop(to);
    let mut again = arriving(&b);
    let standing = again.standing(&MOVING).unwrap();
    assert!(matches!(standing, Standing::Prepared { note, .. } if note.expose() == b"in"));
    again.activate(&MOVING).unwrap();
    assert_eq!(again.take().unwrap().id(), ID);
}

#[test]
fn steps_out_of_order_are_refused_and_the_instance_goes_on() {
    let (a, b) = (Disk::default(), Disk::default());
    let tpm = at_work(&a);
    let mut from = leaving(&tpm);
    assert!(from.entomb(b"").is_err());
    drop(from);
    let mut from = leaving(&tpm);
    assert!(from.begin_outgoing(&MovingBy([1; 16]), b"", b"").is_err());
    drop(from);
    let mut to = arriving(&b);
    assert!(to.prepare(&offer(1, 0), b"", b"").is_err());
    assert!(to.activate(&MOVING).is_err());
    run(&tpm, pcr_extend(5));
}

#[test]
fn a_state_that_is_none_is_not_taken_in() {
    let disk = Disk::default();
    let mut to = arriving(&disk);
    to.get_ready(&offer(1, 0)).unwrap();
    assert!(to.prepare(&offer(1, 0), b"no state", b"").is_err());
    assert!(disk.files.get(PATH).is_none());
}

#[test]
fn a_host_refuses_what_it_has_no_home_for_and_what_lies_on_another_s_file() {
    struct Nowhere;
    impl Homes for Nowhere {
        fn place(&self, _: &InstanceId) -> Option<Place> {
            None
        }
    }
    let mut to = Arriving::new(Box::new(Nowhere), Box::new(plain()));
    assert!(to.get_ready(&offer(1, 0)).unwrap_err().to_string().contains("expect it"));
    let disk = Disk::default();
    drop(at_work(&disk));
    let other = Offer { instance: MovingId([1; 16]), ..offer(1, 0) };
    assert!(arriving(&disk).get_ready(&other).unwrap_err().to_string().contains("another vTPM"));
}
