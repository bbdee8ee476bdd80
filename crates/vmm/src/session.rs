//! One machine from its start to its end: waits for what the guest, the user and peers do.

use std::{
    io::Read,
    os::fd::{AsRawFd, RawFd},
    os::unix::net::UnixStream,
};

use signal_hook::consts::{SIGINT, SIGTERM};
use tracing::info;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use crate::{
    console::{Console, Typed},
    error::{Error, Result},
    event::Event,
    machine::Machine,
};

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched itself off, or was switched off from outside.
    Off,
    /// The guest asked for a reset.
    Reset,
    /// The guest's kernel panicked.
    Panicked,
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

/// Lets `machine` run until it ends.
///
/// # Errors
/// [`Error::Host`]; [`Error::Thread`] if a processor or KVM fails.
pub fn run(machine: &mut Machine, console: &mut Console, signals: &mut Signals) -> Result<End> {
    machine.run()?;
    let end = serve(machine, console, signals);
    machine.pause()?;
    end
}

fn serve(machine: &mut Machine, console: &mut Console, signals: &mut Signals) -> Result<End> {
    let mut watched = Watched::new()?;
    let (events, signal) = (machine.events().wake().as_raw_fd(), signals.0.as_raw_fd());
    let mut typing = true;
    loop {
        let mut wanted = vec![events, signal];
        if typing {
            wanted.extend(console.descriptors());
        }
        watched.set(&wanted)?;
        for ready in watched.wait()? {
            if ready == events {
                while let Some(event) = machine.events().next() {
                    if let Some(end) = ended(event)? {
                        return Ok(end);
                    }
                }
            } else if ready == signal {
                if signals.came() {
                    info!("ended by a signal");
                    return Ok(End::Off);
                }
            } else {
                match console.serve(ready, machine.serial()) {
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
        for fd in wanted.iter().filter(|fd| !self.current.contains(fd)) {
            let event = EpollEvent::new(EventSet::IN, *fd as u64);
            match self.epoll.ctl(ControlOperation::Add, *fd, event) {
                // Files and /dev/null cannot be waited for: there is nothing to come.
                Err(cause) if cause.raw_os_error() == Some(libc::EPERM) => {}
                other => other.map_err(Error::host("wait for events"))?,
            }
        }
        self.current = wanted.to_vec();
        Ok(())
    }

    fn wait(&self) -> Result<Vec<RawFd>> {
        let mut events = [EpollEvent::default(); 16];
        match self.epoll.wait(-1, &mut events) {
            Ok(count) => Ok(events.iter().take(count).map(|event| event.data() as RawFd).collect()),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(cause) => Err(Error::host("wait for events")(cause)),
        }
    }
}
