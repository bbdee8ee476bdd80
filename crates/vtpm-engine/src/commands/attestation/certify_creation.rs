//! TPM2_CertifyCreation: Part 3, clause 18.3, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Attested, CreationTicket, Data, DhObject, Digest, Rc, SigScheme, Signature};

command! {
    /// States that this TPM created an object, and the digest of its creation data.
    #[doc(alias = "TPM2_CertifyCreation")]
    Command {
        handles {
            /// The key that signs.
            sign_handle: Option<DhObject>,
            /// The object.
            object_handle: DhObject,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// Digest of the creation data.
            creation_hash: Digest,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
            /// Proof that creation data and object belong together.
            creation_ticket: CreationTicket,
        }
    }
    Response {
        parameters {
            /// The statement.
            certify_info: AttestBuffer,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let attester = tpm.attester(command.sign_handle, 1, command.in_scheme.0, 3)?;
    let object = tpm.object(command.object_handle).map_err(|rc| rc.handle(2))?;
    let CreationTicket(ticket) = &command.creation_ticket;
    if !tpm.is_ticket_valid(ticket, &[&object.name, &command.creation_hash]) {
        return Err(Rc::TICKET.parameter(4));
    }
    let attested = Attested::Creation(object.name.clone(), command.creation_hash);
    let (certify_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { certify_info, signature })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::hierarchy::Hierarchy;
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Data, Digest, Handle, Marshal, Rc, Scheme, Tag, Ticket};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);
    const HASH: [u8; 32] = [6; 32];

    fn certify(key: Handle, object: Handle, scheme: Scheme, ticket: &Ticket) -> CommandBuilder {
        command(Cc::CERTIFY_CREATION)
            .handle(key)
            .handle(object)
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(Digest::from_slice(&HASH))
            .put(scheme)
            .put(ticket)
    }

    fn setup() -> (Client, Handle, Handle, Ticket) {
        let mut client = Client::started();
        let object = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let name = client.key(object).name.clone();
        let ticket = client.tpm.creation_ticket(Hierarchy::Owner, &name, &HASH);
        (client, key, object, ticket)
    }

    #[test]
    fn name_and_creation_hash_are_signed() {
        let (mut client, key, object, ticket) = setup();
        let response = client.run(&certify(key, object, Scheme::Null, &ticket)).unwrap();
        let signer = client.key(key);
        let attest = checked_attest(&client, Some(&signer), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_CREATION);
        let name = client.key(object).name.to_bytes();
        assert_eq!(attest.attested, [name, Digest::from_slice(&HASH).to_bytes()].concat());
    }

    #[test]
    fn without_a_key_the_signature_is_null() {
        let (mut client, _, object, ticket) = setup();
        let response = client.run(&certify(Handle::NULL, object, Scheme::Null, &ticket)).unwrap();
        checked_attest(&client, None, &response.parameters);
    }

    #[test]
    fn a_ticket_of_another_object_hierarchy_or_hash_is_named() {
        let (mut client, key, object, ticket) = setup();
        let refused = Rc::TICKET.parameter(4);
        assert_eq!(client.rc(&certify(key, key, Scheme::Null, &ticket)), refused);
        let other = Ticket { hierarchy: Handle::PLATFORM, ..ticket };
        assert_eq!(client.rc(&certify(key, object, Scheme::Null, &other)), refused);
        let name = client.key(object).name.clone();
        let other = client.tpm.creation_ticket(Hierarchy::Owner, &name, &[7; 32]);
        assert_eq!(client.rc(&certify(key, object, Scheme::Null, &other)), refused);
        let empty = Ticket::null(Tag::CREATION);
        assert_eq!(client.rc(&certify(key, object, Scheme::Null, &empty)), refused);
    }

    #[test]
    fn key_and_scheme_are_checked_before_the_ticket() {
        let (mut client, key, object, _) = setup();
        let empty = Ticket::null(Tag::CREATION);
        let command = certify(object, object, Scheme::Null, &empty);
        assert_eq!(client.rc(&command), Rc::KEY.handle(1));
        let command = certify(key, object, Scheme::EcSchnorr(HashAlg::Sha256), &empty);
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(3));
    }
}
