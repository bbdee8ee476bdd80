//! The ACCESS register: which locality is active.

use super::{Tis, port::State, spec};
use crate::{Action, Events, Locality, Trigger};

impl<T: Trigger, E: Events> Tis<T, E> {
    pub(super) fn access(&self, locality: Locality) -> u32 {
        let port = self.port(locality);
        let pending = Locality::all().any(|l| l != locality && self.port(l).requesting);
        let bit = |condition: bool, bit: u32| if condition { bit } else { 0 };
        spec::ACCESS_VALID
            | bit(self.active == Some(locality), spec::ACCESS_ACTIVE)
            | bit(port.been_seized, spec::ACCESS_BEEN_SEIZED)
            | bit(pending, spec::ACCESS_PENDING)
            | bit(port.requesting, spec::ACCESS_REQUEST)
            | bit(!self.established, spec::ACCESS_NOT_ESTABLISHED)
    }

    /// Of several bits in one write, seize makes release and request void, as in QEMU.
    pub(super) fn write_access(&mut self, locality: Locality, value: u32) -> Action {
        if value & spec::ACCESS_BEEN_SEIZED != 0 {
            self.port_mut(locality).been_seized = false;
        }
        if value & spec::ACCESS_SEIZE != 0 {
            return self.seize(locality);
        }
        let requests = value & spec::ACCESS_REQUEST != 0;
        if value & spec::ACCESS_ACTIVE != 0 && self.active == Some(locality) {
            let action = self.release();
            // A request in the same write counts only once another locality has the TPM.
            let handed_over = self.active.is_some_and(|active| active != locality);
            self.port_mut(locality).requesting |= requests && handed_over;
            return action;
        }
        if value & spec::ACCESS_ACTIVE != 0 {
            self.port_mut(locality).requesting = false;
        }
        if requests && self.active != Some(locality) {
            return self.request(locality);
        }
        Action::None
    }

    fn request(&mut self, locality: Locality) -> Action {
        let other_runs = self.running().is_some_and(|runner| runner != locality);
        if self.active.is_some() || self.next.is_some() {
            self.port_mut(locality).requesting = true;
        } else if other_runs {
            // The TPM was released while a command ran.
            self.port_mut(locality).requesting = true;
            return self.switch_to(locality);
        } else {
            self.activate(locality);
        }
        Action::None
    }

    /// Makes the active locality give the TPM up.
    pub(super) fn release(&mut self) -> Action {
        let requester = Locality::all().rev().find(|l| self.port(*l).requesting);
        match requester {
            Some(requester) if self.next.is_none() => self.switch_to(requester),
            // A switch is on its way; it need not wait for this locality any more.
            _ => {
                self.active = None;
                self.events.locality_changed(None);
                Action::None
            }
        }
    }

    fn seize(&mut self, locality: Locality) -> Action {
        let allowed = self.active.is_none_or(|active| locality > active);
        let outbid = Locality::all().any(|l| l >= locality && self.port(l).seizing);
        if !allowed || outbid {
            return Action::None;
        }
        for port in &mut self.ports {
            port.seizing = false;
        }
        self.port_mut(locality).seizing = true;
        self.switch_to(locality)
    }

    /// Makes `locality` active, now or when the running command has ended.
    fn switch_to(&mut self, locality: Locality) -> Action {
        if self.running().is_none() {
            self.activate(locality);
            return Action::None;
        }
        self.next = Some(locality);
        self.cancel()
    }

    pub(super) fn activate(&mut self, locality: Locality) {
        let changed = self.active != Some(locality);
        if changed {
            let seizing = self.port(locality).seizing;
            if let Some(loser) = self.active {
                let port = self.port_mut(loser);
                port.been_seized |= seizing;
                port.requesting &= seizing;
            }
            self.idle_all_but(locality);
        }
        self.active = Some(locality);
        let port = self.port_mut(locality);
        port.requesting = false;
        port.seizing = false;
        if changed {
            self.events.locality_changed(Some(locality));
            self.raise(locality, spec::INT_LOCALITY_CHANGE);
        }
    }

    /// What is in the FIFO is no business of the new locality.
    fn idle_all_but(&mut self, locality: Locality) {
        let mut lost = false;
        for other in Locality::all().filter(|l| *l != locality) {
            let port = self.port_mut(other);
            if port.state.owns_buffer() {
                port.state = State::Idle;
                lost = true;
            }
        }
        if lost {
            self.clear_buffer();
        }
    }
}
