//! TPM2_PolicyAuthorizeNV: Part 3, clause 23.22, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Ha, HandleInterface, Rc, Reader, RhNvAuth, RhNvIndex, ShPolicy};

command! {
    /// Replaces a policy that stands in an NV index by the index's name.
    #[doc(alias = "TPM2_PolicyAuthorizeNV")]
    Command {
        handles {
            /// Who authorizes the reading.
            auth_handle: RhNvAuth,
            /// The index.
            nv_index: RhNvIndex,
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let nv_index = command.nv_index.handle();
    let session = tpm.policy_session(command.policy_session)?;
    if !session.is_trial() {
        tpm.check_nv_read(command.auth_handle.handle(), nv_index)?;
        let data = &tpm.nv_index(nv_index)?.data;
        // Bytes after the digest may stand there: an index is as large as its largest policy.
        let policy = Reader::new(data, &tpm.profile.algorithms).get::<Ha>()?;
        if policy.alg != session.hash {
            return Err(Rc::HASH);
        }
        if policy.digest != session.policy.digest {
            return Err(Rc::VALUE);
        }
    }
    let name = tpm.name(nv_index);
    let session = tpm.policy_session_mut(command.policy_session)?;
    session.clear_policy_digest();
    session.extend_policy(Cc::POLICY_AUTHORIZE_NV, &[&name]);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, with_index, write};
    use crate::commands::policy::test_util::{ZEROS, digest, extended, session};
    use crate::crypto::hash::HashAlg;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, Marshal, Rc, Se};

    fn setup(contents: &[u8]) -> (Client, Handle) {
        let mut client = with_index(ORDINARY, 40);
        client.run(&write(INDEX, contents, 0)).unwrap();
        let session = session(&mut client, Se::POLICY);
        (client, session)
    }

    fn request(session: Handle) -> CommandBuilder {
        command(Cc::POLICY_AUTHORIZE_NV)
            .handle(Handle(INDEX))
            .handle(Handle(INDEX))
            .handle(session)
            .password(b"index")
    }

    #[test]
    fn the_policy_in_the_index_becomes_the_indexs_name() {
        let policy = extended(&ZEROS, Cc::POLICY_AUTH_VALUE, &[]);
        let contents = [HashAlg::Sha256.to_bytes(), policy].concat();
        let (mut client, session) = setup(&contents);
        assert_eq!(client.rc(&request(session)), Rc::VALUE);
        client.run(&command(Cc::POLICY_AUTH_VALUE).handle(session)).unwrap();
        client.run(&request(session)).unwrap();
        let name = client.tpm.name(Handle(INDEX));
        let expected = extended(&ZEROS, Cc::POLICY_AUTHORIZE_NV, &[&name]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn the_index_must_hold_a_digest_of_the_sessions_hash() {
        let (mut client, session) = setup(&[0; 8]);
        assert_eq!(client.rc(&request(session)), Rc::HASH);
        let (mut client, session) = setup(&HashAlg::Sha1.to_bytes());
        assert_eq!(client.rc(&request(session)), Rc::HASH);
        let (mut client, session) = setup(&HashAlg::Sha512.to_bytes());
        assert_eq!(client.rc(&request(session)), Rc::INSUFFICIENT);
    }

    #[test]
    fn a_trial_needs_no_contents() {
        let mut client = with_index(ORDINARY, 40);
        let trial = session(&mut client, Se::TRIAL);
        client.run(&request(trial)).unwrap();
    }
}
