//! An instance between hosts. Each step is in the journal of its store before it counts.
//!
//! On the source: [`Frozen`], then [`Outgoing`], which may be called back, then [`Tombstone`]. On
//! the destination: [`Prepared`], then an [`Instance`] again. Dropping a [`Frozen`] thaws it.
//! Dropping any of the others closes its file; the instance stays in its role, and
//! [`Found::open`](crate::Found::open) goes on from there.

use std::fmt;
use std::sync::Arc;

use vtpm_engine::Tpm;
use vtpm_store::{Birth, InstanceId, Place, Role, SealedKey, Store, TransferId};
use zeroize::Zeroizing;

use crate::core::{Core, Storage};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::instance::{Instance, Whose};
use crate::platform::{Shared, System};

/// An instance that stands still between two commands. It is thawed when this is dropped.
pub struct Frozen {
    core: Option<Box<Core>>,
    handle: Handle,
}

impl Frozen {
    pub(crate) fn new(core: Box<Core>, handle: Handle) -> Self {
        Self { core: Some(core), handle }
    }

    /// Whose vTPM this is.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.handle.id()
    }

    /// Everything that the instance is, in the clear.
    #[must_use]
    pub fn state(&self) -> Zeroizing<Vec<u8>> {
        self.core.as_ref().map(|core| core.save_running()).unwrap_or_default()
    }

    /// How often the instance has moved; 0 without a store.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.core.as_ref().and_then(|core| core.store()).map_or(0, |store| store.role().epoch())
    }

    /// Lets the instance go on.
    pub fn thaw(self) {
        drop(self);
    }

    /// Journals that the instance is about to leave by `transfer`, with a `note` of what the
    /// handover must remember across a crash (at most [`vtpm_store::NOTE_MAX`] bytes).
    ///
    /// # Errors
    /// [`Error::Store`]. If nothing was written the instance goes on; if it is unknown what was,
    /// it stops, and opening its file tells.
    pub fn begin_outgoing(mut self, transfer: TransferId, note: &[u8]) -> Result<Outgoing> {
        let mut core = self.core.take().ok_or(Error::Ended)?;
        let state = core.save_running();
        if let Some(store) = core.store_mut()
            && let Err(cause) = store.begin_outgoing(transfer, &state, note)
        {
            self.give_up(core, &cause);
            return Err(cause.into());
        }
        core.publish();
        let note = Zeroizing::new(note.to_vec());
        Ok(Outgoing { core, transfer, note, handle: Some(self.handle.clone()) })
    }

    fn give_up(&mut self, core: Box<Core>, cause: &vtpm_store::Error) {
        if matches!(cause, vtpm_store::Error::Io { .. }) {
            let why = format!("its departure could not be journalled: {cause}");
            self.handle.post(move |worker| worker.stop(&why));
        } else {
            self.core = Some(core);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            self.handle.post(move |worker| worker.put_back(core));
        }
    }
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// An instance whose state is on the way to another host. Nothing runs.
pub struct Outgoing {
    core: Box<Core>,
    transfer: TransferId,
    note: Zeroizing<Vec<u8>>,
    /// The way back; absent if it was found in a file.
    handle: Option<Handle>,
}

impl Outgoing {
    pub(crate) fn found(store: Store, state: &[u8], note: &[u8]) -> Result<Self> {
        let transfer = store.role().transfer().unwrap_or(TransferId([0; 16]));
        let core = Core::opened(store, state, false)?;
        Ok(Self { core, transfer, note: Zeroizing::new(note.to_vec()), handle: None })
    }

    /// The transfer that it leaves by.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// What the handover remembers.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// Its role in the journal.
    #[must_use]
    pub fn role(&self) -> Role {
        let (transfer, epoch) = (self.transfer, 0);
        self.core.store().map_or(Role::Outgoing { transfer, epoch }, Store::role)
    }

    /// Calls the instance back: it goes on where it was frozen. The handle that it was frozen by
    /// works again. One that was found in a file is handed back as an [`Instance`], switched off.
    ///
    /// # Errors
    /// [`Error::Store`]; the instance stops.
    pub fn abort(mut self) -> Result<Option<Instance>> {
        if let Some(store) = self.core.store_mut()
            && let Err(cause) = store.abort_outgoing()
        {
            self.stop(&format!("it could not be called back: {cause}"));
            return Err(cause.into());
        }
        self.core.publish();
        let Some(handle) = self.handle else {
            let id = self.core.store().map_or(InstanceId([0; 16]), Store::instance);
            return Ok(Some(Instance::new(self.core, id)));
        };
        let core = self.core;
        handle.post(move |worker| worker.put_back(core));
        Ok(None)
    }

    /// The point of no return: once this returns, the instance is gone from this host. Its key is
    /// destroyed and its memory wiped; `note` stays in the tombstone, under a `key` of its own that
    /// was made while the guest still ran.
    ///
    /// # Errors
    /// [`Error::Store`]; the instance stops. Its file is in the role before or in the role after:
    /// opening it tells.
    pub fn entomb(mut self, key: SealedKey, note: &[u8]) -> Result<Tombstone> {
        if let Some(store) = self.core.store_mut()
            && let Err(cause) = store.entomb(key, note)
        {
            self.stop(&format!("its departure could not be completed: {cause}"));
            return Err(cause.into());
        }
        if let Some(handle) = self.handle {
            handle.post(|worker| worker.leave("it has moved to another host"));
        }
        let store = match self.core.storage {
            Storage::Held(store) => Some(store),
            Storage::Nowhere | Storage::Released(_) => None,
        };
        Ok(Tombstone { store, transfer: self.transfer, note: Zeroizing::new(note.to_vec()) })
    }

    fn stop(&self, why: &str) {
        if let Some(handle) = &self.handle {
            let why = why.to_owned();
            handle.post(move |worker| worker.stop(&why));
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

/// What is left of an instance that moved to another host.
pub struct Tombstone {
    /// Absent for an ephemeral instance.
    store: Option<Box<Store>>,
    transfer: TransferId,
    note: Zeroizing<Vec<u8>>,
}

impl Tombstone {
    pub(crate) fn found(store: Store, note: &[u8]) -> Self {
        let transfer = store.role().transfer().unwrap_or(TransferId([0; 16]));
        Self { store: Some(Box::new(store)), transfer, note: Zeroizing::new(note.to_vec()) }
    }

    /// The transfer that the instance left by.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// What the handover remembers, to send a lost message again.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// Its role in the journal.
    #[must_use]
    pub fn role(&self) -> Role {
        let (transfer, epoch) = (self.transfer, 0);
        self.store.as_ref().map_or(Role::Tombstone { transfer, epoch }, |store| store.role())
    }

    /// The instance comes back to this host by a later transfer, over its tombstone. `epoch` is
    /// the one that it leaves on the source.
    ///
    /// # Errors
    /// [`Error::Engine`] if `state` is none, with nothing written. [`Error::Store`], among others
    /// for an epoch that is not later than the one that it left here.
    pub fn receive(
        self,
        transfer: TransferId,
        epoch: u64,
        key: SealedKey,
        state: &[u8],
        note: &[u8],
    ) -> Result<Prepared> {
        let core = standby(state)?;
        let Some(mut store) = self.store else {
            let role = Role::Tombstone { transfer: self.transfer, epoch };
            return Err(Error::NotActive { role });
        };
        store.receive(transfer, epoch, key, state, note)?;
        Ok(Prepared { core, store, note: Zeroizing::new(note.to_vec()) })
    }

    /// Removes the tombstone: nothing of the instance is left on this host, and a commit message
    /// that was lost cannot be sent again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn destroy(self) -> Result<()> {
        Ok(self.store.map_or(Ok(()), |store| store.destroy())?)
    }
}

impl fmt::Debug for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tombstone").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

/// A restored engine that nobody can give commands to yet.
fn standby(state: &[u8]) -> Result<Box<Core>> {
    let shared = Arc::new(Shared::default());
    let tpm = Tpm::restore(state, System::boxed(&shared))?;
    Ok(Box::new(Core { tpm, powered: true, storage: Storage::Nowhere, shared }))
}

/// An instance that has arrived and waits, sealed, for the source's commit. Nothing runs.
pub struct Prepared {
    core: Box<Core>,
    store: Box<Store>,
    note: Zeroizing<Vec<u8>>,
}

impl Prepared {
    /// Takes an instance in that comes to this host for the first time: checks that an engine can
    /// go on from `state`, and journals it, sealed by `key` (made ahead of time), as received by
    /// `transfer`. `epoch` is the one that it leaves on the source.
    ///
    /// # Errors
    /// [`Error::Engine`] if `state` is none, with nothing written; [`Error::Store`].
    pub fn create(
        place: &Place,
        whose: impl Into<Whose>,
        (transfer, epoch): (TransferId, u64),
        key: SealedKey,
        state: &[u8],
        note: &[u8],
    ) -> Result<Self> {
        let core = standby(state)?;
        let whose = whose.into();
        let birth = Birth::prepared(whose.id, transfer, epoch).after(whose.remembered);
        let store = Box::new(Store::create(place, birth, key, state, note)?);
        Ok(Self { core, store, note: Zeroizing::new(note.to_vec()) })
    }

    pub(crate) fn found(store: Store, state: &[u8], note: &[u8]) -> Result<Self> {
        let core = standby(state)?;
        Ok(Self { core, store: Box::new(store), note: Zeroizing::new(note.to_vec()) })
    }

    /// Whose vTPM this is.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.store.instance()
    }

    /// Its role in the journal, with the transfer and the epoch that it left.
    #[must_use]
    pub fn role(&self) -> Role {
        self.store.role()
    }

    /// What the handover remembers.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// The source's commit has come: the instance lives here from now on, one epoch later. It is
    /// switched on and goes on where it was frozen; [`Handle::init`] starts it anew for a machine
    /// whose memory was lost.
    ///
    /// # Errors
    /// [`Error::Store`]: the file is in the role before or in the role after; opening it tells.
    pub fn activate(mut self) -> Result<Instance> {
        self.store.activate()?;
        let id = self.store.instance();
        self.core.storage = Storage::Held(self.store);
        Ok(Instance::new(self.core, id))
    }

    /// The transfer was called off: removes the file.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn discard(self) -> Result<()> {
        Ok(self.store.destroy()?)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn store(&self) -> Option<&Store> {
        match &self.storage {
            Storage::Held(store) => Some(store),
            Storage::Nowhere | Storage::Released(_) => None,
        }
    }

    pub(crate) fn store_mut(&mut self) -> Option<&mut Store> {
        match &mut self.storage {
            Storage::Held(store) => Some(store),
            Storage::Nowhere | Storage::Released(_) => None,
        }
    }
}
