//! TPM2_SequenceUpdate: Part 3, clause 17.5, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, MaxBuffer, Rc};

command! {
    /// Adds data to a sequence.
    #[doc(alias = "TPM2_SequenceUpdate")]
    Command {
        handles {
            /// The sequence.
            sequence_handle: DhObject,
        }
        parameters {
            /// The data.
            buffer: MaxBuffer,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let sequence = tpm.sequence_mut(command.sequence_handle).map_err(|rc| rc.handle(1))?;
    sequence.state.update(&command.buffer);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{hmac_key, load};
    use crate::test_util::{Client, command};
    use crate::wire::{Alg, Auth, Cc, KeyedHashScheme, MaxBuffer, ObjectAttributes as A, Rc};

    #[test]
    fn an_object_is_no_sequence() {
        let mut client = Client::started();
        let key = load(&mut client, hmac_key(A::SIGN, KeyedHashScheme::Null, b"key"));
        let update = command(Cc::SEQUENCE_UPDATE).handle(key).password(b"").put(MaxBuffer::empty());
        assert_eq!(client.rc(&update), Rc::MODE.handle(1));
    }

    #[test]
    fn the_authorization_value_is_needed_and_a_failure_is_not_counted() {
        let mut client = Client::started();
        let start = command(Cc::HASH_SEQUENCE_START).put(Auth::from_slice(b"auth"));
        let sequence = client.run(&start.put(Alg::SHA256)).unwrap().handle.unwrap();
        let update = command(Cc::SEQUENCE_UPDATE).handle(sequence);
        let wrong = update.clone().password(b"other").put(MaxBuffer::empty());
        assert_eq!(client.rc(&wrong), Rc::BAD_AUTH.session(1));
        client.run(&update.password(b"auth").put(MaxBuffer::empty())).unwrap();
    }
}
