//! One TPM with its store, owned by one thread; everything else sends it jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Instant;

use anyhow::{Context, Result};
use tracing::{error, info};
use vtpm_engine::{Platform, Profile, Tpm};

use crate::protocol::{BAD_LOCALITY, BAD_ORDINAL, BlobKind, FAIL, SUCCESS};
use crate::state::StateFile;

/// `TPM_RC_FAILURE`, as an answer to any command while the TPM does not run.
const NOT_RUNNING: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];

/// What the engine asks of this process.
struct Host {
    start: Instant,
    cancel: Arc<AtomicBool>,
}

impl Platform for Host {
    fn now_ms(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        getrandom::fill(out).is_ok()
    }

    fn canceled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// A job for the thread that owns the TPM. Every one but `Execute` is answered with a result of
/// the control protocol.
pub(crate) enum Job {
    Execute { locality: u8, command: Vec<u8>, reply: SyncSender<Vec<u8>> },
    Init { delete_volatile: bool, reply: SyncSender<u32> },
    Stop { reply: SyncSender<u32> },
    StoreVolatile { reply: SyncSender<u32> },
    HashStart { reply: SyncSender<u32> },
    HashData { data: Vec<u8>, reply: SyncSender<u32> },
    HashEnd { reply: SyncSender<u32> },
    Established { reply: SyncSender<Option<bool>> },
    ResetEstablished { locality: u8, reply: SyncSender<u32> },
    GetBlob { kind: BlobKind, reply: SyncSender<Option<Vec<u8>>> },
    SetBlob { kind: BlobKind, data: Vec<u8>, reply: SyncSender<u32> },
    /// Ends the thread; what the store holds is whole.
    Shutdown { reply: SyncSender<u32> },
}

/// The way to the thread that owns the TPM.
#[derive(Clone)]
pub(crate) struct Instance {
    jobs: Sender<Job>,
    cancel: Arc<AtomicBool>,
}

impl Instance {
    /// Starts the thread.
    pub(crate) fn start(file: StateFile) -> Result<(Self, std::thread::JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel();
        let cancel = Arc::new(AtomicBool::new(false));
        let incoming = Incoming::default();
        let owner = Owner { file, tpm: None, incoming, cancel: cancel.clone() };
        let thread = std::thread::Builder::new()
            .name("tpm".into())
            .spawn(move || owner.run(&queue))
            .context("cannot start the TPM's thread")?;
        Ok((Self { jobs, cancel }, thread))
    }

    /// Sends a job and waits for its answer; absent once the thread has ended.
    pub(crate) fn ask<T>(&self, job: impl FnOnce(SyncSender<T>) -> Job) -> Option<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.jobs.send(job(reply)).ok()?;
        answer.recv().ok()
    }

    /// Runs a command.
    pub(crate) fn execute(&self, locality: u8, command: Vec<u8>) -> Option<Vec<u8>> {
        self.ask(|reply| Job::Execute { locality, command, reply })
    }

    /// Asks the command that runs to be given up.
    pub(crate) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

/// State blobs that arrived before `INIT`.
#[derive(Default)]
struct Incoming {
    permanent: Option<Vec<u8>>,
    volatile: Option<Vec<u8>>,
}

struct Owner {
    file: StateFile,
    tpm: Option<Tpm>,
    incoming: Incoming,
    cancel: Arc<AtomicBool>,
}

impl Owner {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            if let Job::Shutdown { reply } = job {
                self.tpm = None;
                drop(self.file);
                let _ = reply.send(SUCCESS);
                return;
            }
            self.serve(job);
        }
    }

    /// Answers a job. A caller that went away does not want its answer.
    fn serve(&mut self, job: Job) {
        let _ = match job {
            Job::Execute { locality, command, reply } => {
                reply.send(self.execute(locality, &command)).ok()
            }
            Job::Init { delete_volatile, reply } => reply.send(self.init(delete_volatile)).ok(),
            Job::Stop { reply } => {
                self.tpm = None;
                reply.send(SUCCESS).ok()
            }
            Job::StoreVolatile { reply } => reply.send(self.store_volatile()).ok(),
            Job::HashStart { reply } => reply.send(self.with(|tpm| tpm.hash_start())).ok(),
            Job::HashData { data, reply } => reply.send(self.with(|tpm| tpm.hash_data(&data))).ok(),
            Job::HashEnd { reply } => reply.send(self.hash_end()).ok(),
            Job::Established { reply } => {
                reply.send(self.tpm.as_ref().map(Tpm::established)).ok()
            }
            Job::ResetEstablished { locality, reply } => {
                reply.send(self.reset_established(locality)).ok()
            }
            Job::GetBlob { kind, reply } => reply.send(self.get_blob(kind)).ok(),
            Job::SetBlob { kind, data, reply } => reply.send(self.set_blob(kind, data)).ok(),
            Job::Shutdown { .. } => None,
        };
    }

    fn host(&self) -> Box<dyn Platform> {
        Box::new(Host { start: Instant::now(), cancel: Arc::clone(&self.cancel) })
    }

    fn with(&mut self, action: impl FnOnce(&mut Tpm)) -> u32 {
        match &mut self.tpm {
            Some(tpm) => {
                action(tpm);
                SUCCESS
            }
            None => BAD_ORDINAL,
        }
    }

    /// Runs a command and makes its effect durable before the response is released.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        let Some(tpm) = &mut self.tpm else { return NOT_RUNNING.to_vec() };
        let mut response = Vec::with_capacity(512);
        let outcome = tpm.execute(locality, command, &mut response);
        self.cancel.store(false, Ordering::Relaxed);
        if outcome.durable && !self.commit() {
            return NOT_RUNNING.to_vec();
        }
        response
    }

    /// Makes the permanent state durable. When that fails, the TPM stops: going on would give
    /// answers whose effect could be lost.
    fn commit(&mut self) -> bool {
        let Some(tpm) = &self.tpm else { return false };
        match self.file.commit(&tpm.save_permanent()) {
            Ok(()) => true,
            Err(cause) => {
                error!("the TPM stops, because its state cannot be written: {cause:#}");
                self.tpm = None;
                false
            }
        }
    }

    fn init(&mut self, delete_volatile: bool) -> u32 {
        match self.try_init(delete_volatile) {
            Ok(tpm) => {
                self.tpm = Some(tpm);
                if self.commit() { SUCCESS } else { FAIL }
            }
            Err(cause) => {
                error!("the TPM cannot start: {cause:#}");
                self.tpm = None;
                FAIL
            }
        }
    }

    fn try_init(&mut self, delete_volatile: bool) -> Result<Tpm> {
        let incoming = core::mem::take(&mut self.incoming);
        let stored = self.file.volatile(delete_volatile)?;
        if let Some(running) = incoming.volatile.or(stored) {
            info!("resuming a running TPM");
            return Ok(Tpm::restore(&running, self.host())?);
        }
        if let Some(permanent) = incoming.permanent {
            return Ok(Tpm::restore(&permanent, self.host())?);
        }
        match self.file.state() {
            Some(state) => Ok(Tpm::restore(state, self.host())?),
            None => {
                info!("manufacturing a new TPM");
                Ok(Tpm::manufacture(Profile::default(), self.host())?)
            }
        }
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

    fn hash_end(&mut self) -> u32 {
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

    fn get_blob(&self, kind: BlobKind) -> Option<Vec<u8>> {
        let tpm = self.tpm.as_ref()?;
        Some(match kind {
            BlobKind::Permanent => tpm.save_permanent().to_vec(),
            BlobKind::Volatile => tpm.save_running().to_vec(),
            BlobKind::SaveState => Vec::new(),
        })
    }

    fn set_blob(&mut self, kind: BlobKind, data: Vec<u8>) -> u32 {
        if self.tpm.is_some() {
            return BAD_ORDINAL;
        }
        match kind {
            BlobKind::Permanent => self.incoming.permanent = Some(data),
            BlobKind::Volatile => self.incoming.volatile = Some(data),
            BlobKind::SaveState => {}
        }
        SUCCESS
    }
}
