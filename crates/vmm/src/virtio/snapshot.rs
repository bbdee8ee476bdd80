//! Saving and restoring a device (see [`SavedDevice`] for what there is to it).

use virtio_queue::QueueT;

use super::{
    mmio::{Transport, idle_queue},
    registers::{QueueRegisters, Registers},
    ring::Ring,
    spec::{feature, status},
    state::{self, SavedDevice, SavedQueue},
};
use crate::error::{Error, Result};

impl Transport {
    /// Its state.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it is not paused.
    pub fn save(&self) -> Result<SavedDevice> {
        let registers = self.registers();
        let core = self.shared.enter();
        if !core.paused {
            return Err(Error::Snapshot(format!("{} is not paused", self.shared.name)));
        }
        let Registers {
            kind,
            features: _,
            config,
            device_features_select,
            driver_features_select,
            driver_features,
            queue_select,
            status,
            queues,
        } = &*registers;
        let saved_queue = |(index, queue): (usize, &QueueRegisters)| {
            let QueueRegisters { size_max: _, size, ready, descriptors, available, used } = *queue;
            let at_work = core.rings.get(index).map(Ring::queue);
            SavedQueue {
                size,
                ready,
                descriptors,
                available,
                used,
                next_available: at_work.map_or(0, QueueT::next_avail),
                next_used: at_work.map_or(0, QueueT::next_used),
            }
        };
        Ok(SavedDevice {
            version: state::VERSION,
            kind: *kind,
            config: config.clone(),
            device_features_select: *device_features_select,
            driver_features_select: *driver_features_select,
            driver_features: *driver_features,
            queue_select: *queue_select,
            status: *status | self.shared.interrupt.device_status(),
            interrupt_status: self.shared.interrupt.status(),
            queues: queues.iter().enumerate().map(saved_queue).collect(),
        })
    }

    /// Takes over the state of a device that was made alike. It stays paused.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if it does not fit, and nothing has changed then.
    pub fn restore(&self, saved: &SavedDevice) -> Result<()> {
        let mut registers = self.registers();
        let mut core = self.shared.enter();
        let refuse = |reason: &str| Error::Snapshot(format!("{}: {reason}", self.shared.name));
        if !core.paused {
            return Err(refuse("it is not paused"));
        }
        let (restored, rings) = self.check(&registers, saved).map_err(|reason| refuse(&reason))?;
        core.model
            .adopt_config(&saved.config)
            .map_err(|cause| Error::Snapshot(format!("{}: {cause}", self.shared.name)))?;
        *registers = restored;
        core.active = registers.has_driver();
        core.rings = rings;
        let needs_reset = saved.status & status::NEEDS_RESET != 0;
        self.shared.interrupt.set(saved.interrupt_status, needs_reset);
        if core.active {
            core.model.activate(registers.driver_features);
        }
        Ok(())
    }

    /// The registers and queues that `saved` stands for, or why it cannot be.
    fn check(
        &self,
        here: &Registers,
        saved: &SavedDevice,
    ) -> Result<(Registers, Vec<Ring>), String> {
        let SavedDevice {
            version,
            kind,
            config,
            device_features_select,
            driver_features_select,
            driver_features,
            queue_select,
            status,
            interrupt_status: _,
            queues,
        } = saved;
        if *version != state::VERSION {
            return Err(format!("version {version} of its state is not known here"));
        }
        if *kind != here.kind || queues.len() != here.queues.len() {
            return Err(format!("what was saved is a device of type {kind}, not {}", here.kind));
        }
        let queue = |(saved, here): (&SavedQueue, &QueueRegisters)| QueueRegisters {
            size_max: here.size_max,
            size: saved.size,
            ready: saved.ready,
            descriptors: saved.descriptors,
            available: saved.available,
            used: saved.used,
        };
        let restored = Registers {
            kind: here.kind,
            features: here.features,
            config: config.clone(),
            device_features_select: *device_features_select,
            driver_features_select: *driver_features_select,
            driver_features: *driver_features,
            queue_select: *queue_select,
            status: status & status::BY_DRIVER,
            queues: queues.iter().zip(&here.queues).map(queue).collect(),
        };
        let settled = restored.status & status::FEATURES_OK != 0;
        if settled && !restored.features_are_acceptable() {
            let missing = driver_features & !here.features;
            return Err(format!("its driver uses features that it lacks here: {missing:#x}"));
        }
        let rings =
            if restored.has_driver() { self.resume_rings(&restored, saved)? } else { vec![] };
        Ok((restored, rings))
    }

    fn resume_rings(
        &self,
        registers: &Registers,
        saved: &SavedDevice,
    ) -> Result<Vec<Ring>, String> {
        let events = registers.driver_features & feature::EVENT_IDX != 0;
        let mut rings = Vec::with_capacity(registers.queues.len());
        for (index, (queue, at)) in registers.queues.iter().zip(&saved.queues).enumerate() {
            let resumed = if queue.ready {
                queue.resume_queue(&self.memory, events, at.next_available, at.next_used)
            } else {
                idle_queue(queue)
            };
            let resumed = resumed.ok_or_else(|| format!("queue {index} is not in its memory"))?;
            rings.push(self.ring(resumed));
        }
        Ok(rings)
    }
}
