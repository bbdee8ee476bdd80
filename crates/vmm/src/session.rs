//! One machine from its start to its end: waits for what the guest, the user and peers do.

use std::{
    io::Read,
    os::fd::{AsRawFd, RawFd},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::info;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use crate::{
    console::{Console, Typed},
    control::{Control, Wish},
    error::{Error, Result},
    event::Event,
    machine::Machine,
    migrate::{Mover, Outcome},
};

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched itself off, or was switched off from outside.
    Off,
    /// The guest asked for a reset.
    Reset,
    /// The guest's kernel panicked.
    Panicked,
    /// It runs on another host now.
    Moved,
    /// It is to be replaced by the machine in this file.
    Replaced(PathBuf),
}

/// What a machine is watched with.
pub struct Watch<'a> {
    /// What is typed.
    pub console: &'a mut Console,
    /// What is asked.
    pub control: &'a mut Control,
    /// SIGTERM and SIGINT.
    pub signals: &'a mut Signals,
    /// What moves it to other hosts.
    pub mover: &'a mut Mover,
}

/// SIGTERM and SIGINT as something to wait for.
pub struct Signals(UnixStream);

impl Signals {
    /// Takes them from now on.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn take() -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().map_err(Error::host("make a pair of sockets"))?;
        ours.set_nonblocking(true).map_err(Error::host("make a pair of sockets"))?;
        for signal in [SIGTERM, SIGINT] {
            let end = theirs.try_clone().map_err(Error::host("make a pair of sockets"))?;
            signal_hook::low_level::pipe::register(signal, end)
                .map_err(Error::host("set a signal handler"))?;
        }
        Ok(Self(ours))
    }

    fn came(&mut self) -> bool {
        self.0.read(&mut [0; 16]).is_ok_and(|count| count > 0)
    }
}

/// Lets `machine` run until it ends; it is paused then. A machine that was restored to stay paused
/// is one whose `run` is false.
///
/// # Errors
/// [`Error::Host`]; [`Error::Thread`] if a processor or KVM fails.
pub fn run(machine: &mut Machine, mut watch: Watch<'_>, run: bool) -> Result<End> {
    if run {
        machine.run()?;
    }
    let end = serve(machine, &mut watch);
    machine.pause()?;
    end
}

fn serve(machine: &mut Machine, watch: &mut Watch<'_>) -> Result<End> {
    let mut watched = Watched::new()?;
    let (events, signal) = (machine.events().wake().as_raw_fd(), watch.signals.0.as_raw_fd());
    let mut typing = true;
    let mut brake = Brake::default();
    loop {
        let mut wanted = vec![events, signal];
        wanted.extend(watch.control.descriptors());
        if typing {
            wanted.extend(watch.console.descriptors());
        }
        wanted.extend(watch.mover.descriptor());
        watched.set(&wanted)?;
        let patience = brake.step(machine, watch.mover)?;
        for ready in watched.wait(patience)? {
            if ready == events {
                while let Some(event) = machine.events().next() {
                    if let Some(end) = ended(event)? {
                        return Ok(end);
                    }
                }
            } else if ready == signal {
                if watch.signals.came() {
                    info!("ended by a signal");
                    return Ok(End::Off);
                }
            } else if watch.mover.descriptor() == Some(ready) {
                brake.release(machine)?;
                let outcome = watch.mover.go_on(machine);
                if !matches!(outcome, Outcome::Under) {
                    watch.control.tell_of_move(watch.mover.status());
                }
                if let Outcome::Gone = outcome {
                    return Ok(End::Moved);
                }
            } else if watch.control.has(ready) {
                brake.release(machine)?;
                match watch.control.serve(ready, machine, watch.mover) {
                    Wish::Nothing => {}
                    Wish::Restore(path) => return Ok(End::Replaced(path)),
                    Wish::ShutDown => return Ok(End::Off),
                }
            } else {
                match watch.console.serve(ready, machine.serial()) {
                    Typed::Nothing => {}
                    Typed::End => typing = false,
                    Typed::Quit => return Ok(End::Off),
                }
            }
        }
    }
}

fn ended(event: Event) -> Result<Option<End>> {
    match event {
        Event::PowerOff => Ok(Some(End::Off)),
        Event::Reset => Ok(Some(End::Reset)),
        Event::Panic => Ok(Some(End::Panicked)),
        Event::Failed(reason) => Err(Error::Thread(format!("the machine: {reason}"))),
    }
}

/// Slows a guest down that writes its memory faster than it can be copied: it runs a part of the
/// time only.
#[derive(Default)]
struct Brake {
    held: bool,
}

/// One turn of running and standing still, in milliseconds.
const BRAKE_TURN: i32 = 50;
/// How often to look whether the guest is to be slowed down, in milliseconds.
const BRAKE_LOOK: i32 = 100;

impl Brake {
    /// Lets the guest go or stops it, as is due; how long to wait then, in milliseconds.
    fn step(&mut self, machine: &mut Machine, mover: &Mover) -> Result<i32> {
        let percent = i32::from(mover.throttle().min(99));
        if percent == 0 {
            self.release(machine)?;
            return Ok(if mover.descriptor().is_some() { BRAKE_LOOK } else { -1 });
        }
        let stands = BRAKE_TURN * percent / 100;
        if self.held {
            self.release(machine)?;
            return Ok(BRAKE_TURN - stands);
        }
        self.held = machine.is_running();
        if self.held {
            machine.hold()?;
        }
        Ok(stands)
    }

    /// Lets the guest go if it was stopped here.
    fn release(&mut self, machine: &mut Machine) -> Result<()> {
        if std::mem::take(&mut self.held) { machine.let_go() } else { Ok(()) }
    }
}

/// Descriptors that are waited for, which change as peers come and go.
struct Watched {
    epoll: Epoll,
    current: Vec<RawFd>,
}

impl Watched {
    fn new() -> Result<Self> {
        let epoll = Epoll::new().map_err(Error::host("wait for events"))?;
        Ok(Self { epoll, current: Vec::new() })
    }

    fn set(&mut self, wanted: &[RawFd]) -> Result<()> {
        for fd in self.current.iter().filter(|fd| !wanted.contains(fd)) {
            // A descriptor that was closed is not watched any more.
            let _ = self.epoll.ctl(ControlOperation::Delete, *fd, EpollEvent::default());
        }
        // All of them: a number that was watched may belong to another descriptor by now.
        for fd in wanted {
            let event = EpollEvent::new(EventSet::IN, *fd as u64);
            match self.epoll.ctl(ControlOperation::Add, *fd, event) {
                // Files and /dev/null cannot be waited for: there is nothing to come.
                Err(cause) if matches!(cause.raw_os_error(), Some(libc::EPERM | libc::EEXIST)) => {}
                other => other.map_err(Error::host("wait for events"))?,
            }
        }
        self.current = wanted.to_vec();
        Ok(())
    }

    fn wait(&self, milliseconds: i32) -> Result<Vec<RawFd>> {
        let mut events = [EpollEvent::default(); 16];
        match self.epoll.wait(milliseconds, &mut events) {
            Ok(count) => Ok(events.iter().take(count).map(|event| event.data() as RawFd).collect()),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(cause) => Err(Error::host("wait for events")(cause)),
        }
    }
}
