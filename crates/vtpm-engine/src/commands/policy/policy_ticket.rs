//! TPM2_PolicyTicket: Part 3, clause 23.5, revision 1.59.

use crate::commands::command;
use crate::policy::{Assertion, Blame, Timeout};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{AuthTicket, Cc, Digest, Name, Nonce, Rc, ShPolicy, Tag};

command! {
    /// Includes an earlier authorization in a policy, by its ticket.
    #[doc(alias = "TPM2_PolicyTicket")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// As it came with the ticket.
            timeout: Timeout,
            /// As it was authorized.
            cp_hash_a: Digest,
            /// As it was authorized.
            policy_ref: Nonce,
            /// Name of the authorizing party.
            auth_name: Name,
            /// The ticket.
            ticket: AuthTicket,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let session = tpm.policy_session(command.policy_session)?;
    // A trial can include the authorization itself: nobody need give it.
    if session.is_trial() {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    let (timeout, expires_on_reset) =
        Assertion::parse_timeout(&command.timeout).ok_or(Rc::SIZE.parameter(1))?;
    let blame = Blame { nonce: 0, cp_hash: 2, expiration: 1 };
    tpm.check_assertion(session, timeout, &command.cp_hash_a, None, blame)?;
    let ticket = &command.ticket.0;
    let assertion = Assertion {
        code: if ticket.tag == Tag::AUTH_SIGNED { Cc::POLICY_SIGNED } else { Cc::POLICY_SECRET },
        name: &command.auth_name,
        policy_ref: &command.policy_ref,
        cp_hash: &command.cp_hash_a,
        timeout,
        expires_on_reset,
    };
    tpm.check_assertion_ticket(ticket, &assertion).map_err(|rc| rc.parameter(5))?;
    tpm.adopt_assertion(command.policy_session, &assertion)?;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{on, session, started};
    use crate::hierarchy::Hierarchy;
    use crate::policy::{Assertion, Timeout};
    use crate::test_util::{CommandBuilder, command};
    use crate::wire::{AuthTicket, Cc, Digest, Handle, Name, Nonce, Rc, Se, Tag, Ticket};

    fn assertion<'a>(cp_hash: &'a Digest, policy_ref: &'a [u8], name: &'a [u8]) -> Assertion<'a> {
        let code = Cc::POLICY_SIGNED;
        Assertion { code, name, policy_ref, cp_hash, timeout: 60_000, expires_on_reset: true }
    }

    fn request(
        session: Handle,
        timeout: &Timeout,
        assertion: &Assertion<'_>,
        ticket: &Ticket,
    ) -> CommandBuilder {
        on(Cc::POLICY_TICKET, session)
            .put(timeout)
            .put(assertion.cp_hash)
            .put(Nonce::from_slice(assertion.policy_ref))
            .put(Name::from_slice(assertion.name))
            .put(ticket)
    }

    #[test]
    fn nothing_of_a_ticket_can_be_changed() {
        let (mut client, session) = started(Se::POLICY);
        let cp_hash = Digest::from_slice(&[1; 32]);
        let made = assertion(&cp_hash, b"ref", b"name");
        let (timeout, ticket) =
            client.tpm.assertion_ticket(Tag::AUTH_SIGNED, Hierarchy::Owner, &made);
        let refused = Rc::TICKET.parameter(5);
        // Bytes moved from one part to the next.
        let moved = assertion(&cp_hash, b"refn", b"ame");
        assert_eq!(client.rc(&request(session, &timeout, &moved, &ticket)), refused);
        let without = Digest::empty();
        let long = [&[1; 32][..], b"ref"].concat();
        let moved = assertion(&without, &long, b"name");
        assert_eq!(client.rc(&request(session, &timeout, &moved, &ticket)), refused);
        let later = Timeout::from(60_001u64.to_be_bytes().to_vec());
        assert_eq!(client.rc(&request(session, &later, &made, &ticket)), refused);
        let other = Ticket { tag: Tag::AUTH_SECRET, ..ticket.clone() };
        assert_eq!(client.rc(&request(session, &timeout, &made, &other)), refused);
        let other = Ticket { hierarchy: Handle::PLATFORM, ..ticket.clone() };
        assert_eq!(client.rc(&request(session, &timeout, &made, &other)), refused);
        let null = AuthTicket(Ticket::null(Tag::AUTH_SIGNED));
        assert_eq!(client.rc(&request(session, &timeout, &made, &null.0)), refused);
        client.run(&request(session, &timeout, &made, &ticket)).unwrap();
    }

    #[test]
    fn a_timeout_of_another_size_and_a_trial_are_refused() {
        let (mut client, policy) = started(Se::POLICY);
        let cp_hash = Digest::empty();
        let made = assertion(&cp_hash, b"", b"");
        let ticket = Ticket::null(Tag::AUTH_SIGNED);
        let short = Timeout::from(vec![0; 7]);
        assert_eq!(client.rc(&request(policy, &short, &made, &ticket)), Rc::SIZE.parameter(1));
        let trial = session(&mut client, Se::TRIAL);
        assert_eq!(client.rc(&request(trial, &short, &made, &ticket)), Rc::ATTRIBUTES.handle(1));
        let other = Ticket::null(Tag::VERIFIED);
        assert_eq!(client.rc(&request(policy, &short, &made, &other)), Rc::TAG.parameter(5));
    }

    #[test]
    fn a_ticket_does_not_outlive_a_reset() {
        let (mut client, _) = started(Se::POLICY);
        let cp_hash = Digest::empty();
        let made = assertion(&cp_hash, b"ref", b"name");
        let (timeout, ticket) =
            client.tpm.assertion_ticket(Tag::AUTH_SIGNED, Hierarchy::Owner, &made);
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        let again = session(&mut client, Se::POLICY);
        let refused = client.rc(&request(again, &timeout, &made, &ticket));
        assert_eq!(refused, Rc::TICKET.parameter(5));
    }
}
