//! A passphrase, stretched by Argon2id (RFC 9106).

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use super::wrap::Bound;
use crate::bytes::Reader;
use crate::error::Result;
use crate::id::InstanceId;
use crate::key::{Key, KeySource, SourceError};

const VERSION: u8 = 1;
const PARAMETERS: usize = 29;

/// What one guess of the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, 8 times the lanes to 1 048 576 (1 GiB).
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 64.
    pub passes: u32,
    /// Lanes, 1 to 16.
    pub lanes: u32,
}

impl Cost {
    const MEMORY_MAX_KIB: u32 = 1 << 20;

    fn parameters(self) -> Option<Params> {
        let bounded = self.memory_kib <= Self::MEMORY_MAX_KIB
            && (1..=64).contains(&self.passes)
            && (1..=16).contains(&self.lanes);
        if !bounded {
            return None;
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}

impl Default for Cost {
    /// The second recommendation of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

/// Seals under a passphrase.
///
/// The sealed key, integers little-endian:
/// ```text
/// offset  length  field
///      0       1  version, 1: Argon2id version 0x13
///      1       4  memory in KiB
///      5       4  passes
///      9       4  lanes
///     13      16  salt, random
///     29      60  the data key, wrapped under Argon2id(passphrase, salt) of 32 bytes:
///                 nonce 12, encrypted key 32, tag 16 (AES-256-GCM)
/// ```
/// The associated data is `passphrase`, a zero byte, the instance id, and bytes 0 to 28 of this.
/// The cost in a file is bounded, so that a hostile file cannot exhaust a host.
pub struct Passphrase {
    phrase: Zeroizing<Vec<u8>>,
    cost: Cost,
}

impl Passphrase {
    /// The kind in the file.
    pub const KIND: &'static str = "passphrase";

    /// A source that seals and unseals under `phrase`, at the default cost.
    ///
    /// # Errors
    /// If the phrase is empty or longer than 4096 bytes.
    pub fn new(phrase: Zeroizing<Vec<u8>>) -> Result<Self, SourceError> {
        Self::with_cost(phrase, Cost::default())
    }

    /// The same with another cost for what is sealed from now on. What was sealed before opens
    /// at the cost stored with it.
    ///
    /// # Errors
    /// If the phrase is empty or too long, or the cost is out of its bounds.
    pub fn with_cost(phrase: Zeroizing<Vec<u8>>, cost: Cost) -> Result<Self, SourceError> {
        if phrase.is_empty() || phrase.len() > 4096 {
            return Err(SourceError::new(
                "the passphrase is empty or too long",
                "give one of 1 to 4096 bytes; six random words are a good one",
            ));
        }
        if cost.parameters().is_none() {
            return Err(SourceError::new(
                "the cost of the passphrase is out of bounds",
                "use at most 1 GiB of memory, 64 passes and 16 lanes, and 8 KiB a lane at least",
            ));
        }
        Ok(Self { phrase, cost })
    }

    fn stretch(&self, cost: Cost, salt: &[u8]) -> Result<Key, SourceError> {
        let hint = "free memory on this host, or seal again at a lower cost";
        let parameters = cost.parameters().ok_or_else(|| {
            SourceError::new("the cost stored with the key is out of bounds", "restore a backup")
        })?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(parameters.block_count()).map_err(|cause| {
            SourceError::new("no memory to stretch the passphrase", hint).because(cause)
        })?;
        memory.resize(parameters.block_count(), Block::new());
        let mut key = Zeroizing::new([0; 32]);
        let stretched = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into_with_memory(
                &self.phrase,
                salt,
                key.as_mut_slice(),
                memory.as_mut_slice(),
            );
        memory.iter_mut().for_each(Zeroize::zeroize);
        stretched.map_err(|cause| {
            SourceError::new("the passphrase cannot be stretched", hint).because(cause.to_string())
        })?;
        Ok(Key::take(&mut key))
    }
}

impl KeySource for Passphrase {
    fn kind(&self) -> &str {
        Self::KIND
    }

    fn seal_key(&self, instance: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError> {
        let failed = |cause: crate::Error| {
            SourceError::new("the passphrase cannot seal", "try again").because(cause)
        };
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| failed(error.into()))?;
        let mut sealed = Vec::with_capacity(PARAMETERS + 60);
        sealed.push(VERSION);
        for field in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            sealed.extend_from_slice(&field.to_le_bytes());
        }
        sealed.extend_from_slice(&salt);
        let parameters = sealed.clone();
        let under = self.stretch(self.cost, &salt)?;
        Bound { kind: Self::KIND, instance, parameters: &parameters }
            .wrap(&under, key, &mut sealed)
            .map_err(failed)?;
        Ok(sealed)
    }

    fn unseal_key(&self, instance: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let unknown = || {
            SourceError::new("the stored key has an unknown form", "upgrade, or restore a backup")
        };
        let (parameters, wrapped) = sealed.split_at_checked(PARAMETERS).ok_or_else(unknown)?;
        let (cost, salt) = parse(parameters).ok_or_else(unknown)?;
        let under = self.stretch(cost, &salt)?;
        Bound { kind: Self::KIND, instance, parameters }.unwrap(&under, wrapped).ok_or_else(|| {
            SourceError::new("the passphrase does not open this vTPM", "check it and try again")
        })
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").field("cost", &self.cost).finish_non_exhaustive()
    }
}

fn parse(parameters: &[u8]) -> Option<(Cost, [u8; 16])> {
    let mut reader = Reader::new(parameters);
    if reader.u8()? != VERSION {
        return None;
    }
    let cost = Cost { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
    Some((cost, reader.array()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: InstanceId = InstanceId([1; 16]);
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn phrase(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.as_bytes().to_vec())
    }

    #[test]
    fn the_right_passphrase_opens_at_the_stored_cost_and_another_does_not() {
        let sealer = Passphrase::with_cost(phrase("correct horse"), CHEAP).unwrap();
        let key = Key::generate().unwrap();
        let sealed = sealer.seal_key(&ID, &key).unwrap();
        let other_cost = Cost { memory_kib: 16, passes: 2, lanes: 2 };
        let opener = Passphrase::with_cost(phrase("correct horse"), other_cost).unwrap();
        assert_eq!(opener.unseal_key(&ID, &sealed).unwrap(), key);
        let wrong = Passphrase::with_cost(phrase("battery staple"), CHEAP).unwrap();
        assert!(wrong.unseal_key(&ID, &sealed).unwrap_err().hint().contains("try again"));
        assert!(opener.unseal_key(&InstanceId([2; 16]), &sealed).is_err());
        for at in PARAMETERS..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(opener.unseal_key(&ID, &flipped).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_hostile_cost_is_refused_before_it_is_paid() {
        let source = Passphrase::with_cost(phrase("x"), CHEAP).unwrap();
        let sealed = source.seal_key(&ID, &Key::generate().unwrap()).unwrap();
        for (at, value) in [(1, u32::MAX), (1, 0), (5, 65), (5, 0), (9, 17), (9, 0)] {
            let mut hostile = sealed.clone();
            hostile[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let refused = source.unseal_key(&ID, &hostile).unwrap_err();
            assert!(refused.to_string().contains("out of bounds"), "{refused}");
        }
    }

    #[test]
    fn a_passphrase_is_neither_empty_nor_shown() {
        assert!(Passphrase::new(phrase("")).is_err());
        let shown = format!("{:?}", Passphrase::new(phrase("secret")).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_default_cost_is_the_one_of_rfc_9106() {
        let source = Passphrase::new(phrase("slow on purpose")).unwrap();
        let sealed = source.seal_key(&ID, &Key::generate().unwrap()).unwrap();
        let (cost, _) = parse(&sealed[..PARAMETERS]).unwrap();
        assert_eq!(cost, Cost { memory_kib: 65536, passes: 3, lanes: 4 });
    }
}
