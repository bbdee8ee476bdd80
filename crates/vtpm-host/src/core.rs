//! The engine and its store together, without a thread: what a command needs to be answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use vtpm_engine::Tpm;
use vtpm_store::{Released, Store};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::observe::{CommandRun, Observer};
use crate::platform::{Shared, System};

/// `TPM_RC_FAILURE`: the vTPM does not run, and will not by itself.
pub(crate) const FAILURE: u32 = 0x101;
/// `TPM_RC_RETRY`: the command was not begun and may be sent again.
pub(crate) const RETRY: u32 = 0x922;

/// A response without parameters.
pub(crate) fn response(code: u32) -> Vec<u8> {
    let code = code.to_be_bytes();
    [&[0x80, 0x01, 0, 0, 0, 10], code.as_slice()].concat()
}

/// Where the state is kept.
pub(crate) enum Storage {
    /// Nowhere: the instance ends with its process.
    Nowhere,
    /// In a file that is open and locked.
    Held(Box<Store>),
    /// In a file whose lock was given to somebody else.
    Released(Box<Released>),
}

/// One instance that is active here.
pub(crate) struct Core {
    pub(crate) tpm: Tpm,
    pub(crate) powered: bool,
    pub(crate) storage: Storage,
    pub(crate) shared: Arc<Shared>,
}

impl Core {
    /// Runs a command and makes its effect durable.
    ///
    /// # Errors
    /// The effect could not be made durable: this must not be used any more.
    pub(crate) fn execute(
        &mut self,
        locality: u8,
        command: &[u8],
        observer: &dyn Observer,
    ) -> Result<Vec<u8>> {
        if !self.powered {
            return Ok(response(FAILURE));
        }
        match self.reacquire() {
            Ok(()) => {}
            Err(Error::Store(vtpm_store::Error::Locked { .. })) => return Ok(response(RETRY)),
            // Somebody else went on with the instance.
            Err(cause) => return Err(cause),
        }
        let begun = Instant::now();
        let mut answer = Vec::with_capacity(512);
        let outcome = self.tpm.execute(locality, command, &mut answer);
        let executed = Instant::now();
        let committed = if outcome.durable { self.commit(observer) } else { Ok(()) };
        let ended = Instant::now();
        observer.command(&CommandRun {
            code: word(command),
            response_code: committed
                .as_ref()
                .map_or(Some(FAILURE), |()| word(&answer))
                .unwrap_or(0),
            locality,
            took: ended.saturating_duration_since(begun),
            commit: outcome.durable.then(|| ended.saturating_duration_since(executed)),
        });
        committed.map(|()| answer)
    }

    /// Makes the permanent state durable.
    ///
    /// # Errors
    /// As the store says: this must not be used any more.
    pub(crate) fn commit(&mut self, observer: &dyn Observer) -> Result<()> {
        match &mut self.storage {
            Storage::Nowhere => {}
            Storage::Held(store) => {
                store.commit(&self.tpm.save_permanent())?;
                self.shared.generation.store(store.generation(), Ordering::Release);
                observer.committed(store.generation());
            }
            Storage::Released(_) => return Err(Error::Frozen),
        }
        Ok(())
    }

    /// `_TPM_Init`: the machine is switched on, or reset.
    pub(crate) fn init(&mut self) -> Result<()> {
        self.reacquire()?;
        self.tpm.init();
        self.powered = true;
        Ok(())
    }

    /// The machine is switched off: all that lives in memory only is wiped.
    pub(crate) fn power_off(&mut self) {
        self.tpm.init();
        self.powered = false;
    }

    /// Puts another TPM, from a saved state, in the place of this one. It is yet to be committed.
    ///
    /// # Errors
    /// [`Error::PoweredOn`], [`Error::Engine`], or a lock that somebody else has; nothing changed.
    pub(crate) fn replace(&mut self, state: &[u8], powered: bool) -> Result<()> {
        if self.powered {
            return Err(Error::PoweredOn);
        }
        let tpm = Tpm::restore(state, System::boxed(&self.shared))?;
        self.reacquire()?;
        self.tpm = tpm;
        self.powered = powered;
        Ok(())
    }

    /// Gives the file's lock away, so that another process can open it.
    pub(crate) fn release(&mut self) {
        self.storage = match std::mem::replace(&mut self.storage, Storage::Nowhere) {
            Storage::Held(store) => Storage::Released(Box::new(store.release())),
            other => other,
        };
    }

    /// Takes the file's lock back, if it was given away.
    ///
    /// # Errors
    /// [`vtpm_store::Error::Locked`] while somebody has it; it can be tried again.
    /// [`vtpm_store::Error::ChangedElsewhere`] for ever if somebody went on with the instance.
    pub(crate) fn reacquire(&mut self) -> Result<()> {
        let storage = std::mem::replace(&mut self.storage, Storage::Nowhere);
        let (storage, result) = match storage {
            Storage::Released(released) => match released.acquire() {
                Ok(store) => (Storage::Held(Box::new(store)), Ok(())),
                Err((released, cause)) => (Storage::Released(released), Err(cause.into())),
            },
            other => (other, Ok(())),
        };
        self.storage = storage;
        result
    }

    /// Everything, as bytes.
    pub(crate) fn save_running(&self) -> Zeroizing<Vec<u8>> {
        self.tpm.save_running()
    }

    /// Shows everybody what this is now.
    pub(crate) fn publish(&self) {
        self.shared.established.store(self.tpm.established(), Ordering::Release);
        self.shared.powered.store(self.powered, Ordering::Release);
        if let Storage::Held(store) = &self.storage {
            self.shared.generation.store(store.generation(), Ordering::Release);
        }
    }
}

/// The code in the header of a command or a response.
fn word(message: &[u8]) -> Option<u32> {
    message.get(6..10)?.first_chunk().map(|code| u32::from_be_bytes(*code))
}
