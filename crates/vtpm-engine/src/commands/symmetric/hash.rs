//! TPM2_Hash: Part 3, clause 15.4, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::{HashAlg, hash_public};
use crate::hierarchy::Hierarchy;
use crate::object::sequence::starts_as_generated;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Digest, HandleInterface, MaxBuffer, Rc, RhHierarchy, Tag, Ticket};

command! {
    /// Computes the digest of some data, with a ticket that it may be signed by a restricted key.
    #[doc(alias = "TPM2_Hash")]
    Command {
        handles {}
        parameters {
            /// The data.
            data: MaxBuffer,
            /// The hash algorithm.
            hash_alg: HashAlg,
            /// The hierarchy of the ticket; none gives no ticket.
            hierarchy: Option<RhHierarchy>,
        }
    }
    Response {
        parameters {
            /// The digest.
            out_hash: Digest,
            /// The ticket; a null ticket when the data might be taken for an attestation.
            validation: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let digest = hash_public(command.hash_alg, &command.data);
    let hierarchy = Hierarchy::of(command.hierarchy.handle()).ok_or(Rc::VALUE.parameter(3))?;
    let validation = if starts_as_generated(&command.data) {
        Ticket::null(Tag::HASHCHECK)
    } else {
        tpm.hash_check_ticket(hierarchy, command.hash_alg, &digest)
    };
    Ok(Response { out_hash: Digest::from_slice(&digest), validation })
}

#[cfg(test)]
mod tests {
    use crate::object::key::testing::bytes;
    use crate::profile::Algorithms;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Digest, Handle, HashCheckTicket, MaxBuffer, Rc, Reader, Tag};

    fn hash(data: &[u8], alg: Alg, hierarchy: Handle) -> CommandBuilder {
        command(Cc::HASH).put(MaxBuffer::from_slice(data)).put(alg).put(hierarchy)
    }

    fn parse(response: &[u8]) -> (Digest, HashCheckTicket) {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(response, &algorithms);
        (reader.get().unwrap(), reader.get().unwrap())
    }

    #[test]
    fn the_digest_comes_with_a_ticket_over_algorithm_and_digest() {
        let mut client = Client::started();
        let response = client.run(&hash(b"abc", Alg::SHA256, Handle::OWNER)).unwrap();
        let (digest, ticket) = parse(&response.parameters);
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(*digest, *bytes(expected));
        assert_eq!(ticket.0.hierarchy, Handle::OWNER);
        let alg = Alg::SHA256.0.to_be_bytes();
        assert!(client.tpm.is_ticket_valid(&ticket.0, &[&alg, &digest]));
        assert!(!client.tpm.is_ticket_valid(&ticket.0, &[&alg, b"other"]));
    }

    #[test]
    fn data_that_looks_like_an_attestation_gets_a_null_ticket() {
        let mut client = Client::started();
        for (data, null) in
            [(&b"\xffTCG"[..], true), (b"\xffTCG and more", true), (b"\xffTC", false), (b"", false)]
        {
            let response = client.run(&hash(data, Alg::SHA1, Handle::ENDORSEMENT)).unwrap();
            let (_, ticket) = parse(&response.parameters);
            assert_eq!(ticket.0.tag, Tag::HASHCHECK);
            assert_eq!(ticket.0.hierarchy == Handle::NULL, null);
            assert_eq!(ticket.0.digest.is_empty(), null);
        }
    }

    #[test]
    fn no_hierarchy_gives_a_null_ticket() {
        let mut client = Client::started();
        let response = client.run(&hash(b"abc", Alg::SHA512, Handle::NULL)).unwrap();
        let (digest, ticket) = parse(&response.parameters);
        assert_eq!(digest.len(), 64);
        assert_eq!((ticket.0.hierarchy, ticket.0.digest.len()), (Handle::NULL, 0));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let mut client = Client::started();
        let rc = client.rc(&hash(b"", Alg::NULL, Handle::OWNER));
        assert_eq!(rc, Rc::HASH.parameter(2));
        let rc = client.rc(&hash(b"", Alg::SHA256, Handle::LOCKOUT));
        assert_eq!(rc, Rc::VALUE.parameter(3));
        let long = command(Cc::HASH).put(1025u16).bytes(&[0; 1025]);
        assert_eq!(client.rc(&long), Rc::SIZE.parameter(1));
    }
}
