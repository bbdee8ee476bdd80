//! TPM2_PolicyOR: Part 3, clause 23.6, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Cc, Digest, Digests, Rc, Reader, ShPolicy, Unmarshal};

/// The branches: a `TPML_DIGEST` of two to eight; another number is `TPM_RC_SIZE`.
#[derive(Debug)]
pub(crate) struct Branches(Digests);

impl Unmarshal for Branches {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        if reader.clone().get::<u32>()? < 2 {
            return Err(Rc::SIZE);
        }
        reader.get().map(Self)
    }
}

command! {
    /// Replaces a policy that is one of several by their common one.
    #[doc(alias = "TPM2_PolicyOR")]
    Command {
        handles {
            /// The session.
            policy_session: ShPolicy,
        }
        parameters {
            /// The branches.
            p_hash_list: Branches,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let branches: &[Digest] = &command.p_hash_list.0.0;
    let session = tpm.policy_session_mut(command.policy_session)?;
    if !session.is_trial() && !branches.contains(&session.policy.digest) {
        return Err(Rc::VALUE.parameter(1));
    }
    session.clear_policy_digest();
    let branches: Vec<&[u8]> = branches.iter().map(|branch| branch.as_bytes()).collect();
    session.extend_policy(Cc::POLICY_OR, &branches);
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::test_util::{ZEROS, digest, extended, hex, on, started};
    use crate::wire::{Cc, Digest, Digests, Rc, Se};

    /// Policies A, B and C of the TCG EK Credential Profile, for SHA-256: B is A or C.
    const A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    const B: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
    const C: &str = "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde";

    fn list(digests: &[&[u8]]) -> Digests {
        crate::wire::List(digests.iter().map(|digest| Digest::from_slice(digest)).collect())
    }

    #[test]
    fn the_digest_is_the_known_one() {
        let (mut client, session) = started(Se::TRIAL);
        client.run(&on(Cc::POLICY_OR, session).put(list(&[&hex(A), &hex(C)]))).unwrap();
        assert_eq!(digest(&mut client, session), hex(B));
    }

    #[test]
    fn the_policy_must_be_one_of_the_branches() {
        let (mut client, session) = started(Se::POLICY);
        let wrong = on(Cc::POLICY_OR, session).put(list(&[&[1; 32], &[0; 31]]));
        assert_eq!(client.rc(&wrong), Rc::VALUE.parameter(1));
        let right = on(Cc::POLICY_OR, session).put(list(&[&[1; 32], &ZEROS]));
        client.run(&right).unwrap();
        let expected = extended(&ZEROS, Cc::POLICY_OR, &[&[1; 32], &ZEROS]);
        assert_eq!(digest(&mut client, session), expected);
    }

    #[test]
    fn there_are_two_to_eight_branches() {
        let (mut client, session) = started(Se::TRIAL);
        for count in [0, 1, 9] {
            let request = on(Cc::POLICY_OR, session).put(list(&vec![&ZEROS[..]; count]));
            assert_eq!(client.rc(&request), Rc::SIZE.parameter(1));
        }
        let request = on(Cc::POLICY_OR, session).put(list(&[&ZEROS; 8].map(|d| &d[..])));
        client.run(&request).unwrap();
    }
}
