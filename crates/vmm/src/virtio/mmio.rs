//! The virtio-mmio transport, version 2 (virtio 1.2, clause 4.2).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use tracing::debug;
use virtio_queue::{Queue, QueueT};
use vm_device::{
    DeviceMmio,
    bus::{MmioAddress, MmioAddressOffset},
};
use vmm_sys_util::eventfd::EventFd;

use super::{
    model::Model,
    registers::{QueueRegisters, Registers},
    ring::{Fault, Ring},
    shared::Shared,
    spec::{MAGIC, VENDOR, VERSION, feature, register, status},
    worker::Worker,
};
use crate::{
    error::{Error, Result},
    memory::GuestMemory,
};

/// Offset of the register that drivers ring at, for KVM to know it: queue `n` rings by writing `n`,
/// 32 bits wide.
pub const QUEUE_NOTIFY: u64 = register::QUEUE_NOTIFY;

/// A virtio device: registers, queues, device type and worker.
///
/// It is paused when it is made; see the [module](super) for its life.
pub struct Transport {
    pub(super) shared: Arc<Shared>,
    pub(super) memory: Arc<GuestMemory>,
    registers: Mutex<Registers>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Transport {
    /// A paused device without a driver. `name` is for the log, and names its thread.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn new(name: &str, model: Box<dyn Model>, memory: Arc<GuestMemory>) -> Result<Self> {
        let registers = Mutex::new(Registers::new(model.as_ref()));
        let shared = Arc::new(Shared::new(name.to_owned(), model)?);
        Ok(Self { shared, memory, registers, worker: Mutex::new(None) })
    }

    /// Starts its worker, which calls `enter` first: the place to put a filter of system calls in.
    ///
    /// # Errors
    /// What `enter` returns; [`Error::Host`] if there can be no thread.
    pub fn start(&self, enter: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let worker = Worker::new(Arc::clone(&self.shared))?;
        let (report, entered) = mpsc::sync_channel(1);
        let run = move || {
            let result = enter();
            let goes_on = result.is_ok();
            let heard = report.send(result).is_ok();
            if goes_on && heard {
                worker.run();
            }
        };
        let thread = thread::Builder::new()
            .name(self.shared.name.clone())
            .spawn(run)
            .map_err(Error::host("start a virtio device's thread"))?;
        let name = || self.shared.name.clone();
        entered.recv().map_err(|_| Error::Thread(name()))??;
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Its interrupt, to be connected to an edge-triggered line (irqfd).
    pub fn interrupt(&self) -> &EventFd {
        self.shared.interrupt.event()
    }

    /// The doorbells of its queues, first to last: each to be rung when the driver writes the
    /// queue's number to [`QUEUE_NOTIFY`] (ioeventfd). Writes that come by [`Transport::write`]
    /// ring them too.
    pub fn doorbells(&self) -> &[EventFd] {
        &self.shared.doorbells
    }

    /// System calls that its worker makes, for a filter.
    pub fn system_calls(&self) -> Vec<libc::c_long> {
        let own = self.shared.enter().model.system_calls();
        super::WORKER_SYSTEM_CALLS.iter().chain(own).copied().collect()
    }

    /// Serves the queues once on the caller's thread, as the worker does. For those who have an
    /// event loop of their own instead of [`Transport::start`]. Returns whether there is more.
    pub fn serve(&self) -> bool {
        self.shared.serve().again
    }

    /// Stops the device behind the request at hand: no guest memory is touched until
    /// [`Transport::resume`], and what was written is durable.
    ///
    /// # Errors
    /// [`Error::File`] if it is not durable; the device is paused all the same.
    pub fn pause(&self) -> Result<()> {
        let mut core = self.shared.enter();
        if core.paused {
            return Ok(());
        }
        core.paused = true;
        core.model.release()
    }

    /// Lets the device go on, with what came while it was paused.
    ///
    /// # Errors
    /// [`Error::Virtio`] if another machine uses what belongs to it; it stays paused then.
    pub fn resume(&self) -> Result<()> {
        let mut core = self.shared.enter();
        if core.paused {
            core.model.acquire()?;
            core.paused = false;
        }
        drop(core);
        self.shared.interrupt.repeat();
        self.shared.wake();
        Ok(())
    }

    /// Reads registers: `data.len()` bytes at `offset` of the device's page.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(register::CONFIG) {
            return self.registers().read_config(offset, data);
        }
        data.fill(0);
        // Clause 4.2.2.2: nothing but aligned 32-bit accesses.
        if let (Ok(value), true) = (<&mut [u8; 4]>::try_from(data), offset.is_multiple_of(4)) {
            *value = self.read_register(offset).to_le_bytes();
        }
    }

    /// Writes registers. Nothing in configuration space can be written.
    pub fn write(&self, offset: u64, data: &[u8]) {
        if let (Ok(value), true) = (<[u8; 4]>::try_from(data), offset.is_multiple_of(4)) {
            self.write_register(offset, u32::from_le_bytes(value));
        }
    }

    fn read_register(&self, offset: u64) -> u32 {
        match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => self.registers().kind,
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => self.registers().shown_features(),
            register::QUEUE_SIZE_MAX => {
                self.registers().queue().map_or(0, |queue| queue.size_max.into())
            }
            register::QUEUE_READY => self.registers().queue().map_or(0, |queue| queue.ready.into()),
            register::INTERRUPT_STATUS => self.shared.interrupt.status(),
            register::STATUS => self.registers().status | self.shared.interrupt.device_status(),
            // No shared memory: length and base of each region are all ones.
            register::SHARED_LENGTH_LOW..=register::SHARED_BASE_HIGH => u32::MAX,
            // The configuration never changes.
            register::CONFIG_GENERATION => 0,
            _ => 0,
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        let mut registers = self.registers();
        match offset {
            register::DEVICE_FEATURES_SELECT => registers.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => registers.driver_features_select = value,
            register::DRIVER_FEATURES => registers.set_driver_features(value),
            register::QUEUE_SELECT => registers.queue_select = value,
            register::QUEUE_SIZE => {
                if let Some(queue) = registers.queue_to_set() {
                    queue.size = value;
                }
            }
            register::QUEUE_READY => self.set_queue_ready(&mut registers, value & 1 != 0),
            register::QUEUE_NOTIFY => self.ring_doorbell(value),
            register::INTERRUPT_ACK => self.shared.interrupt.acknowledge(value),
            register::STATUS => self.set_status(&mut registers, value),
            register::QUEUE_DESCRIPTORS_LOW..=register::QUEUE_USED_HIGH => {
                if let Some(queue) = registers.queue_to_set() {
                    queue.set_address(offset, value);
                }
            }
            _ => {}
        }
    }

    fn ring_doorbell(&self, queue: u32) {
        let doorbell = usize::try_from(queue).ok().and_then(|at| self.shared.doorbells.get(at));
        if let Some(doorbell) = doorbell {
            // A full counter would refuse: then it rings already.
            let _full = doorbell.write(1);
        }
    }

    fn set_queue_ready(&self, registers: &mut Registers, ready: bool) {
        let Ok(index) = usize::try_from(registers.queue_select) else { return };
        if !ready {
            let Some(queue) = registers.queues.get_mut(index) else { return };
            queue.ready = false;
            if let Some(ring) = self.shared.enter().rings.get_mut(index) {
                ring.stop();
            }
            return;
        }
        let Some(queue) = registers.queue_to_set() else { return };
        queue.ready = queue.to_queue(&self.memory, false).is_some();
        if !queue.ready {
            debug!(device = %self.shared.name, ?queue, "a queue that cannot be");
            self.shared.interrupt.demand_reset();
        }
    }

    fn set_status(&self, registers: &mut Registers, value: u32) {
        if value == 0 {
            return self.reset(registers);
        }
        let mut value = value & status::BY_DRIVER;
        // Bits are only added; the one way back is a reset (clause 2.1.1).
        if registers.status & !value != 0 {
            return;
        }
        let settled = registers.status & status::FEATURES_OK != 0;
        if !settled && !registers.features_are_acceptable() {
            value &= !status::FEATURES_OK;
        }
        if value & status::FEATURES_OK == 0 {
            value &= !status::DRIVER_OK;
        }
        let added = value & !registers.status;
        registers.status = value;
        if added & status::DRIVER_OK != 0 {
            self.activate(registers);
        }
    }

    fn activate(&self, registers: &Registers) {
        let mut core = self.shared.enter();
        let events = registers.driver_features & feature::EVENT_IDX != 0;
        let queue = |queue: &QueueRegisters| {
            if queue.ready { queue.to_queue(&self.memory, events) } else { idle_queue(queue) }
        };
        match registers.queues.iter().map(queue).collect::<Option<Vec<_>>>() {
            Some(queues) => core.rings = queues.into_iter().map(|queue| self.ring(queue)).collect(),
            None => {
                let fault = Fault::Queue(virtio_queue::Error::QueueNotReady);
                return self.shared.broken(&mut core, &fault);
            }
        }
        core.model.activate(registers.driver_features);
        core.active = true;
        drop(core);
        self.shared.wake();
    }

    fn reset(&self, registers: &mut Registers) {
        let mut core = self.shared.enter();
        core.active = false;
        core.rings.clear();
        registers.reset();
        self.shared.interrupt.set(0, false);
    }

    pub(super) fn ring(&self, queue: Queue) -> Ring {
        Ring::new(queue, Arc::clone(&self.memory), Arc::clone(&self.shared.interrupt))
    }

    pub(super) fn registers(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceMmio for Transport {
    fn mmio_read(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.read(offset, data);
    }

    fn mmio_write(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.write(offset, data);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.exit();
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // It has reported its own end.
            let _ended = worker.join();
        }
    }
}

/// A queue that the driver does not use.
pub(super) fn idle_queue(registers: &QueueRegisters) -> Option<Queue> {
    Queue::new(registers.size_max).ok()
}
