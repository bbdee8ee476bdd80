//! TPM2_GetRandom: Part 3, clause 16.1, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Digest, MAX_DIGEST, Rc};

command! {
    /// Returns the next bytes of the random number generator.
    #[doc(alias = "TPM2_GetRandom")]
    Command {
        handles {}
        parameters {
            /// How many; more than the largest digest gives as many as that.
            bytes_requested: u16,
        }
    }
    Response {
        parameters {
            /// The bytes.
            random_bytes: Digest,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let size = usize::from(command.bytes_requested).min(MAX_DIGEST);
    Ok(Response { random_bytes: Digest::from_slice(&tpm.random(size)) })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc};

    #[test]
    fn as_many_bytes_as_requested_are_returned() {
        let mut client = Client::started();
        let response = client.run(&command(Cc::GET_RANDOM).put(20u16)).unwrap();
        assert_eq!(response.parameters.len(), 2 + 20);
        assert_ne!(response.parameters[2..], [0; 20]);
    }

    #[test]
    fn no_more_than_the_largest_digest_is_returned() {
        let mut client = Client::started();
        let response = client.run(&command(Cc::GET_RANDOM).put(65535u16)).unwrap();
        assert_eq!(response.parameters[..2], [0, 64]);
    }

    #[test]
    fn two_calls_differ() {
        let mut client = Client::started();
        let first = client.run(&command(Cc::GET_RANDOM).put(32u16)).unwrap();
        let second = client.run(&command(Cc::GET_RANDOM).put(32u16)).unwrap();
        assert_ne!(first.parameters, second.parameters);
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let mut client = Client::started();
        assert_eq!(client.rc(&command(Cc::GET_RANDOM)), Rc::INSUFFICIENT.parameter(1));
    }
}
