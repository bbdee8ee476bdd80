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
