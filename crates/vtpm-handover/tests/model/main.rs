//! All interleavings of the real state machines: messages lost, repeated, reordered and replayed
//! from other sessions, journals that fail before and after each write, hosts that crash at any
//! time, several sessions in either direction at once.
//!
//! Checked in every state: never two live; and from every state a restart of both hosts and a
//! resume lead to exactly one live, with the state it had. An ending never says anything of this
//! host that its journal does not have.

#[path = "../common/mod.rs"]
mod common;
mod system;

use stateright::{Checker, HasDiscoveries, Model, Property};
use system::{Action, Limits, System};

/// The system with limits on how much may happen.
struct Handovers(Limits);

impl Model for Handovers {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![System::new()]
    }

    fn actions(&self, state: &System, actions: &mut Vec<Action>) {
        state.actions(&self.0, actions);
    }

    fn next_state(&self, state: &System, action: Action) -> Option<System> {
        let next = state.after(&self.0, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two live", |_, state: &System| state.live() <= 1),
            Property::always("endings tell the truth", |_, state: &System| state.lie().is_none()),
            Property::always("a resume leads to exactly one live", |_, state: &System| {
                state.recovers()
            }),
            Property::sometimes("it moves", |_, state: &System| state.lives_at(1, 1)),
            Property::sometimes("it is nowhere until it is resumed", |_, state: &System| {
                state.live() == 0
            }),
        ]
    }
}

fn explore(limits: Limits) -> usize {
    let checker = Handovers(limits)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    for (name, path) in checker.discoveries() {
        let property = checker.model().property(name);
        let failed = property.expectation.discovery_is_failure();
        assert!(!failed, "{name}: {:#?} by {:?}", path.last_state(), path.clone().into_actions());
    }
    checker.assert_properties();
    println!("{} states, {} distinct", checker.state_count(), checker.unique_state_count());
    checker.unique_state_count()
}

#[test]
fn one_session_with_every_message_on_its_own() {
    let limits = Limits { sessions: 1, whole_handshakes: false, troubles: 2 };
    assert!(explore(limits) > 200);
}

#[test]
fn two_sessions_in_either_direction() {
    let limits = Limits { sessions: 2, whole_handshakes: true, troubles: 2 };
    assert!(explore(limits) > 1000);
}

#[test]
fn three_sessions_in_either_direction() {
    // Some ten minutes; the shorter runs have one trouble less.
    let long = std::env::var("VTPM_TEST_LENGTH").is_ok_and(|length| length == "long");
    let limits = Limits { sessions: 3, whole_handshakes: true, troubles: u8::from(long) };
    assert!(explore(limits) > 1000);
}

#[test]
fn the_model_finds_a_destination_that_goes_live_on_its_own() {
    let mut state = System::new();
    state.break_by_activating_early();
    assert_eq!(state.live(), 2, "what the property looks for can be seen");
}
