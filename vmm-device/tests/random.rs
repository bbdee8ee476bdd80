//! Whatever a guest does, at whatever moment a snapshot is taken.
//!
//! One harness for both register models. Each run drives two copies of a model with the same
//! steps; one of them is saved, written, read and restored now and then. Nothing that can be seen
//! from outside may tell them apart, and no step may panic or lead into a state that a snapshot
//! cannot hold.

use std::{cell::Cell, convert::Infallible, rc::Rc};

use proptest::prelude::*;
use vmm_device::{
    Action, NoEvents, RegisterModel, Trigger,
    crb::{self, Crb, CrbConfig, CrbState, InMemoryBuffer},
    tis::{self, LocalityFour, Tis, TisConfig, TisState},
};

const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
const RESPONSE: [u8; 20] = [0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// The interrupt line.
#[derive(Clone, Default)]
struct Line(Rc<Cell<bool>>);

impl Trigger for Line {
    type E = Infallible;

    fn set_level(&self, asserted: bool) -> Result<(), Infallible> {
        self.0.set(asserted);
        Ok(())
    }
}

/// What a guest and a VMM can do to a device.
#[derive(Clone, Debug)]
enum Step {
    Read { offset: u64, length: usize },
    Write { offset: u64, data: Vec<u8> },
    Complete(Vec<u8>),
    Fail,
    Snapshot,
    Reset,
}

/// A register model as the harness needs it.
trait Subject: RegisterModel + Sized {
    /// Registers where something happens, the more often the more.
    const REGISTERS: &'static [u64];

    fn new(line: Line) -> Self;

    /// Saved, written, read and restored.
    fn renew(&self, line: Line) -> Self;

    /// A driver's exchange of a command and a response, in as many steps as can be.
    fn exchange() -> Vec<Step>;

    /// What holds in every state.
    fn check(&mut self, line: bool) -> Result<(), TestCaseError>;
}

fn word(model: &mut impl RegisterModel, offset: u64) -> u32 {
    let mut data = [0; 4];
    model.read(offset, &mut data);
    u32::from_le_bytes(data)
}

fn write(offset: u64, value: u32) -> Step {
    Step::Write { offset, data: value.to_le_bytes().to_vec() }
}

fn tis_config() -> TisConfig {
    TisConfig { locality_four: LocalityFour::Open, ..Default::default() }
}

impl Subject for Tis<Line> {
    const REGISTERS: &'static [u64] = &[
        tis::spec::ACCESS,
        tis::spec::INT_ENABLE,
        tis::spec::INT_STATUS,
        tis::spec::STS,
        tis::spec::STS,
        tis::spec::STS,
        tis::spec::STS + 3,
        tis::spec::HASH_END,
        tis::spec::DATA_FIFO,
        tis::spec::DATA_FIFO,
        tis::spec::HASH_START,
        tis::spec::INTERFACE_ID,
        tis::spec::XDATA_FIFO,
        0xBC,
        0x1000 | tis::spec::ACCESS,
        0x1000 | tis::spec::STS,
        0x2000 | tis::spec::ACCESS,
        0x3000 | tis::spec::STS,
        0x4000 | tis::spec::ACCESS,
        0x4000 | tis::spec::HASH_START,
        0x4000 | tis::spec::DATA_FIFO,
        0x4000 | tis::spec::HASH_END,
    ];

    fn new(line: Line) -> Self {
        Self::new(tis_config(), line)
    }

    fn renew(&self, line: Line) -> Self {
        let state = TisState::from_bytes(&self.save().to_bytes()).unwrap();
        assert_eq!(state, self.save());
        Self::restore(tis_config(), line, NoEvents, &state).unwrap()
    }

    fn exchange() -> Vec<Step> {
        use tis::spec;
        let enable = spec::INT_GLOBAL | spec::INT_CAUSES;
        let byte = |byte: &u8| Step::Write { offset: spec::DATA_FIFO, data: vec![*byte] };
        let mut steps = vec![
            write(spec::ACCESS, spec::ACCESS_REQUEST),
            write(spec::INT_ENABLE, enable),
            write(spec::STS, spec::STS_COMMAND_READY),
        ];
        steps.extend(COMMAND.iter().map(byte));
        steps.push(write(spec::STS, spec::STS_GO));
        steps.push(write(0x1000 | spec::ACCESS, spec::ACCESS_REQUEST));
        steps.push(write(spec::STS, spec::STS_CANCEL));
        steps.push(Step::Complete(RESPONSE.to_vec()));
        steps.extend(RESPONSE.map(|_| Step::Read { offset: spec::DATA_FIFO, length: 1 }));
        steps.push(write(spec::STS, spec::STS_COMMAND_READY));
        steps.push(write(spec::ACCESS, spec::ACCESS_ACTIVE));
        steps
    }

    fn check(&mut self, _line: bool) -> Result<(), TestCaseError> {
        let active =
            (0..5u64).filter(|l| word(self, l << 12) & tis::spec::ACCESS_ACTIVE != 0).count();
        prop_assert!(active <= 1, "{} active localities", active);
        // A state that cannot be restored is one that cannot be.
        let restored = Self::restore(tis_config(), Line::default(), NoEvents, &self.save());
        prop_assert_eq!(restored.map(|_| ()), Ok(()));
        Ok(())
    }
}

fn crb_config() -> CrbConfig {
    CrbConfig { interrupts: true, ..Default::default() }
}

impl Subject for Crb<InMemoryBuffer, Line> {
    const REGISTERS: &'static [u64] = &[
        crb::spec::LOC_CTRL,
        crb::spec::CTRL_REQ,
        crb::spec::CTRL_CANCEL,
        crb::spec::CTRL_START,
        crb::spec::CTRL_START,
        crb::spec::INT_ENABLE,
        crb::spec::INT_STATUS,
        crb::spec::DATA_BUFFER,
    ];

    fn new(line: Line) -> Self {
        Self::new(crb_config(), InMemoryBuffer::default(), line)
    }

    fn renew(&self, line: Line) -> Self {
        let state = CrbState::from_bytes(&self.save().unwrap().to_bytes()).unwrap();
        assert_eq!(state, self.save().unwrap());
        Self::restore(crb_config(), InMemoryBuffer::default(), line, NoEvents, &state).unwrap()
    }

    fn exchange() -> Vec<Step> {
        use crb::spec;
        let data = |(at, byte): (u64, &u8)| Step::Write { offset: at, data: vec![*byte] };
        let mut steps = vec![
            write(spec::INT_ENABLE, spec::INT_GLOBAL | spec::INT_CAUSES),
            write(spec::LOC_CTRL, spec::LOC_CTRL_REQUEST),
            write(spec::CTRL_REQ, spec::CTRL_REQ_READY),
        ];
        steps.extend((spec::DATA_BUFFER..).zip(&COMMAND).map(data));
        steps.push(write(spec::CTRL_START, 1));
        steps.push(write(spec::CTRL_CANCEL, 1));
        steps.push(Step::Complete(RESPONSE.to_vec()));
        steps.push(Step::Read { offset: spec::DATA_BUFFER, length: 20 });
        steps.push(write(spec::CTRL_REQ, spec::CTRL_REQ_IDLE));
        steps.push(write(spec::LOC_CTRL, spec::LOC_CTRL_RELINQUISH));
        steps
    }

    fn check(&mut self, line: bool) -> Result<(), TestCaseError> {
        let pending = word(self, crb::spec::INT_STATUS) != 0;
        prop_assert_eq!(line, pending, "the line follows its causes");
        prop_assert_eq!(word(self, crb::spec::CTRL_START) == 1, self.is_busy());
        Ok(())
    }
}

/// A model that stays, and one that is restored from snapshots.
struct Twins<M> {
    stays: (M, Line),
    moves: (M, Line),
}

impl<M: Subject> Twins<M> {
    fn new() -> Self {
        let make = || {
            let line = Line::default();
            (M::new(line.clone()), line)
        };
        Self { stays: make(), moves: make() }
    }

    fn snapshot(&mut self) {
        let line = Line::default();
        let model = self.moves.0.renew(line.clone());
        self.moves = (model, line);
    }

    /// Takes a step with both, which have to show the same.
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        if matches!(step, Step::Snapshot) {
            self.snapshot();
        }
        let busy = self.stays.0.is_busy();
        let seen = show(&mut self.stays.0, step, busy)?;
        prop_assert_eq!(&seen, &show(&mut self.moves.0, step, busy)?);
        let (line, other) = (self.stays.1.0.get(), self.moves.1.0.get());
        prop_assert_eq!(line, other, "the interrupt line");
        prop_assert_eq!(self.stays.0.resume(), self.moves.0.resume());
        prop_assert_eq!(self.stays.0.is_busy(), self.moves.0.is_busy());
        self.stays.0.check(line)?;
        self.moves.0.check(line)
    }
}

/// What a step shows to the guest and the VMM.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Data(Vec<u8>),
    Action(Action),
    Accepted(bool),
    Nothing,
}

fn show(model: &mut impl Subject, step: &Step, busy: bool) -> Result<Seen, TestCaseError> {
    Ok(match step {
        Step::Read { offset, length } => {
            let mut data = vec![0; *length];
            model.read(*offset, &mut data);
            Seen::Data(data)
        }
        Step::Write { offset, data } => {
            let action = model.write(*offset, data);
            match action {
                Action::Execute { .. } => prop_assert!(!busy, "two commands at once"),
                Action::Cancel => prop_assert!(busy, "nothing to cancel"),
                _ => {}
            }
            Seen::Action(action)
        }
        Step::Complete(response) => {
            let accepted = model.complete(response).is_ok();
            prop_assert_eq!(accepted, busy);
            Seen::Accepted(accepted)
        }
        Step::Fail => {
            let accepted = model.fail().is_ok();
            prop_assert_eq!(accepted, busy);
            Seen::Accepted(accepted)
        }
        Step::Reset => {
            let action = model.reset();
            prop_assert_eq!(action == Action::Cancel, busy);
            Seen::Action(action)
        }
        Step::Snapshot => Seen::Nothing,
    })
}

fn steps<M: Subject>(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let registers = prop::sample::select(M::REGISTERS);
    let offset = prop_oneof![9 => registers, 1 => any::<u64>(), 1 => 0u64..0x5010];
    let bit = (0u32..32).prop_map(|bit| (1u32 << bit).to_le_bytes().to_vec());
    let data = prop_oneof![
        3 => bit,
        2 => Just(vec![1, 0, 0, 0]),
        1 => Just(COMMAND.to_vec()),
        1 => Just(COMMAND[..8].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    let step = prop_oneof![
        4 => (offset.clone(), 0usize..9).prop_map(|(offset, length)| Step::Read { offset, length }),
        20 => (offset, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        3 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Complete),
        1 => Just(Step::Fail),
        1 => Just(Step::Snapshot),
        1 => prop::bool::weighted(0.1)
            .prop_map(|reset| if reset { Step::Reset } else { Step::Snapshot }),
    ];
    prop::collection::vec(step, 0..count)
}

fn any_sequence<M: Subject>(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut twins = Twins::<M>::new();
    steps.iter().try_for_each(|step| twins.take(step))
}

/// A snapshot after each step of an exchange in turn, each time followed by `steps`.
fn after_each_step<M: Subject>(steps: &[Step]) -> Result<(), TestCaseError> {
    let exchange = M::exchange();
    for length in 0..=exchange.len() {
        let mut twins = Twins::<M>::new();
        exchange[..length].iter().try_for_each(|step| twins.take(step))?;
        twins.snapshot();
        steps.iter().try_for_each(|step| twins.take(step))?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_sequence_of_accesses_to_tis_panics_or_tells_a_restored_device_apart(
        steps in steps::<Tis<Line>>(200),
    ) {
        any_sequence::<Tis<Line>>(&steps)?;
    }

    #[test]
    fn no_sequence_of_accesses_to_crb_panics_or_tells_a_restored_device_apart(
        steps in steps::<Crb<InMemoryBuffer, Line>>(200),
    ) {
        any_sequence::<Crb<InMemoryBuffer, Line>>(&steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tis_goes_on_from_every_step_of_an_exchange_as_if_no_snapshot_had_been(
        steps in steps::<Tis<Line>>(30),
    ) {
        after_each_step::<Tis<Line>>(&steps)?;
    }

    #[test]
    fn crb_goes_on_from_every_step_of_an_exchange_as_if_no_snapshot_had_been(
        steps in steps::<Crb<InMemoryBuffer, Line>>(30),
    ) {
        after_each_step::<Crb<InMemoryBuffer, Line>>(&steps)?;
    }
}

#[test]
fn the_exchanges_run_one_command_to_its_end() {
    fn check<M: Subject>() {
        let mut model = M::new(Line::default());
        let mut started = 0;
        for step in M::exchange() {
            let busy = model.is_busy();
            let seen = show(&mut model, &step, busy).unwrap();
            started += usize::from(matches!(seen, Seen::Action(Action::Execute { .. })));
        }
        assert_eq!(started, 1);
        assert!(!model.is_busy());
    }
    check::<Tis<Line>>();
    check::<Crb<InMemoryBuffer, Line>>();
}
