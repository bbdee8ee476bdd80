//! The seams to the VMM: the interrupt line and observation.

use std::convert::Infallible;

use crate::Locality;

/// The device's interrupt line.
///
/// Closures of the form `Fn(bool) -> Result<(), E>` implement it.
pub trait Trigger {
    /// What can go wrong.
    type E;

    /// Drives the line: `true` asserts it, `false` deasserts it.
    ///
    /// `true` comes with each new interrupt cause, even when the line is asserted already, so that
    /// an edge-triggered implementation (an eventfd) can pass each `true` on and ignore `false`.
    ///
    /// # Errors
    /// Whatever the VMM's interrupt controller says. The models report it to
    /// [`Events::interrupt_failed`] and go on; guests that poll are not harmed.
    fn set_level(&self, asserted: bool) -> Result<(), Self::E>;
}

impl<F, E> Trigger for F
where
    F: Fn(bool) -> Result<(), E>,
{
    type E = E;

    fn set_level(&self, asserted: bool) -> Result<(), E> {
        self(asserted)
    }
}

/// No interrupt line: guests poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polled;

impl Trigger for Polled {
    type E = Infallible;

    fn set_level(&self, _asserted: bool) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Observation of a model, for metrics and logs. Every method does nothing by default.
pub trait Events {
    /// A command of `length` bytes was handed to the VMM.
    fn command_started(&self, locality: Locality, length: usize) {
        let _ = (locality, length);
    }

    /// A response of `length` bytes reached the registers, or was discarded by an abort.
    fn command_finished(&self, locality: Locality, length: usize) {
        let _ = (locality, length);
    }

    /// The guest asked for the running command to be cancelled.
    fn cancel_requested(&self) {}

    /// Another locality, or none, is active now.
    fn locality_changed(&self, active: Option<Locality>) {
        let _ = active;
    }

    /// The interrupt line could not be driven.
    fn interrupt_failed(&self) {}

    /// Guest memory behind the command buffer could not be accessed.
    fn buffer_failed(&self) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl Events for NoEvents {}
