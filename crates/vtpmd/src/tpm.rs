//! The TPM behind the channels: which file it lives in, when it is opened, and what `INIT`, `STOP`
//! and the state blobs mean for it. Commands go straight to the [`Handle`].
//!
//! ```text
//!   start: open the file, if there is one ....... not with --migration incoming: it may be locked
//!   INIT:  open it now, or make it; then switch on
//!          from a blob that was set, else from what STORE_VOLATILE left, else from power-off
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use tracing::{error, info};
use vtpm_engine::Profile;
use vtpm_host::{Handle, Instance, Observer, Saved};
use vtpm_store::{Birth, Expect, InstanceId, KeySource, Place, SealedKey, Store};
use zeroize::Zeroizing;

use crate::blob;
use crate::protocol::{BAD_LOCALITY, BAD_ORDINAL, BAD_PARAMETER, BlobKind, FAIL, RETRY, SUCCESS};

/// `TPM_RC_FAILURE`, as an answer to any command while the TPM does not run.
pub(crate) const FAILURE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];
/// `TPM2_Shutdown`.
const SHUTDOWN: u32 = 0x145;
const SHUTDOWN_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x45, 0, 0];
/// Attempts at a file that the source of a migration is about to let go, and the pause between.
const OPEN_ATTEMPTS: u32 = 300;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A key source that can be taken to another thread.
pub(crate) type Source = Box<dyn KeySource + Send + Sync>;
/// A state blob.
pub(crate) type Blob = Zeroizing<Vec<u8>>;

/// What a TPM is made of.
pub(crate) struct Setting {
    /// The state file.
    pub(crate) file: PathBuf,
    /// What seals its key.
    pub(crate) source: Source,
    /// What seals the blobs that leave, and opens those that arrive.
    pub(crate) migration: Option<Source>,
    /// What a TPM that is made here has.
    pub(crate) profile: Profile,
    /// The file is opened by `INIT`, not before: its owner may be on the way here.
    pub(crate) incoming: bool,
    /// The lock is given away when the last blob was asked for.
    pub(crate) release_outgoing: bool,
    /// `TPM2_Shutdown` is sent where a guest did not before its machine was switched off.
    pub(crate) auto_shutdown: bool,
    /// Told what happens to the TPM.
    pub(crate) observer: Arc<dyn Observer>,
}

/// State blobs that arrived before `INIT`.
#[derive(Default)]
struct Incoming {
    permanent: Option<Blob>,
    volatile: Option<Blob>,
}

/// Blobs of which a part was asked for, so that the rest is of the same state.
#[derive(Default)]
struct Outgoing {
    permanent: Blob,
    volatile: Blob,
}

struct Home {
    setting: Setting,
    place: Place,
    running: Place,
    incoming: Incoming,
    outgoing: Outgoing,
}

/// The TPM.
pub(crate) struct Tpm {
    home: Mutex<Home>,
    handle: RwLock<Option<Handle>>,
    /// What `STORE_VOLATILE` left may be there.
    running_stored: AtomicBool,
    /// There is a migration key.
    encrypts_blobs: bool,
    /// `TPM2_Shutdown` is sent where a guest did not before its machine was switched off.
    auto_shutdown: bool,
    /// The guest sent `TPM2_Shutdown` last, or nothing at all.
    shut_down_last: AtomicBool,
    /// The state left for another host: nothing is to be written on its own account.
    left: AtomicBool,
}

impl Tpm {
    /// Opens the state, if there is one and nobody else is to be waited for.
    pub(crate) fn open(setting: Setting) -> Result<Self> {
        let directory = setting.file.parent().unwrap_or(Path::new("."));
        if !directory.is_dir() {
            bail!("{} is not a directory; make it, or name another one", directory.display());
        }
        let place = Place::at(&setting.file);
        let running = Place::at(running_path(&setting.file));
        let stored = AtomicBool::new(running.path().exists());
        let (incoming, outgoing) = Default::default();
        let (encrypts_blobs, auto_shutdown) = (setting.migration.is_some(), setting.auto_shutdown);
        let home = Home { setting, place, running, incoming, outgoing };
        let handle = match home.setting.incoming || !home.place.path().exists() {
            true => None,
            false => Some(home.open()?),
        };
        Ok(Self {
            home: Mutex::new(home),
            handle: RwLock::new(handle),
            running_stored: stored,
            encrypts_blobs,
            auto_shutdown,
            shut_down_last: AtomicBool::new(true),
            left: AtomicBool::new(false),
        })
    }

    /// Runs a command.
    pub(crate) fn execute(&self, locality: u8, command: Vec<u8>) -> Vec<u8> {
        let Some(handle) = self.handle() else { return FAILURE.to_vec() };
        if handle.is_powered() && !self.forget_running_state(&handle) {
            return FAILURE.to_vec();
        }
        let last = word(&command) == Some(SHUTDOWN);
        let response = handle.execute(locality, command);
        self.shut_down_last.store(last && word(&response) == Some(0), Ordering::Release);
        self.left.store(false, Ordering::Release);
        response
    }

    /// Shuts the TPM down where the guest did not: a machine that is just switched off would else
    /// look to its TPM like an attack that cut the power, and lock its owner out in the end.
    fn shut_down_orderly(&self, handle: &Handle) {
        let quiet =
            self.shut_down_last.load(Ordering::Acquire) || self.left.load(Ordering::Acquire);
        if self.auto_shutdown && !quiet && handle.is_powered() {
            handle.cancel();
            // A TPM that was not started up refuses, and needs none.
            let _ = handle.execute(0, SHUTDOWN_CLEAR.to_vec());
            self.shut_down_last.store(true, Ordering::Release);
        }
    }

    /// Whether the TPM runs.
    pub(crate) fn is_running(&self) -> bool {
        self.handle().is_some_and(|handle| handle.is_powered())
    }

    /// The flag `TPM_ESTABLISHMENT`.
    pub(crate) fn established(&self) -> bool {
        self.handle().is_some_and(|handle| handle.established())
    }

    /// Asks the command that runs to be given up.
    pub(crate) fn cancel(&self) {
        if let Some(handle) = self.handle() {
            handle.cancel();
        }
    }

    /// Switches the TPM on, or resets it.
    pub(crate) fn init(&self) -> u32 {
        let mut home = self.home();
        let stored = match self.take_running_state(&home) {
            Ok(stored) => stored,
            Err(cause) => return failed("the TPM cannot start", &cause),
        };
        let current = self.handle().filter(|handle| handle.stopped().is_none());
        if let Some(handle) = &current {
            self.shut_down_orderly(handle);
        }
        self.left.store(false, Ordering::Release);
        match home.start(current, stored) {
            Ok(handle) => {
                *self.handle.write().unwrap_or_else(PoisonError::into_inner) = Some(handle);
                SUCCESS
            }
            Err(cause) => failed("the TPM cannot start", &cause),
        }
    }

    /// Switches the TPM off.
    pub(crate) fn stop(&self) -> u32 {
        match self.handle().filter(|handle| handle.stopped().is_none()) {
            Some(handle) => {
                self.shut_down_orderly(&handle);
                done(handle.power_off())
            }
            None => SUCCESS,
        }
    }

    /// Keeps the running state for the next start.
    pub(crate) fn store_volatile(&self) -> u32 {
        let Some(handle) = self.running() else { return BAD_ORDINAL };
        let home = self.home();
        let stored = || -> Result<()> {
            let running = handle.save(Saved::Running)?;
            self.erase_running_state(&home)?;
            self.running_stored.store(true, Ordering::Release);
            let id = InstanceId::random()?;
            let key = SealedKey::new(home.setting.source.as_ref(), &id)?;
            Store::create(&home.running, Birth::active(id, 0), key, &running, &[])?;
            Ok(())
        };
        match stored() {
            Ok(()) => SUCCESS,
            Err(cause) => failed("the running state cannot be written", &cause),
        }
    }

    /// `_TPM_Hash_Start`.
    pub(crate) fn hash_start(&self) -> u32 {
        self.running().map_or(BAD_ORDINAL, |handle| {
            handle.hash_start();
            SUCCESS
        })
    }

    /// `_TPM_Hash_Data`.
    pub(crate) fn hash_data(&self, data: &[u8]) -> u32 {
        self.running().map_or(BAD_ORDINAL, |handle| {
            handle.hash_data(data.to_vec());
            SUCCESS
        })
    }

    /// `_TPM_Hash_End`.
    pub(crate) fn hash_end(&self) -> u32 {
        let Some(handle) = self.running() else { return BAD_ORDINAL };
        if self.forget_running_state(&handle) { done(handle.hash_end()) } else { FAIL }
    }

    /// Resets `TPM_ESTABLISHMENT`.
    pub(crate) fn reset_established(&self, locality: u8) -> u32 {
        let Some(handle) = self.running() else { return BAD_ORDINAL };
        match handle.reset_established(locality) {
            Err(vtpm_host::Error::Locality(_)) => BAD_LOCALITY,
            result => done(result),
        }
    }

    /// A state blob, or why there is none. A part of one (`offset` above 0) is of the state that
    /// was asked for last from its beginning.
    pub(crate) fn get_blob(&self, kind: BlobKind, offset: u32) -> Result<Blob, u32> {
        let handle = self.running().ok_or(BAD_ORDINAL)?;
        let mut home = self.home();
        let which = match kind {
            BlobKind::Permanent => Saved::Permanent,
            BlobKind::Volatile => Saved::Running,
            BlobKind::SaveState => {
                // The last of the three that is asked for.
                home.outgoing = Outgoing::default();
                self.left.store(true, Ordering::Release);
                if home.setting.release_outgoing {
                    info!("the state was fetched: its file is free for the destination");
                    return Err(handle.release().map_or(FAIL, |()| RETRY));
                }
                return Err(RETRY);
            }
        };
        if offset == 0 {
            let blob = handle.save(which).map_err(|cause| failed("no state", &cause.into()))?;
            let blob = match &home.setting.migration {
                Some(key) => blob::seal(key.as_ref(), &blob)
                    .map_err(|cause| failed("the state cannot be encrypted", &cause))?,
                None => blob,
            };
            *home.outgoing.part(which) = blob;
        }
        Ok(home.outgoing.part(which).clone())
    }

    /// Whether blobs are encrypted with a migration key.
    pub(crate) fn encrypts_blobs(&self) -> bool {
        self.encrypts_blobs
    }

    /// Keeps a blob for `INIT`, if a TPM can be made from it. An empty one takes back what was
    /// set before.
    pub(crate) fn set_blob(&self, kind: BlobKind, encrypted: bool, data: Blob) -> u32 {
        if self.is_running() {
            return BAD_ORDINAL;
        }
        let mut home = self.home();
        let data = match home.accept_blob(encrypted, data) {
            Ok(data) => data,
            Err(cause) => {
                failed("a state that was received is refused", &cause);
                return BAD_PARAMETER;
            }
        };
        match kind {
            BlobKind::Permanent => home.incoming.permanent = data,
            BlobKind::Volatile => home.incoming.volatile = data,
            BlobKind::SaveState if data.is_some() => return BAD_PARAMETER,
            BlobKind::SaveState => {}
        }
        SUCCESS
    }

    /// Takes the lock of the file, if it was given away, trying so often.
    pub(crate) fn lock(&self, retries: u32) -> u32 {
        let Some(handle) = self.handle() else { return SUCCESS };
        for attempt in 0..=retries.min(OPEN_ATTEMPTS) {
            match handle.reacquire() {
                Ok(()) => {
                    self.left.store(false, Ordering::Release);
                    return SUCCESS;
                }
                Err(vtpm_host::Error::Store(vtpm_store::Error::Locked { .. }))
                    if attempt < retries =>
                {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(cause) => return failed("the state cannot be locked", &cause.into()),
            }
        }
        FAIL
    }

    /// Closes the state.
    pub(crate) fn shut_down(&self) {
        if let Some(handle) = self.handle() {
            self.shut_down_orderly(&handle);
            handle.shutdown();
        }
    }

    fn handle(&self) -> Option<Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self) -> Option<Handle> {
        self.handle().filter(Handle::is_powered)
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running state that `STORE_VOLATILE` left is outdated once the TPM goes on: a start from
    /// it would undo what came after. `false` if it cannot be removed; the TPM stops then.
    fn forget_running_state(&self, handle: &Handle) -> bool {
        if !self.running_stored.load(Ordering::Acquire) {
            return true;
        }
        let forgotten = self.erase_running_state(&self.home());
        if let Err(cause) = &forgotten {
            failed("the TPM stops, because its old running state cannot be removed", cause);
            handle.shutdown();
        }
        forgotten.is_ok()
    }

    fn erase_running_state(&self, home: &Home) -> Result<()> {
        if self.running_stored.load(Ordering::Acquire) && home.running.path().exists() {
            Store::erase(&home.running)?;
        }
        self.running_stored.store(false, Ordering::Release);
        Ok(())
    }

    /// Takes the running state that the last process left, so that it is used once at most.
    fn take_running_state(&self, home: &Home) -> Result<Option<Blob>> {
        if !self.running_stored.load(Ordering::Acquire) || !home.running.path().exists() {
            return Ok(None);
        }
        let source = home.setting.source.as_ref();
        let opened = Store::open(&home.running, source, &Expect::anything())?;
        let running = Zeroizing::new(opened.state.to_vec());
        opened.store.destroy()?;
        self.running_stored.store(false, Ordering::Release);
        Ok(Some(running))
    }
}

impl Home {
    /// Opens the file and starts its TPM, switched off.
    fn open(&self) -> Result<Handle> {
        let source = self.setting.source.as_ref();
        let mut attempt = 0;
        let instance = loop {
            match Instance::open(&self.place, source, &Expect::anything()) {
                Err(vtpm_host::Error::Store(vtpm_store::Error::Locked { .. }))
                    if self.setting.incoming && attempt < OPEN_ATTEMPTS =>
                {
                    attempt = attempt.saturating_add(1);
                    thread::sleep(LOCK_PAUSE);
                }
                result => break result?,
            }
        };
        Ok(instance.start_observed(Arc::clone(&self.setting.observer))?)
    }

    /// Switches the TPM on: opened if it is not yet, made if there is none.
    fn start(&mut self, current: Option<Handle>, stored: Option<Blob>) -> Result<Handle> {
        let Incoming { permanent, volatile } = std::mem::take(&mut self.incoming);
        let running = volatile.or(stored);
        if current.is_none() && !self.place.path().exists() {
            return self.create(permanent, running);
        }
        let handle = current.map_or_else(|| self.open(), Ok)?;
        if let Some(running) = running {
            info!("going on from a running state");
            handle.power_off()?;
            handle.load(Saved::Running, running)?;
            return Ok(handle);
        }
        if let Some(permanent) = permanent {
            info!("starting from a state that was received");
            handle.power_off()?;
            handle.load(Saved::Permanent, permanent)?;
        }
        handle.init()?;
        Ok(handle)
    }

    fn create(&self, permanent: Option<Blob>, running: Option<Blob>) -> Result<Handle> {
        let (place, source, id) =
            (&self.place, self.setting.source.as_ref(), InstanceId::random()?);
        let observer = Arc::clone(&self.setting.observer);
        if let Some(running) = running {
            info!("a running state makes a new file");
            let instance = Instance::from_running_state(place, source, id, &running)?;
            return Ok(instance.start_observed(observer)?);
        }
        let instance = match permanent {
            Some(permanent) => {
                info!("a state that was received makes a new file");
                Instance::create_from_state(place, source, id, &permanent)?
            }
            None => {
                info!("manufacturing a new TPM");
                Instance::create(place, source, id, self.setting.profile)?
            }
        };
        let handle = instance.start_observed(observer)?;
        handle.init()?;
        Ok(handle)
    }

    /// A blob in the clear, if a TPM can be made from it; absent if it is empty.
    fn accept_blob(&self, encrypted: bool, data: Blob) -> Result<Option<Blob>> {
        if data.is_empty() {
            return Ok(None);
        }
        let data = match (&self.setting.migration, encrypted) {
            (Some(key), true) => blob::open(key.as_ref(), data)?,
            (None, false) => data,
            (Some(_), false) => bail!("it is not encrypted, but there is a migration key"),
            (None, true) => bail!("it is encrypted; give the --migration-key of the source"),
        };
        Instance::ephemeral_from_running_state(&data)?;
        Ok(Some(data))
    }
}

impl Outgoing {
    fn part(&mut self, which: Saved) -> &mut Blob {
        match which {
            Saved::Permanent => &mut self.permanent,
            Saved::Running => &mut self.volatile,
        }
    }
}

/// The file that `STORE_VOLATILE` writes, beside the state file.
pub(crate) fn running_path(file: &Path) -> PathBuf {
    file.with_extension("running.vtpm")
}

/// The code in the header of a command or a response.
fn word(message: &[u8]) -> Option<u32> {
    message.get(6..10)?.first_chunk().map(|code| u32::from_be_bytes(*code))
}

fn failed(what: &str, cause: &anyhow::Error) -> u32 {
    error!("{what}: {cause:#}");
    FAIL
}

fn done(result: vtpm_host::Result<()>) -> u32 {
    match result {
        Ok(()) => SUCCESS,
        Err(cause) => failed("the TPM could not do it", &cause.into()),
    }
}
