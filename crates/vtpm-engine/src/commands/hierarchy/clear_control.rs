//! TPM2_ClearControl: Part 3, clause 24.7, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleInterface, Rc, RhClear};

command! {
    /// Disables or enables `TPM2_Clear`.
    #[doc(alias = "TPM2_ClearControl")]
    Command {
        handles {
            /// Lockout or platform.
            auth: RhClear,
        }
        parameters {
            /// Whether `TPM2_Clear` is to be disabled.
            disable: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // Lockout can only disable.
    if command.auth.handle() == Handle::LOCKOUT && !command.disable {
        return Err(Rc::AUTH_FAIL);
    }
    tpm.permanent.disable_clear = command.disable;
    tpm.persist();
    Ok(Response {})
}
