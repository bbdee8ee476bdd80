//! TPM2_StirRandom: Part 3, clause 16.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, SensitiveData};

command! {
    /// Adds to the state of the random number generator.
    #[doc(alias = "TPM2_StirRandom")]
    Command {
        handles {}
        parameters {
            /// Anything.
            in_data: SensitiveData,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let mut entropy = zeroize::Zeroizing::new([0; 48]);
    if !tpm.platform.entropy(entropy.as_mut()) {
        tpm.fail("entropy source");
        return Err(Rc::FAILURE);
    }
    tpm.drbg.reseed(entropy.as_ref(), &command.in_data);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Rc, SensitiveData};

    #[test]
    fn it_changes_what_comes_next() {
        let next = |stir: bool| {
            let mut client = Client::started();
            if stir {
                let data = SensitiveData::from_slice(b"salt");
                client.run(&command(Cc::STIR_RANDOM).put(data)).unwrap();
            }
            client.run(&command(Cc::GET_RANDOM).put(32u16)).unwrap().parameters
        };
        assert_ne!(next(true), next(false));
    }

    #[test]
    fn too_much_is_refused() {
        let mut client = Client::started();
        let bad = command(Cc::STIR_RANDOM).put(129u16).bytes(&[0; 129]);
        assert_eq!(client.rc(&bad), Rc::SIZE.parameter(1));
    }
}
