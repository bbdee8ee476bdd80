//! Command audit (Part 1, clause 34).

use crate::crypto::hash::HashAlg;
use crate::wire::Cc;

/// What is audited.
#[derive(Clone, Debug)]
pub(crate) struct AuditSettings {
    /// Hash of the audit digest.
    pub(crate) alg: HashAlg,
    /// Audit digests started so far.
    pub(crate) counter: u64,
    /// Audited commands, in ascending order.
    pub(crate) commands: Vec<Cc>,
}
