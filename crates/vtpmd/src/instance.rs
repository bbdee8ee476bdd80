//! One TPM with its store, owned by one thread; everything else sends it jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context;
use tracing::{error, info};
use vtpm_engine::{Platform, Profile, Tpm};
use zeroize::Zeroizing;

use crate::protocol::{BAD_LOCALITY, BAD_ORDINAL, BAD_PARAMETER, BlobKind, FAIL, RETRY, SUCCESS};
use crate::state::StateFile;

/// `TPM_RC_FAILURE`, as an answer to any command while the TPM does not run.
pub(crate) const FAILURE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];

/// What the owner's thread and the channels' threads both see, so that a channel can answer
/// without waiting for a command that runs.
#[derive(Debug, Default)]
struct Shared {
    running: AtomicBool,
    established: AtomicBool,
    /// Commands that channels have asked for.
    asked: AtomicU64,
    /// Commands that have been run.
    run: AtomicU64,
    /// The number of the command that is to be given up, counted from 1.
    canceled: AtomicU64,
}

impl Shared {
    /// Whether the command that runs now is the one to be given up.
    fn is_canceled(&self) -> bool {
        let current = self.run.load(Ordering::Acquire).wrapping_add(1);
        self.canceled.load(Ordering::Acquire) == current
    }
}

/// What the engine asks of this process.
struct Host {
    start: Instant,
    shared: Arc<Shared>,
}

impl Platform for Host {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        getrandom::fill(out).is_ok()
    }

    fn canceled(&self) -> bool {
        self.shared.is_canceled()
    }
}

/// A state blob.
pub(crate) type Blob = Zeroizing<Vec<u8>>;

/// A job for the thread that owns the TPM. Every one but `Execute` is answered with a result of
/// the control protocol.
pub(crate) enum Job {
    Execute {
        locality: u8,
        command: Blob,
        reply: SyncSender<Vec<u8>>,
    },
    Init {
        delete_volatile: bool,
        reply: SyncSender<u32>,
    },
    Stop {
        reply: SyncSender<u32>,
    },
    StoreVolatile {
        reply: SyncSender<u32>,
    },
    HashStart {
        reply: SyncSender<u32>,
    },
    HashData {
        data: Blob,
        reply: SyncSender<u32>,
    },
    HashEnd {
        reply: SyncSender<u32>,
    },
    ResetEstablished {
        locality: u8,
        reply: SyncSender<u32>,
    },
    GetBlob {
        kind: BlobKind,
        reply: SyncSender<Result<Blob, u32>>,
    },
    SetBlob {
        kind: BlobKind,
        data: Blob,
        reply: SyncSender<u32>,
    },
    /// Ends the thread; what the store holds is whole.
    Shutdown {
        reply: SyncSender<u32>,
    },
}

/// The way to the thread that owns the TPM.
#[derive(Clone)]
pub(crate) struct Instance {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

impl Instance {
    /// Starts the thread.
    pub(crate) fn start(
        file: StateFile,
        profile: Profile,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let incoming = Incoming::default();
        let owner = Owner { file, profile, tpm: None, incoming, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name("tpm".into())
            .spawn(move || owner.run(&queue))
            .context("cannot start the TPM's thread")?;
        Ok((Self { jobs, shared }, thread))
    }

    /// Sends a job and waits for its answer; absent once the thread has ended.
    pub(crate) fn ask<T>(&self, job: impl FnOnce(SyncSender<T>) -> Job) -> Option<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs.send(job(reply)).ok()?;
        answer.recv().ok()
    }

    /// Runs a command.
    pub(crate) fn execute(&self, locality: u8, command: Blob) -> Option<Vec<u8>> {
        self.shared.asked.fetch_add(1, Ordering::AcqRel);
        self.ask(|reply| Job::Execute { locality, command, reply })
    }

    /// Whether the TPM runs.
    pub(crate) fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire)
    }

    /// The flag `TPM_ESTABLISHMENT`, as the last job left it.
    pub(crate) fn established(&self) -> bool {
        self.shared.established.load(Ordering::Acquire)
    }

    /// Asks the command that runs, or that is about to, to be given up. Without one it has no
    /// effect, on the next one neither.
    pub(crate) fn cancel(&self) {
        let run = self.shared.run.load(Ordering::Acquire);
        if self.shared.asked.load(Ordering::Acquire) > run {
            self.shared.canceled.store(run.wrapping_add(1), Ordering::Release);
        }
    }

    /// Ends the thread, after the command that runs has been given up.
    pub(crate) fn shut_down(&self) {
        self.cancel();
        // A thread that has ended already does not answer.
        let _ = self.ask(|reply| Job::Shutdown { reply });
    }
}

/// State blobs that arrived before `INIT`.
#[derive(Default)]
struct Incoming {
    permanent: Option<Blob>,
    volatile: Option<Blob>,
}

struct Owner {
    file: StateFile,
    /// Of a TPM that is yet to be made.
    profile: Profile,
    tpm: Option<Tpm>,
    incoming: Incoming,
    shared: Arc<Shared>,
}

impl Owner {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            if let Job::Shutdown { reply } = job {
                self.shared.running.store(false, Ordering::Release);
                drop(self);
                let _ = reply.send(SUCCESS);
                return;
            }
            self.serve(job);
        }
    }

    /// Answers a job. A caller that went away does not want its answer.
    fn serve(&mut self, job: Job) {
        let result = match job {
            Job::Execute { locality, command, reply } => {
                let response = self.execute(locality, &command);
                self.publish();
                self.shared.run.fetch_add(1, Ordering::AcqRel);
                let _ = reply.send(response);
                return;
            }
            Job::GetBlob { kind, reply } => {
                let _ = reply.send(self.get_blob(kind));
                return;
            }
            Job::Init { delete_volatile, reply } => (self.init(delete_volatile), reply),
            Job::Stop { reply } => (self.stop(), reply),
            Job::StoreVolatile { reply } => (self.store_volatile(), reply),
            Job::HashStart { reply } => (self.measure(Tpm::hash_start), reply),
            Job::HashData { data, reply } => (self.measure(|tpm| tpm.hash_data(&data)), reply),
            Job::HashEnd { reply } => (self.hash_end(), reply),
            Job::ResetEstablished { locality, reply } => (self.reset_established(locality), reply),
            Job::SetBlob { kind, data, reply } => (self.set_blob(kind, data), reply),
            Job::Shutdown { reply } => (SUCCESS, reply),
        };
        self.publish();
        let (result, reply) = result;
        let _ = reply.send(result);
    }

    /// Shows the channels what the TPM is now.
    fn publish(&self) {
        let established = self.tpm.as_ref().is_some_and(Tpm::established);
        self.shared.established.store(established, Ordering::Release);
        self.shared.running.store(self.tpm.is_some(), Ordering::Release);
    }

    fn host(&self) -> Box<dyn Platform> {
        Box::new(Host { start: Instant::now(), shared: Arc::clone(&self.shared) })
    }

    /// Runs a command and makes its effect durable before the response is released.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        if self.tpm.is_some() && !self.forget_running_state() {
            return FAILURE.to_vec();
        }
        let Some(tpm) = &mut self.tpm else { return FAILURE.to_vec() };
        let mut response = Vec::with_capacity(512);
        let outcome = tpm.execute(locality, command, &mut response);
        if outcome.durable && !self.commit() {
            return FAILURE.to_vec();
        }
        response
    }

    /// Makes the permanent state durable. When that fails, the TPM stops: going on would give
    /// answers whose effect could be lost.
    fn commit(&mut self) -> bool {
        let Some(tpm) = &self.tpm else { return false };
        match self.file.commit(tpm.save_permanent()) {
            Ok(()) => true,
            Err(cause) => self.stop_because("its state cannot be written", &cause),
        }
    }

    /// The running state that `STORE_VOLATILE` left is outdated once the TPM goes on: a start from
    /// it would undo what came after.
    fn forget_running_state(&mut self) -> bool {
        match self.file.forget_volatile() {
            Ok(()) => true,
            Err(cause) => self.stop_because("its old running state cannot be removed", &cause),
        }
    }

    fn stop_because(&mut self, what: &str, cause: &anyhow::Error) -> bool {
        error!("the TPM stops, because {what}: {cause:#}");
        self.tpm = None;
        false
    }

    fn init(&mut self, delete_volatile: bool) -> u32 {
        self.tpm = None;
        match self.try_init(delete_volatile) {
            Ok(tpm) => {
                self.tpm = Some(tpm);
                if self.commit() { SUCCESS } else { FAIL }
            }
            Err(cause) => {
                error!("the TPM cannot start: {cause:#}");
                FAIL
            }
        }
    }

    /// What arrived as blobs wins over what is in the directory. A running state is used once:
    /// `delete_volatile` asks for no more than that.
    fn try_init(&mut self, _delete_volatile: bool) -> anyhow::Result<Tpm> {
        let incoming = core::mem::take(&mut self.incoming);
        let stored = self.file.take_volatile()?;
        if let Some(running) = &incoming.volatile {
            info!("going on from the running state that was received");
            return Ok(Tpm::restore(running, self.host())?);
        }
        if let Some(permanent) = &incoming.permanent {
            info!("starting from the state that was received");
            return Ok(Tpm::restore(permanent, self.host())?);
        }
        if let Some(running) = &stored {
            info!("going on from the running state that was stored");
            return Ok(Tpm::restore(running, self.host())?);
        }
        match self.file.state() {
            Some(state) => Ok(Tpm::restore(state, self.host())?),
            None => {
                info!("manufacturing a new TPM");
                Ok(Tpm::manufacture(self.profile, self.host())?)
            }
        }
    }

    fn stop(&mut self) -> u32 {
        self.tpm = None;
        SUCCESS
    }

    fn store_volatile(&mut self) -> u32 {
        let Some(tpm) = &self.tpm else { return BAD_ORDINAL };
        match self.file.store_volatile(&tpm.save_running()) {
            Ok(()) => SUCCESS,
            Err(cause) => {
                error!("the running state cannot be written: {cause:#}");
                FAIL
            }
        }
    }

    fn measure(&mut self, action: impl FnOnce(&mut Tpm)) -> u32 {
        let Some(tpm) = &mut self.tpm else { return BAD_ORDINAL };
        action(tpm);
        SUCCESS
    }

    fn hash_end(&mut self) -> u32 {
        if self.tpm.is_some() && !self.forget_running_state() {
            return FAIL;
        }
        let Some(tpm) = &mut self.tpm else { return BAD_ORDINAL };
        let outcome = tpm.hash_end();
        if outcome.durable && !self.commit() { FAIL } else { SUCCESS }
    }

    fn reset_established(&mut self, locality: u8) -> u32 {
        let Some(tpm) = &mut self.tpm else { return BAD_ORDINAL };
        if !tpm.reset_established(locality) {
            return BAD_LOCALITY;
        }
        if self.commit() { SUCCESS } else { FAIL }
    }

    fn get_blob(&self, kind: BlobKind) -> Result<Blob, u32> {
        let tpm = self.tpm.as_ref().ok_or(BAD_ORDINAL)?;
        match kind {
            BlobKind::Permanent => Ok(tpm.save_permanent()),
            BlobKind::Volatile => Ok(tpm.save_running()),
            BlobKind::SaveState => Err(RETRY),
        }
    }

    /// Keeps a blob for `INIT`, if a TPM can be made from it. An empty one takes back what was
    /// set before.
    fn set_blob(&mut self, kind: BlobKind, data: Blob) -> u32 {
        if self.tpm.is_some() {
            return BAD_ORDINAL;
        }
        if !data.is_empty()
            && let Err(cause) = Tpm::restore(&data, self.host())
        {
            error!("a state that was received is refused: {cause}");
            return BAD_PARAMETER;
        }
        let data = Some(data).filter(|data| !data.is_empty());
        match kind {
            BlobKind::Permanent => self.incoming.permanent = data,
            BlobKind::Volatile => self.incoming.volatile = data,
            BlobKind::SaveState if data.is_some() => return BAD_PARAMETER,
            BlobKind::SaveState => {}
        }
        SUCCESS
    }
}
