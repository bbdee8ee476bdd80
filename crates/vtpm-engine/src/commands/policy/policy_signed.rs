//! TPM2_PolicySigned: Part 3, clause 23.3, revision 1.59.

use crate::commands::command;
use crate::crypto::hash;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Cc, DhObject, Digest, HandleInterface, Nonce, Rc, ShPolicy, Signature, Tag, Ticket,
};

command! {
    /// Includes a signed authorization in a policy.
    #[doc(alias = "TPM2_PolicySigned")]
    Command {
        handles {
            /// The key that verifies the signature.
            auth_object: DhObject,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The session's nonce, if the authorization is for this session only.
            nonce_tpm: Nonce,
            /// The command that is authorized; empty for any.
            cp_hash_a: Digest,
            /// Of the signer's choosing.
            policy_ref: Nonce,
            /// Seconds until the authorization ends; negative asks for a ticket.
            expiration: i32,
            /// The signature.
            auth: Signature,
        }
    }
    Response {
        parameters {
            /// When the ticket ends.
            timeout: Timeout,
            /// The ticket, for a negative expiration.
            policy_ticket: Ticket,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session(command.policy_session)?;
    let trial = session.is_trial();
    let mut timeout = 0;
    if !trial {
        timeout = session.timeout(command.expiration, &command.nonce_tpm, tpm.clock.time);
        let blame = Blame { nonce: 1, cp_hash: 2, expiration: 4 };
        let nonce = Some(&command.nonce_tpm);
        tpm.check_assertion(session, timeout, &command.cp_hash_a, nonce, blame)?;
        check_signature(tpm, &command).map_err(|rc| rc.parameter(5))?;
    }
    let assertion = Assertion {
        code: Cc::POLICY_SIGNED,
        name: &tpm.name(command.auth_object.handle()),
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset: command.nonce_tpm.is_empty(),
    };
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    if command.expiration >= 0 || trial {
        let policy_ticket = Ticket::null(Tag::AUTH_SIGNED);
        return Ok(Response { timeout: Timeout::empty(), policy_ticket });
    }
    let hierarchy = tpm.hierarchy_of(command.auth_object.handle());
    let (timeout, policy_ticket) = tpm.assertion_ticket(Tag::AUTH_SIGNED, hierarchy, &assertion);
    Ok(Response { timeout, policy_ticket })
}

/// Verifies the signature over `aHash`.
fn check_signature(tpm: &Tpm, command: &Command) -> Result<(), Rc> {
    let alg = command.auth.scheme().hash().ok_or(Rc::SCHEME)?;
    let parts: [&[u8]; 4] = [
        &command.nonce_tpm,
        &command.expiration.to_be_bytes(),
        &command.cp_hash_a,
        &command.policy_ref,
    ];
    let digest = hash::hash(alg, &parts);
    // A sequence verifies nothing.
    let key = tpm.object(command.auth_object).map_err(|_| Rc::SCHEME)?;
    tpm.verify(&key, &command.auth, &digest)
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, asserted, digest, session_with_nonce, start};
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::{HashAlg, hash};
    use crate::sign::test_keys;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, Handle, Nonce, Rc, Scheme, Se, Signature};

    struct Setup {
        client: Client,
        key: Handle,
        session: Handle,
        nonce: Nonce,
    }

    fn setup(kind: Se) -> Setup {
        let mut client = Client::started();
        let scheme = Scheme::Ecdsa(HashAlg::Sha256);
        let key = client.load(test_keys::ecc(Curve::P256, scheme));
        let (session, nonce) = session_with_nonce(&mut client, kind);
        Setup { client, key, session, nonce }
    }

    impl Setup {
        fn signed(&mut self, nonce: &[u8], expiration: i32, policy_ref: &[u8]) -> CommandBuilder {
            let parts: [&[u8]; 3] = [nonce, &expiration.to_be_bytes(), policy_ref];
            let digest = hash(HashAlg::Sha256, &parts);
            let key = self.client.tpm.object(self.key).unwrap();
            let scheme = Scheme::Ecdsa(HashAlg::Sha256);
            let signature = self.client.tpm.sign(&key, scheme, &digest).unwrap();
            self.request(nonce, expiration, policy_ref, &signature)
        }

        fn request(
            &self,
            nonce: &[u8],
            expiration: i32,
            policy_ref: &[u8],
            signature: &Signature,
        ) -> CommandBuilder {
            command(Cc::POLICY_SIGNED)
                .handle(self.key)
                .handle(self.session)
                .put(Nonce::from_slice(nonce))
                .put(Digest::empty())
                .put(Nonce::from_slice(policy_ref))
                .put(expiration)
                .put(signature)
        }
    }

    #[test]
    fn a_signature_by_the_key_extends_the_policy_by_its_name() {
        let mut setup = setup(Se::POLICY);
        let nonce = setup.nonce.clone();
        let request = setup.signed(&nonce, 10, b"ref");
        setup.client.run(&request).unwrap();
        let name = setup.client.tpm.name(setup.key);
        let expected = asserted(&ZEROS, Cc::POLICY_SIGNED, &name, b"ref");
        assert_eq!(digest(&mut setup.client, setup.session), expected);
    }

    #[test]
    fn a_signature_over_something_else_is_refused() {
        let mut setup = setup(Se::POLICY);
        let scheme = Scheme::Ecdsa(HashAlg::Sha256);
        let key = setup.client.tpm.object(setup.key).unwrap();
        let signature = setup.client.tpm.sign(&key, scheme, &[1; 32]).unwrap();
        let request = setup.request(b"", 0, b"", &signature);
        assert_eq!(setup.client.rc(&request), Rc::SIGNATURE.parameter(5));
    }

    #[test]
    fn a_trial_does_not_look_at_the_signature() {
        let mut setup = setup(Se::TRIAL);
        let signature = Signature::Ecc {
            scheme: Scheme::Ecdsa(HashAlg::Sha256),
            r: vec![1; 32].into(),
            s: vec![1; 32].into(),
        };
        let request = setup.request(b"", 0, b"", &signature);
        setup.client.run(&request).unwrap();
    }

    #[test]
    fn a_negative_expiration_gives_a_ticket() {
        let mut setup = setup(Se::POLICY);
        let request = setup.signed(b"", -10, b"ref");
        let reply = setup.client.run(&request).unwrap().parameters;
        let (timeout, ticket) = reply.split_at(10);
        assert_eq!(timeout[..3], [0, 8, 0x80]);
        assert_eq!(ticket[..6], [0x80, 0x25, 0x40, 0, 0, 1]);
        let other = setup.client.run(&start(Se::POLICY)).unwrap().handle.unwrap();
        let name = setup.client.tpm.name(setup.key);
        let by_ticket = command(Cc::POLICY_TICKET)
            .handle(other)
            .bytes(timeout)
            .put(Digest::empty())
            .put(Nonce::from_slice(b"ref"))
            .put(name)
            .bytes(ticket);
        setup.client.run(&by_ticket).unwrap();
        let session = setup.session;
        assert_eq!(digest(&mut setup.client, other), digest(&mut setup.client, session));
    }
}
