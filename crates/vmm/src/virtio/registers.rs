//! The registers of the transport as plain values, and the rules for setting them.

use virtio_queue::{Queue, QueueState, QueueT};
use vm_memory::GuestMemoryBackend;

use super::{
    model::Model,
    spec::{feature, register, status},
};
use crate::memory::GuestMemory;

/// All that a driver can set, and what it is shown.
pub(super) struct Registers {
    pub(super) kind: u32,
    /// Features that are offered.
    pub(super) features: u64,
    pub(super) config: Vec<u8>,
    pub(super) device_features_select: u32,
    pub(super) driver_features_select: u32,
    pub(super) driver_features: u64,
    pub(super) queue_select: u32,
    /// Status, as far as the driver sets it.
    pub(super) status: u32,
    pub(super) queues: Vec<QueueRegisters>,
}

/// Registers of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRegisters {
    pub(super) size_max: u16,
    pub(super) size: u32,
    pub(super) ready: bool,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

impl Registers {
    pub(super) fn new(model: &dyn Model) -> Self {
        let queues = model.queue_sizes().iter().map(|size| QueueRegisters::new(*size)).collect();
        Self {
            kind: model.kind(),
            features: model.features() | feature::TRANSPORT,
            config: model.config(),
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            status: 0,
            queues,
        }
    }

    /// After a reset only the device itself is as it was.
    pub(super) fn reset(&mut self) {
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.driver_features = 0;
        self.queue_select = 0;
        self.status = 0;
        for queue in &mut self.queues {
            *queue = QueueRegisters::new(queue.size_max);
        }
    }

    pub(super) fn has_driver(&self) -> bool {
        self.status & status::DRIVER_OK != 0
    }

    /// The 32 device features that are selected.
    pub(super) fn shown_features(&self) -> u32 {
        half(self.features, self.device_features_select)
    }

    /// Sets 32 of the driver's features, as long as they are not settled.
    pub(super) fn set_driver_features(&mut self, value: u32) {
        if self.status & status::FEATURES_OK != 0 {
            return;
        }
        match self.driver_features_select {
            0 => set_low(&mut self.driver_features, value),
            1 => set_high(&mut self.driver_features, value),
            _ => {}
        }
    }

    /// Whether the driver's choice can be lived with (clause 3.1.1, and 6.1: no legacy drivers).
    pub(super) fn features_are_acceptable(&self) -> bool {
        self.driver_features & !self.features == 0 && self.driver_features & feature::VERSION_1 != 0
    }

    /// The selected queue, if there is one.
    pub(super) fn queue(&self) -> Option<&QueueRegisters> {
        self.queues.get(usize::try_from(self.queue_select).ok()?)
    }

    /// The selected queue, if it may be set up: not behind the device's back.
    pub(super) fn queue_to_set(&mut self) -> Option<&mut QueueRegisters> {
        if self.has_driver() {
            return None;
        }
        self.queues.get_mut(usize::try_from(self.queue_select).ok()?).filter(|queue| !queue.ready)
    }

    /// Reads configuration space, zeros where there is none.
    pub(super) fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let there = usize::try_from(offset).ok().and_then(|offset| self.config.get(offset..));
        for (byte, there) in data.iter_mut().zip(there.unwrap_or_default()) {
            *byte = *there;
        }
    }
}

impl QueueRegisters {
    fn new(size_max: u16) -> Self {
        Self { size_max, size: 0, ready: false, descriptors: 0, available: 0, used: 0 }
    }

    /// Sets half of an address.
    pub(super) fn set_address(&mut self, offset: u64, value: u32) {
        match offset {
            register::QUEUE_DESCRIPTORS_LOW => set_low(&mut self.descriptors, value),
            register::QUEUE_DESCRIPTORS_HIGH => set_high(&mut self.descriptors, value),
            register::QUEUE_AVAILABLE_LOW => set_low(&mut self.available, value),
            register::QUEUE_AVAILABLE_HIGH => set_high(&mut self.available, value),
            register::QUEUE_USED_LOW => set_low(&mut self.used, value),
            register::QUEUE_USED_HIGH => set_high(&mut self.used, value),
            _ => {}
        }
    }

    /// The queue that these describe, if size, alignment and addresses are right (clause 2.7).
    pub(super) fn to_queue(&self, memory: &GuestMemory, events: bool) -> Option<Queue> {
        self.resume_queue(memory, events, 0, 0)
    }

    /// The same in the middle of its work.
    pub(super) fn resume_queue(
        &self,
        memory: &GuestMemory,
        event_idx_enabled: bool,
        next_avail: u16,
        next_used: u16,
    ) -> Option<Queue> {
        let size = u16::try_from(self.size).ok()?;
        if next_avail.wrapping_sub(next_used) > size || !self.parts_are_in(memory) {
            return None;
        }
        let state = QueueState {
            max_size: self.size_max,
            next_avail,
            next_used,
            event_idx_enabled,
            size,
            ready: true,
            desc_table: self.descriptors,
            avail_ring: self.available,
            used_ring: self.used,
        };
        Queue::try_from(state).ok().filter(|queue| queue.is_valid(memory))
    }

    /// Whether each part is memory. `virtio-queue` looks too, but complains to the log each time,
    /// and takes address 0 for none.
    fn parts_are_in(&self, memory: &GuestMemory) -> bool {
        let size = u64::from(self.size);
        let parts = [
            (self.descriptors, 16 * size),
            (self.available, 6 + 2 * size),
            (self.used, 6 + 8 * size),
        ];
        self.available != 0
            && parts.iter().all(|(base, size)| {
                usize::try_from(*size)
                    .is_ok_and(|size| memory.check_range(vm_memory::GuestAddress(*base), size))
            })
    }
}

fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => (value & u64::from(u32::MAX)) as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_low(target: &mut u64, value: u32) {
    *target = *target & !u64::from(u32::MAX) | u64::from(value);
}

fn set_high(target: &mut u64, value: u32) {
    *target = *target & u64::from(u32::MAX) | u64::from(value) << 32;
}
