//! TPM2_GetCommandAuditDigest: Part 3, clause 18.6, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Alg, Attested, Data, DhObject, Digest, Rc, RhEndorsement, SigScheme, Signature};

command! {
    /// States the digest of the audited commands, which then starts anew.
    #[doc(alias = "TPM2_GetCommandAuditDigest")]
    Command {
        handles {
            /// The endorsement hierarchy.
            privacy_handle: RhEndorsement,
            /// The key that signs; without one, the digest goes on.
            sign_handle: Option<DhObject>,
        }
        parameters {
            /// From the caller, such as a nonce.
            qualifying_data: Data,
            /// The scheme, unless the key has one.
            in_scheme: SigScheme,
        }
    }
    Response {
        parameters {
            /// The statement.
            audit_info: AttestBuffer,
            /// Its signature.
            signature: Signature,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let attester = tpm.attester(command.sign_handle, 2, command.in_scheme.0, 2)?;
    let audit = &tpm.permanent.audit;
    let attested = Attested::CommandAudit(
        audit.counter,
        Alg(audit.alg.id()),
        tpm.reset.command_audit_digest.clone(),
        audit.command_digest(),
    );
    let (audit_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    if attester.key.is_some() {
        tpm.reset.command_audit_digest = Digest::empty();
    }
    Ok(Response { audit_info, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::{HashAlg, hash};
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Marshal, Scheme, Tag};

    const ECDSA: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn get(key: Handle, scheme: Scheme) -> CommandBuilder {
        command(Cc::GET_COMMAND_AUDIT_DIGEST)
            .handle(Handle::ENDORSEMENT)
            .handle(key)
            .password(b"")
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
    }

    fn audit_random(client: &mut Client) {
        client.tpm.permanent.audit.add(Cc::GET_RANDOM);
        client.run(&command(Cc::GET_RANDOM).put(4u16)).unwrap();
    }

    #[test]
    fn counter_and_digests_are_signed_and_the_digest_starts_anew() {
        let mut client = Client::started();
        audit_random(&mut client);
        let digest = client.tpm.reset.command_audit_digest.clone();
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        let response = client.run(&get(key, Scheme::Null)).unwrap();
        let signer = client.key(key);
        let attest = checked_attest(&client, Some(&signer), &response.parameters);
        assert_eq!(attest.tag, Tag::ATTEST_COMMAND_AUDIT);
        let codes =
            [Cc::SET_COMMAND_CODE_AUDIT_STATUS.0.to_be_bytes(), Cc::GET_RANDOM.0.to_be_bytes()];
        let list = Digest::from_slice(&hash(HashAlg::Sha512, &[&codes[0], &codes[1]]));
        let expected =
            [1u64.to_bytes(), Alg::SHA512.to_bytes(), digest.to_bytes(), list.to_bytes()];
        assert_eq!(attest.attested, expected.concat());
        assert!(client.tpm.reset.command_audit_digest.is_empty());
        audit_random(&mut client);
        assert_eq!(client.tpm.permanent.audit.counter, 2);
    }

    #[test]
    fn without_a_key_the_digest_goes_on() {
        let mut client = Client::started();
        audit_random(&mut client);
        let digest = client.tpm.reset.command_audit_digest.clone();
        let response = client.run(&get(Handle::NULL, Scheme::Null)).unwrap();
        checked_attest(&client, None, &response.parameters);
        assert_eq!(client.tpm.reset.command_audit_digest, digest);
    }

    #[test]
    fn an_audited_reading_is_the_first_command_of_the_new_digest() {
        let mut client = Client::started();
        audit_random(&mut client);
        client.tpm.permanent.audit.add(Cc::GET_COMMAND_AUDIT_DIGEST);
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        client.run(&get(key, Scheme::Null)).unwrap();
        assert_eq!(client.tpm.permanent.audit.counter, 2);
        assert_eq!(client.tpm.reset.command_audit_digest.len(), 64);
    }

    #[test]
    fn key_scheme_and_hierarchy_are_checked_and_a_failure_keeps_the_digest() {
        let mut client = Client::started();
        audit_random(&mut client);
        let digest = client.tpm.reset.command_audit_digest.clone();
        let aes = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, ECDSA));
        assert_eq!(client.rc(&get(aes, Scheme::Null)), Rc::KEY.handle(2));
        let command = get(key, Scheme::Hmac(HashAlg::Sha256));
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        let free = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let command = get(free, Scheme::Hmac(HashAlg::Sha256));
        assert_eq!(client.rc(&command), Rc::SCHEME.parameter(2));
        assert_eq!(client.tpm.reset.command_audit_digest, digest);
    }
}
