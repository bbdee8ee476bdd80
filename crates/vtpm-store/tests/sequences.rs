//! Random lives of a store, with crashes between and within its steps, against a model.

mod common;

use std::sync::Arc;

use common::sim::Sim;
use common::{ID, TRANSFER, Vault, small};
use proptest::prelude::*;
use vtpm_store::{Birth, Expect, MinimumGeneration, Role, SealedKey, Store};

#[derive(Debug, Clone)]
enum Act {
    Commit(Vec<u8>),
    Rekey,
    Reseal,
    Begin,
    Abort,
    Entomb,
    Receive(u64),
    Activate,
    Reopen,
    /// The disk fails so many operations ahead, and then the power goes.
    Crash(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let state = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0_usize..12_000).prop_map(|length| vec![0xA5; length]),
    ];
    let act = prop_oneof![
        6 => state.prop_map(Act::Commit),
        1 => Just(Act::Rekey),
        1 => Just(Act::Reseal),
        2 => Just(Act::Begin),
        1 => Just(Act::Abort),
        1 => Just(Act::Entomb),
        1 => (0_u64..6).prop_map(Act::Receive),
        1 => Just(Act::Activate),
        2 => Just(Act::Reopen),
        3 => (0_usize..6, any::<usize>()).prop_map(|(ahead, pick)| Act::Crash(ahead, pick)),
    ];
    proptest::collection::vec(act, 1..40)
}

#[derive(Debug, Clone, PartialEq)]
struct Model {
    role: Role,
    state: Vec<u8>,
}

impl Model {
    /// What the act makes of the model; `None` if the act is to be refused.
    fn after(&self, act: &Act) -> Option<Self> {
        let epoch = self.role.epoch();
        let (role, state) = match (act, self.role) {
            (Act::Commit(state), Role::Active { .. }) => (self.role, state.clone()),
            (Act::Rekey | Act::Reseal, _) => (self.role, self.state.clone()),
            (Act::Begin, Role::Active { .. }) => {
                (Role::Outgoing { transfer: TRANSFER, epoch }, b"frozen".to_vec())
            }
            (Act::Abort, Role::Outgoing { .. }) => (Role::Active { epoch }, self.state.clone()),
            (Act::Entomb, Role::Outgoing { .. }) => {
                (Role::Tombstone { transfer: TRANSFER, epoch }, Vec::new())
            }
            (Act::Receive(later), Role::Tombstone { .. }) if *later > epoch => {
                (Role::Prepared { transfer: TRANSFER, epoch: *later }, b"back".to_vec())
            }
            (Act::Activate, Role::Prepared { .. }) => {
                (Role::Active { epoch: epoch + 1 }, self.state.clone())
            }
            _ => return None,
        };
        Some(Self { role, state })
    }
}

fn perform(store: &mut Store, act: &Act, source: &Vault) -> Result<(), vtpm_store::Error> {
    let key = || SealedKey::new(source, &ID).unwrap();
    match act {
        Act::Commit(state) => store.commit(state),
        Act::Rekey => store.rekey(key()),
        Act::Reseal => store.reseal(source),
        Act::Begin => store.begin_outgoing(TRANSFER, b"frozen", b"note"),
        Act::Abort => store.abort_outgoing(),
        Act::Entomb => store.entomb(key(), b"gone"),
        Act::Receive(epoch) => store.receive(TRANSFER, *epoch, key(), b"back", b"note"),
        Act::Activate => store.activate(),
        Act::Reopen | Act::Crash(..) => Ok(()),
    }
}

fn reopen(sim: &Sim, source: &Vault, remembered: u64) -> (Store, Model) {
    let expect = Expect::instance(ID).at_least(MinimumGeneration(remembered));
    let opened = Store::open(&small(Arc::new(sim.clone())), source, &expect).unwrap();
    let model = Model { role: opened.store.role(), state: opened.state.to_vec() };
    (opened.store, model)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_life_with_any_crashes_follows_the_model(acts in acts()) {
        let source = Vault::new("vault");
        let mut sim = Sim::default();
        let key = SealedKey::new(&source, &ID).unwrap();
        let place = small(Arc::new(sim.clone()));
        let mut store = Store::create(&place, Birth::active(ID, 0), key, b"", b"").unwrap();
        let mut model = Model { role: Role::Active { epoch: 0 }, state: Vec::new() };
        let mut crash = None;
        for act in acts {
            if let Act::Crash(ahead, pick) = act {
                sim.fail(ahead);
                crash = Some(pick);
                continue;
            }
            let remembered = store.generation();
            let next = model.after(&act);
            let done = perform(&mut store, &act, &source);
            let Some(pick) = crash.take() else {
                prop_assert_eq!(done.is_ok(), next.is_some() || matches!(act, Act::Reopen));
                model = next.unwrap_or(model);
                if matches!(act, Act::Reopen) {
                    drop(store);
                    let found;
                    (store, found) = reopen(&sim, &source, remembered);
                    prop_assert_eq!(&found, &model);
                    prop_assert_eq!(store.generation(), remembered);
                }
                continue;
            };
            // The step failed or not; then the power goes.
            drop(store);
            sim = Sim::from_image(sim.crash(pick));
            let found;
            (store, found) = reopen(&sim, &source, remembered);
            let fine = if done.is_ok() && next.is_some() {
                Some(&found) == next.as_ref()
            } else {
                found == model || Some(&found) == next.as_ref()
            };
            prop_assert!(fine, "{:?} became {:?} by {:?}", model, found, act);
            model = found;
        }
    }
}
