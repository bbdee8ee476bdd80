//! One step of a guest.

use std::fmt;

/// What the guest does. The numbers are those of `guest.rs`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    End = 0,
    Write = 1,
    Expect = 2,
    Wait = 3,
}

/// A step: an access of 1, 2 or 4 bytes to a guest-physical address below 4 GiB.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    kind: Kind,
    width: u32,
    address: u32,
    value: u32,
    mask: u32,
    why: &'static str,
}

/// Bytes of a step in the guest's list: five words, and room to 32.
const SIZE: usize = 32;

impl Step {
    /// Writes `value`.
    pub(crate) fn write(width: u32, address: u32, value: u32, why: &'static str) -> Self {
        Self { kind: Kind::Write, width, address, value, mask: 0, why }
    }

    /// Reads; the bits of `mask` must be those of `value`.
    pub(crate) fn expect(
        width: u32,
        address: u32,
        value: u32,
        mask: u32,
        why: &'static str,
    ) -> Self {
        Self { kind: Kind::Expect, width, address, value, mask, why }
    }

    /// Reads again and again until the bits of `mask` are those of `value`.
    pub(crate) fn wait(address: u32, value: u32, mask: u32, why: &'static str) -> Self {
        Self { kind: Kind::Wait, width: 4, address, value, mask, why }
    }

    fn bytes(self) -> [u8; SIZE] {
        let Self { kind, width, address, value, mask, why: _ } = self;
        let words = [kind as u32, width, address, value, mask];
        let mut bytes = [0; SIZE];
        for (slot, byte) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())) {
            *slot = byte;
        }
        bytes
    }
}

/// The list as the guest reads it.
pub(crate) fn list(steps: &[Step]) -> Vec<u8> {
    let end = Step { kind: Kind::End, width: 0, address: 0, value: 0, mask: 0, why: "" };
    steps.iter().chain([&end]).flat_map(|step| step.bytes()).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, width, address, value, mask, why } = self;
        let what = match kind {
            Kind::End => return write!(f, "the end"),
            Kind::Write => return write!(f, "{why}: writing {value:#x} to {address:#x}"),
            Kind::Expect => "expected",
            Kind::Wait => "waited for",
        };
        write!(f, "{why}: {what} {value:#x} under mask {mask:#x} in {width} bytes at {address:#x}")
    }
}

/// Makes GSI 10 visible: enables the local APIC and has the I/O APIC deliver it, level-triggered.
pub(crate) fn enable_interrupt() -> Vec<Step> {
    let pin = 10;
    vec![
        Step::write(4, LOCAL_APIC + 0xf0, 0x1ff, "enable the local APIC"),
        Step::write(4, IO_APIC, 0x10 + 2 * pin + 1, "select the entry's high word"),
        Step::write(4, IO_APIC + 0x10, 0, "to processor 0"),
        Step::write(4, IO_APIC, 0x10 + 2 * pin, "select the entry's low word"),
        Step::write(4, IO_APIC + 0x10, LEVEL | VECTOR, "level-triggered, not masked"),
    ]
}

/// The interrupt has arrived.
pub(crate) fn interrupted(why: &'static str) -> Step {
    let address = LOCAL_APIC + 0x200 + VECTOR / 32 * 0x10;
    let bit = 1 << (VECTOR % 32);
    Step::wait(address, bit, bit, why)
}

const IO_APIC: u32 = 0xfec0_0000;
const LOCAL_APIC: u32 = 0xfee0_0000;
const VECTOR: u32 = 0x5a;
const LEVEL: u32 = 1 << 15;
