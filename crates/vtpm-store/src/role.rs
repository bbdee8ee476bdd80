//! What an instance is on this host: running, leaving, arriving, or gone.

use std::fmt;

use crate::id::TransferId;

/// The role of the instance on this host, as journalled in its newest record.
///
/// ```text
///              begin_outgoing              entomb
///   Active(e) ----------------> Outgoing(e) -----> Tombstone(e)
///      ^  ^  <---- abort ------------'                 |
///      |   \                                           | receive, at a newer epoch
///   created  \        activate                         v
///             '------------------------------- Prepared(e')  <--- created
///                    to Active(e' + 1)
/// ```
///
/// Only an active instance runs. A tombstone holds no key and no state of the instance. A
/// prepared instance that is not to be activated is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The only live copy. It may run and commit.
    Active {
        /// How often the instance has moved.
        epoch: u64,
    },
    /// Frozen: its state is on the way to another host. It may still be called back.
    Outgoing {
        /// The handover it is part of.
        transfer: TransferId,
        /// The epoch it leaves.
        epoch: u64,
    },
    /// Received, and waiting for the source's word that it is gone there.
    Prepared {
        /// The handover it is part of.
        transfer: TransferId,
        /// The epoch that it left on the source.
        epoch: u64,
    },
    /// Gone to another host. Its key here is destroyed.
    Tombstone {
        /// The handover it left by.
        transfer: TransferId,
        /// The epoch it left.
        epoch: u64,
    },
}

impl Role {
    /// How often the instance has moved, as of this role.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match *self {
            Self::Active { epoch }
            | Self::Outgoing { epoch, .. }
            | Self::Prepared { epoch, .. }
            | Self::Tombstone { epoch, .. } => epoch,
        }
    }

    /// The handover this role is part of; none if active.
    #[must_use]
    pub fn transfer(&self) -> Option<TransferId> {
        match *self {
            Self::Active { .. } => None,
            Self::Outgoing { transfer, .. }
            | Self::Prepared { transfer, .. }
            | Self::Tombstone { transfer, .. } => Some(transfer),
        }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Active { .. } => 1,
            Self::Outgoing { .. } => 2,
            Self::Prepared { .. } => 3,
            Self::Tombstone { .. } => 4,
        }
    }

    pub(crate) fn from_code(code: u8, transfer: TransferId, epoch: u64) -> Option<Self> {
        match code {
            1 if transfer == TransferId([0; 16]) => Some(Self::Active { epoch }),
            2 => Some(Self::Outgoing { transfer, epoch }),
            3 => Some(Self::Prepared { transfer, epoch }),
            4 => Some(Self::Tombstone { transfer, epoch }),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { epoch } => write!(f, "active at epoch {epoch}"),
            Self::Outgoing { transfer, epoch } => {
                write!(f, "leaving at epoch {epoch} by transfer {transfer}")
            }
            Self::Prepared { transfer, epoch } => {
                write!(f, "received from epoch {epoch} by transfer {transfer}, not yet active")
            }
            Self::Tombstone { transfer, epoch } => {
                write!(f, "gone at epoch {epoch} by transfer {transfer}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_comes_back_from_its_code() {
        let (transfer, epoch) = (TransferId([3; 16]), 9);
        for role in [
            Role::Active { epoch },
            Role::Outgoing { transfer, epoch },
            Role::Prepared { transfer, epoch },
            Role::Tombstone { transfer, epoch },
        ] {
            let transfer = role.transfer().unwrap_or(TransferId([0; 16]));
            assert_eq!(Role::from_code(role.code(), transfer, role.epoch()), Some(role));
        }
        assert_eq!(Role::from_code(0, transfer, epoch), None);
        assert_eq!(Role::from_code(5, transfer, epoch), None);
        assert_eq!(Role::from_code(1, transfer, epoch), None, "active has no transfer");
    }
}
