//! TPM2_Sign: Part 3, clause 20.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Alg, DhObject, Digest, HashCheckTicket, Marshal, ObjectAttributes, Rc, SigScheme, Signature,
};

command! {
    /// Signs a digest that the caller gives.
    #[doc(alias = "TPM2_Sign")]
    Command {
        handles {
            /// The key.
            key_handle: DhObject,
        }
        parameters {
            /// What to sign.
            digest: Digest,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
            /// For a restricted key, proof that this TPM made the digest, of data that does not
            /// look like an attestation.
            validation: HashCheckTicket,
        }
    }
    Response {
        parameters {
            /// The signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.signing_key(command.key_handle).map_err(|rc| rc.handle(1))?;
    if key.public.has(ObjectAttributes::X509_SIGN) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let scheme = tpm.select_scheme(&key, command.in_scheme.0).map_err(|rc| rc.parameter(2))?;
    let alg = scheme.hash().ok_or(Rc::SCHEME.parameter(2))?;
    let HashCheckTicket(ticket) = command.validation;
    if key.public.has(ObjectAttributes::RESTRICTED) || !ticket.digest.is_empty() {
        // A ticket of the null hierarchy counts too, but an empty one never does.
        if !tpm.is_ticket_valid(&ticket, &[&Alg(alg.id()).to_bytes(), &command.digest]) {
            return Err(Rc::TICKET.parameter(3));
        }
    } else if command.digest.len() != alg.digest_size() {
        return Err(Rc::SIZE.parameter(1));
    }
    Ok(Response { signature: tpm.sign(&key, scheme, &command.digest)? })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::hierarchy::Hierarchy;
    use crate::profile::Algorithms;
    use crate::sign::test_keys::{self, with, without};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Cc, Digest, Handle, KeyedHashScheme, ObjectAttributes, Rc, Reader, Scheme, Signature, Tag,
        Ticket,
    };

    const OWN: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn sign(key: Handle, size: usize, scheme: Scheme, ticket: Ticket) -> CommandBuilder {
        command(Cc::SIGN)
            .handle(key)
            .password(b"")
            .put(Digest::from(vec![3; size]))
            .put(scheme)
            .put(ticket)
    }

    fn no_ticket() -> Ticket {
        Ticket::null(Tag::HASHCHECK)
    }

    #[test]
    fn a_signature_of_the_digest_is_returned() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, OWN));
        let response = client.run(&sign(key, 32, Scheme::Null, no_ticket())).unwrap();
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&response.parameters, &algorithms);
        let signature = reader.get::<Signature>().unwrap();
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(signature.scheme(), OWN);
        assert_eq!(client.tpm.verify(&client.key(key), &signature, &[3; 32]), Ok(()));
    }

    #[test]
    fn what_is_no_signing_key_does_not_sign() {
        let mut client = Client::started();
        let keys = [
            client.load(test_keys::aes()),
            client.load(without(test_keys::ecc(Curve::P256, OWN), ObjectAttributes::SIGN)),
            client.load_sequence(),
        ];
        for key in keys {
            let command = sign(key, 32, Scheme::Null, no_ticket());
            assert_eq!(client.rc(&command), Rc::KEY.handle(1));
        }
    }

    #[test]
    fn a_key_for_certificates_signs_nothing_else() {
        let mut client = Client::started();
        let key = with(test_keys::ecc(Curve::P256, OWN), ObjectAttributes::X509_SIGN);
        let key = client.load(key);
        let command = sign(key, 32, Scheme::Null, no_ticket());
        assert_eq!(client.rc(&command), Rc::ATTRIBUTES.handle(1));
    }

    #[test]
    fn a_scheme_that_contradicts_the_key_is_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, OWN));
        for scheme in [Scheme::Ecdsa(HashAlg::Sha1), Scheme::Rsassa(HashAlg::Sha256)] {
            let command = sign(key, 32, scheme, no_ticket());
            assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        }
        let free = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let command = sign(free, 32, Scheme::Null, no_ticket());
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }

    #[test]
    fn a_scheme_of_another_kind_of_key_is_named() {
        let mut client = Client::started();
        let free = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let command = sign(free, 32, Scheme::Rsassa(HashAlg::Sha256), no_ticket());
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }

    /// CVE-2025-2884, as a guest would try it: an HMAC key without a scheme and the scheme of an
    /// asymmetric key, with each hash that makes the digest longer or shorter.
    #[test]
    fn an_hmac_key_refuses_the_schemes_of_asymmetric_keys() {
        let mut client = Client::started();
        let key = with(test_keys::hmac(KeyedHashScheme::Null), ObjectAttributes::DECRYPT);
        let key = client.load(key);
        for alg in HashAlg::ALL {
            for scheme in [Scheme::Rsassa(alg), Scheme::Ecdaa(alg, 0xffff), Scheme::Ecdsa(alg)] {
                let command = sign(key, alg.digest_size(), scheme, no_ticket());
                assert_eq!(client.rc(&command), Rc::SCHEME);
            }
            client.run(&sign(key, alg.digest_size(), Scheme::Hmac(alg), no_ticket())).unwrap();
        }
    }

    #[test]
    fn a_digest_of_another_size_than_the_hash_is_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, OWN));
        for size in [0, 31, 33] {
            let command = sign(key, size, Scheme::Null, no_ticket());
            assert_eq!(client.rc(&command), Rc::SIZE.parameter(1));
        }
    }

    #[test]
    fn a_restricted_key_needs_a_ticket() {
        let mut client = Client::started();
        let restricted = with(test_keys::ecc(Curve::P256, OWN), ObjectAttributes::RESTRICTED);
        let key = client.load(restricted);
        let refused = Rc::TICKET.parameter(3);
        assert_eq!(client.rc(&sign(key, 32, Scheme::Null, no_ticket())), refused);
        let ticket = client.tpm.hash_check_ticket(Hierarchy::Owner, HashAlg::Sha256, &[3; 32]);
        client.run(&sign(key, 32, Scheme::Null, ticket)).unwrap();
        let other = client.tpm.hash_check_ticket(Hierarchy::Owner, HashAlg::Sha256, &[4; 32]);
        assert_eq!(client.rc(&sign(key, 32, Scheme::Null, other)), refused);
        let other = client.tpm.hash_check_ticket(Hierarchy::Owner, HashAlg::Sha1, &[3; 32]);
        assert_eq!(client.rc(&sign(key, 32, Scheme::Null, other)), refused);
    }

    #[test]
    fn a_ticket_that_is_given_must_be_valid_for_any_key() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, OWN));
        let mut ticket = client.tpm.hash_check_ticket(Hierarchy::Owner, HashAlg::Sha256, &[3; 32]);
        client.run(&sign(key, 32, Scheme::Null, ticket.clone())).unwrap();
        ticket.hierarchy = Handle::ENDORSEMENT;
        let command = sign(key, 32, Scheme::Null, ticket);
        assert_eq!(client.rc(&command), Rc::TICKET.parameter(3));
    }

    #[test]
    fn a_ticket_of_another_kind_is_named() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, OWN));
        let command = sign(key, 32, Scheme::Null, Ticket::null(Tag::VERIFIED));
        assert_eq!(client.rc(&command), Rc::TAG.parameter(3));
    }

    #[test]
    fn an_anonymous_signature_needs_an_open_commitment() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, Scheme::Ecdaa(HashAlg::Sha256, 0)));
        let command = sign(key, 32, Scheme::Ecdaa(HashAlg::Sha256, 0), no_ticket());
        assert_eq!(client.rc(&command), Rc::VALUE);
    }
}
