//! Localities: from which part of the platform a command comes (TPM Library Part 1, and the PTP).

use std::fmt;

/// A locality of the PC Client profile, 0 to 4. A higher one has more rights.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Locality(u8);

impl Locality {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// Firmware and the operating system.
    pub const ZERO: Self = Self(0);
    /// The dynamic launch's code (authenticated code module).
    pub const THREE: Self = Self(3);
    /// The processor or chipset itself: the dynamic root of trust.
    pub const FOUR: Self = Self(4);

    /// The locality with this number, or `None` if it is above 4.
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT as u8 { Some(Self(number)) } else { None }
    }

    /// Its number, as an engine wants it.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All localities, lowest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The locality that address bits 12 to 14 of a register access select.
    pub(crate) fn of_offset(offset: u64) -> Option<Self> {
        u8::try_from(offset >> 12).ok().and_then(Self::new)
    }
}

impl From<Locality> for u8 {
    fn from(locality: Locality) -> Self {
        locality.0
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
