//! Loss of power at every byte of every write, and a disk that fails at every operation.

mod common;

use std::sync::Arc;

use common::sim::{Image, Op, Sim, to_memory};
use common::{ID, PATH, TRANSFER, Vault, contains, small};
use vtpm_store::medium::Medium;
use vtpm_store::{Birth, Error, Expect, Role, SealedKey, Store};

/// What a test expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    role: Role,
    state: Vec<u8>,
    note: Vec<u8>,
}

/// A step of a store's life that is acknowledged by its return.
type Step = Box<dyn Fn(&mut Store, &Sources) -> Result<(), Error>>;

struct Sources {
    first: Vault,
    second: Vault,
}

fn step(of: impl Fn(&mut Store, &Sources) -> Result<(), Error> + 'static) -> Step {
    Box::new(of)
}

fn sources() -> Sources {
    Sources { first: Vault::new("first"), second: Vault::new("second") }
}

fn key(sources: &Sources) -> SealedKey {
    SealedKey::new(&sources.first, &ID).unwrap()
}

fn create(sim: &Sim, sources: &Sources, birth: Birth) -> Store {
    let note: &[u8] = if birth_is_active(birth) { b"" } else { b"from far" };
    Store::create(&small(Arc::new(sim.clone())), birth, key(sources), b"at first", note).unwrap()
}

fn birth_is_active(birth: Birth) -> bool {
    format!("{birth:?}").contains("Active")
}

fn now(store: &Store) -> Found {
    let state = store.state().unwrap().to_vec();
    Found { role: store.role(), state, note: store.note().unwrap().to_vec() }
}

/// Opens with whichever of the sources the file is sealed by.
fn open(
    medium: Arc<dyn Medium>,
    sources: &Sources,
) -> Result<(Store, Found, Option<vtpm_store::SlotFault>), Error> {
    let place = small(medium);
    let expect = Expect::instance(ID);
    let opened = match Store::open(&place, &sources.first, &expect) {
        Err(Error::WrongKeySource { .. }) => Store::open(&place, &sources.second, &expect)?,
        other => other?,
    };
    let (state, note) = (opened.state.to_vec(), opened.note.to_vec());
    let found = Found { role: opened.store.role(), state, note };
    Ok((opened.store, found, opened.recovered))
}

/// Runs the steps on a disk; then crashes it everywhere and checks what opens.
fn survives(birth: Birth, steps: &[Step]) -> usize {
    let (sim, sources) = (Sim::default(), sources());
    let mut store = create(&sim, &sources, birth);
    sim.acknowledge();
    let mut expected = vec![now(&store)];
    for step in steps {
        step(&mut store, &sources).unwrap();
        sim.acknowledge();
        expected.push(now(&store));
    }
    let mut crashes = 0;
    sim.crashes(|acknowledged, image| {
        crashes += 1;
        check(&image, &sources, &expected, acknowledged);
    });
    crashes
}

fn check(image: &Image, sources: &Sources, expected: &[Found], acknowledged: usize) {
    let memory = to_memory(image);
    let (store, found, _) = match open(Arc::new(memory.clone()), sources) {
        Ok(opened) => opened,
        Err(Error::NotFound { .. }) if acknowledged == 0 => return,
        Err(error) => panic!("after {acknowledged} acknowledgements: {error}"),
    };
    let newest_acknowledged = acknowledged.checked_sub(1).map(|last| &expected[last]);
    let allowed = [newest_acknowledged, expected.get(acknowledged)];
    assert!(
        allowed.contains(&Some(&found)),
        "after {acknowledged} acknowledgements: {found:?}, not {allowed:?}"
    );
    let generation = store.generation();
    drop(store);
    goes_on(&memory, sources, &found, generation);
}

/// What was opened after a crash can be opened again, and is as good as ever.
fn goes_on(memory: &vtpm_store::medium::Memory, sources: &Sources, found: &Found, generation: u64) {
    let (mut store, again, _) = open(Arc::new(memory.clone()), sources).unwrap();
    assert_eq!((&again, store.generation()), (found, generation));
    if matches!(found.role, Role::Active { .. }) {
        store.commit(b"life goes on").unwrap();
        drop(store);
        let (_, last, recovered) = open(Arc::new(memory.clone()), sources).unwrap();
        assert_eq!((&last.state[..], recovered), (&b"life goes on"[..], None));
    }
    assert!(memory.get(format!("{PATH}.new")).is_none(), "a temporary file stayed");
}

fn life() -> Vec<Step> {
    vec![
        step(|store, _| store.commit(b"second")),
        step(|store, _| store.commit(&[3; 700])),
        step(|store, _| store.commit(b"")),
        step(|store, _| store.commit(&[4; 300])),
    ]
}

#[test]
fn a_commit_that_loses_power_at_any_byte_leaves_the_old_or_the_new_state() {
    let crashes = survives(Birth::active(ID, 0), &life());
    assert!(crashes > 4000, "only {crashes} crashes");
}

#[test]
fn growth_that_loses_power_leaves_the_old_or_the_new_file() {
    survives(
        Birth::active(ID, 0),
        &[
            step(|store, _| store.commit(b"small")),
            step(|store, _| store.commit(&[1; 5000])),
            step(|store, _| store.commit(b"small again")),
            step(|store, _| store.commit(&[2; 20_000])),
        ],
    );
}

#[test]
fn changing_the_key_or_its_seal_loses_nothing_at_any_byte() {
    survives(
        Birth::active(ID, 0),
        &[
            step(|store, sources| store.rekey(key(sources))),
            step(|store, _| store.commit(b"between")),
            step(|store, sources| store.reseal(&sources.second)),
            step(|store, sources| store.reseal(&sources.first)),
        ],
    );
}

#[test]
fn a_handover_out_and_back_is_at_one_step_or_the_next_at_any_byte() {
    survives(
        Birth::active(ID, 4),
        &[
            step(|store, _| store.begin_outgoing(TRANSFER, b"frozen", b"to far")),
            step(|store, _| store.abort_outgoing()),
            step(|store, _| store.begin_outgoing(TRANSFER, b"frozen anew", b"to far")),
            step(|store, sources| store.entomb(key(sources), b"it is yours")),
            step(|store, sources| store.receive(TRANSFER, 5, key(sources), b"back", b"from far")),
            step(|store, _| store.activate()),
        ],
    );
}

#[test]
fn a_prepared_instance_is_prepared_or_active_at_any_byte() {
    survives(Birth::prepared(ID, TRANSFER, 9), &[step(|store, _| store.activate())]);
}

#[test]
fn once_forgotten_a_seal_is_on_no_part_of_the_disk_whenever_it_crashes() {
    let (sim, sources) = (Sim::default(), sources());
    let mut store = create(&sim, &sources, Birth::active(ID, 0));
    store.commit(b"two slots").unwrap();
    store.begin_outgoing(TRANSFER, b"frozen", b"").unwrap();
    let live = sources.first.seals();
    store.entomb(key(&sources), b"gone").unwrap();
    sim.acknowledge();
    drop(store);
    let mut checked = 0;
    sim.crashes(|acknowledged, image| {
        let opened = open(Arc::new(to_memory(&image)), &sources);
        let file = image.get(std::path::Path::new(PATH));
        if acknowledged == 1 {
            assert!(!contains(file.unwrap(), &live[0]), "the key of the instance is on the disk");
        }
        // Whatever crashed: once a tombstone was seen, the old seal is gone for good.
        if let Ok((store, Found { role: Role::Tombstone { .. }, .. }, _)) = opened {
            checked += 1;
            drop(store);
            let memory = to_memory(&image);
            drop(open(Arc::new(memory.clone()), &sources).unwrap());
            assert!(!contains(&common::state_file(&memory), &live[0]));
        }
    });
    assert!(checked > 100);
}

#[test]
fn destroying_leaves_the_newest_state_or_nothing_that_opens() {
    let (sim, sources) = (Sim::default(), sources());
    let mut store = create(&sim, &sources, Birth::active(ID, 0));
    store.commit(b"older").unwrap();
    store.commit(b"newest").unwrap();
    let seals = sources.first.seals();
    sim.acknowledge();
    store.destroy().unwrap();
    sim.acknowledge();
    sim.crashes(|acknowledged, image| {
        let memory = Arc::new(to_memory(&image));
        match open(memory, &sources) {
            Ok((_, found, _)) if acknowledged == 1 => assert_eq!(found.state, b"newest"),
            Err(Error::Blank { .. } | Error::Damaged { .. } | Error::NotAStore { .. })
                if acknowledged == 1 => {}
            Err(Error::NotFound { .. }) if acknowledged != 1 => {}
            Err(Error::NotFound { .. }) => assert!(image.is_empty()),
            Ok(_) if acknowledged == 0 => {}
            other => panic!("after {acknowledged} acknowledgements: {other:?}"),
        }
        if acknowledged == 2 {
            assert!(!image.values().any(|bytes| contains(bytes, &seals[0])));
        }
    });
}

/// Fails each operation of each step in turn. The step says so; the store then refuses to go on,
/// or was not touched and goes on; and the file holds the old state or the new.
fn survives_failures(birth: Birth, steps: &[Step]) {
    for failing in 0..steps.len() {
        for ahead in 0.. {
            let (sim, sources) = (Sim::default(), sources());
            let mut store = create(&sim, &sources, birth);
            for step in &steps[..failing] {
                step(&mut store, &sources).unwrap();
            }
            let before = now(&store);
            sim.fail(ahead);
            if steps[failing](&mut store, &sources).is_ok() {
                assert!(ahead > 0, "a step that needs no disk");
                break;
            }
            let after_failure = store.state().map(|_| now(&store));
            let goes_on = steps[failing](&mut store, &sources);
            match (&after_failure, goes_on) {
                (Err(Error::Poisoned { .. }), Err(Error::Poisoned { .. })) => {
                    drop(store);
                    let (mut store, found, _) = open(Arc::new(sim), &sources).unwrap();
                    if found == before {
                        steps[failing](&mut store, &sources).unwrap();
                    }
                }
                (Ok(same), Ok(())) => assert_eq!(*same, before),
                other => panic!("step {failing}, operation {ahead}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_operation_loses_nothing() {
    survives_failures(Birth::active(ID, 0), &life());
    survives_failures(
        Birth::active(ID, 0),
        &[
            step(|store, _| store.commit(&[1; 5000])),
            step(|store, sources| store.rekey(key(sources))),
            step(|store, sources| store.reseal(&sources.second)),
            step(|store, _| store.begin_outgoing(TRANSFER, b"frozen", b"to far")),
            step(|store, sources| store.entomb(key(sources), b"it is yours")),
        ],
    );
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let (sim, sources) = (Sim::default(), sources());
    let mut store = create(&sim, &sources, Birth::active(ID, 0));
    let before = sim.ops().len();
    store.commit(&[5; 3000]).unwrap();
    let ops = sim.ops();
    assert!(matches!(ops[before..], [Op::Write { .. }, Op::Sync { .. }]), "{:?}", &ops[before..]);
}
