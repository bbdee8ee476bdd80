//! TPM2_IncrementalSelfTest: Part 3, clause 10.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Algs, Rc};

command! {
    /// Tests some algorithms.
    #[doc(alias = "TPM2_IncrementalSelfTest")]
    Command {
        handles {}
        parameters {
            /// Algorithms to test.
            to_test: Algs,
        }
    }
    Response {
        parameters {
            /// Algorithms that were not tested yet.
            to_do_list: Algs,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if command.to_test.0.iter().any(|alg| !tpm.profile.algorithms.has(*alg)) {
        return Err(Rc::VALUE.parameter(1));
    }
    // All algorithms are tested together, so none is left.
    if !command.to_test.0.is_empty() {
        tpm.run_self_test(false)?;
    }
    Ok(Response { to_do_list: Algs::default() })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Alg, Algs, Cc, List, Rc};

    #[test]
    fn nothing_is_left_to_do() {
        let mut client = Client::started();
        let test: Algs = List(vec![Alg::SHA256, Alg::RSA]);
        let reply = client.run(&command(Cc::INCREMENTAL_SELF_TEST).put(test)).unwrap();
        assert_eq!(reply.parameters, [0; 4]);
    }

    #[test]
    fn an_algorithm_that_is_not_there_is_refused() {
        let mut client = Client::started();
        let test: Algs = List(vec![Alg(0x99)]);
        let bad = command(Cc::INCREMENTAL_SELF_TEST).put(test);
        assert_eq!(client.rc(&bad), Rc::VALUE.parameter(1));
    }

    #[test]
    fn too_long_a_list_is_refused() {
        let mut client = Client::started();
        let bad = command(Cc::INCREMENTAL_SELF_TEST).put(65u32).bytes(&[0; 130]);
        assert_eq!(client.rc(&bad), Rc::SIZE.parameter(1));
    }
}
