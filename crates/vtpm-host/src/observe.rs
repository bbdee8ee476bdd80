//! What an observer of an instance sees: for metrics and logs.

use std::time::Duration;

/// One command that was run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandRun {
    /// The command code, if the command was long enough to have one.
    pub code: Option<u32>,
    /// The response code that was released.
    pub response_code: u32,
    /// The locality that it came from.
    pub locality: u8,
    /// From the moment it was taken up until its response could be released, the commit included.
    pub took: Duration,
    /// How long making it durable took; absent for a command that changed nothing durable.
    pub commit: Option<Duration>,
}

/// Told what happens to an instance, in its thread: what an observer does delays the next command.
pub trait Observer: Send + Sync {
    /// A command was run. Called before its response is released.
    fn command(&self, run: &CommandRun) {
        let _ = run;
    }

    /// The store holds a new generation: for the anchor to remember.
    fn committed(&self, generation: u64) {
        let _ = generation;
    }

    /// The instance stopped.
    fn stopped(&self, why: &str) {
        let _ = why;
    }
}

/// Observes nothing.
#[derive(Copy, Clone, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
