//! The thread that serves a device.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use tracing::error;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::shared::Shared;
use crate::error::{Error, Result};

/// System calls that every worker makes, waiting, locking and allocating included: a filter needs
/// these and those of its [`Model::system_calls`](super::Model::system_calls). What the log needs
/// is to be added by whoever says where it goes.
pub const WORKER_SYSTEM_CALLS: &[libc::c_long] = &[
    // Eventfds, both ends, and the source of the device.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    // Locks, and panics of a debug build.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Memory of the allocator.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Signals, and the end of the thread.
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Where the clock is not in the vDSO.
    libc::SYS_clock_gettime,
];

/// Events taken at a time: more than a device has descriptors.
const EVENTS: usize = 8;

/// What a worker waits with.
pub(super) struct Worker {
    shared: Arc<Shared>,
    epoll: Epoll,
    /// The source, while it is watched.
    watched: Option<RawFd>,
}

impl Worker {
    /// Prepares all that a filter of system calls could forbid later.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self> {
        let action = "wait for a virtio device's events";
        let epoll = Epoll::new().map_err(Error::host(action))?;
        for event in shared.doorbells.iter().chain([shared.wake_event()]) {
            let fd = event.as_raw_fd();
            let interest = EpollEvent::new(EventSet::IN, data(fd));
            epoll.ctl(ControlOperation::Add, fd, interest).map_err(Error::host(action))?;
        }
        Ok(Self { shared, epoll, watched: None })
    }

    /// Serves the device until it is told to end.
    pub(super) fn run(mut self) {
        if let Err(cause) = self.serve() {
            error!(device = %self.shared.name, "the device's thread ends: {cause}");
            self.shared.interrupt.demand_reset();
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::default(); EVENTS];
        loop {
            // What happened while nobody waited is found in the queues, so look before waiting.
            let next = self.shared.serve();
            self.watch(next.watch)?;
            let timeout = if next.again { 0 } else { -1 };
            match self.epoll.wait(timeout, &mut events) {
                Ok(count) => self.take(events.get(..count).unwrap_or_default()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
            if self.shared.is_exiting() {
                return Ok(());
            }
        }
    }

    /// Empties the eventfds that rang. The source is left to the device.
    fn take(&self, events: &[EpollEvent]) {
        let mine = || self.shared.doorbells.iter().chain([self.shared.wake_event()]);
        for event in events {
            if let Some(rang) = mine().find(|mine| data(mine.as_raw_fd()) == event.data()) {
                // Somebody else cannot have emptied it; and if so, nothing is lost.
                let _empty = rang.read();
            }
        }
    }

    /// Watches the device's source, or leaves it alone: also its end, which would never go away.
    fn watch(&mut self, watch: bool) -> io::Result<()> {
        if watch == self.watched.is_some() {
            return Ok(());
        }
        let (operation, fd) = match self.watched {
            Some(fd) => (ControlOperation::Delete, fd),
            None => {
                let core = self.shared.enter();
                let Some(source) = core.model.source() else { return Ok(()) };
                (ControlOperation::Add, source.as_raw_fd())
            }
        };
        self.watched = watch.then_some(fd);
        self.epoll.ctl(operation, fd, EpollEvent::new(EventSet::IN, data(fd)))
    }
}

fn data(fd: RawFd) -> u64 {
    u64::from(fd.unsigned_abs())
}
