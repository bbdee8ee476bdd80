//! The way to a running instance, for whoever has commands for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};

use vtpm_store::{InstanceId, KeySource, SealedKey};
use zeroize::Zeroizing;

use crate::core::{Core, FAILURE, Storage, response};
use crate::error::{Error, Result};
use crate::handover::Frozen;
use crate::platform::Shared;
use crate::worker::{Durable, Job, Worker};

/// The way to one running instance. Clones are ways to the same one; the instance ends with
/// [`shutdown`](Self::shutdown), or when the last of them is gone.
#[derive(Clone)]
pub struct Handle {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    id: InstanceId,
}

/// Which state [`Handle::save`] gives.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// What survives the loss of power.
    Permanent,
    /// Everything, in the middle of what the guest does.
    Running,
}

/// Answers a command exactly once, whatever becomes of it.
struct Reply<F: FnOnce(Vec<u8>)>(Option<F>);

impl<F: FnOnce(Vec<u8>)> Reply<F> {
    fn send(mut self, bytes: Vec<u8>) {
        if let Some(reply) = self.0.take() {
            reply(bytes);
        }
    }
}

impl<F: FnOnce(Vec<u8>)> Drop for Reply<F> {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(response(FAILURE));
        }
    }
}

impl Handle {
    pub(crate) fn new(jobs: Sender<Job>, shared: Arc<Shared>, id: InstanceId) -> Self {
        Self { jobs, shared, id }
    }

    /// Whose vTPM this is.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Runs a command from a locality (0 to 4) after all that were submitted before; `reply` is
    /// called with the response, in the instance's thread, when what the command did is durable.
    /// Does not wait.
    ///
    /// `reply` is called exactly once: with `TPM_RC_FAILURE` if the vTPM is switched off, stopped
    /// or shut down, with `TPM_RC_RETRY` if it is frozen.
    pub fn submit(
        &self,
        locality: u8,
        command: Vec<u8>,
        reply: impl FnOnce(Vec<u8>) + Send + 'static,
    ) {
        let command = Zeroizing::new(command);
        let reply = Reply(Some(reply));
        self.shared.count_submitted();
        let job: Job = Box::new(move |worker| {
            let bytes = worker.execute(locality, &command);
            worker.publish();
            worker.count_run();
            reply.send(bytes);
        });
        // If the thread has ended, the job and with it the reply come back and are dropped.
        if self.jobs.send(job).is_err() {
            self.shared.count_run();
        }
    }

    /// Runs a command and waits for its response.
    #[must_use]
    pub fn execute(&self, locality: u8, command: Vec<u8>) -> Vec<u8> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.submit(locality, command, move |bytes| {
            // The receiver waits until this or the reply is dropped.
            let _ = sender.send(bytes);
        });
        answer.recv().unwrap_or_else(|_| response(FAILURE))
    }

    /// Asks the command that runs, or that is about to, to be given up (`TPM_RC_CANCELED`). Long
    /// ones heed it. Without a command it has no effect, on the next one neither.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// `_TPM_Init`: the machine is switched on, or is reset. The vTPM waits for `TPM2_Startup`.
    ///
    /// # Errors
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`]; [`Error::Store`] if the file's lock
    /// was [released](Self::release) and somebody else has it.
    #[doc(alias = "_TPM_Init")]
    pub fn init(&self) -> Result<()> {
        self.call(|worker| worker.with(Core::init))
    }

    /// The machine is switched off: what lives in memory only is wiped.
    ///
    /// # Errors
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    pub fn power_off(&self) -> Result<()> {
        self.call(|worker| {
            worker.with(|core| {
                core.power_off();
                Ok(())
            })
        })
    }

    /// Whether the vTPM is switched on, as the last job left it.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.shared.powered.load(Ordering::Acquire)
    }

    /// `_TPM_Hash_Start`, after all that was submitted before. Does not wait.
    #[doc(alias = "_TPM_Hash_Start")]
    pub fn hash_start(&self) {
        self.measure(|core| core.tpm.hash_start());
    }

    /// `_TPM_Hash_Data`. Does not wait.
    #[doc(alias = "_TPM_Hash_Data")]
    pub fn hash_data(&self, data: Vec<u8>) {
        let data = Zeroizing::new(data);
        self.measure(move |core| core.tpm.hash_data(&data));
    }

    /// `_TPM_Hash_End`; waits until the measurement is made.
    ///
    /// # Errors
    /// [`Error::PoweredOff`], [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    #[doc(alias = "_TPM_Hash_End")]
    pub fn hash_end(&self) -> Result<()> {
        self.call(|worker| {
            worker.with_durable(|core| {
                must_be_powered(core)?;
                core.reacquire()?;
                let outcome = core.tpm.hash_end();
                Ok(Durable { value: (), commit: outcome.durable })
            })
        })
    }

    /// `_TPM_Hash_End`, after all that was submitted before. Does not wait; if the measurement
    /// cannot be made durable the instance stops, as it does for a command.
    pub fn submit_hash_end(&self) {
        self.post(|worker| {
            // What goes wrong is logged by the thread and seen by the next command.
            let _ = worker.with_durable(|core| {
                must_be_powered(core)?;
                core.reacquire()?;
                let outcome = core.tpm.hash_end();
                Ok(Durable { value: (), commit: outcome.durable })
            });
        });
    }

    /// `TPM_ESTABLISHMENT`, as the last job left it: a dynamic launch took place.
    #[must_use]
    pub fn established(&self) -> bool {
        self.shared.established.load(Ordering::Acquire)
    }

    /// Resets `TPM_ESTABLISHMENT`, durably.
    ///
    /// # Errors
    /// [`Error::Locality`] from another locality than 3 and 4, [`Error::PoweredOff`],
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    pub fn reset_established(&self, locality: u8) -> Result<()> {
        self.call(move |worker| {
            worker.with_durable(|core| {
                must_be_powered(core)?;
                core.reacquire()?;
                if !core.tpm.reset_established(locality) {
                    return Err(Error::Locality(locality));
                }
                Ok(Durable { value: (), commit: true })
            })
        })
    }

    /// Says whether somebody is physically present at the machine.
    pub fn set_physical_presence(&self, present: bool) {
        self.shared.physical_presence.store(present, Ordering::Release);
    }

    /// A copy of the state, in the clear; the vTPM goes on. For the snapshots of a caller that
    /// keeps them safe; a move to another host is [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// [`Error::PoweredOff`] for a running state, [`Error::Frozen`], [`Error::Stopped`],
    /// [`Error::Ended`].
    pub fn save(&self, which: Saved) -> Result<Zeroizing<Vec<u8>>> {
        self.call(move |worker| {
            worker.with(|core| match which {
                Saved::Permanent => Ok(core.tpm.save_permanent()),
                Saved::Running => must_be_powered(core).map(|()| core.save_running()),
            })
        })
    }

    /// Puts the TPM of a saved state in the place of this one, durably: a snapshot is loaded. The
    /// vTPM must be switched off. [`Saved::Running`] says that `state` is a running one, with which
    /// the vTPM is switched on; otherwise it stays off, whatever `state` is.
    ///
    /// # Errors
    /// [`Error::PoweredOn`] and [`Error::Engine`] with nothing changed, [`Error::Frozen`],
    /// [`Error::Stopped`], [`Error::Ended`].
    pub fn load(&self, which: Saved, state: Zeroizing<Vec<u8>>) -> Result<()> {
        self.call(move |worker| {
            worker.with_durable(|core| {
                core.replace(&state, which == Saved::Running)?;
                Ok(Durable { value: (), commit: true })
            })
        })
    }

    /// Stops the vTPM between two commands, for a handover. It can be thawed; commands are answered
    /// with `TPM_RC_RETRY` until then.
    ///
    /// Waits for the command that runs; [`cancel`](Self::cancel) shortens that.
    ///
    /// # Errors
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`]; [`Error::Store`] if the file's lock
    /// was [released](Self::release) and somebody else has it.
    pub fn freeze(&self) -> Result<Frozen> {
        let core = self.call(|worker| {
            worker.with(Core::reacquire)?;
            worker.take()
        })?;
        Ok(Frozen::new(core, self.clone()))
    }

    /// Gives the file's lock away, so that another process can open the same file: for machines
    /// that move between hosts with a shared disk. The vTPM takes it back when it is asked for
    /// anything; if it cannot, commands are answered with `TPM_RC_RETRY`.
    ///
    /// # Errors
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    pub fn release(&self) -> Result<()> {
        self.call(|worker| {
            worker.with(|core| {
                core.release();
                Ok(())
            })
        })
    }

    /// Takes the file's lock back; without effect if it was not given away.
    ///
    /// # Errors
    /// [`Error::Store`] while somebody else has it, and for ever once somebody else has gone on
    /// with the instance; [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    pub fn reacquire(&self) -> Result<()> {
        self.call(|worker| worker.with(Core::reacquire))
    }

    /// Seals the store's data key anew, by another source or under another policy. `source` is
    /// called in the instance's thread: no command runs meanwhile.
    ///
    /// # Errors
    /// As the store says; if it cannot write, the instance stops.
    pub fn reseal(&self, source: Box<dyn KeySource + Send>) -> Result<()> {
        self.change_store(move |store| store.reseal(source.as_ref()))
    }

    /// Puts a new data key in the place of the store's.
    ///
    /// # Errors
    /// As the store says; if it cannot write, the instance stops.
    pub fn rekey(&self, key: SealedKey) -> Result<()> {
        self.change_store(move |store| store.rekey(key))
    }

    /// The generation of the newest record: for the anchor to remember. 0 without a store.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// How often the instance has moved; 0 without a store.
    ///
    /// # Errors
    /// [`Error::Frozen`], [`Error::Stopped`], [`Error::Ended`].
    pub fn epoch(&self) -> Result<u64> {
        self.call(|worker| {
            worker.with(|core| Ok(core.store().map_or(0, |store| store.role().epoch())))
        })
    }

    /// Why the instance stopped before it was shut down, if it did.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.shared.stopped.get().cloned()
    }

    /// Gives up the command that runs, closes the store and ends the thread; all is closed when
    /// this returns. Whatever was submitted after is answered with `TPM_RC_FAILURE`.
    pub fn shutdown(&self) {
        self.cancel();
        // If the thread has ended already there is nothing left to close.
        let _ = self.call(|worker| {
            worker.end();
            Ok(())
        });
    }

    fn change_store(
        &self,
        change: impl FnOnce(&mut vtpm_store::Store) -> vtpm_store::Result<()> + Send + 'static,
    ) -> Result<()> {
        self.call(move |worker| {
            worker.with(Core::reacquire)?;
            let changed = worker.with(|core| match &mut core.storage {
                Storage::Held(store) => Ok(change(store)),
                Storage::Nowhere | Storage::Released(_) => Ok(Ok(())),
            })?;
            changed.map_err(|cause| {
                if matches!(cause, vtpm_store::Error::Io { .. }) {
                    worker.stop(&format!("its store could not be changed: {cause}"));
                }
                cause.into()
            })
        })
    }

    fn measure(&self, action: impl FnOnce(&mut Core) + Send + 'static) {
        self.post(move |worker| {
            // A vTPM that does not run measures nothing.
            let _ = worker.with(|core| {
                if core.powered {
                    action(core);
                }
                Ok(())
            });
        });
    }

    /// Has something done in the instance's thread.
    pub(crate) fn post(&self, action: impl FnOnce(&mut Worker) + Send + 'static) {
        // Without the thread there is nothing to do it to.
        let _ = self.jobs.send(Box::new(move |worker| {
            action(worker);
            worker.publish();
        }));
    }

    /// Has something done in the instance's thread and waits for it.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Worker) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |worker| {
            let result = action(worker);
            worker.publish();
            // Whoever asked waits for it.
            let _ = sender.send(result);
        });
        self.jobs.send(job).map_err(|_| Error::Ended)?;
        answer.recv().unwrap_or(Err(Error::Ended))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.id)
            .field("powered", &self.is_powered())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

fn must_be_powered(core: &Core) -> Result<()> {
    if core.powered { Ok(()) } else { Err(Error::PoweredOff) }
}
