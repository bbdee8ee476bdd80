//! What a script runs on, and the run.

use crate::script::{Case, Device, Line, Script, Side, Step};

/// A device with a TPM behind it whose answers the test gives.
pub(crate) trait Machine {
    fn side(&self) -> Side;

    fn device(&self) -> Device;

    /// Reads `size` bytes (1, 2, 4 or 8), little-endian.
    fn read(&mut self, size: usize, offset: u64) -> u64;

    fn write(&mut self, size: usize, offset: u64, value: u64);

    /// The interrupt line's level.
    fn irq(&mut self) -> bool;

    /// The command that the TPM was given, with its locality. Waits for it if `expected`.
    fn taken(&mut self, expected: bool) -> Option<(u8, Vec<u8>)>;

    /// Ends the command that was taken, and waits until the device shows it. An error says that
    /// it never did.
    fn answer(&mut self, response: &[u8]) -> Result<(), String>;

    /// Cancels that were asked for since the last call.
    fn cancels(&mut self) -> usize;

    /// Resets machine and device. No command may be running.
    fn reset(&mut self);

    /// A reset that leaves nothing of what was before.
    fn renew(&mut self) {
        self.reset();
    }
}

/// The answer that ends a command which a case left running.
pub(crate) const FAILURE: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1];

/// Runs all cases; each failure as a text. A case ends at its first failure.
pub(crate) fn run(script: &Script, machine: &mut dyn Machine) -> Vec<String> {
    assert_eq!(script.device, machine.device());
    script.cases.iter().filter_map(|case| run_case(case, machine).err()).collect()
}

fn run_case(case: &Case, machine: &mut dyn Machine) -> Result<(), String> {
    machine.renew();
    machine.cancels();
    let mut run = Run { machine, running: false };
    let mine = |line: &&Line| line.only.is_none_or(|only| only == run.machine.side());
    let lines: Vec<&Line> = case.lines.iter().filter(mine).collect();
    let outcome = lines.into_iter().try_for_each(|line| {
        run.step(&line.step).map_err(|found| {
            format!("line {} of \"{}\": {}: {found}", line.number, case.name, line.text)
        })
    });
    let left = run.finish().map_err(|left| format!("end of \"{}\": {left}", case.name));
    outcome.and(left)
}

/// A run of one case.
struct Run<'a> {
    machine: &'a mut dyn Machine,
    running: bool,
}

impl Run<'_> {
    /// Takes a step; the error says what was found instead.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Read { size, offset, value, mask } => {
                let found = self.machine.read(*size, *offset);
                same(found & mask == value & mask, || format!("found {found:#x}"))
            }
            Step::Write { size, offset, value } => {
                self.machine.write(*size, *offset, *value);
                Ok(())
            }
            Step::Send { offset, bytes, stride } => {
                for (at, byte) in (0..).zip(bytes) {
                    self.machine.write(1, offset + at * stride, (*byte).into());
                }
                Ok(())
            }
            Step::Take { offset, bytes, stride } => {
                let places = (0..bytes.len() as u64).map(|at| offset + at * stride);
                let found: Vec<u8> = places.map(|at| self.machine.read(1, at) as u8).collect();
                same(found == *bytes, || format!("found {found:02x?}"))
            }
            Step::Irq(level) => {
                let found = self.machine.irq();
                same(found == *level, || format!("found {found}"))
            }
            Step::TpmTakes { locality, command } => {
                let found = self.machine.taken(true);
                self.running |= found.is_some();
                let wanted = Some((*locality, command.clone()));
                same(found == wanted, || format!("found {found:02x?}"))
            }
            Step::TpmIdle => {
                let found = self.machine.taken(false);
                self.running |= found.is_some();
                same(found.is_none(), || format!("found {found:02x?}"))
            }
            Step::TpmAnswers(response) => {
                same(std::mem::take(&mut self.running), || "no command runs".into())?;
                self.machine.answer(response)
            }
            Step::TpmCancels(count) => {
                let found = self.machine.cancels();
                same(found == *count, || format!("found {found}"))
            }
            Step::Reset => self.reset(),
        }
    }

    /// Ends what runs, so that a reset need not wait. A command that nobody looked at is an error.
    fn finish(&mut self) -> Result<(), String> {
        self.end_command()?;
        match self.machine.taken(false) {
            Some((_, command)) => {
                self.machine.answer(&FAILURE)?;
                Err(format!("a command that nobody looked at: {command:02x?}"))
            }
            None => Ok(()),
        }
    }

    fn end_command(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.running) { self.machine.answer(&FAILURE) } else { Ok(()) }
    }

    fn reset(&mut self) -> Result<(), String> {
        self.end_command()?;
        self.machine.reset();
        self.machine.cancels();
        Ok(())
    }
}

fn same(holds: bool, found: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(found()) }
}
