//! What the tests share: a disk that loses power at any byte, and a key source that remembers.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of this module, from outside of it"
)]

pub mod sim;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use vtpm_store::medium::Memory;
use vtpm_store::{InstanceId, Key, KeySource, Place, SourceError, TransferId};

pub const ID: InstanceId = InstanceId([0x1d; 16]);
pub const TRANSFER: TransferId = TransferId([0x7f; 16]);
pub const PATH: &str = "state/guest.vtpm";

/// A place in memory with small slots, holding `bytes`.
pub fn memory(bytes: Vec<u8>) -> (Place, Memory) {
    let memory = Memory::new();
    memory.put(PATH, bytes);
    (small(Arc::new(memory.clone())), memory)
}

/// A place with the smallest slots there are.
pub fn small(medium: Arc<dyn vtpm_store::medium::Medium>) -> Place {
    Place::on(medium, PATH).with_slot_size(4096).with_state_limit(64 * 1024)
}

pub fn state_file(memory: &Memory) -> Vec<u8> {
    memory.get(Path::new(PATH)).expect("a state file")
}

/// Keeps keys in a table, so that a test can look for the sealed bytes on a disk.
#[derive(Debug)]
pub struct Vault {
    kind: &'static str,
    keys: Mutex<HashMap<Vec<u8>, Key>>,
}

impl Vault {
    pub fn new(kind: &'static str) -> Self {
        Self { kind, keys: Mutex::default() }
    }

    /// Every seal that this vault ever made, oldest first.
    pub fn seals(&self) -> Vec<Vec<u8>> {
        let mut seals: Vec<_> = self.keys.lock().unwrap().keys().cloned().collect();
        seals.sort();
        seals
    }
}

impl KeySource for Vault {
    fn kind(&self) -> &str {
        self.kind
    }

    fn seal_key(&self, _: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError> {
        let mut keys = self.keys.lock().unwrap();
        let seal = format!("seal {:08} of the vault {:<16}", keys.len(), self.kind).into_bytes();
        keys.insert(seal.clone(), key.clone());
        Ok(seal)
    }

    fn unseal_key(&self, _: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let keys = self.keys.lock().unwrap();
        keys.get(sealed).cloned().ok_or_else(|| SourceError::new("no such seal", "none"))
    }
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
