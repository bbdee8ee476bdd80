//! The journals of a handover, kept by an instance's own store: what
//! [`vtpm_handover`]'s state machines ask for, as steps of [`Frozen`], [`Outgoing`], [`Prepared`].

use vtpm_handover::{
    DestinationJournal, InstanceId as MovingId, JournalError, Offer, Secret, SourceJournal,
    Standing, TransferId as MovingBy,
};
use vtpm_store::{
    Expect, InstanceId, KeySource, MinimumGeneration, Place, Role, SealedKey, Store, TransferId,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::handover::{Frozen, Outgoing, Prepared, Tombstone};
use crate::instance::{Found, Instance, Whose};

type Journalled<T> = std::result::Result<T, JournalError>;

/// The journal of a running instance that leaves this host.
///
/// [`freeze`](Self::freeze) it for the state that [`Source::begin`](vtpm_handover::Source::begin)
/// takes. If it is dropped before it is gone, the instance goes on, or stays outgoing in its file.
pub struct Leaving {
    handle: Handle,
    source: Box<dyn KeySource + Send>,
    tombstone_key: Option<SealedKey>,
    stage: Stage,
}

enum Stage {
    Live,
    Frozen(Frozen),
    Outgoing(Outgoing),
    Gone(Tombstone),
    /// A step failed half-way: only the file tells.
    Unknown,
}

impl Leaving {
    /// The journal of the instance behind `handle`, whose tombstone `source` will seal.
    #[must_use]
    pub fn new(handle: Handle, source: Box<dyn KeySource + Send>) -> Self {
        Self { handle, source, tombstone_key: None, stage: Stage::Live }
    }

    /// Stops the instance between two commands, and gives its whole state.
    ///
    /// # Errors
    /// As [`Handle::freeze`]. Without effect on one that is frozen.
    pub fn freeze(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        if let Stage::Live = self.stage {
            self.stage = Stage::Frozen(self.handle.freeze()?);
        }
        match &self.stage {
            Stage::Frozen(frozen) => Ok(frozen.state()),
            Stage::Live | Stage::Outgoing(_) | Stage::Gone(_) | Stage::Unknown => {
                Err(Error::Frozen)
            }
        }
    }

    /// Lets an instance that was frozen, and not more, go on.
    pub fn thaw(&mut self) {
        if let Stage::Frozen(_) = self.stage {
            self.stage = Stage::Live;
        }
    }

    fn standing_now(&mut self) -> Result<Standing> {
        match &self.stage {
            Stage::Live => Ok(Standing::Active { epoch: self.handle.epoch()? }),
            Stage::Frozen(frozen) => Ok(Standing::Active { epoch: frozen.epoch() }),
            Stage::Outgoing(outgoing) => Ok(standing(outgoing.role(), outgoing.note())),
            Stage::Gone(tombstone) => Ok(standing(tombstone.role(), tombstone.note())),
            Stage::Unknown => Err(Error::Ended),
        }
    }

    fn take(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Unknown)
    }
}

impl SourceJournal for Leaving {
    fn standing(&mut self) -> Journalled<Standing> {
        self.standing_now().map_err(refused)
    }

    fn get_ready(&mut self) -> Journalled<()> {
        let key = SealedKey::new(self.source.as_ref(), &self.handle.id());
        self.tombstone_key = Some(key.map_err(|cause| refused(cause.into()))?);
        Ok(())
    }

    fn begin_outgoing(&mut self, transfer: &MovingBy, _: &[u8], note: &[u8]) -> Journalled<()> {
        // The state that was handed out is the frozen one's own.
        let Stage::Frozen(frozen) = self.take() else { return Err(out_of_order("begin")) };
        let outgoing = frozen.begin_outgoing(TransferId(transfer.0), note).map_err(refused)?;
        self.stage = Stage::Outgoing(outgoing);
        Ok(())
    }

    fn call_back(&mut self) -> Journalled<()> {
        let Stage::Outgoing(outgoing) = self.take() else { return Err(out_of_order("call back")) };
        outgoing.abort().map_err(refused)?;
        self.stage = Stage::Live;
        Ok(())
    }

    fn entomb(&mut self, note: &[u8]) -> Journalled<()> {
        let Some(key) = self.tombstone_key.take() else { return Err(out_of_order("complete")) };
        let Stage::Outgoing(outgoing) = self.take() else { return Err(out_of_order("complete")) };
        self.stage = Stage::Gone(outgoing.entomb(key, note).map_err(refused)?);
        Ok(())
    }
}

/// Where the files of arriving instances are, and what is known of them.
pub trait Homes {
    /// The file of an instance, whether it is there or not; none if this host does not take it.
    fn place(&self, instance: &InstanceId) -> Option<Place>;

    /// The newest generation that the host's anchor remembers of it: 0 if none.
    ///
    /// # Errors
    /// If the anchor does not say so: the instance is not taken in then.
    fn remembered(&self, _: &InstanceId) -> Journalled<MinimumGeneration> {
        Ok(MinimumGeneration(0))
    }
}

/// One file, for one instance of any name: a machine that waits for its vTPM.
impl Homes for Place {
    fn place(&self, _: &InstanceId) -> Option<Place> {
        Some(self.clone())
    }
}

/// The journals of instances that arrive at this host.
pub struct Arriving {
    homes: Box<dyn Homes + Send>,
    source: Box<dyn KeySource + Send>,
    /// Made before the blackout, for whom, and after which generation: a chip is slow.
    ready: Option<(InstanceId, SealedKey, MinimumGeneration)>,
    /// What an instance left here the last time, opened before the blackout too.
    tombstone: Option<(InstanceId, Tombstone)>,
    prepared: Option<Prepared>,
    arrived: Option<Instance>,
}

impl Arriving {
    /// Takes instances in at `homes`, sealed by `source`.
    #[must_use]
    pub fn new(homes: Box<dyn Homes + Send>, source: Box<dyn KeySource + Send>) -> Self {
        Self { homes, source, ready: None, tombstone: None, prepared: None, arrived: None }
    }

    /// The instance that has arrived, to be started; none before it is active.
    pub fn take(&mut self) -> Option<Instance> {
        self.arrived.take()
    }

    fn place(&self, instance: &InstanceId) -> Journalled<Place> {
        self.homes.place(instance).ok_or_else(|| {
            let hint = "ask the operator of the destination to expect it";
            JournalError::new("this host takes no instance of that name", hint)
        })
    }

    /// What the file at the instance's place holds; nothing if there is none.
    fn open(&self, instance: &InstanceId) -> Journalled<Option<Found>> {
        let place = self.place(instance)?;
        let expect = Expect::instance(*instance).at_least(self.homes.remembered(instance)?);
        match Found::open(&place, self.source.as_ref(), &expect) {
            Ok(found) => Ok(Some(found)),
            Err(Error::Store(vtpm_store::Error::NotFound { .. })) => Ok(None),
            Err(cause) => Err(refused(cause)),
        }
    }

    /// The prepared instance of that name: the one in hand, or the one in the file.
    fn prepared(&mut self, instance: &InstanceId) -> Journalled<Prepared> {
        match self.prepared.take() {
            Some(prepared) if prepared.id() == *instance => Ok(prepared),
            other => {
                self.prepared = other;
                match self.open(instance)? {
                    Some(Found::Prepared(prepared)) => Ok(prepared),
                    _ => Err(out_of_order("complete")),
                }
            }
        }
    }
}

impl DestinationJournal for Arriving {
    fn standing(&mut self, instance: &MovingId) -> Journalled<Standing> {
        let instance = InstanceId(instance.0);
        // What is open is locked: closed first, so that it can be opened again.
        self.tombstone = None;
        if let Some(prepared) = self.prepared.as_ref().filter(|one| one.id() == instance) {
            return Ok(standing(prepared.role(), prepared.note()));
        }
        let found = self.open(&instance)?;
        let standing = found.as_ref().map_or(Standing::Absent, Found::standing);
        if let Some(Found::Tombstone(found)) = found {
            self.tombstone = Some((instance, found));
        }
        Ok(standing)
    }

    fn get_ready(&mut self, offer: &Offer) -> Journalled<()> {
        let instance = InstanceId(offer.instance.0);
        let place = self.place(&instance)?;
        // Whose file lies there is refused now rather than in the blackout.
        if let Ok(summary) = Store::inspect(&place)
            && summary.instance != instance
        {
            let what = format!("{} is another vTPM's file", place.path().display());
            return Err(JournalError::new(what, "choose another place for the one that arrives"));
        }
        let key = SealedKey::new(self.source.as_ref(), &instance);
        let key = key.map_err(|cause| refused(cause.into()))?;
        self.ready = Some((instance, key, self.homes.remembered(&instance)?));
        Ok(())
    }

    fn prepare(&mut self, offer: &Offer, state: &[u8], note: &[u8]) -> Journalled<()> {
        let instance = InstanceId(offer.instance.0);
        let ready = self.ready.take().filter(|(of, ..)| *of == instance);
        let Some((_, key, remembered)) = ready else {
            return Err(out_of_order("take in"));
        };
        let by = (TransferId(offer.transfer.0), offer.epoch);
        let prepared = match self.tombstone.take() {
            Some((of, tombstone)) if of == instance => {
                tombstone.receive(by.0, by.1, key, state, note)
            }
            _ => {
                let whose = Whose { id: instance, remembered };
                Prepared::create(&self.place(&instance)?, whose, by, key, state, note)
            }
        };
        self.prepared = Some(prepared.map_err(refused)?);
        Ok(())
    }

    fn activate(&mut self, instance: &MovingId) -> Journalled<()> {
        let prepared = self.prepared(&InstanceId(instance.0))?;
        self.arrived = Some(prepared.activate().map_err(refused)?);
        Ok(())
    }

    fn discard(&mut self, instance: &MovingId) -> Journalled<()> {
        self.prepared(&InstanceId(instance.0))?.discard().map_err(refused)
    }
}

impl Found {
    /// What the file says of the instance, in the protocol's words.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Self::Active(instance) => Standing::Active { epoch: instance.epoch() },
            Self::Outgoing(found) => standing(found.role(), found.note()),
            Self::Prepared(found) => standing(found.role(), found.note()),
            Self::Tombstone(found) => standing(found.role(), found.note()),
        }
    }
}

fn standing(role: Role, note: &[u8]) -> Standing {
    let note = Secret::new(note.to_vec());
    let by = |transfer: TransferId| MovingBy(transfer.0);
    match role {
        Role::Active { epoch } => Standing::Active { epoch },
        Role::Outgoing { transfer, epoch } => {
            Standing::Outgoing { transfer: by(transfer), epoch, note }
        }
        Role::Prepared { transfer, epoch } => {
            Standing::Prepared { transfer: by(transfer), epoch, note }
        }
        Role::Tombstone { transfer, epoch } => {
            Standing::Tombstone { transfer: by(transfer), epoch, note }
        }
    }
}

fn refused(cause: Error) -> JournalError {
    // The store's messages say what to do themselves.
    let what = "the vTPM's file could not be changed or opened";
    JournalError::new(format!("{what}: {cause}"), "see the vTPM's log").because(cause)
}

fn out_of_order(step: &str) -> JournalError {
    let what = format!("the instance is not in a state to {step} a handover");
    JournalError::new(what, "look at its file with `vtpm inspect`")
}
