//! PCR selections and values (Part 2, clauses 10.6.2 and 10.9.7).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::HashAlg;
use super::wire::{Put, Reader};
use crate::error::{Error, Result};

/// PCRs of one or more banks: `TPML_PCR_SELECTION`.
///
/// As text: `sha256:0,2,7` and, for several banks, joined by `+`. The order of banks counts in a
/// quote's digest; that of one made from text is by their identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcrSelection(Vec<(HashAlg, u32)>);

impl PcrSelection {
    /// PCRs of one bank; numbers above 23 are left out.
    #[must_use]
    pub fn of(bank: HashAlg, pcrs: &[u32]) -> Self {
        let mask = pcrs.iter().filter(|pcr| **pcr < 24).fold(0, |mask, pcr| mask | 1u32 << pcr);
        Self(vec![(bank, mask)])
    }

    /// The banks and PCRs in order: the order in which a quote's digest takes their values.
    pub fn iter(&self) -> impl Iterator<Item = (HashAlg, u32)> + '_ {
        self.0.iter().flat_map(|(bank, mask)| {
            (0..24).filter(move |pcr| mask >> pcr & 1 != 0).map(move |pcr| (*bank, pcr))
        })
    }

    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, mask)| *mask == 0)
    }

    /// Whether the PCR of the bank is selected.
    #[must_use]
    pub fn has(&self, bank: HashAlg, pcr: u32) -> bool {
        self.iter().any(|selected| selected == (bank, pcr))
    }

    /// Reads a `TPML_PCR_SELECTION`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unsupported`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a PCR selection");
        let selection = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(selection)
    }

    /// The `TPML_PCR_SELECTION`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (bank, mask) in &self.0 {
            out.put_u16(bank.id());
            out.push(3);
            let [a, b, c, _] = mask.to_le_bytes();
            out.extend_from_slice(&[a, b, c]);
        }
        out
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let count = reader.u32()?;
        if count > 16 {
            return Err(reader.malformed());
        }
        let mut banks = Vec::new();
        for _ in 0..count {
            let bank = HashAlg::from_id(reader.u16()?)?;
            let size = reader.u8()?;
            let bits = reader.take(usize::from(size))?;
            let (low, high) = bits.split_at_checked(3).ok_or_else(|| reader.malformed())?;
            if high.iter().any(|byte| *byte != 0) {
                return Err(reader.malformed());
            }
            let mask = low.iter().rev().fold(0u32, |mask, byte| mask << 8 | u32::from(*byte));
            banks.push((bank, mask));
        }
        Ok(Self(banks))
    }
}

impl FromStr for PcrSelection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::Malformed { what: "a PCR selection (such as sha256:0,2,7)" };
        let mut banks = BTreeMap::new();
        for part in text.split('+') {
            let (bank, pcrs) = part.split_once(':').ok_or_else(malformed)?;
            let bank = HashAlg::from_name(bank.trim()).ok_or_else(malformed)?;
            let mask: &mut u32 = banks.entry(bank).or_default();
            for pcr in pcrs.split(',') {
                let pcr: u32 = pcr.trim().parse().map_err(|_| malformed())?;
                if pcr > 23 {
                    return Err(malformed());
                }
                *mask |= 1 << pcr;
            }
        }
        Ok(Self(banks.into_iter().collect()))
    }
}

impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (bank, mask)) in self.0.iter().enumerate() {
            let pcrs: Vec<_> = (0..24)
                .filter(|pcr| mask >> pcr & 1 != 0)
                .map(|pcr: u32| pcr.to_string())
                .collect();
            let joint = if at == 0 { "" } else { "+" };
            write!(f, "{joint}{}:{}", bank.name(), pcrs.join(","))?;
        }
        Ok(())
    }
}

/// Values of PCRs by bank name and number; hexadecimal in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PcrValues(pub BTreeMap<String, BTreeMap<u32, String>>);

impl PcrValues {
    /// Notes a value.
    pub fn set(&mut self, bank: HashAlg, pcr: u32, value: &[u8]) {
        self.0.entry(bank.name().into()).or_default().insert(pcr, hex::encode(value));
    }

    /// A value, if it is there and has the length of its bank.
    #[must_use]
    pub fn get(&self, bank: HashAlg, pcr: u32) -> Option<Vec<u8>> {
        let value = hex::decode(self.0.get(bank.name())?.get(&pcr)?).ok()?;
        (value.len() == bank.size()).then_some(value)
    }

    /// The digest that a quote has over the selected PCRs.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if a value is missing or malformed.
    pub fn digest(&self, selection: &PcrSelection, hash: HashAlg) -> Result<Vec<u8>> {
        let mut values = Vec::new();
        for (bank, pcr) in selection.iter() {
            let missing = || format!("the value of PCR {pcr} ({}) is missing", bank.name());
            values.push(self.get(bank, pcr).ok_or_else(|| Error::mismatch(missing()))?);
        }
        let parts: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        Ok(hash.digest(&parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_the_same_as_text_and_as_bytes() {
        let selection: PcrSelection = "sha256:0,7,23+sha384:1".parse().unwrap();
        assert_eq!(selection.to_string(), "sha256:0,7,23+sha384:1");
        let bytes = selection.to_bytes();
        let mut reader = Reader::new(&bytes, "a selection");
        assert_eq!(PcrSelection::read(&mut reader).unwrap(), selection);
        reader.finish().unwrap();
        assert_eq!(selection.iter().count(), 4);
        for bad in ["", "sha256", "sha256:24", "sha256:x", "md5:1"] {
            assert!(bad.parse::<PcrSelection>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_missing_value_is_named() {
        let mut values = PcrValues::default();
        values.set(HashAlg::Sha256, 0, &[0; 32]);
        let selection = PcrSelection::of(HashAlg::Sha256, &[0, 4]);
        let error = values.digest(&selection, HashAlg::Sha256).unwrap_err();
        assert!(error.to_string().contains("PCR 4"), "{error}");
    }
}
