//! A device with its queues, and who may touch them when.
//!
//! ```text
//!   worker                     vCPU: reset, DRIVER_OK      control: pause, save
//!      |                                |                          |
//!      |            waiting += 1        |                          |
//!      +--> turn --> core <---- turn ---+-------- turn ------------+
//! ```
//!
//! Whoever holds `core` is alone with device, queues and guest memory. The worker gives it back
//! after the request at hand as soon as `waiting` says that someone else wants it; `turn` keeps it
//! from taking it again first.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use tracing::warn;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{
    model::{Complaints, Model, Next},
    ring::{Fault, Interrupt, Ring, Turn},
};
use crate::error::{Error, Result};

/// What the transport and the worker share.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) interrupt: Arc<Interrupt>,
    /// One for each queue: written where the driver rings.
    pub(super) doorbells: Vec<EventFd>,
    /// Has the worker look again.
    wake: EventFd,
    exit: AtomicBool,
    waiting: AtomicU32,
    turn: Mutex<()>,
    core: Mutex<Core>,
}

/// What only one may touch at a time.
pub(super) struct Core {
    pub(super) model: Box<dyn Model>,
    /// Empty until a driver is there.
    pub(super) rings: Vec<Ring>,
    /// A driver is there.
    pub(super) active: bool,
    /// The machine does not run: guest memory is not to be touched.
    pub(super) paused: bool,
    complaints: Complaints,
}

impl Shared {
    pub(super) fn new(name: String, model: Box<dyn Model>) -> Result<Self> {
        let event = || {
            EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)
                .map_err(Error::host("make a virtio device's doorbell"))
        };
        let doorbells = model.queue_sizes().iter().map(|_| event()).collect::<Result<_>>()?;
        let core = Core {
            model,
            rings: Vec::new(),
            active: false,
            paused: true,
            complaints: Complaints::default(),
        };
        Ok(Self {
            name,
            interrupt: Arc::new(Interrupt::new()?),
            doorbells,
            wake: event()?,
            exit: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            turn: Mutex::new(()),
            core: Mutex::new(core),
        })
    }

    /// The device, as soon as the request at hand is done.
    pub(super) fn enter(&self) -> MutexGuard<'_, Core> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let core = self.queue_up();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        core
    }

    /// Serves the device, if it has a driver and is not paused. Says whether it should be served
    /// again at once, and whether its source is worth watching.
    pub(super) fn serve(&self) -> Next {
        let mut core = self.queue_up();
        let core = &mut *core;
        if !core.active || core.paused || self.interrupt.needs_reset() {
            return Next::default();
        }
        let served = core.model.serve(&mut core.rings, Turn::new(&self.waiting));
        let told = core.rings.iter_mut().try_for_each(Ring::signal);
        match served.and_then(|next| told.map(|()| next)) {
            Ok(next) => next,
            Err(fault) => {
                self.broken(core, &fault);
                Next::default()
            }
        }
    }

    /// Has the worker look at everything again.
    pub(super) fn wake(&self) {
        // A full counter would refuse: then the worker has not looked yet, and will.
        let _full = self.wake.write(1);
    }

    pub(super) fn wake_event(&self) -> &EventFd {
        &self.wake
    }

    pub(super) fn exit(&self) {
        self.exit.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_exiting(&self) -> bool {
        self.exit.load(Ordering::Acquire)
    }

    /// The driver has broken the rules.
    pub(super) fn broken(&self, core: &mut Core, fault: &Fault) {
        if core.complaints.allow() {
            warn!(device = %self.name, "the driver must reset the device: {fault}");
        }
        self.interrupt.demand_reset();
    }

    fn queue_up(&self) -> MutexGuard<'_, Core> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
