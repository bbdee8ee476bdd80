//! A processor's thread.

use std::sync::{
    Arc,
    mpsc::{Receiver, Sender, TryRecvError},
};

use kvm_bindings::{KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::{Answer, Request, state};
use crate::{
    bus::Bus,
    error::{Error, Result},
    event::{Event, Reporter},
};

/// What the thread owns.
pub(super) struct Worker {
    fd: VcpuFd,
    bus: Arc<Bus>,
    reporter: Reporter,
    msrs: Arc<[u32]>,
    running: bool,
}

/// What comes after an exit.
enum Next {
    Run,
    Stop(Event),
}

impl Worker {
    pub(super) fn new(fd: VcpuFd, bus: Arc<Bus>, reporter: Reporter, msrs: Arc<[u32]>) -> Self {
        Self { fd, bus, reporter, msrs, running: false }
    }

    /// Serves requests and runs the guest between them, until told to stop.
    pub(super) fn serve(
        mut self,
        requests: &Receiver<Request>,
        answers: &Sender<Result<Answer>>,
        prepare: fn() -> Result<()>,
    ) {
        if let Err(cause) = prepare() {
            self.reporter.report(Event::Failed(cause.to_string()));
            return;
        }
        loop {
            let request = if self.running {
                match requests.try_recv() {
                    Ok(request) => Some(request),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match requests.recv() {
                    Ok(request) => Some(request),
                    Err(_) => return,
                }
            };
            let stop = matches!(request, Some(Request::Stop));
            if let Some(request) = request {
                let answer = self.answer(request);
                if answers.send(answer).is_err() || stop {
                    return;
                }
            } else if let Next::Stop(event) = self.step() {
                self.running = false;
                self.reporter.report(event);
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<Answer> {
        match request {
            Request::Run => self.running = true,
            Request::Pause | Request::Stop => {
                if self.running {
                    self.settle()?;
                }
                self.running = false;
            }
            Request::Save => {
                let saved = state::save(&self.fd, &self.msrs)?;
                return Ok(Answer::Saved(Box::new(saved)));
            }
            Request::RestoreFeatures(saved) => state::restore_features(&self.fd, &saved)?,
            Request::Restore(saved) => state::restore(&self.fd, &saved)?,
        }
        Ok(Answer::Done)
    }

    /// Completes the register access that the last exit began, without running an instruction.
    fn settle(&mut self) -> Result<()> {
        self.fd.set_kvm_immediate_exit(1);
        let outcome = loop {
            match self.fd.run() {
                // An access that is split has more parts.
                Ok(exit) => {
                    if let Next::Stop(event) = handle(&self.bus, exit) {
                        self.reporter.report(event);
                    }
                }
                Err(cause) if cause.errno() == libc::EINTR => break Ok(()),
                Err(cause) => break Err(Error::kvm("pause a processor")(cause)),
            }
        };
        self.fd.set_kvm_immediate_exit(0);
        drain(&mut self.fd, &self.bus);
        outcome
    }

    /// Runs the guest up to its next exit and handles that.
    fn step(&mut self) -> Next {
        // The address decides whether KVM's ring comes first, and the exit borrows the processor:
        // so the ring is emptied behind the exit of an ordered access, before it is served.
        match self.fd.run() {
            Ok(VcpuExit::MmioRead(address, data)) if self.bus.comes_behind_coalesced(address) => {
                let (at, length) = (data.as_mut_ptr(), data.len());
                drain(&mut self.fd, &self.bus);
                // SAFETY: `data` lies in the page that KVM shares for this processor, which is
                // mapped as long as `self.fd` lives; emptying the ring is no KVM_RUN and touches
                // another page, so nothing else refers to these bytes.
                let data = unsafe { std::slice::from_raw_parts_mut(at, length) };
                self.bus.read(address, data);
                Next::Run
            }
            Ok(VcpuExit::MmioWrite(address, data)) if self.bus.comes_behind_coalesced(address) => {
                // A copy, so that the ring can be emptied: eight bytes at most.
                let data = data.to_vec();
                drain(&mut self.fd, &self.bus);
                self.bus.write(address, &data);
                Next::Run
            }
            Ok(VcpuExit::InternalError) => Next::Stop(Event::Failed(internal_error(&mut self.fd))),
            Ok(exit) => handle(&self.bus, exit),
            Err(cause) if matches!(cause.errno(), libc::EINTR | libc::EAGAIN) => Next::Run,
            Err(cause) => Next::Stop(Event::Failed(format!("KVM cannot run the guest: {cause}"))),
        }
    }
}

/// Serves an exit of any processor.
fn handle(bus: &Bus, exit: VcpuExit<'_>) -> Next {
    match exit {
        VcpuExit::IoIn(port, data) => bus.input(port, data),
        VcpuExit::IoOut(port, data) => bus.output(port, data),
        VcpuExit::MmioRead(address, data) => bus.read(address, data),
        VcpuExit::MmioWrite(address, data) => bus.write(address, data),
        // Triple fault.
        VcpuExit::Shutdown => return Next::Stop(Event::Reset),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => return Next::Stop(Event::Reset),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => return Next::Stop(Event::PowerOff),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => return Next::Stop(Event::Panic),
        VcpuExit::FailEntry(reason, cpu) => {
            let what = format!("the guest's state is invalid (reason {reason:#x}, cpu {cpu})");
            return Next::Stop(Event::Failed(what));
        }
        // With interrupt controllers in KVM these need nothing.
        VcpuExit::Intr | VcpuExit::IrqWindowOpen | VcpuExit::Hlt => {}
        other => return Next::Stop(Event::Failed(format!("unexpected exit {other:?}"))),
    }
    Next::Run
}

/// Serves the writes that KVM held back, oldest first.
fn drain(fd: &mut VcpuFd, bus: &Bus) {
    if !bus.has_coalesced() {
        return;
    }
    let _turn = bus.drain();
    while let Ok(Some(entry)) = fd.coalesced_mmio_read() {
        let length = (entry.len as usize).min(entry.data.len());
        bus.write(entry.phys_addr, entry.data.get(..length).unwrap_or_default());
    }
}

/// KVM's reason for giving up.
fn internal_error(fd: &mut VcpuFd) -> String {
    let rip = fd.get_regs().map(|regs| regs.rip).unwrap_or_default();
    let run = fd.get_kvm_run();
    // SAFETY: the exit reason is "internal error", for which the kernel fills this member; all of
    // its fields are plain numbers.
    let detail = unsafe { run.__bindgen_anon_1.internal };
    let words: Vec<_> =
        detail.data.iter().take(detail.ndata as usize).map(|word| format!("{word:#x}")).collect();
    let kind = match detail.suberror {
        1 => "an instruction could not be emulated",
        2 => "two exceptions at once",
        3 => "an event could not be delivered",
        4 => "an unknown exit of the hardware",
        _ => "an unknown reason",
    };
    format!("KVM gave up at instruction {rip:#x}: {kind} ({})", words.join(" "))
}
