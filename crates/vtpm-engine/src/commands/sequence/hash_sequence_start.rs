//! TPM2_HashSequenceStart: Part 3, clause 17.4, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::HashAlg;
use crate::object::sequence::SequenceState;
use crate::pcr::EventHashes;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, Rc};

command! {
    /// Starts a sequence that computes one digest, or one for each PCR bank.
    #[doc(alias = "TPM2_HashSequenceStart")]
    Command {
        handles {}
        parameters {
            /// Authorization value of the sequence.
            auth: Auth,
            /// The hash algorithm; none starts an event sequence.
            hash_alg: Option<HashAlg>,
        }
    }
    Response {
        handle {
            /// The sequence.
            sequence_handle
        }
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let state = match command.hash_alg {
        Some(alg) => SequenceState::hash(alg),
        None => SequenceState::Event(EventHashes::new(&tpm.pcrs)),
    };
    Ok(Response { sequence_handle: tpm.start_sequence(command.auth, state)? })
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Alg, Auth, Cc, Handle, Rc};

    #[test]
    fn sequences_take_object_slots() {
        let mut client = Client::started();
        let start = command(Cc::HASH_SEQUENCE_START).put(Auth::empty());
        for (position, alg) in [Alg::SHA1, Alg::NULL, Alg::SHA512].into_iter().enumerate() {
            let response = client.run(&start.clone().put(alg)).unwrap();
            assert_eq!(response.handle, Some(Handle(0x8000_0000 + position as u32)));
        }
        assert_eq!(client.rc(&start.put(Alg::SHA1)), Rc::OBJECT_MEMORY);
    }

    #[test]
    fn an_unknown_hash_is_refused() {
        let mut client = Client::started();
        let start = command(Cc::HASH_SEQUENCE_START).put(Auth::empty()).put(Alg::AES);
        assert_eq!(client.rc(&start), Rc::HASH.parameter(2));
    }
}
