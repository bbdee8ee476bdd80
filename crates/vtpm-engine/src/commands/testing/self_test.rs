//! TPM2_SelfTest: Part 3, clause 10.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::Rc;

command! {
    /// Tests the algorithms.
    #[doc(alias = "TPM2_SelfTest")]
    Command {
        handles {}
        parameters {
            /// All of them, not only those that were not tested yet.
            full_test: bool,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    tpm.run_self_test(command.full_test)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc};

    #[test]
    fn all_algorithms_pass() {
        let mut client = Client::started();
        client.run(&command(Cc::SELF_TEST).put(true)).unwrap();
        client.run(&command(Cc::SELF_TEST).put(false)).unwrap();
    }

    #[test]
    fn the_parameter_is_yes_or_no() {
        let mut client = Client::started();
        assert_eq!(client.rc(&command(Cc::SELF_TEST).put(2u8)), Rc::VALUE.parameter(1));
    }
}
