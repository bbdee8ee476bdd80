//! TPM2_PolicySecret: Part 3, clause 23.4, revision 1.59.

use crate::commands::command;
use crate::nv::NvIndex;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Cc, DhEntity, Digest, HandleInterface, Nonce, NvType, Rc, ShPolicy, Tag, Ticket,
};

command! {
    /// Includes the authorization of another entity in a policy.
    #[doc(alias = "TPM2_PolicySecret")]
    Command {
        handles {
            /// The entity whose secret is proven.
            auth_handle: DhEntity,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The session's nonce, if the authorization is for this session only.
            nonce_tpm: Nonce,
            /// The command that is authorized; empty for any.
            cp_hash_a: Digest,
            /// Of the authorizing party's choosing.
            policy_ref: Nonce,
            /// Seconds until the authorization ends; negative asks for a ticket.
            expiration: i32,
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
    let entity = command.auth_handle.handle();
    let kind = tpm.nv.index(entity).map(NvIndex::kind);
    if tpm.clear.read_only && matches!(kind, Some(NvType::PinPass | NvType::PinFail)) {
        return Err(Rc::READ_ONLY);
    }
    let session = tpm.policy_session(command.policy_session)?;
    let trial = session.is_trial();
    let mut timeout = 0;
    if !trial {
        timeout = session.timeout(command.expiration, &command.nonce_tpm, tpm.clock.time);
        let blame = Blame { nonce: 1, cp_hash: 2, expiration: 4 };
        let nonce = Some(&command.nonce_tpm);
        tpm.check_assertion(session, timeout, &command.cp_hash_a, nonce, blame)?;
    }
    let assertion = Assertion {
        code: Cc::POLICY_SECRET,
        name: &tpm.name(entity),
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset: command.nonce_tpm.is_empty(),
    };
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    // A ticket would be a use of a PIN that is not counted.
    if command.expiration >= 0 || trial || kind == Some(NvType::PinPass) {
        let policy_ticket = Ticket::null(Tag::AUTH_SECRET);
        return Ok(Response { timeout: Timeout::empty(), policy_ticket });
    }
    let hierarchy = tpm.hierarchy_of(entity);
    let (timeout, policy_ticket) = tpm.assertion_ticket(Tag::AUTH_SECRET, hierarchy, &assertion);
    Ok(Response { timeout, policy_ticket })
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{
        ZEROS, asserted, digest, hex, on, session, session_with_nonce, started,
    };
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Digest, Handle, Nonce, Rc, Se};

    fn secret(policy: Handle, nonce: &[u8], cp_hash: &[u8], expiration: i32) -> CommandBuilder {
        command(Cc::POLICY_SECRET)
            .handle(Handle::ENDORSEMENT)
            .handle(policy)
            .password(b"")
            .put(Nonce::from_slice(nonce))
            .put(Digest::from_slice(cp_hash))
            .put(Nonce::empty())
            .put(expiration)
    }

    #[test]
    fn the_digest_is_that_of_endorsement_keys() {
        let (mut client, session) = started(Se::POLICY);
        let reply = client.run(&secret(session, b"", b"", 0)).unwrap();
        assert_eq!(reply.parameters, [0, 0, 0x80, 0x23, 0x40, 0, 0, 7, 0, 0]);
        let known = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
        assert_eq!(digest(&mut client, session), hex(known));
        let name = Handle::ENDORSEMENT.0.to_be_bytes();
        assert_eq!(hex(known), asserted(&ZEROS, Cc::POLICY_SECRET, &name, b""));
    }

    #[test]
    fn the_secret_must_be_right() {
        let (mut client, session) = started(Se::POLICY);
        client.tpm.permanent.hierarchies.endorsement_auth.auth =
            crate::wire::Auth::from_slice(b"secret");
        assert_eq!(client.rc(&secret(session, b"", b"", 0)), Rc::BAD_AUTH.session(1));
    }

    #[test]
    fn parameters_are_checked_in_order() {
        let mut client = Client::started();
        let (session, nonce) = session_with_nonce(&mut client, Se::POLICY);
        client.sleep_ms(5_000);
        let request = secret(session, &[9; 32], &[1; 20], 1);
        assert_eq!(client.rc(&request), Rc::NONCE.parameter(1));
        let request = secret(session, &nonce, &[1; 20], 1);
        assert_eq!(client.rc(&request), Rc::EXPIRED.parameter(4));
        let request = secret(session, &nonce, &[1; 20], 60);
        assert_eq!(client.rc(&request), Rc::SIZE.parameter(2));
        client.run(&secret(session, &nonce, &[1; 32], 60)).unwrap();
        assert_eq!(client.rc(&secret(session, b"", &[2; 32], 0)), Rc::CPHASH);
        client.run(&secret(session, b"", &[1; 32], 50)).unwrap();
        // The earliest end counts.
        assert_eq!(client.tpm.sessions.get(session).unwrap().policy.timeout, 50_000);
    }

    #[test]
    fn a_ticket_stands_for_the_secret_until_it_ends() {
        let (mut client, first) = started(Se::POLICY);
        let reply = client.run(&secret(first, b"", b"", -100)).unwrap().parameters;
        let (timeout, ticket) = reply.split_at(10);
        let by_ticket = |session| {
            on(Cc::POLICY_TICKET, session)
                .bytes(timeout)
                .put(Digest::empty())
                .put(Nonce::empty())
                .put(Nonce::from_slice(&Handle::ENDORSEMENT.0.to_be_bytes()))
                .bytes(ticket)
        };
        let second = session(&mut client, Se::POLICY);
        client.run(&by_ticket(second)).unwrap();
        assert_eq!(digest(&mut client, first), digest(&mut client, second));
        client.sleep_ms(100_001);
        assert_eq!(client.rc(&by_ticket(second)), Rc::EXPIRED.parameter(1));
    }

    #[test]
    fn a_trial_checks_nothing_and_gives_no_ticket() {
        let (mut client, session) = started(Se::TRIAL);
        let reply = client.run(&secret(session, &[9; 16], &[1; 20], -1)).unwrap();
        assert_eq!(reply.parameters[..2], [0, 0]);
    }
}
