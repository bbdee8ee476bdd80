//! The same random accesses to our models and to QEMU's devices.
//!
//! What is random are picks; what a pick becomes depends on the state that our model is in, so that
//! a run gets through whole exchanges and keeps out of the differences that the scripts list. Each
//! place where it keeps out, or makes both sides the same again, names the row of the README's
//! table for which it does so.

mod crb;
mod tis;

use std::cell::{Cell, RefCell};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use crate::{
    machine::{FAILURE, Machine},
    script::{self, Device, Step},
};

/// Both machines, what was done to them, and whether they agreed.
pub(crate) struct Pair<'a, M> {
    pub(crate) ours: &'a mut M,
    pub(crate) qemu: &'a mut dyn Machine,
    /// As a script, so that what is found can be kept.
    steps: Vec<String>,
    /// Whether the TPM has a command.
    pub(crate) running: bool,
    /// Commands whose answer both have shown.
    answered: usize,
}

impl<'a, M: Machine> Pair<'a, M> {
    pub(crate) fn new(ours: &'a mut M, qemu: &'a mut dyn Machine) -> Self {
        ours.renew();
        qemu.renew();
        ours.cancels();
        qemu.cancels();
        Self { ours, qemu, steps: Vec::new(), running: false, answered: 0 }
    }

    fn note(&mut self, step: &Step) {
        self.steps.push(format!("  {}", script::print(self.ours.device(), step)));
    }

    /// Reads on both sides; bits outside of `mask` may differ.
    pub(crate) fn read(&mut self, size: usize, offset: u64, mask: u64) -> Result<(), String> {
        let (value, other) = (self.ours.read(size, offset), self.qemu.read(size, offset));
        self.note(&Step::Read { size, offset, value, mask });
        if value & mask == other & mask { Ok(()) } else { Err(self.differ(format!("{other:#x}"))) }
    }

    /// Writes on both sides, and compares the line, the commands and the cancels.
    pub(crate) fn write(&mut self, size: usize, offset: u64, value: u64) -> Result<(), String> {
        self.note(&Step::Write { size, offset, value });
        self.ours.write(size, offset, value);
        self.qemu.write(size, offset, value);
        self.compare()
    }

    /// Ends the command that runs.
    pub(crate) fn answer(&mut self, response: &[u8]) -> Result<(), String> {
        self.note(&Step::TpmAnswers(response.to_vec()));
        self.running = false;
        self.answered += 1;
        self.ours.answer(response)?;
        self.qemu.answer(response).map_err(|cause| self.differ(cause))?;
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        if let Some((locality, command)) = self.ours.taken(false) {
            self.running = true;
            let wanted = Some((locality, command.clone()));
            self.note(&Step::TpmTakes { locality, command });
            let other = self.qemu.taken(true);
            if other != wanted {
                return Err(self.differ(format!("{other:02x?}")));
            }
        }
        // QEMU's CRB has no interrupts, and neither has ours by default.
        if self.ours.device() == Device::Tis {
            let (level, other) = (self.ours.irq(), self.qemu.irq());
            self.note(&Step::Irq(level));
            if level != other {
                return Err(self.differ(format!("irq {other}")));
            }
        }
        let (count, other) = (self.ours.cancels(), self.qemu.cancels());
        if count != 0 || other != 0 {
            self.note(&Step::TpmCancels(count));
        }
        if count == other { Ok(()) } else { Err(self.differ(format!("cancels {other}"))) }
    }

    /// Ends the run, and says how many commands were answered in it. A command that only QEMU
    /// started is a difference too.
    pub(crate) fn finish(mut self, outcome: Result<(), String>) -> Result<usize, String> {
        let left = if self.running { None } else { self.qemu.taken(false) };
        let ours = if self.running { self.ours.answer(&FAILURE) } else { Ok(()) };
        let answers = self.running || left.is_some();
        let qemu = if answers { self.qemu.answer(&FAILURE) } else { Ok(()) };
        outcome?;
        if let Some(command) = left {
            return Err(self.differ(format!("a command: {command:02x?}")));
        }
        ours.and(qemu).map_err(|cause| self.differ(cause)).map(|()| self.answered)
    }

    fn differ(&mut self, other: String) -> String {
        format!("QEMU differs in the last step, with {other}:\n{}\n", self.steps.join("\n"))
    }
}

/// Runs `test` on random values of `strategy`; it says how many commands a run had.
///
/// `QTEST_CASES` says how many runs, and `QTEST_SEED` from which seed: the same one gives the same
/// runs.
fn check<S: Strategy>(strategy: &S, mut test: impl FnMut(S::Value) -> Result<usize, String>) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("QTEST_CASES").and_then(|cases| cases.try_into().ok()).unwrap_or(300);
    let seed = number("QTEST_SEED").unwrap_or(1);
    let config =
        Config { cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let (test, answered) = (RefCell::new(&mut test), Cell::new(0));
    let outcome = TestRunner::new_with_rng(config, random).run(strategy, |value| {
        let count = (test.borrow_mut())(value).map_err(TestCaseError::fail)?;
        answered.set(answered.get() + count);
        Ok(())
    });
    match outcome {
        Ok(()) => {
            println!("{cases} runs from seed {seed}, with {} commands", answered.get());
            assert!(answered.get() > cases as usize, "the runs do not get through exchanges");
        }
        Err(TestError::Fail(reason, _)) => panic!("seed {seed}: {reason}"),
        Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
    }
}
