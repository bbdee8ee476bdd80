//! TPM2_GetTestResult: Part 3, clause 10.4, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{MaxBuffer, Rc};

command! {
    /// Says what the self-tests found.
    #[doc(alias = "TPM2_GetTestResult")]
    Command {
        handles {}
        parameters {}
    }
    Response {
        parameters {
            /// What failed, as text.
            out_data: MaxBuffer,
            /// A response code.
            test_result: u32,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    let (text, rc) = match &tpm.self_test.failure {
        Some(failure) => (failure.as_ref(), Rc::FAILURE.code()),
        None => ("", 0),
    };
    Ok(Response { out_data: MaxBuffer::from_slice(text.as_bytes()), test_result: rc })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc};

    #[test]
    fn a_good_tpm_reports_success() {
        let mut client = Client::started();
        let reply = client.run(&command(Cc::GET_TEST_RESULT)).unwrap();
        assert_eq!(reply.parameters, [0; 6]);
    }

    #[test]
    fn a_failed_tpm_says_what_failed_and_answers_nothing_else() {
        let mut client = Client::started();
        client.tpm.fail("SHA-256");
        assert_eq!(client.rc(&command(Cc::GET_RANDOM).put(1u16)), Rc::FAILURE);
        let reply = client.run(&command(Cc::GET_TEST_RESULT)).unwrap();
        assert_eq!(reply.parameters, *b"\0\x07SHA-256\0\0\x01\x01");
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
    }
}
