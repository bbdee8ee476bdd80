//! What the engine asks of the operating system: time, entropy, and whether to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use vtpm_engine::Platform;

/// What the owner's thread and everybody else both see, so that nobody waits for a command that
/// runs just to learn these.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) powered: AtomicBool,
    pub(crate) established: AtomicBool,
    pub(crate) physical_presence: AtomicBool,
    pub(crate) generation: AtomicU64,
    /// Why the instance stopped for good.
    pub(crate) stopped: OnceLock<String>,
    /// Commands that were submitted.
    submitted: AtomicU64,
    /// Commands that have been run.
    run: AtomicU64,
    /// The number of the command that is to be given up, counted from 1.
    canceled: AtomicU64,
}

impl Shared {
    /// A command was submitted.
    pub(crate) fn count_submitted(&self) {
        self.submitted.fetch_add(1, Ordering::AcqRel);
    }

    /// A command was run, or given up before it began.
    pub(crate) fn count_run(&self) {
        self.run.fetch_add(1, Ordering::AcqRel);
    }

    /// Asks the command that runs, or that is about to, to be given up.
    pub(crate) fn cancel(&self) {
        let run = self.run.load(Ordering::Acquire);
        if self.submitted.load(Ordering::Acquire) > run {
            self.canceled.store(run.wrapping_add(1), Ordering::Release);
        }
    }

    /// Whether the command that runs now is the one to be given up.
    fn is_canceled(&self) -> bool {
        let current = self.run.load(Ordering::Acquire).wrapping_add(1);
        self.canceled.load(Ordering::Acquire) == current
    }
}

/// The system that the engine runs on.
pub(crate) struct System {
    start: Instant,
    shared: Arc<Shared>,
}

impl System {
    pub(crate) fn boxed(shared: &Arc<Shared>) -> Box<dyn Platform> {
        Box::new(Self { start: Instant::now(), shared: Arc::clone(shared) })
    }
}

impl Platform for System {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        getrandom::fill(out).is_ok()
    }

    fn canceled(&self) -> bool {
        self.shared.is_canceled()
    }

    fn physical_presence(&self) -> bool {
        self.shared.physical_presence.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_hits_the_command_that_runs_and_no_later_one() {
        let shared = Shared::default();
        shared.cancel();
        shared.count_submitted();
        assert!(!shared.is_canceled(), "there was nothing to cancel");
        shared.cancel();
        assert!(shared.is_canceled());
        shared.count_run();
        shared.count_submitted();
        assert!(!shared.is_canceled());
    }
}
