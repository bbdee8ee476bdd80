//! TPM2_Shutdown: Part 3, clause 9.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::startup::StartupType;
use crate::tpm::Tpm;
use crate::wire::{Rc, Su};

command! {
    /// Prepares the TPM for the loss of power.
    #[doc(alias = "TPM2_Shutdown")]
    Command {
        handles {}
        parameters {
            /// `CLEAR`, or `STATE` to keep what a resume needs.
            shutdown_type: StartupType,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let keep = command.shutdown_type.0 == Su::STATE;
    // New banks have no values to go on from.
    if keep && tpm.is_reallocation_pending() {
        return Err(Rc::TYPE.parameter(1));
    }
    tpm.shut_down(keep);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc};

    #[test]
    fn a_shutdown_must_be_durable() {
        let mut client = Client::started();
        client.run(&command(Cc::SHUTDOWN).put(0u16)).unwrap();
        assert!(client.outcome.durable);
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&command(Cc::SHUTDOWN).put(7u16)), Rc::VALUE.parameter(1));
    }
}
