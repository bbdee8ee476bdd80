//! A journal in memory that fails when told to, before or after the write.

use vtpm_handover::{
    DestinationJournal, InstanceId, JournalError, Offer, Secret, SourceJournal, Standing,
    TransferId,
};

/// When a write fails: before it is durable, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum When {
    Before,
    After,
}

/// The journal of the one instance on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    pub standing: Standing,
    pub state: Vec<u8>,
    /// The next write fails.
    pub fails: Option<When>,
    pub writes: usize,
}

impl Shelf {
    pub fn empty() -> Self {
        Self { standing: Standing::Absent, state: Vec::new(), fails: None, writes: 0 }
    }

    pub fn live(state: &[u8]) -> Self {
        Self { standing: Standing::Active { epoch: 0 }, state: state.to_vec(), ..Self::empty() }
    }

    fn write(&mut self, change: impl FnOnce(&mut Self)) -> Result<(), JournalError> {
        self.writes += 1;
        match self.fails.take() {
            None => change(self),
            Some(When::Before) => return Err(failed()),
            Some(When::After) => {
                change(self);
                return Err(failed());
            }
        }
        Ok(())
    }

    fn wrong(&self, wanted: &str) -> JournalError {
        JournalError::new(format!("cannot {wanted} while {:?}", self.standing), "a defect")
    }
}

fn failed() -> JournalError {
    JournalError::new("the disk failed", "open the file again")
}

impl SourceJournal for Shelf {
    fn standing(&mut self) -> Result<Standing, JournalError> {
        Ok(self.standing.clone())
    }

    fn get_ready(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    fn begin_outgoing(
        &mut self,
        transfer: &TransferId,
        state: &[u8],
        note: &[u8],
    ) -> Result<(), JournalError> {
        let Standing::Active { epoch } = self.standing else { return Err(self.wrong("begin")) };
        let note = Secret::new(note.to_vec());
        self.write(|shelf| {
            shelf.standing = Standing::Outgoing { transfer: *transfer, epoch, note };
            shelf.state = state.to_vec();
        })
    }

    fn call_back(&mut self) -> Result<(), JournalError> {
        let Standing::Outgoing { epoch, .. } = self.standing else {
            return Err(self.wrong("call back"));
        };
        self.write(|shelf| shelf.standing = Standing::Active { epoch })
    }

    fn entomb(&mut self, note: &[u8]) -> Result<(), JournalError> {
        let Standing::Outgoing { transfer, epoch, .. } = self.standing else {
            return Err(self.wrong("entomb"));
        };
        let note = Secret::new(note.to_vec());
        self.write(|shelf| {
            shelf.standing = Standing::Tombstone { transfer, epoch, note };
            shelf.state.clear();
        })
    }
}

impl DestinationJournal for Shelf {
    fn standing(&mut self, _: &InstanceId) -> Result<Standing, JournalError> {
        Ok(self.standing.clone())
    }

    fn get_ready(&mut self, _: &Offer) -> Result<(), JournalError> {
        Ok(())
    }

    fn prepare(&mut self, offer: &Offer, state: &[u8], note: &[u8]) -> Result<(), JournalError> {
        match self.standing {
            Standing::Absent => {}
            Standing::Tombstone { epoch, .. } if epoch < offer.epoch => {}
            _ => return Err(self.wrong("prepare")),
        }
        let note = Secret::new(note.to_vec());
        let (transfer, epoch) = (offer.transfer, offer.epoch);
        self.write(|shelf| {
            shelf.standing = Standing::Prepared { transfer, epoch, note };
            shelf.state = state.to_vec();
        })
    }

    fn activate(&mut self, _: &InstanceId) -> Result<(), JournalError> {
        let Standing::Prepared { epoch, .. } = self.standing else {
            return Err(self.wrong("activate"));
        };
        self.write(|shelf| shelf.standing = Standing::Active { epoch: epoch + 1 })
    }

    fn discard(&mut self, _: &InstanceId) -> Result<(), JournalError> {
        let Standing::Prepared { .. } = self.standing else { return Err(self.wrong("discard")) };
        self.write(|shelf| *shelf = Shelf { writes: shelf.writes, ..Shelf::empty() })
    }
}
