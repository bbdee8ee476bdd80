//! Our models as a machine.

use std::{cell::Cell, collections::VecDeque, convert::Infallible, rc::Rc};

use vmm_device::{
    Action, NoEvents, RegisterModel, Trigger,
    crb::{Crb, CrbConfig, CrbState, InMemoryBuffer},
    tis::{Tis, TisConfig, TisState},
};

use crate::{
    machine::Machine,
    script::{Device, Side},
};

/// The interrupt line.
#[derive(Clone, Default)]
pub(crate) struct Wire(Rc<Cell<bool>>);

impl Trigger for Wire {
    type E = Infallible;

    fn set_level(&self, asserted: bool) -> Result<(), Infallible> {
        self.0.set(asserted);
        Ok(())
    }
}

/// A model that can be saved and made again from what was saved.
pub(crate) trait Renew: RegisterModel {
    const DEVICE: Device;

    fn new(wire: Wire) -> Self;

    fn renew(&self, wire: Wire) -> Self;
}

fn tis_config() -> TisConfig {
    TisConfig { irq: 5, ..Default::default() }
}

impl Renew for Tis<Wire> {
    const DEVICE: Device = Device::Tis;

    fn new(wire: Wire) -> Self {
        Self::new(tis_config(), wire)
    }

    fn renew(&self, wire: Wire) -> Self {
        let state = TisState::from_bytes(&self.save().to_bytes()).expect("just written");
        Self::restore(tis_config(), wire, NoEvents, &state).expect("a state that exists")
    }
}

impl Renew for Crb<InMemoryBuffer, Wire> {
    const DEVICE: Device = Device::Crb;

    fn new(wire: Wire) -> Self {
        Self::new(CrbConfig::default(), InMemoryBuffer::default(), wire)
    }

    fn renew(&self, wire: Wire) -> Self {
        let bytes = self.save().expect("memory is there").to_bytes();
        let state = CrbState::from_bytes(&bytes).expect("just written");
        let (config, buffer) = (CrbConfig::default(), InMemoryBuffer::default());
        Self::restore(config, buffer, wire, NoEvents, &state).expect("a state that exists")
    }
}

/// One of our models, with the test as its TPM.
pub(crate) struct Ours<M> {
    pub(crate) model: M,
    wire: Wire,
    commands: VecDeque<(u8, Vec<u8>)>,
    cancels: usize,
    /// The model is saved and restored before each access.
    restless: bool,
}

impl<M: Renew> Ours<M> {
    pub(crate) fn new() -> Self {
        let wire = Wire::default();
        let model = M::new(wire.clone());
        Self { model, wire, commands: VecDeque::new(), cancels: 0, restless: false }
    }

    /// A machine that is saved and restored before each access.
    pub(crate) fn restless() -> Self {
        Self { restless: true, ..Self::new() }
    }

    fn rest(&mut self) {
        if self.restless {
            // A line that is not driven again by the restored model would be lost.
            self.wire = Wire::default();
            self.model = self.model.renew(self.wire.clone());
        }
    }
}

impl<M: Renew> Machine for Ours<M> {
    fn side(&self) -> Side {
        Side::Ours
    }

    fn device(&self) -> Device {
        M::DEVICE
    }

    fn read(&mut self, size: usize, offset: u64) -> u64 {
        self.rest();
        let mut data = [0; 8];
        if let Some(data) = data.get_mut(..size) {
            self.model.read(offset, data);
        }
        u64::from_le_bytes(data)
    }

    fn write(&mut self, size: usize, offset: u64, value: u64) {
        self.rest();
        let data = value.to_le_bytes();
        match self.model.write(offset, data.get(..size).unwrap_or(&data)) {
            Action::Execute { locality, command } => {
                self.commands.push_back((locality.number(), command.to_vec()));
            }
            Action::Cancel => self.cancels += 1,
            _ => {}
        }
    }

    fn irq(&mut self) -> bool {
        self.rest();
        self.wire.0.get()
    }

    fn taken(&mut self, _expected: bool) -> Option<(u8, Vec<u8>)> {
        self.commands.pop_front()
    }

    fn answer(&mut self, response: &[u8]) -> Result<(), String> {
        self.rest();
        self.model.complete(response).map_err(|cause| cause.to_string())
    }

    fn cancels(&mut self) -> usize {
        std::mem::take(&mut self.cancels)
    }

    fn reset(&mut self) {
        self.rest();
        let _nothing_runs: Action = self.model.reset();
    }
}
