//! TPM2_DictionaryAttackParameters: Part 3, clause 25.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhLockout};

command! {
    /// Sets the parameters of dictionary-attack protection.
    #[doc(alias = "TPM2_DictionaryAttackParameters")]
    Command {
        handles {
            /// Lockout.
            lock_handle: RhLockout,
        }
        parameters {
            /// Failed authorizations until lockout.
            new_max_tries: u32,
            /// Seconds until one is forgotten.
            new_recovery_time: u32,
            /// Seconds until lockoutAuth can be used again after it failed.
            lockout_recovery: u32,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let lockout = &mut tpm.permanent.lockout;
    lockout.max_tries = command.new_max_tries;
    lockout.recovery_time = command.new_recovery_time;
    lockout.lockout_recovery = command.lockout_recovery;
    tpm.persist();
    Ok(Response {})
}
