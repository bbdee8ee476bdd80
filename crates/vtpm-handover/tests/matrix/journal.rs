//! The protocol's journal over the real store.

use std::sync::Arc;

use vtpm_handover::{
    DestinationJournal, InstanceId, JournalError, Offer, Secret, SourceJournal, Standing,
    TransferId,
};
use vtpm_store::source::Plain;
use vtpm_store::{Birth, Error, Expect, Place, Role, SealedKey, Store};

use crate::common::ID;
use crate::disk::Disk;

const STORE_ID: vtpm_store::InstanceId = vtpm_store::InstanceId(ID.0);

/// One host's file, open as long as its process lives.
pub(crate) struct StoreJournal {
    disk: Disk,
    store: Option<Store>,
    ready: Option<SealedKey>,
}

impl StoreJournal {
    pub(crate) fn empty() -> Self {
        Self { disk: Disk::new(), store: None, ready: None }
    }

    pub(crate) fn live(state: &[u8]) -> Self {
        let mut journal = Self::empty();
        let place = journal.place();
        let store = Store::create(&place, Birth::active(STORE_ID, 0), key(), state, &[]);
        journal.store = Some(store.unwrap());
        journal
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The process is gone; another one opens the file.
    pub(crate) fn restart(&mut self) {
        self.store = None;
        self.disk = self.disk.revived();
        self.store = match Store::open(&self.place(), &source(), &Expect::instance(STORE_ID)) {
            Ok(opened) => Some(opened.store),
            Err(Error::NotFound { .. }) => None,
            // Its erasure was interrupted: what is left cannot be opened by anybody.
            Err(Error::Blank { .. } | Error::NotAStore { .. } | Error::Damaged { .. }) => {
                Store::erase(&self.place()).unwrap();
                None
            }
            Err(error) => panic!("{error}"),
        };
    }

    pub(crate) fn standing(&self) -> Standing {
        let Some(store) = &self.store else { return Standing::Absent };
        let note = || Secret::new(store.note().map_or_else(|_| Vec::new(), |note| note.to_vec()));
        let named = |transfer: vtpm_store::TransferId| TransferId(transfer.0);
        match store.role() {
            Role::Active { epoch } => Standing::Active { epoch },
            Role::Outgoing { transfer, epoch } => {
                Standing::Outgoing { transfer: named(transfer), epoch, note: note() }
            }
            Role::Prepared { transfer, epoch } => {
                Standing::Prepared { transfer: named(transfer), epoch, note: note() }
            }
            Role::Tombstone { transfer, epoch } => {
                Standing::Tombstone { transfer: named(transfer), epoch, note: note() }
            }
        }
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        self.store.as_ref().map_or_else(Vec::new, |store| store.state().unwrap().to_vec())
    }

    fn place(&self) -> Place {
        Place::on(Arc::new(self.disk.clone()), "guest.vtpm").with_slot_size(4096)
    }

    fn open(&mut self) -> Result<&mut Store, JournalError> {
        self.store.as_mut().ok_or_else(|| JournalError::new("there is no file", "look for it"))
    }
}

fn source() -> Plain {
    Plain::unencrypted()
}

fn key() -> SealedKey {
    SealedKey::new(&source(), &STORE_ID).unwrap()
}

fn failed(error: Error) -> JournalError {
    JournalError::new(error.to_string(), "open the file again").because(error)
}

impl SourceJournal for StoreJournal {
    fn standing(&mut self) -> Result<Standing, JournalError> {
        Ok(Self::standing(self))
    }

    fn get_ready(&mut self) -> Result<(), JournalError> {
        self.ready = Some(key());
        Ok(())
    }

    fn begin_outgoing(
        &mut self,
        transfer: &TransferId,
        state: &[u8],
        note: &[u8],
    ) -> Result<(), JournalError> {
        let transfer = vtpm_store::TransferId(transfer.0);
        self.open()?.begin_outgoing(transfer, state, note).map_err(failed)
    }

    fn call_back(&mut self) -> Result<(), JournalError> {
        self.open()?.abort_outgoing().map_err(failed)
    }

    fn entomb(&mut self, note: &[u8]) -> Result<(), JournalError> {
        let key = self.ready.take().unwrap();
        self.open()?.entomb(key, note).map_err(failed)
    }
}

impl DestinationJournal for StoreJournal {
    fn standing(&mut self, _: &InstanceId) -> Result<Standing, JournalError> {
        Ok(Self::standing(self))
    }

    fn get_ready(&mut self, _: &Offer) -> Result<(), JournalError> {
        self.ready = Some(key());
        Ok(())
    }

    fn prepare(&mut self, offer: &Offer, state: &[u8], note: &[u8]) -> Result<(), JournalError> {
        let transfer = vtpm_store::TransferId(offer.transfer.0);
        let key = self.ready.take().unwrap();
        if let Some(store) = &mut self.store {
            return store.receive(transfer, offer.epoch, key, state, note).map_err(failed);
        }
        let birth = Birth::prepared(STORE_ID, transfer, offer.epoch);
        let store = Store::create(&self.place(), birth, key, state, note).map_err(failed)?;
        self.store = Some(store);
        Ok(())
    }

    fn activate(&mut self, _: &InstanceId) -> Result<(), JournalError> {
        self.open()?.activate().map_err(failed)
    }

    fn discard(&mut self, _: &InstanceId) -> Result<(), JournalError> {
        self.store.take().map_or(Ok(()), Store::destroy).map_err(failed)
    }
}
