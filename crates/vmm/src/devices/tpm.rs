//! The TPM's registers on the bus, and the way of a command from there to a TPM and back.
//!
//! ```text
//!   vCPU: write -> model -> Action -> backend.submit -----> TPM's own thread
//!   TPM's thread: reply -> model.complete -> interrupt
//! ```
//!
//! The processor never waits for the TPM. A reply to a command that a reset has forgotten is
//! dropped: commands carry the number of the reset they came after.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::{debug, warn};
use vm_device::{
    DeviceMmio,
    bus::{MmioAddress, MmioAddressOffset},
};
use vmm_device::{
    Action, Locality, NoEvents, RegisterModel, TPM_BASE,
    crb::{self, Crb, CrbConfig, CrbState, GuestBuffer},
    tis::{self, Tis, TisConfig, TisState},
};

use super::LevelLine;
use crate::{
    error::{Error, Result},
    layout,
    memory::GuestMemory,
    tpm::Backend,
};

type GuestCrb = Crb<GuestBuffer<Arc<GuestMemory>>, LevelLine>;

/// Which register interface the guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Command response buffer: what new guests should have.
    Crb,
    /// FIFO: what every guest knows.
    Tis,
}

impl Interface {
    /// Bytes of its registers from [`TPM_BASE`] on.
    pub fn size(self) -> u64 {
        match self {
            Self::Crb => crb::spec::SIZE,
            Self::Tis => tis::spec::SIZE,
        }
    }
}

enum Model {
    Crb(GuestCrb),
    Tis(Tis<LevelLine>),
}

impl Model {
    fn registers(&mut self) -> &mut dyn RegisterModel {
        match self {
            Self::Crb(crb) => crb,
            Self::Tis(tis) => tis,
        }
    }
}

/// Saved registers, as the model's own record; the CRB buffer is in guest memory.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedTpmDevice {
    interface: Interface,
    registers: Vec<u8>,
}

/// What the processor and the TPM's thread share.
struct Shared {
    model: Mutex<Inner>,
    idle: Condvar,
}

struct Inner {
    model: Model,
    /// Resets so far.
    era: u64,
}

/// The device.
pub struct TpmDevice {
    shared: Arc<Shared>,
    backend: Arc<dyn Backend>,
    /// Held from an access to the end of its action, so that actions keep their order. The model's
    /// lock is released before, since a reply may come from within `submit`.
    order: Mutex<()>,
}

/// What a TPM device is made of.
pub struct Parts {
    /// Which registers.
    pub interface: Interface,
    /// Where the CRB buffer is.
    pub memory: Arc<GuestMemory>,
    /// The interrupt.
    pub line: LevelLine,
    /// Whether the interrupt registers work.
    pub interrupts: bool,
    /// The TPM.
    pub backend: Arc<dyn Backend>,
}

impl TpmDevice {
    /// A device after power-on.
    pub fn new(parts: Parts) -> Self {
        let Parts { interface, memory, line, interrupts, backend } = parts;
        let mut model = match interface {
            Interface::Crb => Model::Crb(Crb::new(crb_config(interrupts), buffer(memory), line)),
            Interface::Tis => Model::Tis(Tis::new(tis_config(interrupts), line)),
        };
        match &mut model {
            Model::Crb(crb) => crb.set_established(backend.established()),
            Model::Tis(tis) => {
                tis.set_established(backend.established());
                // The engine tests what it needs when it needs it.
                tis.set_self_test_done();
            }
        }
        Self::with(model, backend)
    }

    /// A device from saved registers.
    ///
    /// # Errors
    /// [`Error::Device`] if they are damaged, [`Error::Snapshot`] if they are those of the other
    /// interface.
    pub fn restore(parts: Parts, saved: &SavedTpmDevice) -> Result<Self> {
        let Parts { interface, memory, line, interrupts, backend } = parts;
        if saved.interface != interface {
            return Err(Error::Snapshot("its TPM has another interface".into()));
        }
        let model = match interface {
            Interface::Crb => {
                let state = CrbState::from_bytes(&saved.registers)?;
                let (config, buffer) = (crb_config(interrupts), buffer(memory));
                Model::Crb(Crb::restore(config, buffer, line, NoEvents, &state)?)
            }
            Interface::Tis => {
                let state = TisState::from_bytes(&saved.registers)?;
                Model::Tis(Tis::restore(tis_config(interrupts), line, NoEvents, &state)?)
            }
        };
        let device = Self::with(model, backend);
        for action in device.lock().model.registers().resume() {
            device.act(action, 0);
        }
        Ok(device)
    }

    fn with(model: Model, backend: Arc<dyn Backend>) -> Self {
        let inner = Mutex::new(Inner { model, era: 0 });
        let shared = Arc::new(Shared { model: inner, idle: Condvar::new() });
        Self { shared, backend, order: Mutex::new(()) }
    }

    /// The TPM behind the registers.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Waits until no command runs; the guest must be paused. A command that takes longer than
    /// `patience` is asked to end early.
    ///
    /// # Errors
    /// [`Error::Tpm`] if it does not end even then.
    pub fn quiesce(&self, patience: Duration) -> Result<()> {
        if self.wait_idle(patience) {
            return Ok(());
        }
        self.backend.cancel();
        if self.wait_idle(patience) {
            return Ok(());
        }
        Err(Error::Tpm("a command does not end; is the TPM's process alive?".into()))
    }

    /// Its registers. No command may run: see [`TpmDevice::quiesce`].
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn save(&self) -> Result<SavedTpmDevice> {
        Ok(match &self.lock().model {
            Model::Crb(crb) => {
                SavedTpmDevice { interface: Interface::Crb, registers: crb.save()?.to_bytes() }
            }
            Model::Tis(tis) => {
                SavedTpmDevice { interface: Interface::Tis, registers: tis.save().to_bytes() }
            }
        })
    }

    fn wait_idle(&self, patience: Duration) -> bool {
        let busy = |inner: &mut Inner| inner.model.registers().is_busy();
        let waited = self.shared.idle.wait_timeout_while(self.lock(), patience, busy);
        let (guard, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        !outcome.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, action: Action, era: u64) {
        match action {
            Action::None => {}
            Action::Execute { locality, command } => {
                let shared = Arc::clone(&self.shared);
                let reply = move |response: Vec<u8>| shared.complete(era, &response);
                self.backend.submit(locality.number(), command.to_vec(), Box::new(reply));
            }
            Action::Cancel => self.backend.cancel(),
            Action::HashStart => self.backend.hash_start(),
            Action::HashData(data) => self.backend.hash_data(data.to_vec()),
            Action::HashEnd => self.backend.hash_end(),
            Action::ResetEstablished { locality } => self.reset_established(locality),
            other => warn!(?other, "an action of the TPM's registers that is not known here"),
        }
    }

    fn reset_established(&self, locality: Locality) {
        if let Err(cause) = self.backend.reset_established(locality.number()) {
            warn!(%cause, "the TPM does not reset its established flag");
        }
    }
}

impl Shared {
    fn complete(&self, era: u64, response: &[u8]) {
        let mut inner = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.era != era {
            debug!("a response came after a reset; dropped");
        } else if let Err(cause) = inner.model.registers().complete(response) {
            warn!(%cause, "a TPM response cannot be delivered");
        }
        drop(inner);
        self.idle.notify_all();
    }
}

impl DeviceMmio for TpmDevice {
    fn mmio_read(&self, _: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.lock().model.registers().read(offset, data);
    }

    fn mmio_write(&self, _: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.lock();
        let action = inner.model.registers().write(offset, data);
        let era = inner.era;
        drop(inner);
        self.act(action, era);
    }
}

fn buffer(memory: Arc<GuestMemory>) -> GuestBuffer<Arc<GuestMemory>> {
    let address = vm_memory::GuestAddress(layout::CRB_BUFFER);
    GuestBuffer::new(memory, address, crb::spec::DATA_BUFFER_SIZE)
}

fn crb_config(interrupts: bool) -> CrbConfig {
    CrbConfig {
        base: TPM_BASE,
        buffer_address: Some(layout::CRB_BUFFER),
        interrupts,
        ..CrbConfig::default()
    }
}

fn tis_config(interrupts: bool) -> TisConfig {
    let irq = if interrupts { layout::TPM_IRQ as u8 } else { 0 };
    TisConfig { irq, ..TisConfig::default() }
}

/// Offsets of the registers whose writes KVM may hold back until the next access.
///
/// Of TIS, the FIFOs of the localities that guests use. With interrupts on, a driver that waits for
/// the stsValid interrupt of a command's first byte could wait for ever; Linux's and edk2's do not,
/// and none polls anything else than the status register, which is an access.
pub fn coalescible(interface: Interface) -> Vec<std::ops::Range<u64>> {
    match interface {
        Interface::Crb => Vec::new(),
        Interface::Tis => Locality::all()
            .filter(|locality| *locality < Locality::FOUR)
            .flat_map(Tis::<LevelLine>::coalescible)
            .collect(),
    }
}
