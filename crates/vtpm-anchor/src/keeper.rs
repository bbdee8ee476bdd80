//! Remembers generations from time to time, so that nobody who commits waits for the chip.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;
use vtpm_store::InstanceId;

use crate::anchor::Anchor;
use crate::error::{Error, Result};

type Noted = Arc<Mutex<BTreeMap<InstanceId, u64>>>;

/// Notes generations without waiting, and has the chip remember the newest ones on a timer, and
/// when it is asked to. What the chip does not know yet when the host crashes is not protected
/// against rollback: the interval bounds that.
pub struct Keeper {
    anchor: Anchor,
    noted: Noted,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the timer. The chip's NV takes some 100,000 writes: with one every ten minutes it
    /// lasts two years of constant change, with one every hour eleven.
    ///
    /// # Errors
    /// [`Error::Ended`] if the system gives no thread.
    pub fn start(anchor: &Anchor, interval: Duration) -> Result<Self> {
        let noted = Noted::default();
        let (stop, stopped) = mpsc::sync_channel(1);
        let (of_thread, through) = (Arc::clone(&noted), anchor.clone());
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = write(&through, &of_thread) {
                    warn!("the newest generations are not remembered yet: {error}");
                }
            }
        };
        let thread = thread::Builder::new().name("tpm-keeper".into()).spawn(run);
        let thread = Some(thread.map_err(|_| Error::Ended)?);
        Ok(Self { anchor: anchor.clone(), noted, stop: Some(stop), thread })
    }

    /// Notes that an instance has a new generation. Never waits for the chip.
    pub fn note(&self, instance: InstanceId, generation: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = noted.entry(instance).or_insert(0);
        *newest = generation.max(*newest);
    }

    /// Has the chip remember everything that was noted: at a stop, and before a handover.
    ///
    /// # Errors
    /// As [`Anchor::remember`]; what was noted stays noted.
    pub fn flush(&self) -> Result<()> {
        write(&self.anchor, &self.noted)
    }
}

fn write(anchor: &Anchor, noted: &Noted) -> Result<()> {
    let taken = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
    if taken.is_empty() {
        return Ok(());
    }
    let generations: Vec<_> = taken.iter().map(|(id, generation)| (*id, *generation)).collect();
    let remembered = anchor.remember(&generations);
    if remembered.is_err() {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        for (instance, generation) in taken {
            let newest = noted.entry(instance).or_insert(0);
            *newest = generation.max(*newest);
        }
    }
    remembered
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
