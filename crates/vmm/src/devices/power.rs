//! Sleep control, reset and panic: four ports that ACPI tells the guest of.

use vm_device::{
    MutDevicePio,
    bus::{PioAddress, PioAddressOffset},
};

use crate::event::{Event, Reporter};

/// ACPI sleep control: bits 2-4 which state, bit 5 go.
pub const SLEEP_CONTROL: u16 = 0;
/// ACPI sleep status: never woken from anything.
pub const SLEEP_STATUS: u16 = 1;
/// ACPI reset register.
pub const RESET: u16 = 2;
/// Panic notification as in QEMU's pvpanic: reads what is understood, takes what happened.
pub const PANIC: u16 = 3;

/// What is written to [`RESET`].
pub const RESET_VALUE: u8 = 1;
/// The sleep type of S5, as `\_S5` says.
pub const S5: u8 = 5;
/// [`PANIC`]: the guest's kernel panicked.
const PANICKED: u8 = 1;

const SLEEP_GO: u8 = 1 << 5;

/// The device.
pub struct Power {
    reporter: Reporter,
}

impl Power {
    /// Reports what the guest asks for to `reporter`.
    pub fn new(reporter: Reporter) -> Self {
        Self { reporter }
    }
}

impl MutDevicePio for Power {
    fn pio_read(&mut self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        data.fill(if offset == PANIC { PANICKED } else { 0 });
    }

    fn pio_write(&mut self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        let Some(&value) = data.first() else { return };
        match offset {
            SLEEP_CONTROL if value & SLEEP_GO != 0 && value >> 2 & 7 == S5 => {
                self.reporter.report(Event::PowerOff);
            }
            RESET if value == RESET_VALUE => self.reporter.report(Event::Reset),
            PANIC if value & PANICKED != 0 => self.reporter.report(Event::Panic),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event;

    fn written(offset: u16, value: u8) -> Option<Event> {
        let (reporter, events) = event::channel().unwrap();
        Power::new(reporter).pio_write(PioAddress(0), offset, &[value]);
        events.next()
    }

    #[test]
    fn only_s5_with_go_switches_off() {
        assert_eq!(written(SLEEP_CONTROL, S5 << 2 | SLEEP_GO), Some(Event::PowerOff));
        assert_eq!(written(SLEEP_CONTROL, S5 << 2), None);
        assert_eq!(written(SLEEP_CONTROL, 3 << 2 | SLEEP_GO), None);
    }

    #[test]
    fn reset_and_panic_have_their_own_ports() {
        assert_eq!(written(RESET, RESET_VALUE), Some(Event::Reset));
        assert_eq!(written(PANIC, PANICKED), Some(Event::Panic));
        assert_eq!(written(SLEEP_STATUS, 0xff), None);
    }
}
