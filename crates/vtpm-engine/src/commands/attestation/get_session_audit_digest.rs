//! TPM2_GetSessionAuditDigest: Part 3, clause 18.5, revision 1.59.

use crate::attest::AttestBuffer;
use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Attested, Data, DhObject, HandleInterface, Rc, RhEndorsement, ShHmac, SigScheme, Signature,
};

command! {
    /// States the digest of an audit session.
    #[doc(alias = "TPM2_GetSessionAuditDigest")]
    Command {
        handles {
            /// The endorsement hierarchy.
            privacy_admin_handle: RhEndorsement,
            /// The key that signs.
            sign_handle: Option<DhObject>,
            /// The session.
            session_handle: ShHmac,
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
    let handle = command.session_handle.handle();
    let session = tpm.sessions.get(handle).ok_or(Rc::FAILURE)?;
    let digest = session.audit.clone().ok_or(Rc::TYPE.handle(3))?;
    let attested = Attested::SessionAudit(tpm.sessions.exclusive == Some(handle), digest);
    let (audit_info, signature) = tpm.attest(&attester, command.qualifying_data, attested)?;
    Ok(Response { audit_info, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::session::{PolicyState, Session, SessionKey, SessionKind};
    use crate::sign::test_keys::{self, checked_attest};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, Handle, Marshal, Nonce, Scheme, SymDef, Tag};

    fn start_session(client: &mut Client, audit: Option<Digest>) -> Handle {
        let session = Session {
            kind: SessionKind::Hmac,
            hash: HashAlg::Sha256,
            symmetric: SymDef::Null,
            nonce_tpm: Nonce::from_slice(&[1; 16]),
            key: SessionKey::empty(),
            bound: None,
            bound_da: false,
            bound_lockout: false,
            audit,
            policy: PolicyState::new(HashAlg::Sha256, 0, 0),
        };
        client.tpm.sessions.insert(session).unwrap()
    }

    fn get(key: Handle, session: Handle, scheme: Scheme) -> CommandBuilder {
        command(Cc::GET_SESSION_AUDIT_DIGEST)
            .handle(Handle::ENDORSEMENT)
            .handle(key)
            .handle(session)
            .password(b"")
            .password(b"")
            .put(Data::from_slice(b"nonce"))
            .put(scheme)
    }

    #[test]
    fn the_digest_is_signed_and_whether_the_session_was_exclusive() {
        let mut client = Client::started();
        let key = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let digest = Digest::from_slice(&[4; 32]);
        let session = start_session(&mut client, Some(digest.clone()));
        let scheme = Scheme::Ecdsa(HashAlg::Sha256);
        // The command itself is not audited, and so ends the exclusivity.
        for (exclusive, byte) in [(Some(session), 1), (None, 0)] {
            client.tpm.sessions.exclusive = exclusive;
            let response = client.run(&get(key, session, scheme)).unwrap();
            let signer = client.key(key);
            let attest = checked_attest(&client, Some(&signer), &response.parameters);
            assert_eq!(attest.tag, Tag::ATTEST_SESSION_AUDIT);
            assert_eq!(attest.attested, [vec![byte], digest.to_bytes()].concat());
            assert_eq!(client.tpm.sessions.exclusive, None);
        }
    }

    #[test]
    fn a_session_that_never_audited_is_named_after_key_and_scheme() {
        let mut client = Client::started();
        let aes = client.load(test_keys::aes());
        let key = client.load(test_keys::ecc(Curve::P256, Scheme::Null));
        let session = start_session(&mut client, None);
        let scheme = Scheme::Ecdsa(HashAlg::Sha256);
        assert_eq!(client.rc(&get(aes, session, scheme)), Rc::KEY.handle(2));
        assert_eq!(client.rc(&get(key, session, Scheme::Null)), Rc::SCHEME.parameter(2));
        assert_eq!(client.rc(&get(key, session, scheme)), Rc::TYPE.handle(3));
    }

    #[test]
    fn a_session_that_is_not_loaded_or_a_policy_session_is_refused() {
        let mut client = Client::started();
        let none = Handle(0x0200_0000);
        let command = get(Handle::NULL, none, Scheme::Null);
        assert_eq!(client.rc(&command), Rc::reference_handle(2));
        let command = get(Handle::NULL, Handle(0x0300_0000), Scheme::Null);
        assert_eq!(client.rc(&command), Rc::VALUE.handle(3));
    }
}
