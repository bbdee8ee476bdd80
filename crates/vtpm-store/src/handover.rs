//! The journal of a handover: each step of an instance between hosts is one record.
//!
//! The state machine is drawn in [`crate::Role`]. What the protocol must remember across a crash
//! (the peer, the key confirmation, the message to send again) travels as an opaque *note* of up
//! to [`NOTE_MAX`](crate::NOTE_MAX) bytes, encrypted like the state.

use crate::error::{Error, Result};
use crate::id::TransferId;
use crate::key::SealedKey;
use crate::role::Role;
use crate::store::{Lent, Store};

impl Store {
    /// On the source: journals that the frozen `state` is about to leave by `transfer`. State
    /// and journal are one record, one sync. Until [`entomb`](Self::entomb) the instance can be
    /// [called back](Self::abort_outgoing).
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless active, or as [`commit`](Self::commit).
    pub fn begin_outgoing(
        &mut self,
        transfer: TransferId,
        state: &[u8],
        note: &[u8],
    ) -> Result<()> {
        self.must_be("begin a transfer", |role| matches!(role, Role::Active { .. }))?;
        let mut next = self.header.successor()?;
        next.role = Role::Outgoing { transfer, epoch: self.header.role.epoch() };
        self.put(next, self.key.clone(), &Lent { note, state })
    }

    /// On the source: calls the instance back. It is active again, at the same epoch, with the
    /// state that [`begin_outgoing`](Self::begin_outgoing) recorded.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless outgoing, or as [`commit`](Self::commit).
    pub fn abort_outgoing(&mut self) -> Result<()> {
        self.must_be("call a transfer back", |role| matches!(role, Role::Outgoing { .. }))?;
        self.become_active(self.header.role.epoch())
    }

    /// On the source, the point of no return: the instance is gone from this host once this
    /// returns. The state is dropped and its key destroyed; a tombstone stays, with the `note`
    /// that a lost message can be sent again from, sealed under a fresh `key` of its own.
    ///
    /// Two writes and two syncs: the tombstone, then the same over the slot that still holds the
    /// old key. A crash between them is completed by [`open`](Self::open). Tell nobody before
    /// this returns. Make `key` ahead of time, when the guest still runs: a physical TPM is slow.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless outgoing, or as [`commit`](Self::commit): then the file holds
    /// the outgoing instance or the tombstone, and opening it tells which.
    pub fn entomb(&mut self, key: SealedKey, note: &[u8]) -> Result<()> {
        self.must_be("entomb the instance", |role| matches!(role, Role::Outgoing { .. }))?;
        let epoch = self.header.role.epoch();
        // An outgoing instance has a transfer.
        let transfer = self.header.role.transfer().unwrap_or(TransferId([0; 16]));
        let role = Role::Tombstone { transfer, epoch };
        self.put_everywhere(role, key, &Lent { note, state: &[] })
    }

    /// On the destination: the source's word has come, the instance lives here from now on, one
    /// epoch later.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless prepared, or as [`commit`](Self::commit).
    pub fn activate(&mut self) -> Result<()> {
        self.must_be("activate the instance", |role| matches!(role, Role::Prepared { .. }))?;
        let epoch = self.header.role.epoch().checked_add(1).ok_or(Error::Exhausted {
            what: "the count of epochs",
            remedy: "create the instance anew",
        })?;
        self.become_active(epoch)
    }

    /// On a host that the instance left before: it comes back by `transfer`, over its tombstone.
    /// `epoch` is the one that it leaves on the source, which must be later than the one it left
    /// here. Both slots are written, with two syncs.
    ///
    /// If the transfer is called off, [`destroy`](Self::destroy) the file.
    ///
    /// # Errors
    /// [`Error::WrongRole`] unless a tombstone, [`Error::StaleEpoch`], or as
    /// [`commit`](Self::commit).
    pub fn receive(
        &mut self,
        transfer: TransferId,
        epoch: u64,
        key: SealedKey,
        state: &[u8],
        note: &[u8],
    ) -> Result<()> {
        self.must_be("receive the instance", |role| matches!(role, Role::Tombstone { .. }))?;
        let left = self.header.role.epoch();
        if epoch <= left {
            return Err(Error::StaleEpoch { left, offered: epoch });
        }
        self.put_everywhere(Role::Prepared { transfer, epoch }, key, &Lent { note, state })
    }

    fn become_active(&mut self, epoch: u64) -> Result<()> {
        let contents = self.contents()?;
        let mut next = self.header.successor()?;
        next.role = Role::Active { epoch };
        self.put(next, self.key.clone(), &Lent { note: &[], state: &contents.state })
    }
}
