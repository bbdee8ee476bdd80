//! Opening a file: what is expected of it, what is found, and looking without opening.

use zeroize::Zeroizing;

use crate::audit::{AuditEntry, AuditEvent, Override};
use crate::error::{Error, Result, SlotFault};
use crate::id::{InstanceId, MinimumGeneration};
use crate::key::KeySource;
use crate::medium::MediumFile;
use crate::place::Place;
use crate::role::Role;
use crate::slots::{self, Newest, Other};
use crate::store::Store;

/// What the caller knows of the file it opens.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    instance: Option<InstanceId>,
    minimum: Option<MinimumGeneration>,
    accepted: Option<Override>,
}

impl Expect {
    /// Nothing is known: any instance, of any age.
    #[must_use]
    pub fn anything() -> Self {
        Self::default()
    }

    /// The file is of this instance.
    #[must_use]
    pub fn instance(instance: InstanceId) -> Self {
        Self { instance: Some(instance), ..Self::default() }
    }

    /// The file is at least as new as the anchor remembers.
    #[must_use]
    pub fn at_least(mut self, remembered: MinimumGeneration) -> Self {
        self.minimum = Some(remembered);
        self
    }

    /// An older file is opened all the same. If it is older, that is recorded in it, and its
    /// generation becomes the one after the remembered.
    #[must_use]
    pub fn or_older(mut self, accepted: Override) -> Self {
        self.accepted = Some(accepted);
        self
    }

    /// Checks the generation; answers what must be recorded.
    fn check_age(&self, generation: u64) -> Result<Option<(&Override, u64)>> {
        let Some(MinimumGeneration(remembered)) = self.minimum else { return Ok(None) };
        match &self.accepted {
            _ if generation >= remembered => Ok(None),
            Some(_) if remembered == u64::MAX => Err(Error::Exhausted {
                what: "the count of generations",
                remedy: "create the instance anew",
            }),
            Some(accepted) => Ok(Some((accepted, remembered))),
            None => Err(Error::RolledBack { file: generation, remembered }),
        }
    }
}

/// An open store and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The state of the newest record. A tombstone has none.
    pub state: Secret,
    /// The handover note of the newest record; empty if the instance is active.
    pub note: Secret,
    /// Set if a slot held something that was no whole record: a commit was interrupted by a
    /// crash, or the disk damaged it. Worth a line in the log.
    pub recovered: Option<SlotFault>,
}

/// Bytes that are wiped when dropped and never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::ops::Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// What a file says of itself without its key: checked against accidents, not against forgery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Whose state it claims to be.
    pub instance: InstanceId,
    /// The role that its newest record claims.
    pub role: Role,
    /// The generation that its newest record claims.
    pub generation: u64,
    /// The kind of source that sealed its key.
    pub key_source: String,
    /// The audit entries.
    pub audit: Vec<AuditEntry>,
    /// The size of a slot in bytes; the file is twice as long.
    pub slot_size: u32,
    /// What is wrong with the slot that is not the newest record's, if anything.
    pub other_slot: Option<SlotFault>,
}

impl Store {
    /// Opens and locks the file at `place`: takes the newest whole record, has `source` unseal
    /// the data key, and authenticates the record.
    ///
    /// A file that is refused is not changed. One that is opened may be: if a change of seal or
    /// a tombstone was interrupted, it is completed, and an accepted rollback is recorded.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Locked`], or why the file is refused: among others
    /// [`Error::Damaged`], [`Error::Newer`], [`Error::RolledBack`], [`Error::WrongKeySource`],
    /// [`Error::Source`], [`Error::Tampered`].
    pub fn open(place: &Place, source: &dyn KeySource, expect: &Expect) -> Result<Opened> {
        let (lock, file) = place.lock_and_open()?;
        let Newest { found, payload, other } = read(place, file.as_ref())?;
        let path = || place.path().to_owned();
        let header = found.header.clone();
        if let Some(expected) = expect.instance.filter(|expected| *expected != header.instance) {
            return Err(Error::WrongInstance { path: path(), expected, found: header.instance });
        }
        if header.seal.kind != source.kind() {
            let (file, offered) = (header.seal.kind, source.kind().to_owned());
            return Err(Error::WrongKeySource { path: path(), file, offered });
        }
        let overridden = expect.check_age(header.generation)?;
        let key = source.unseal_key(&header.instance, &header.seal.sealed)?;
        let contents = found
            .open(&key, payload)
            .ok_or_else(|| Error::Tampered { path: path(), slot: header.slot })?;

        let read = (header, found.digest, other);
        let mut store = Self::adopt(place.clone(), file, lock, key, read, &contents)?;
        if let Some((by, remembered)) = overridden {
            store.record_override(by, remembered, &contents)?;
        }
        let recovered = fault(other);
        Ok(Opened { store, state: contents.state.into(), note: contents.note.into(), recovered })
    }

    /// Says what a file claims to be, without its key and without its lock. Nothing here is
    /// authenticated: decide nothing by it.
    ///
    /// # Errors
    /// As [`open`](Self::open), where no key is needed.
    pub fn inspect(place: &Place) -> Result<Summary> {
        let file = place.open()?;
        let Newest { found, other, .. } = read(place, file.as_ref())?;
        let header = found.header;
        Ok(Summary {
            instance: header.instance,
            role: header.role,
            generation: header.generation,
            key_source: header.seal.kind,
            audit: header.audit.entries().to_vec(),
            slot_size: header.slot_size,
            other_slot: fault(other),
        })
    }

    fn record_override(
        &mut self,
        by: &Override,
        remembered: u64,
        contents: &crate::record::Contents,
    ) -> Result<()> {
        let mut next = self.header.successor()?;
        next.audit.add(AuditEvent::RollbackAccepted, by, self.header.generation, remembered);
        // Does not saturate: the age check refuses the last generation.
        next.generation = next.generation.max(remembered.saturating_add(1));
        self.put(next, self.key.clone(), &contents.lend())
    }
}

fn read(place: &Place, file: &dyn MediumFile) -> Result<Newest> {
    slots::newest(file, place.path(), place.slot_max())
}

/// A blank slot is how a new file begins: no fault.
fn fault(other: Other) -> Option<SlotFault> {
    match other {
        Other::Older | Other::Faulty(SlotFault::Blank) => None,
        Other::Faulty(fault) => Some(fault),
    }
}
