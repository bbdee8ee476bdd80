//! What a source offers to a destination.

use crate::id::{InstanceId, RequestId, TransferId};

/// The largest state that any version of the protocol carries: 64 MiB.
pub const STATE_MAX: u32 = 64 << 20;

/// What a source offers: which instance, by which transfer, how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The instance.
    pub instance: InstanceId,
    /// The handover's name, fresh for each attempt.
    pub transfer: TransferId,
    /// The order that this fills, or [`RequestId::NONE`].
    pub request: RequestId,
    /// The epoch that the instance leaves on the source; it arrives at the next.
    pub epoch: u64,
    /// The most bytes that the state will have. It is not frozen yet, so this is a bound, at most
    /// [`STATE_MAX`].
    pub state_limit: u32,
}
