//! Which platform configuration registers, and their values. TPM 2.0 Part 2, clause 10.9.7
//! (TPML_PCR_SELECTION).

use std::collections::BTreeMap;

/// TPM_ALG_SHA1, a bank of registers.
pub const SHA1: u16 = 0x0004;
/// TPM_ALG_SHA256, a bank of registers.
pub const SHA256: u16 = 0x000b;
/// TPM_ALG_SHA384, a bank of registers.
pub const SHA384: u16 = 0x000c;
/// TPM_ALG_SHA512, a bank of registers.
pub const SHA512: u16 = 0x000d;

/// Registers by bank: the algorithm's identifier, and a bit for each of the registers 0 to 23.
///
/// Banks are in ascending order of their identifiers, which is also the order in which values
/// enter a quote's digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PcrSelection(BTreeMap<u16, u32>);

impl PcrSelection {
    /// The number of registers of a bank that can be selected.
    pub const REGISTERS: u8 = 24;
    /// The most banks that a selection may name.
    pub const BANKS_MAX: usize = 8;

    /// No register.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds register `index` of `bank`; does nothing if there is no such register.
    pub fn add(&mut self, bank: u16, index: u8) {
        if index < Self::REGISTERS {
            *self.0.entry(bank).or_default() |= 1 << index;
        }
    }

    /// The same with register `index` of `bank`.
    #[must_use]
    pub fn with(mut self, bank: u16, index: u8) -> Self {
        self.add(bank, index);
        self
    }

    /// Whether register `index` of `bank` is selected.
    #[must_use]
    pub fn contains(&self, bank: u16, index: u8) -> bool {
        index < Self::REGISTERS && self.0.get(&bank).is_some_and(|mask| mask & (1 << index) != 0)
    }

    /// Whether no register is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|mask| *mask == 0)
    }

    /// The selected registers, bank by bank, in the order in which a quote digests them.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        self.0.iter().flat_map(|(bank, mask)| {
            (0..Self::REGISTERS)
                .filter(move |index| mask & (1 << index) != 0)
                .map(move |index| (*bank, index))
        })
    }

    /// As a TPML_PCR_SELECTION, each bank with three octets of bits.
    #[must_use]
    pub fn to_tpml(&self) -> Vec<u8> {
        let banks: Vec<_> = self.0.iter().filter(|(_, mask)| **mask != 0).collect();
        let mut out = u32::try_from(banks.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        for (bank, mask) in banks {
            out.extend(bank.to_be_bytes());
            out.push(3);
            out.extend(mask.to_le_bytes().into_iter().take(3));
        }
        out
    }

    /// From a TPML_PCR_SELECTION that [`to_tpml`](Self::to_tpml) could have made: no bank twice,
    /// three octets each, none of them without a register, in ascending order.
    #[must_use]
    pub fn from_tpml(bytes: &[u8]) -> Option<Self> {
        let (count, mut rest) = bytes.split_first_chunk::<4>()?;
        let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
        if count > Self::BANKS_MAX {
            return None;
        }
        let mut selection = Self::default();
        for _ in 0..count {
            let (one, after) = rest.split_first_chunk::<6>()?;
            let [high, low, 3, a, b, c] = *one else { return None };
            let bank = u16::from_be_bytes([high, low]);
            let mask = u32::from_le_bytes([a, b, c, 0]);
            let ascends = selection.0.last_key_value().is_none_or(|(last, _)| *last < bank);
            if mask == 0 || !ascends {
                return None;
            }
            selection.0.insert(bank, mask);
            rest = after;
        }
        rest.is_empty().then_some(selection)
    }
}

/// The value of one register.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PcrValue {
    /// The bank's algorithm.
    pub bank: u16,
    /// The register, 0 to 23.
    pub index: u8,
    /// Its value, as long as the bank's digests.
    pub digest: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_comes_back_from_its_tpml() {
        let selection = PcrSelection::none().with(SHA384, 23).with(SHA256, 0).with(SHA256, 9);
        let tpml = selection.to_tpml();
        assert_eq!(tpml, b"\0\0\0\x02\0\x0b\x03\x01\x02\0\0\x0c\x03\0\0\x80");
        assert_eq!(PcrSelection::from_tpml(&tpml), Some(selection.clone()));
        let all: Vec<_> = selection.iter().collect();
        assert_eq!(all, [(SHA256, 0), (SHA256, 9), (SHA384, 23)]);
    }

    #[test]
    fn only_the_one_form_of_a_selection_is_taken() {
        for wrong in [
            &b""[..],
            b"\0\0\0\x01",
            b"\0\0\0\x09",
            b"\0\0\0\0\0",
            b"\0\0\0\x01\0\x0b\x03\0\0\0",
            b"\0\0\0\x01\0\x0b\x02\x01\0",
            b"\0\0\0\x02\0\x0b\x03\x01\0\0\0\x0b\x03\x01\0\0",
        ] {
            assert_eq!(PcrSelection::from_tpml(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_register_that_does_not_exist_is_not_selected() {
        assert!(PcrSelection::none().with(SHA256, 24).is_empty());
        assert!(!PcrSelection::none().contains(SHA256, 200));
    }
}
