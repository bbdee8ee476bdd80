//! Migrations as the owner of a machine sees them: begun, watched, ended.

use std::{
    net::TcpStream,
    os::fd::{AsRawFd, RawFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};
use vtpm_host::Handle;

use super::{GuestPages, Limits, Party, Progress, Ready, begin};
use crate::{
    config::Hardware,
    error::{Error, Result},
    machine::Machine,
};

/// This host's part in handovers: where its identity is, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The directory that `vtpm host init` made.
    pub directory: PathBuf,
    /// The trust policy.
    pub trust: PathBuf,
}

/// How a migration is, or how the last one went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationStatus {
    /// Where it is.
    pub state: MigrationState,
    /// How much was sent.
    #[serde(flatten)]
    pub progress: Progress,
    /// Why it failed, or what is left to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// How long the guest stood still, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blackout_us: Option<u64>,
    /// What of that the TPM took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tpm_us: Option<u64>,
}

/// Where a migration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationState {
    /// The hosts get to know each other.
    #[default]
    Connecting,
    /// The memory is copied while the guest runs.
    Copying,
    /// The guest runs at the destination.
    Moved,
    /// The guest runs here, as before.
    Failed,
    /// The guest stands still: where its TPM is has to be found out first.
    Unknown,
}

/// What a migration came to.
pub enum Outcome {
    /// It goes on.
    Under,
    /// The machine has gone; its TPM with it.
    Gone,
    /// The machine is here and runs, or must not run.
    Here,
}

/// Moves a machine, and remembers how the last move went.
#[derive(Default)]
pub struct Mover {
    identity: Option<Identity>,
    current: Option<Current>,
    last: Option<MigrationStatus>,
}

/// A migration under way.
struct Current {
    ready: Receiver<Result<Ready>>,
    wake: EventFd,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    throttle: AtomicU8,
    cancelled: AtomicBool,
    progress: Mutex<Option<Progress>>,
}

impl Mover {
    /// One for a host of this identity; without one, only machines without a TPM can move.
    #[must_use]
    pub fn new(identity: Option<Identity>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Begins to move `machine` to the VMM that waits at `to` (HOST:PORT). `bare` lets a machine
    /// without a TPM go to whoever listens there.
    ///
    /// # Errors
    /// [`Error::Migration`], [`Error::Kvm`], [`Error::Host`]; the machine is as it was.
    pub fn begin(&mut self, machine: &Machine, to: &str, limits: Limits, bare: bool) -> Result<()> {
        if self.current.is_some() {
            return Err(Error::Migration("one is under way already; cancel it first".into()));
        }
        let tpm = match (machine.tpm(), bare) {
            (Some(device), _) => Some(self.tpm_to_move(device.backend().instance())?),
            (None, true) => None,
            (None, false) => return Err(Error::Migration(
                "a machine without a TPM has nothing that tells whom it goes to; say --unattested \
                 if it may go to whoever listens there"
                    .into(),
            )),
        };
        let wake =
            EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(Error::host("make an eventfd"))?;
        let done = wake.try_clone().map_err(Error::host("make an eventfd"))?;
        let shared = Arc::new(Shared::default());
        let work = Work {
            to: to.to_owned(),
            tpm,
            hardware: machine.hardware().clone(),
            cpuid: machine.vm().supported_cpuid()?,
            pages: GuestPages::watch(machine)?,
            limits,
            shared: Arc::clone(&shared),
        };
        let (sender, ready) = mpsc::channel();
        let run = move || {
            // Whoever waits for it is there until it is woken.
            let _ = sender.send(work.run());
            let _ = done.write(1);
        };
        thread::Builder::new()
            .name("migration".into())
            .spawn(run)
            .map_err(Error::host("start a thread for the migration"))?;
        self.current = Some(Current { ready, wake, shared });
        Ok(())
    }

    fn tpm_to_move(&self, handle: Option<&Handle>) -> Result<(Identity, Handle)> {
        let handle = handle.ok_or_else(|| {
            Error::Migration(
            "the TPM is in another process, whose state cannot be handed over from here; start \
             the machine with --tpm-state".into(),
        )
        })?;
        let identity = self.identity.clone().ok_or_else(|| {
            Error::Migration(
                "this host has no identity to prove; start the machine with --host and --trust"
                    .into(),
            )
        })?;
        Ok((identity, handle.clone()))
    }

    /// Asks the migration that is under way to end; the guest goes on here.
    ///
    /// # Errors
    /// [`Error::Migration`] if there is none.
    pub fn cancel(&self) -> Result<()> {
        let current = self.current.as_ref();
        let current = current.ok_or_else(|| Error::Migration("none is under way".into()))?;
        current.shared.cancelled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What to wait for while a migration is under way.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.current.as_ref().map(|current| current.wake.as_raw_fd())
    }

    /// By how many percent the guest is to be slowed down now.
    pub fn throttle(&self) -> u8 {
        self.current.as_ref().map_or(0, |current| current.shared.throttle.load(Ordering::Relaxed))
    }

    /// How the migration is, or how the last one went.
    pub fn status(&self) -> Option<MigrationStatus> {
        let Some(current) = &self.current else { return self.last.clone() };
        let progress = *current.shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match progress {
            None => MigrationStatus::default(),
            Some(progress) => MigrationStatus {
                state: MigrationState::Copying,
                progress,
                ..MigrationStatus::default()
            },
        })
    }

    /// Goes on with a migration whose descriptor was readable: the blackout, or the end of one
    /// that failed before.
    pub fn go_on(&mut self, machine: &mut Machine) -> Outcome {
        let Some(current) = &self.current else { return Outcome::Here };
        let Ok(prepared) = current.ready.try_recv() else { return Outcome::Under };
        self.current = None;
        let was_running = machine.is_running();
        let (status, outcome) = match prepared.map(|ready| ready.finish(machine)) {
            Ok(Ok(gone)) => {
                let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).ok();
                info!("the machine has gone; it stood still for {:?}", gone.blackout);
                let status = MigrationStatus {
                    state: MigrationState::Moved,
                    progress: gone.progress,
                    message: gone.advice,
                    blackout_us: micros(gone.blackout),
                    tpm_us: micros(gone.tpm),
                };
                (status, Outcome::Gone)
            }
            Ok(Err(stayed)) => {
                (stays(machine, &stayed.error, was_running, stayed.must_not_run), Outcome::Here)
            }
            Err(error) => (stays(machine, &error, was_running, false), Outcome::Here),
        };
        self.last = Some(status);
        outcome
    }
}

/// After a failure: the guest goes on, if it may.
fn stays(machine: &mut Machine, why: &Error, run: bool, must_not_run: bool) -> MigrationStatus {
    warn!("{why}");
    let mut message = why.to_string();
    if let Err(cause) = machine.vm().log_dirty_pages(false) {
        warn!(%cause, "KVM goes on noting what the guest writes, which slows it down");
    }
    let mut state = if must_not_run { MigrationState::Unknown } else { MigrationState::Failed };
    if run
        && !must_not_run
        && let Err(cause) = machine.run()
    {
        state = MigrationState::Unknown;
        message = format!("{message}; and the guest cannot go on: {cause}");
    }
    MigrationStatus { state, message: Some(message), ..MigrationStatus::default() }
}

/// What the migration's thread does while the guest runs.
struct Work {
    to: String,
    tpm: Option<(Identity, Handle)>,
    hardware: Hardware,
    cpuid: kvm_bindings::CpuId,
    pages: GuestPages,
    limits: Limits,
    shared: Arc<Shared>,
}

impl Work {
    fn run(self) -> Result<Ready> {
        let Self { to, tpm, hardware, cpuid, pages, limits, shared } = self;
        let party = match &tpm {
            Some((identity, handle)) => {
                Some((Party::open(&identity.directory, &identity.trust)?, handle))
            }
            None => None,
        };
        let stream = TcpStream::connect(&to).map_err(|cause| {
            let hint = "is a VMM waiting there with `vmm receive`?";
            Error::Migration(format!("cannot connect to {to}: {cause}; {hint}"))
        })?;
        let ready = begin(stream, party, (&hardware, &cpuid), pages, limits)?;
        ready.copy(
            |percent| shared.throttle.store(percent, Ordering::Relaxed),
            |progress| {
                let mut shown = shared.progress.lock().unwrap_or_else(PoisonError::into_inner);
                *shown = Some(progress);
                !shared.cancelled.load(Ordering::Relaxed)
            },
        )
    }
}
