//! TPM2_SetAlgorithmSet: Part 3, clause 26.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhPlatform};

command! {
    /// Stores the number of an algorithm set, which `TPM_PT_ALGORITHM_SET` reports.
    #[doc(alias = "TPM2_SetAlgorithmSet")]
    Command {
        handles {
            /// The platform.
            auth_handle: RhPlatform,
        }
        parameters {
            /// The vendor's number of a set. This TPM has one set, whatever the number.
            algorithm_set: u32,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.permanent.algorithm_set = command.algorithm_set;
    tpm.persist();
    Ok(Response {})
}
