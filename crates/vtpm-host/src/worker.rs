//! The thread that owns an instance, and the jobs it is given.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use tracing::error;

use crate::core::{Core, FAILURE, RETRY, response};
use crate::error::{Error, Result};
use crate::observe::Observer;
use crate::platform::Shared;

/// Something to be done in the thread that owns the instance.
pub(crate) type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// What the thread has.
enum Slot {
    /// The instance.
    Here(Box<Core>),
    /// Nothing: the instance is frozen, and whoever froze it has it.
    Away,
    /// Nothing any more.
    Stopped(String),
}

/// The owner of an instance.
pub(crate) struct Worker {
    slot: Slot,
    shared: Arc<Shared>,
    observer: Arc<dyn Observer>,
    over: bool,
}

impl Worker {
    /// Starts the thread; it ends with [`Worker::end`], or when nobody can send it jobs any more.
    pub(crate) fn start(core: Box<Core>, observer: Arc<dyn Observer>) -> Result<Sender<Job>> {
        let (jobs, queue) = mpsc::channel();
        let shared = Arc::clone(&core.shared);
        core.publish();
        let worker = Self { slot: Slot::Here(core), shared, observer, over: false };
        let thread = thread::Builder::new().name("vtpm".into());
        thread.spawn(move || worker.run(&queue)).map_err(Error::Thread)?;
        Ok(jobs)
    }

    fn run(mut self, queue: &Receiver<Job>) {
        while !self.over
            && let Ok(job) = queue.recv()
        {
            job(&mut self);
        }
    }

    /// Shows everybody what the instance is now. To be called before a job is answered.
    pub(crate) fn publish(&self) {
        match &self.slot {
            Slot::Here(core) => core.publish(),
            Slot::Away => {}
            Slot::Stopped(_) => self.shared.powered.store(false, Ordering::Release),
        }
    }

    /// A command has been run.
    pub(crate) fn count_run(&self) {
        self.shared.count_run();
    }

    /// Runs a command; always gives a response.
    pub(crate) fn execute(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        let observer = Arc::clone(&self.observer);
        let result = match &mut self.slot {
            Slot::Here(core) => core.execute(locality, command, observer.as_ref()),
            Slot::Away => Ok(response(RETRY)),
            Slot::Stopped(_) => Ok(response(FAILURE)),
        };
        result.unwrap_or_else(|cause| {
            self.stop(&format!("its state could not be made durable: {cause}"));
            response(FAILURE)
        })
    }

    /// Does something with the instance.
    pub(crate) fn with<T>(&mut self, action: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        match &mut self.slot {
            Slot::Here(core) => action(core),
            Slot::Away => Err(Error::Frozen),
            Slot::Stopped(why) => Err(Error::Stopped { why: why.clone() }),
        }
    }

    /// Does something with the instance that must become durable, and stops it if it does not.
    pub(crate) fn with_durable<T>(
        &mut self,
        action: impl FnOnce(&mut Core) -> Result<Durable<T>>,
    ) -> Result<T> {
        let observer = Arc::clone(&self.observer);
        let done = self.with(|core| {
            let Durable { value, commit } = action(core)?;
            Ok((value, if commit { core.commit(observer.as_ref()) } else { Ok(()) }))
        });
        match done {
            Ok((value, Ok(()))) => Ok(value),
            Ok((_, Err(cause))) => {
                let why = format!("its state could not be made durable: {cause}");
                self.stop(&why);
                Err(Error::Stopped { why })
            }
            Err(cause) => Err(cause),
        }
    }

    /// Gives the instance away until it is [put back](Self::put_back).
    pub(crate) fn take(&mut self) -> Result<Box<Core>> {
        match std::mem::replace(&mut self.slot, Slot::Away) {
            Slot::Here(core) => Ok(core),
            Slot::Away => Err(Error::Frozen),
            Slot::Stopped(why) => {
                self.slot = Slot::Stopped(why.clone());
                Err(Error::Stopped { why })
            }
        }
    }

    /// The instance that was given away comes back.
    pub(crate) fn put_back(&mut self, core: Box<Core>) {
        if matches!(self.slot, Slot::Away) {
            self.slot = Slot::Here(core);
        }
    }

    /// Ends the instance here, its file closed; the thread goes on to say so.
    pub(crate) fn stop(&mut self, why: &str) {
        error!("the vTPM stops: {why}");
        self.slot = Slot::Stopped(why.to_owned());
        let _ = self.shared.stopped.set(why.to_owned());
        self.publish();
        self.observer.stopped(why);
    }

    /// As [`stop`](Self::stop), where nothing went wrong: the instance left.
    pub(crate) fn leave(&mut self, why: &str) {
        self.slot = Slot::Stopped(why.to_owned());
        let _ = self.shared.stopped.set(why.to_owned());
        self.publish();
    }

    /// Ends the instance and the thread.
    pub(crate) fn end(&mut self) {
        self.slot = Slot::Stopped("it was shut down".to_owned());
        self.publish();
        self.over = true;
    }
}

/// What was done, and whether it must be durable.
pub(crate) struct Durable<T> {
    pub(crate) value: T,
    pub(crate) commit: bool,
}
