//! Command audit (Part 1, clause 34).
//!
//! The list of audited commands and the counter are permanent; the digest lives until a TPM Reset.
//! It is extended when a command responds, and starts anew when it is read under a signature or
//! when its algorithm changes.

use crate::crypto::hash::{HashAlg, Hasher};
use crate::wire::{Cc, Digest};

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

impl AuditSettings {
    /// Audits a command from now on; `false` when nothing changed. A command that this TPM does not
    /// have and `TPM2_Shutdown` are never audited.
    pub(crate) fn add(&mut self, code: Cc) -> bool {
        if code == Cc::SHUTDOWN || crate::commands::find(code).is_none() {
            return false;
        }
        match self.commands.binary_search(&code) {
            Ok(_) => false,
            Err(position) => {
                self.commands.insert(position, code);
                true
            }
        }
    }

    /// Audits a command no more; `false` when nothing changed. The command that changes the list
    /// stays in it.
    pub(crate) fn remove(&mut self, code: Cc) -> bool {
        if code == Cc::SET_COMMAND_CODE_AUDIT_STATUS {
            return false;
        }
        match self.commands.binary_search(&code) {
            Ok(position) => {
                self.commands.remove(position);
                true
            }
            Err(_) => false,
        }
    }

    /// The digest of the list: of all codes, one after the other.
    pub(crate) fn command_digest(&self) -> Digest {
        let mut hasher = Hasher::new(self.alg);
        self.commands.iter().for_each(|code| hasher.update(&code.0.to_be_bytes()));
        Digest::from_slice(&hasher.finish())
    }
}
