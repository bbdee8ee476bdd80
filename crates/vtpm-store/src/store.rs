//! The store itself: creating a file, committing to it, changing its key, ending it.

use std::fmt;

use zeroize::Zeroizing;

use crate::audit::{AuditEntry, AuditLog};
use crate::error::{Error, Result};
use crate::id::{InstanceId, MinimumGeneration, TransferId};
use crate::key::{Key, KeySource, Seal, SealedKey};
use crate::medium::{Lock, MediumFile};
use crate::place::{self, Place};
use crate::record::{Contents, Header, NOTE_MAX, Sealed};
use crate::role::Role;
use crate::slots::{self, Other};

/// When a data key has sealed this many records it should be replaced. It refuses its service
/// only after 2^32 - 1.
const REKEY_DUE: u64 = 1 << 28;

/// The open, locked state file of one instance: the only writer of it.
///
/// Every change is one record with the next generation, and is durable when the call returns. A
/// call that fails half-way leaves the file at its old or its new record, and this store refuses
/// further changes: which of the two it is shows when the file is opened again.
pub struct Store {
    pub(crate) place: Place,
    file: Box<dyn MediumFile>,
    lock: Box<dyn Lock>,
    pub(crate) key: Key,
    pub(crate) header: Header,
    digest: [u8; 32],
    poisoned: bool,
}

/// What a new state file begins with.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    pub(crate) instance: InstanceId,
    pub(crate) role: Role,
    pub(crate) after: u64,
}

impl Birth {
    /// An instance that is live on this host from now on, at `epoch` (0 if it never moved).
    #[must_use]
    pub fn active(instance: InstanceId, epoch: u64) -> Self {
        Self { instance, role: Role::Active { epoch }, after: 0 }
    }

    /// An instance received by `transfer`, that left its source at `epoch` and is not yet to run.
    #[must_use]
    pub fn prepared(instance: InstanceId, transfer: TransferId, epoch: u64) -> Self {
        Self { instance, role: Role::Prepared { transfer, epoch }, after: 0 }
    }

    /// Begins at the generation after the one that the anchor remembers of an earlier file of
    /// this instance.
    #[must_use]
    pub fn after(mut self, remembered: MinimumGeneration) -> Self {
        self.after = remembered.0;
        self
    }
}

impl Store {
    /// Makes the file at `place` and locks it. `note` is for the handover code (see
    /// [`begin_outgoing`](Self::begin_outgoing)); an active instance has none.
    ///
    /// The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Locked`], [`Error::TooLarge`], [`Error::Io`],
    /// [`Error::Invalid`] for a note beside an active state, [`Error::Exhausted`].
    pub fn create(
        place: &Place,
        birth: Birth,
        key: SealedKey,
        state: &[u8],
        note: &[u8],
    ) -> Result<Self> {
        if matches!(birth.role, Role::Active { .. }) && !note.is_empty() {
            return Err(Error::Invalid { what: "an active instance has no handover note" });
        }
        Self::create_with(place, birth, key, &Lent { note, state }, AuditLog::default())
    }

    pub(crate) fn create_with(
        place: &Place,
        birth: Birth,
        key: SealedKey,
        contents: &Lent<'_>,
        audit: AuditLog,
    ) -> Result<Self> {
        let (key, seal) = key.for_instance(&birth.instance)?;
        let generation = birth.after.checked_add(1).ok_or(Error::Exhausted {
            what: "the count of generations",
            remedy: "create the instance under another id",
        })?;
        let mut header = Header {
            slot_size: 0,
            slot: 0,
            generation,
            instance: birth.instance,
            role: birth.role,
            sealed_since: 0,
            records: 1,
            seal,
            audit,
        };
        check_sizes(place, contents)?;
        header.slot_size = place.slot_size_for(contents.record_length(&header), None)?;
        let record = contents.seal(&header, &key)?;

        let lock = place.lock()?;
        if place.is_taken()? {
            return Err(Error::AlreadyExists { path: place.path().into() });
        }
        let file = place.prepare(&record.bytes, header.slot_size)?;
        place.promote()?;
        place.sync_directory()?;
        let (place, digest) = (place.clone(), record.digest);
        Ok(Self { place, file, lock, key, header, digest, poisoned: false })
    }

    /// Replaces the state, durably: one write and one `fdatasync`. If the state has outgrown its
    /// slot, the file is replaced by one with larger slots.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless the instance is active; [`Error::TooLarge`],
    /// [`Error::Exhausted`] and [`Error::Poisoned`] with nothing written; [`Error::Io`], after
    /// which the file must be opened again.
    pub fn commit(&mut self, state: &[u8]) -> Result<()> {
        self.must_be("commit a state", |role| matches!(role, Role::Active { .. }))?;
        let next = self.header.successor()?;
        self.put(next, self.key.clone(), &Lent { note: &[], state })
    }

    /// Puts a new data key in place of the old one, which is then nowhere in the file: both
    /// slots are written, with two syncs.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), in any role.
    pub fn rekey(&mut self, key: SealedKey) -> Result<()> {
        let contents = self.contents()?;
        self.put_everywhere(self.header.role, key, &contents.lend())
    }

    /// Seals the data key anew, by `source` (another one, or the same under another policy). The
    /// old seal is then nowhere in the file: both slots are written, with two syncs.
    ///
    /// If it is interrupted, the file opens with the old or with the new source.
    ///
    /// # Errors
    /// [`Error::Source`] with nothing written, or as [`commit`](Self::commit), in any role.
    pub fn reseal(&mut self, source: &dyn KeySource) -> Result<()> {
        let seal = Seal::by(source, &self.header.instance, &self.key)?;
        let contents = self.contents()?;
        let mut next = self.header.successor()?;
        next.seal = seal;
        next.sealed_since = next.generation;
        self.put_twice(next, self.key.clone(), &contents.lend())
    }

    /// Ends the instance on this host: overwrites the sealed key and everything else, then
    /// removes the file. Without the sealed key all older copies of blocks that a disk may keep
    /// are noise.
    ///
    /// # Errors
    /// [`Error::Io`]; [`erase`](Self::erase) can try again.
    pub fn destroy(self) -> Result<()> {
        erase(&self.place, self.file.as_ref(), Some(&self.header), self.lock)
    }

    /// The same for a file that cannot be opened, or whose key is lost.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Locked`], [`Error::Io`].
    pub fn erase(place: &Place) -> Result<()> {
        let (lock, file) = place.lock_and_open()?;
        let newest = slots::newest(file.as_ref(), place.path(), place.slot_max()).ok();
        erase(place, file.as_ref(), newest.map(|newest| newest.found.header).as_ref(), lock)
    }

    /// Gives the lock away, so that another process can open the file; the key stays here.
    #[must_use]
    pub fn release(self) -> Released {
        let Self { place, file: _, lock, key, header, digest, poisoned } = self;
        drop(lock);
        Released { place, key, header, digest, poisoned }
    }

    /// The state of the newest record, decrypted from the file again.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::ChangedElsewhere`] if somebody wrote past the lock.
    pub fn state(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.contents().map(|contents| contents.state)
    }

    /// The handover note of the newest record; empty if the instance is active.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn note(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.contents().map(|contents| contents.note)
    }

    /// Whose state this is.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.header.instance
    }

    /// What the instance is on this host.
    #[must_use]
    pub fn role(&self) -> Role {
        self.header.role
    }

    /// The generation of the newest record: for the anchor to remember.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.header.generation
    }

    /// The kind of the source that sealed the data key.
    #[must_use]
    pub fn key_source(&self) -> &str {
        &self.header.seal.kind
    }

    /// What operators did against the protections of this file, oldest first.
    #[must_use]
    pub fn audit(&self) -> &[AuditEntry] {
        self.header.audit.entries()
    }

    /// Whether the data key has been used so often (2^28 records) that it is time to
    /// [`rekey`](Self::rekey).
    #[must_use]
    pub fn rekey_is_due(&self) -> bool {
        self.header.records >= REKEY_DUE
    }

    /// The place of the file.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn must_be(&self, wanted: &'static str, fits: fn(&Role) -> bool) -> Result<()> {
        self.must_be_sound()?;
        let role = self.header.role;
        if fits(&role) { Ok(()) } else { Err(Error::WrongRole { wanted, role }) }
    }

    pub(crate) fn contents(&self) -> Result<Contents> {
        self.must_be_sound()?;
        let path = self.place.path();
        let newest = slots::newest(self.file.as_ref(), path, self.place.slot_max())?;
        let changed = Error::ChangedElsewhere { path: path.into() };
        if newest.found.digest != self.digest {
            return Err(changed);
        }
        newest.found.open(&self.key, newest.payload).ok_or(changed)
    }

    /// Writes a record under a new key, then the same again over the slot that still holds the
    /// old key.
    pub(crate) fn put_everywhere(
        &mut self,
        role: Role,
        key: SealedKey,
        contents: &Lent<'_>,
    ) -> Result<()> {
        let (key, seal) = key.for_instance(&self.header.instance)?;
        let mut next = self.header.successor()?;
        (next.role, next.seal, next.records) = (role, seal, 1);
        next.sealed_since = next.generation;
        self.put_twice(next, key, contents)
    }

    fn put_twice(&mut self, next: Header, key: Key, contents: &Lent<'_>) -> Result<()> {
        self.put(next, key, contents)?;
        if self.header.sealed_since == 0 {
            // The file was replaced as a whole; the old seal is gone.
            return Ok(());
        }
        let again = self.header.successor()?;
        self.put(again, self.key.clone(), contents)
    }

    /// Writes one record, durably, and makes it the current one.
    pub(crate) fn put(&mut self, next: Header, key: Key, contents: &Lent<'_>) -> Result<()> {
        self.must_be_sound()?;
        check_sizes(&self.place, contents)?;
        let slot_size = self.header.slot_size;
        if contents.record_length(&next) as u64 > u64::from(slot_size) {
            return self.put_in_larger_file(next, key, contents);
        }
        let record = contents.seal(&next, &key)?;
        let offset = u64::from(next.slot).saturating_mul(u64::from(slot_size));
        let written = self.file.write_at(offset, &record.bytes).and_then(|()| self.file.sync());
        if let Err(source) = written {
            self.poisoned = true;
            return Err(self.place.failed("write", source));
        }
        (self.header, self.key, self.digest) = (next, key, record.digest);
        Ok(())
    }

    fn put_in_larger_file(&mut self, next: Header, key: Key, contents: &Lent<'_>) -> Result<()> {
        let mut next = Header { slot: 0, sealed_since: 0, ..next };
        let length = contents.record_length(&next);
        next.slot_size = self.place.slot_size_for(length, Some(self.header.slot_size))?;
        let record = contents.seal(&next, &key)?;
        let file = self.place.prepare(&record.bytes, next.slot_size)?;
        self.place.promote()?;
        let old = std::mem::replace(&mut self.file, file);
        (self.header, self.key, self.digest) = (next, key, record.digest);
        let settled = self.place.sync_directory().and_then(|()| {
            // Its blocks are free now, and may hold a seal that is to be forgotten.
            place::scrub(old.as_ref()).map_err(|source| self.place.failed("erase", source))
        });
        self.poisoned = settled.is_err();
        settled
    }

    /// Completes what a crash interrupted: a seal that was to be forgotten is still in the slot
    /// that holds the older record.
    fn finish_interrupted(&mut self, other: Other, contents: &Contents) -> Result<()> {
        let blank = other == Other::Faulty(crate::error::SlotFault::Blank);
        if self.header.sealed_since == self.header.generation && !blank {
            let again = self.header.successor()?;
            self.put(again, self.key.clone(), &contents.lend())?;
        }
        Ok(())
    }

    fn must_be_sound(&self) -> Result<()> {
        if self.poisoned {
            return Err(Error::Poisoned { path: self.place.path().into() });
        }
        Ok(())
    }

    /// A store over a file that was just read and found authentic.
    pub(crate) fn adopt(
        place: Place,
        file: Box<dyn MediumFile>,
        lock: Box<dyn Lock>,
        key: Key,
        read: (Header, [u8; 32], Other),
        contents: &Contents,
    ) -> Result<Self> {
        let (header, digest, other) = read;
        let mut store = Self { place, file, lock, key, header, digest, poisoned: false };
        store.finish_interrupted(other, contents)?;
        store.place.discard_leftover()?;
        Ok(store)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.place.path())
            .field("instance", &self.header.instance)
            .field("role", &self.header.role)
            .field("generation", &self.header.generation)
            .finish_non_exhaustive()
    }
}

/// A store whose lock was given away. It can be taken back if nobody changed the file.
pub struct Released {
    place: Place,
    key: Key,
    header: Header,
    digest: [u8; 32],
    poisoned: bool,
}

impl Released {
    /// Takes the lock again.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody else has it (and then this can be tried again, with what
    /// comes back beside the error); [`Error::ChangedElsewhere`] if the file has another record
    /// now: open it again.
    pub fn acquire(self) -> Result<Store, (Box<Self>, Error)> {
        let take = || -> Result<(Box<dyn MediumFile>, Box<dyn Lock>)> {
            let (lock, file) = self.place.lock_and_open()?;
            let path = self.place.path();
            let newest = slots::newest(file.as_ref(), path, self.place.slot_max())?;
            if newest.found.digest != self.digest {
                return Err(Error::ChangedElsewhere { path: path.into() });
            }
            Ok((file, lock))
        };
        match take() {
            Ok((file, lock)) => {
                let Self { place, key, header, digest, poisoned } = self;
                Ok(Store { place, file, lock, key, header, digest, poisoned })
            }
            Err(error) => Err((Box::new(self), error)),
        }
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Released").field("path", &self.place.path()).finish_non_exhaustive()
    }
}

/// Note and state on their way into a record.
pub(crate) struct Lent<'a> {
    pub(crate) note: &'a [u8],
    pub(crate) state: &'a [u8],
}

impl Contents {
    pub(crate) fn lend(&self) -> Lent<'_> {
        Lent { note: &self.note, state: &self.state }
    }
}

impl Lent<'_> {
    fn record_length(&self, header: &Header) -> usize {
        header.record_length(self.note, self.state)
    }

    fn seal(&self, header: &Header, key: &Key) -> Result<Sealed> {
        header.seal(key, self.note, self.state)
    }
}

fn check_sizes(place: &Place, contents: &Lent<'_>) -> Result<()> {
    let check = |what, length: usize, limit: usize| {
        if length <= limit {
            return Ok(());
        }
        Err(Error::TooLarge { what, length: length as u64, limit: limit as u64 })
    };
    check("the state", contents.state.len(), place.state_limit())?;
    check("the handover note", contents.note.len(), NOTE_MAX)
}

/// Zeros, first over all but the newest record, so that an interruption leaves it or nothing.
fn erase(
    place: &Place,
    file: &dyn MediumFile,
    newest: Option<&Header>,
    lock: Box<dyn Lock>,
) -> Result<()> {
    let wipe = || {
        if let Some(newest) = newest {
            let size = u64::from(newest.slot_size);
            let older = if newest.slot == 0 { size } else { 0 };
            place::fill_with_zeros(file, older, older.saturating_add(size))?;
            file.sync()?;
        }
        place::scrub(file)
    };
    wipe().map_err(|source| place.failed("erase", source))?;
    place.discard_leftover()?;
    place.remove()?;
    place.sync_directory()?;
    // A lock file that stays behind does no harm.
    let _ = lock.remove();
    Ok(())
}
