//! An instance that is active on this host but not yet running: where each life begins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;
use vtpm_engine::{Profile, Tpm};
use vtpm_store::{
    Birth, Expect, InstanceId, KeySource, MinimumGeneration, Opened, Place, Role, SealedKey, Store,
};

use crate::core::{Core, Storage};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::handover::{Outgoing, Prepared, Tombstone};
use crate::observe::{NoObserver, Observer};
use crate::platform::{Shared, System};
use crate::worker::Worker;

/// Whose vTPM is to be made, and what the host remembers of an earlier file of the same name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The instance.
    pub id: InstanceId,
    /// The newest generation that the host's anchor remembers of it: 0 if none.
    pub remembered: MinimumGeneration,
}

impl From<InstanceId> for Whose {
    fn from(id: InstanceId) -> Self {
        Self { id, remembered: MinimumGeneration(0) }
    }
}

/// One vTPM that is active on this host, with its file open and locked, ready to
/// [start](Self::start).
pub struct Instance {
    core: Box<Core>,
    id: InstanceId,
}

impl Instance {
    /// Manufactures a vTPM and makes its file. It is switched off.
    ///
    /// # Errors
    /// [`Error::Store`], among others if there is a file already; [`Error::Engine`] without
    /// entropy.
    pub fn create(
        place: &Place,
        source: &dyn KeySource,
        whose: impl Into<Whose>,
        profile: Profile,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::manufacture(profile, System::boxed(&shared))?;
        Self::store(place, source, whose.into(), Core::off(tpm, shared))
    }

    /// Makes the file of a vTPM from a state that [`Handle::save`] gave, of either kind. It is
    /// switched off.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`Error::Engine`] if the state is none.
    pub fn create_from_state(
        place: &Place,
        source: &dyn KeySource,
        whose: impl Into<Whose>,
        state: &[u8],
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::restore(state, System::boxed(&shared))?;
        Self::store(place, source, whose.into(), Core::off(tpm, shared))
    }

    /// As [`create_from_state`](Self::create_from_state) with a running state: the vTPM is switched
    /// on and goes on in the middle of what its guest does.
    ///
    /// # Errors
    /// As [`create_from_state`](Self::create_from_state).
    pub fn from_running_state(
        place: &Place,
        source: &dyn KeySource,
        whose: impl Into<Whose>,
        state: &[u8],
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::restore(state, System::boxed(&shared))?;
        let core = Core { tpm, powered: true, storage: Storage::Nowhere, shared };
        Self::store(place, source, whose.into(), Box::new(core))
    }

    /// Opens the file of an active vTPM. It is switched off.
    ///
    /// # Errors
    /// [`Error::Store`] with the reason why the file is refused, and what to do;
    /// [`Error::NotActive`] for an instance that leaves, arrives or is gone: [`Found::open`] opens
    /// those. [`Error::Engine`] if this release cannot read the state.
    pub fn open(place: &Place, source: &dyn KeySource, expect: &Expect) -> Result<Self> {
        match Found::open(place, source, expect)? {
            Found::Active(instance) => Ok(instance),
            Found::Outgoing(found) => Err(Error::NotActive { role: found.role() }),
            Found::Prepared(found) => Err(Error::NotActive { role: found.role() }),
            Found::Tombstone(found) => Err(Error::NotActive { role: found.role() }),
        }
    }

    /// Manufactures a vTPM that is kept nowhere and ends with its process: for tests, and for
    /// machines that are not to leave a trace. It is switched off.
    ///
    /// # Errors
    /// [`Error::Engine`] without entropy.
    pub fn ephemeral(profile: Profile) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::manufacture(profile, System::boxed(&shared))?;
        Self::unstored(Core::off(tpm, shared))
    }

    /// As [`ephemeral`](Self::ephemeral) from a running state: it is switched on and goes on.
    ///
    /// # Errors
    /// [`Error::Engine`] if the state is none, or without entropy.
    pub fn ephemeral_from_running_state(state: &[u8]) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::restore(state, System::boxed(&shared))?;
        let core = Core { tpm, powered: true, storage: Storage::Nowhere, shared };
        Self::unstored(Box::new(core))
    }

    /// Whose vTPM this is; a random name if it is ephemeral.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// The generation of the newest record; 0 without a store.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.core.shared.generation.load(Ordering::Acquire)
    }

    /// How often the instance has moved; 0 without a store.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.core.store().map_or(0, |store| store.role().epoch())
    }

    /// Starts the thread that owns the instance from now on.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn start(self) -> Result<Handle> {
        self.start_observed(Arc::new(NoObserver))
    }

    /// As [`start`](Self::start), and has `observer` told what happens.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn start_observed(self, observer: Arc<dyn Observer>) -> Result<Handle> {
        let shared = Arc::clone(&self.core.shared);
        let jobs = Worker::start(self.core, observer)?;
        Ok(Handle::new(jobs, shared, self.id))
    }

    pub(crate) fn new(core: Box<Core>, id: InstanceId) -> Self {
        core.publish();
        Self { core, id }
    }

    fn unstored(core: Box<Core>) -> Result<Self> {
        let id = InstanceId::random().map_err(|_| vtpm_engine::Error::Entropy)?;
        Ok(Self::new(core, id))
    }

    fn store(
        place: &Place,
        source: &dyn KeySource,
        whose: Whose,
        mut core: Box<Core>,
    ) -> Result<Self> {
        let key = SealedKey::new(source, &whose.id)?;
        let birth = Birth::active(whose.id, 0).after(whose.remembered);
        let store = Store::create(place, birth, key, &core.tpm.save_permanent(), &[])?;
        core.storage = Storage::Held(Box::new(store));
        Ok(Self::new(core, whose.id))
    }
}

impl Core {
    /// A vTPM that is switched off and kept nowhere yet.
    pub(crate) fn off(tpm: Tpm, shared: Arc<Shared>) -> Box<Self> {
        let mut core = Self { tpm, powered: false, storage: Storage::Nowhere, shared };
        // What a running state had in memory is not there when the machine is off.
        core.tpm.init();
        Box::new(core)
    }

    /// The vTPM of an opened file.
    pub(crate) fn opened(store: Store, state: &[u8], powered: bool) -> Result<Box<Self>> {
        let shared = Arc::new(Shared::default());
        let tpm = Tpm::restore(state, System::boxed(&shared))?;
        let mut core = Self::off_unless(powered, tpm, shared);
        core.storage = Storage::Held(Box::new(store));
        core.publish();
        Ok(core)
    }

    fn off_unless(powered: bool, tpm: Tpm, shared: Arc<Shared>) -> Box<Self> {
        if powered {
            Box::new(Self { tpm, powered, storage: Storage::Nowhere, shared })
        } else {
            Self::off(tpm, shared)
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a file holds, by the role that the instance has on this host.
#[derive(Debug)]
pub enum Found {
    /// It may run.
    Active(Instance),
    /// It was leaving: its handover can be completed, or called back.
    Outgoing(Outgoing),
    /// It has arrived, and waits for the source's commit.
    Prepared(Prepared),
    /// It has left.
    Tombstone(Tombstone),
}

impl Found {
    /// Opens a file, whatever the role of its instance.
    ///
    /// # Errors
    /// As [`Instance::open`], but for the role.
    pub fn open(place: &Place, source: &dyn KeySource, expect: &Expect) -> Result<Self> {
        let Opened { store, state, note, recovered } = Store::open(place, source, expect)?;
        if let Some(fault) = recovered {
            let path = place.path().display();
            warn!("{path}: a write was interrupted ({fault}), the state before it is used");
        }
        let id = store.instance();
        Ok(match store.role() {
            Role::Active { .. } => {
                Self::Active(Instance::new(Core::opened(store, &state, false)?, id))
            }
            Role::Outgoing { .. } => Self::Outgoing(Outgoing::found(store, &state, &note)?),
            Role::Prepared { .. } => Self::Prepared(Prepared::found(store, &state, &note)?),
            Role::Tombstone { .. } => Self::Tombstone(Tombstone::found(store, &note)),
        })
    }
}
