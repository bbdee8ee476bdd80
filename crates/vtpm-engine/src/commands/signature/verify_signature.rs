//! TPM2_VerifySignature: Part 3, clause 20.1, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, Digest, ObjectAttributes, Rc, Signature, Tag, Ticket};

command! {
    /// Verifies a signature of a digest, and gives a ticket that says so.
    #[doc(alias = "TPM2_VerifySignature")]
    Command {
        handles {
            /// The key; of an asymmetric one, the public area is enough.
            key_handle: DhObject,
        }
        parameters {
            /// What was signed.
            digest: Digest,
            /// The signature.
            signature: Signature,
        }
    }
    Response {
        parameters {
            /// Proof of the verification; it proves nothing for a key of the null hierarchy.
            validation: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let key = tpm.object(command.key_handle).map_err(|_| Rc::ATTRIBUTES.handle(1))?;
    if !key.public.has(ObjectAttributes::SIGN) {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    tpm.verify(&key, &command.signature, &command.digest).map_err(|rc| rc.parameter(2))?;
    let validation = match key.public.name_alg {
        Some(_) => tpm.verified_ticket(key.hierarchy, &command.digest, &key.name),
        // Without a name the ticket could not say which key it was.
        None => Ticket::null(Tag::VERIFIED),
    };
    Ok(Response { validation })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::hierarchy::Hierarchy;
    use crate::sign::test_keys::{self, public_only, without};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Cc, Digest, Handle, KeyedHashScheme, Marshal, ObjectAttributes, Rc, Scheme, Signature, Tag,
        Ticket,
    };

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn verify(key: Handle, digest: &[u8], signature: &Signature) -> CommandBuilder {
        command(Cc::VERIFY_SIGNATURE).handle(key).put(Digest::from_slice(digest)).put(signature)
    }

    #[test]
    fn a_valid_signature_gives_a_ticket_of_the_keys_hierarchy() {
        let mut client = Client::started();
        let key = test_keys::ecc(Curve::P256, ECDSA);
        let signature = client.tpm.sign(&key, ECDSA, &[5; 32]).unwrap();
        let name = key.name.clone();
        let handle = client.load(public_only(key));
        let response = client.run(&verify(handle, &[5; 32], &signature)).unwrap();
        let ticket = client.tpm.verified_ticket(Hierarchy::Owner, &[5; 32], &name);
        assert_eq!(ticket.hierarchy, Handle::OWNER);
        assert_eq!(response.parameters, ticket.to_bytes());
    }

    #[test]
    fn a_key_of_the_null_hierarchy_or_without_a_name_gives_a_ticket_that_proves_nothing() {
        let mut client = Client::started();
        for nameless in [false, true] {
            let mut key = test_keys::ecc(Curve::P256, ECDSA);
            if nameless {
                key.public.name_alg = None;
            } else {
                key.hierarchy = Hierarchy::Null;
            }
            let signature = client.tpm.sign(&key, ECDSA, &[5; 32]).unwrap();
            let handle = client.load(key);
            let response = client.run(&verify(handle, &[5; 32], &signature)).unwrap();
            assert_eq!(response.parameters, Ticket::null(Tag::VERIFIED).to_bytes());
        }
    }

    #[test]
    fn a_signature_of_something_else_is_named() {
        let mut client = Client::started();
        let key = test_keys::ecc(Curve::P256, ECDSA);
        let signature = client.tpm.sign(&key, ECDSA, &[5; 32]).unwrap();
        let handle = client.load(key);
        let command = verify(handle, &[6; 32], &signature);
        assert_eq!(client.rc(&command), Rc::SIGNATURE.parameter(2));
    }

    #[test]
    fn a_key_that_does_not_sign_is_refused() {
        let mut client = Client::started();
        let key = test_keys::ecc(Curve::P256, ECDSA);
        let signature = client.tpm.sign(&key, ECDSA, &[5; 32]).unwrap();
        let key = client.load(without(key, ObjectAttributes::SIGN));
        let refused = Rc::ATTRIBUTES.handle(1);
        assert_eq!(client.rc(&verify(key, &[5; 32], &signature)), refused);
        let sequence = client.load_sequence();
        assert_eq!(client.rc(&verify(sequence, &[5; 32], &signature)), refused);
    }

    #[test]
    fn a_scheme_that_the_key_cannot_verify_is_named() {
        let mut client = Client::started();
        let key = test_keys::ecc(Curve::P256, ECDSA);
        let signature = client.tpm.sign(&key, ECDSA, &[5; 32]).unwrap();
        let Signature::Ecc { r, s, .. } = signature.clone() else { panic!("no ECC signature") };
        let (key, rsa) = (client.load(key), client.load(test_keys::rsa(Scheme::Null)));
        let anonymous = Signature::Ecc { scheme: Scheme::Ecdaa(HashAlg::Sha256, 0), r, s };
        let refused = Rc::SCHEME.parameter(2);
        assert_eq!(client.rc(&verify(key, &[5; 32], &anonymous)), refused);
        assert_eq!(client.rc(&verify(rsa, &[5; 32], &signature)), refused);
    }

    #[test]
    fn an_hmac_needs_the_private_area() {
        let mut client = Client::started();
        let key = test_keys::hmac(KeyedHashScheme::Null);
        let signature = client.tpm.sign(&key, Scheme::Hmac(HashAlg::Sha256), &[5; 32]).unwrap();
        let handle = client.load(public_only(key));
        let command = verify(handle, &[5; 32], &signature);
        assert_eq!(client.rc(&command), Rc::HANDLE.parameter(2));
    }

    #[test]
    fn the_null_signature_is_no_signature() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let command = verify(key, &[5; 32], &Signature::Null);
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
    }
}
