//! Processors: a thread each, which owns KVM's handle of it.
//!
//! ```text
//!   owner --Run--> [running: KVM_RUN, exits to the bus] --Pause, signal--> [settled]
//!     ^                      | power off, reset, failure       |  Save, Restore
//!     +------- Event --------+                                 +--Run--> ...
//! ```
//!
//! A request reaches a processor that runs by a signal, which ends KVM_RUN. Since the signal can
//! come just before KVM_RUN begins, it is sent again until the request is answered.

mod cpuid;
mod reset;
mod run;
mod state;

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use self::run::Worker;
pub use self::{
    reset::{Entry, write_tables},
    state::SavedVcpu,
};
use crate::{
    bus::Bus,
    error::{Error, Result},
    event::Reporter,
    vm::Vm,
};

/// Most processors of a machine: identifiers are below 255, and ACPI's local APIC entries hold 8
/// bits.
pub const MAX_COUNT: u8 = 64;

/// How long a request may take before the machine is taken for broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two signals of one request.
const SIGNAL_AGAIN: Duration = Duration::from_millis(1);

/// What a processor is asked.
enum Request {
    Run,
    Pause,
    Save,
    RestoreFeatures(Arc<SavedVcpu>),
    Restore(Arc<SavedVcpu>),
    Stop,
}

/// What it answers.
enum Answer {
    Done,
    Saved(Box<SavedVcpu>),
}

/// One processor's thread.
struct Thread {
    requests: Sender<Request>,
    answers: Receiver<Result<Answer>>,
    handle: Option<JoinHandle<()>>,
}

/// All processors of a machine. Dropping it stops their threads.
pub struct Vcpus {
    threads: Vec<Thread>,
    running: bool,
}

/// How the processors of a machine start.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// The first at an instruction, the others when the guest starts them.
    Entry(Entry),
    /// From saved state, which follows.
    Saved,
}

impl Vcpus {
    /// Makes `count` processors, paused, and a thread for each. `prepare` is called first thing in
    /// each thread.
    ///
    /// # Errors
    /// [`Error::Kvm`], [`Error::Host`].
    pub fn new(
        vm: &Vm,
        count: u8,
        start: Start,
        bus: &Arc<Bus>,
        reporter: &Reporter,
        prepare: fn() -> Result<()>,
    ) -> Result<Self> {
        register_signal_handler(kick_signal(), on_kick).map_err(|cause| Error::Host {
            action: "set a signal handler",
            source: cause.into(),
        })?;
        let supported = vm.supported_cpuid()?;
        let msrs: Arc<[u32]> = state::msrs_to_save(vm.kvm())?.into();
        let mask = cpuid::host_is_emulated();
        // All first, threads later: KVM wants all processors before the first runs.
        let mut handles = Vec::new();
        for index in 0..count {
            let mut fd = vm.create_vcpu(index)?;
            if let Start::Entry(entry) = start {
                let mut shown = supported.clone();
                cpuid::adapt(&mut shown, index, count, mask);
                fd.set_cpuid2(&shown).map_err(Error::kvm("set the processor's features"))?;
                reset::set_defaults(&fd)?;
                if index == 0 {
                    reset::set_registers(&fd, entry)?;
                }
            }
            if bus.has_coalesced() {
                fd.map_coalesced_mmio_ring()
                    .map_err(Error::kvm("map the ring of coalesced writes"))?;
            }
            handles.push(fd);
        }
        let mut vcpus = Self { threads: Vec::new(), running: false };
        for (index, fd) in (0..).zip(handles) {
            let thread = spawn(index, fd, bus, reporter.try_clone()?, Arc::clone(&msrs), prepare)?;
            vcpus.threads.push(thread);
        }
        Ok(vcpus)
    }

    /// Lets them run.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn run(&mut self) -> Result<()> {
        self.ask_all(|_| Request::Run)?;
        self.running = true;
        Ok(())
    }

    /// Stops them between two instructions, all pending register accesses done.
    ///
    /// # Errors
    /// [`Error::Thread`] if one does not answer.
    pub fn pause(&mut self) -> Result<()> {
        self.ask_all(|_| Request::Pause)?;
        self.running = false;
        Ok(())
    }

    /// Whether they were let run.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Saves them. They must be paused.
    ///
    /// # Errors
    /// [`Error::Kvm`], [`Error::Thread`].
    pub fn save(&self) -> Result<Vec<SavedVcpu>> {
        let saved = |answer| match answer {
            Answer::Saved(state) => Ok(*state),
            Answer::Done => Err(Error::Thread("a processor".into())),
        };
        self.ask_all(|_| Request::Save)?.into_iter().map(saved).collect()
    }

    /// Restores them; `vm` is called between features and registers, to restore the interrupt
    /// controllers.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if there are not as many, [`Error::Kvm`], [`Error::Thread`].
    pub fn restore(&self, saved: Vec<SavedVcpu>, vm: impl FnOnce() -> Result<()>) -> Result<()> {
        if saved.len() != self.threads.len() {
            let (found, here) = (saved.len(), self.threads.len());
            let reason = format!("it has {found} processors, this machine {here}");
            return Err(Error::Snapshot(reason));
        }
        let saved: Vec<_> = saved.into_iter().map(Arc::new).collect();
        let of = |index: usize| saved.get(index).cloned().map(Request::RestoreFeatures);
        self.ask_all(|index| of(index).unwrap_or(Request::Pause))?;
        vm()?;
        let of = |index: usize| saved.get(index).cloned().map(Request::Restore);
        self.ask_all(|index| of(index).unwrap_or(Request::Pause))?;
        Ok(())
    }

    /// Asks all at once, then waits for all.
    fn ask_all(&self, request: impl Fn(usize) -> Request) -> Result<Vec<Answer>> {
        for (index, thread) in self.threads.iter().enumerate() {
            thread.requests.send(request(index)).map_err(|_| Thread::gone(index))?;
        }
        let threads = self.threads.iter().enumerate();
        threads.map(|(index, thread)| thread.answer(index)).collect()
    }
}

impl Thread {
    fn gone(index: usize) -> Error {
        Error::Thread(format!("processor {index}"))
    }

    fn answer(&self, index: usize) -> Result<Answer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.kick();
            match self.answers.recv_timeout(SIGNAL_AGAIN) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(Self::gone(index)),
            }
        }
    }

    fn kick(&self) {
        if let Some(handle) = &self.handle {
            // A thread that has ended answers nothing either, which is noticed.
            let _ = handle.kill(kick_signal());
        }
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        for thread in &self.threads {
            // A thread that has ended needs not be stopped.
            let _ = thread.requests.send(Request::Stop);
        }
        for (index, thread) in self.threads.iter_mut().enumerate() {
            // Answered or not, the thread is joined if it ends.
            let _ = thread.answer(index);
            if let Some(handle) = thread.handle.take() {
                // Its panic, if it had one, was printed already.
                let _ = handle.join();
            }
        }
    }
}

fn spawn(
    index: u8,
    fd: VcpuFd,
    bus: &Arc<Bus>,
    reporter: Reporter,
    msrs: Arc<[u32]>,
    prepare: fn() -> Result<()>,
) -> Result<Thread> {
    let (requests, inbox) = mpsc::channel();
    let (outbox, answers) = mpsc::channel();
    let worker = Worker::new(fd, Arc::clone(bus), reporter, msrs);
    let handle = thread::Builder::new()
        .name(format!("vcpu-{index}"))
        .spawn(move || worker.serve(&inbox, &outbox, prepare))
        .map_err(Error::host("start a processor's thread"))?;
    Ok(Thread { requests, answers, handle: Some(handle) })
}

/// The signal that ends KVM_RUN.
fn kick_signal() -> std::ffi::c_int {
    SIGRTMIN()
}

/// Does nothing: that it was called is what ends KVM_RUN.
extern "C" fn on_kick(_: std::ffi::c_int, _: *mut libc::siginfo_t, _: *mut std::ffi::c_void) {}
