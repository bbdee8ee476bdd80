//! The one thread of this process that speaks to the chip.
//!
//! Everybody else gives it work and waits, for a bounded time. Work begins from nothing (it loads
//! what it needs and flushes it), so that it can be done again after the connection was lost: a
//! restart of the resource manager is not noticed by callers. When there is nothing to do the
//! connection is closed, for chips that serve one caller at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::chip::{Authorizations, Chip, Counts, Operations};
use crate::error::{Error, Result};

/// How long a caller waits by default. Making an RSA key takes some chips half a minute.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long the connection stays open with nothing to do.
const IDLE: Duration = Duration::from_millis(200);

/// How often work is begun again after the connection was lost.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// How long the last one waits for the thread to close the connection. A process that ended in the
/// midst of that would clean up libraries that the thread still uses.
const FAREWELL: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&mut Chip) + Send>;

/// The way to the chip. Clones are ways to the same one.
#[derive(Clone)]
pub(crate) struct Broker {
    // Before the thread's end is waited for: without work to come it ends.
    jobs: Sender<Job>,
    _end: Arc<End>,
    counts: Counts,
    patience: Duration,
}

/// Waits for the thread when the last way to it goes.
struct End(Mutex<Receiver<()>>);

impl Drop for End {
    fn drop(&mut self) {
        let ended = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever said: the other end goes when the thread does. A chip that hangs is left.
        let _ = ended.recv_timeout(FAREWELL);
    }
}

impl Broker {
    /// Starts the thread. The chip is not touched before there is work.
    pub(crate) fn start(
        address: &str,
        authorizations: Authorizations,
        patience: Duration,
    ) -> Result<Self> {
        let counts = Counts::default();
        let chip = Chip::new(address, authorizations, Arc::clone(&counts))?;
        let (jobs, queue) = mpsc::channel();
        let (ending, ended) = mpsc::channel();
        let work = move || {
            serve(chip, &queue);
            // The chip is closed by now.
            drop::<Sender<()>>(ending);
        };
        thread::Builder::new().name("tpm-chip".into()).spawn(work).map_err(|_| Error::Ended)?;
        Ok(Self { jobs, _end: Arc::new(End(Mutex::new(ended))), counts, patience })
    }

    /// Has `work` done and waits for it. It is begun again if the connection is lost.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        mut work: impl FnMut(&mut Chip) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = mpsc::sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let nobody_waits = Arc::clone(&given_up);
        let job: Job = Box::new(move |chip| {
            if !nobody_waits.load(Ordering::Acquire) {
                // A caller that gave up does not want the answer.
                let _ = answer.send(attempt(chip, what, &nobody_waits, &mut work));
            }
        });
        self.jobs.send(job).map_err(|_| Error::Ended)?;
        match result.recv_timeout(self.patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                given_up.store(true, Ordering::Release);
                Err(Error::Silent { what, after: self.patience })
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::Ended),
        }
    }

    /// What the chip was sent so far.
    pub(crate) fn operations(&self) -> Operations {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut chip: Chip, queue: &Receiver<Job>) {
    loop {
        match queue.recv_timeout(IDLE) {
            Ok(job) => job(&mut chip),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                chip.disconnect();
                // Nothing is open: wait without waking up.
                match queue.recv() {
                    Ok(job) => job(&mut chip),
                    Err(_) => return,
                }
            }
        }
    }
}

fn attempt<T>(
    chip: &mut Chip,
    what: &'static str,
    nobody_waits: &AtomicBool,
    work: &mut impl FnMut(&mut Chip) -> Result<T>,
) -> Result<T> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match work(chip) {
            Err(error @ Error::Unreachable { .. }) if !nobody_waits.load(Ordering::Acquire) => {
                info!("{what}: {error}; again in {} ms", pause.as_millis());
                chip.disconnect();
                thread::sleep(pause);
                pause = pause.saturating_mul(2);
            }
            result => return result,
        }
    }
    let last = work(chip);
    if let Err(error) = &last {
        warn!("{what}: {error}");
    }
    last
}
