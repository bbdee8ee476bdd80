//! TPM2_SequenceComplete: Part 3, clause 17.6, revision 1.59.

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::sequence::SequenceState;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Digest, HandleInterface, MaxBuffer, Rc, RhHierarchy, Tag, Ticket};

command! {
    /// Adds the last data to a hash or MAC sequence, returns its result and ends it.
    #[doc(alias = "TPM2_SequenceComplete")]
    Command {
        handles {
            /// The sequence.
            sequence_handle: DhObject,
        }
        parameters {
            /// The last data.
            buffer: MaxBuffer,
            /// The hierarchy of the ticket; none gives no ticket.
            hierarchy: Option<RhHierarchy>,
        }
    }
    Response {
        parameters {
            /// The digest or MAC.
            result: Digest,
            /// Of a digest, the ticket; a null ticket when the data might be taken for an
            /// attestation.
            validation: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let hierarchy = Hierarchy::of(command.hierarchy.handle()).ok_or(Rc::VALUE.parameter(2))?;
    let mut state = tpm
        .end_sequence(command.sequence_handle, |state| !matches!(state, SequenceState::Event(_)))?;
    state.update(&command.buffer);
    if let SequenceState::Hash { hasher, ticket_safe } = state {
        let alg = hasher.alg();
        let digest = hasher.finish();
        let validation = match ticket_safe {
            Some(true) => tpm.hash_check_ticket(hierarchy, alg, &digest),
            _ => Ticket::null(Tag::HASHCHECK),
        };
        return Ok(Response { result: Digest::from_slice(&digest), validation });
    }
    let result = state.finish_mac().ok_or(Rc::FAILURE)?;
    Ok(Response { result, validation: Ticket::null(Tag::HASHCHECK) })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::{hmac_key, load};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Alg, Auth, Cc, Handle, KeyedHashScheme, MaxBuffer, ObjectAttributes as A, Rc,
    };

    fn start(client: &mut Client, alg: Alg) -> Handle {
        let start = command(Cc::HASH_SEQUENCE_START).put(Auth::empty()).put(alg);
        client.run(&start).unwrap().handle.unwrap()
    }

    fn update(sequence: Handle, data: &[u8]) -> CommandBuilder {
        command(Cc::SEQUENCE_UPDATE).handle(sequence).password(b"").put(MaxBuffer::from_slice(data))
    }

    fn complete(sequence: Handle, data: &[u8], hierarchy: Handle) -> CommandBuilder {
        command(Cc::SEQUENCE_COMPLETE)
            .handle(sequence)
            .password(b"")
            .put(MaxBuffer::from_slice(data))
            .put(hierarchy)
    }

    fn hash(client: &mut Client, data: &[u8]) -> Vec<u8> {
        let hash =
            command(Cc::HASH).put(MaxBuffer::from_slice(data)).put(Alg::SHA256).put(Handle::OWNER);
        client.run(&hash).unwrap().parameters
    }

    #[test]
    fn digest_and_ticket_are_those_of_the_whole() {
        let mut client = Client::started();
        let expected = hash(&mut client, b"one two three");
        let sequence = start(&mut client, Alg::SHA256);
        client.run(&update(sequence, b"one two")).unwrap();
        let response = client.run(&complete(sequence, b" three", Handle::OWNER)).unwrap();
        assert_eq!(response.parameters, expected);
    }

    #[test]
    fn the_sequence_is_gone_afterwards() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::SHA256);
        client.run(&complete(sequence, b"", Handle::NULL)).unwrap();
        let rc = client.rc(&complete(sequence, b"", Handle::NULL));
        assert_eq!(rc, Rc::reference_handle(0));
    }

    #[test]
    fn data_that_might_be_taken_for_an_attestation_gets_a_null_ticket() {
        let mut client = Client::started();
        let null = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
        for (pieces, last) in [
            (&[][..], &b"\xffTCG data"[..]),
            (&[&b"\xffTCG data"[..]], b"more"),
            (&[b"\xff", b"TCG"], b"more"),
            // Too little to tell.
            (&[], b"abc"),
            (&[b""], b"data"),
        ] {
            let sequence = start(&mut client, Alg::SHA256);
            for piece in pieces {
                client.run(&update(sequence, piece)).unwrap();
            }
            let response = client.run(&complete(sequence, last, Handle::OWNER)).unwrap();
            assert_eq!(response.parameters[34..], null);
        }
        let sequence = start(&mut client, Alg::SHA256);
        let response = client.run(&complete(sequence, b"data", Handle::OWNER)).unwrap();
        assert_eq!(response.parameters, hash(&mut client, b"data"));
        let sequence = start(&mut client, Alg::SHA256);
        let response = client.run(&complete(sequence, b"data", Handle::NULL)).unwrap();
        assert_eq!(response.parameters[34..], null);
    }

    #[test]
    fn an_object_or_an_event_sequence_is_refused() {
        let mut client = Client::started();
        let key = load(&mut client, hmac_key(A::SIGN, KeyedHashScheme::Null, b"key"));
        let event = start(&mut client, Alg::NULL);
        for handle in [key, event] {
            let rc = client.rc(&complete(handle, b"", Handle::NULL));
            assert_eq!(rc, Rc::MODE.handle(1));
        }
        // It is still there.
        client.run(&update(event, b"data")).unwrap();
    }

    #[test]
    fn a_wrong_hierarchy_is_refused() {
        let mut client = Client::started();
        let sequence = start(&mut client, Alg::SHA256);
        let rc = client.rc(&complete(sequence, b"", Handle::LOCKOUT));
        assert_eq!(rc, Rc::VALUE.parameter(2));
    }
}
