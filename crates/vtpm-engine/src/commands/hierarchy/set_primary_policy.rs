//! TPM2_SetPrimaryPolicy: Part 3, clause 24.3, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::HashAlg;
use crate::session::authorize::Authorized;
use crate::tpm::{Policy, Tpm};
use crate::wire::{Digest, Handle, HandleInterface, Rc, RhHierarchyPolicy};

command! {
    /// Sets the policy of a hierarchy, of lockout, or of a countdown timer.
    #[doc(alias = "TPM2_SetPrimaryPolicy")]
    Command {
        handles {
            /// What gets the policy.
            auth_handle: RhHierarchyPolicy,
        }
        parameters {
            /// The policy; empty for none.
            auth_policy: Digest,
            /// The hash of the policy; `TPM_ALG_NULL` for none.
            hash_alg: Option<HashAlg>,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let size = command.hash_alg.map_or(0, HashAlg::digest_size);
    if command.auth_policy.len() != size {
        return Err(Rc::SIZE.parameter(1));
    }
    let policy = command.hash_alg.map(|alg| Policy { alg, digest: command.auth_policy });
    let handle = command.auth_handle.handle();
    let hierarchies = &mut tpm.permanent.hierarchies;
    match handle {
        Handle::OWNER => hierarchies.owner_auth.policy = policy,
        Handle::ENDORSEMENT => hierarchies.endorsement_auth.policy = policy,
        Handle::LOCKOUT => hierarchies.lockout_auth.policy = policy,
        Handle::PLATFORM => {
            tpm.clear.platform_policy = policy;
            return Ok(Response {});
        }
        _ => {
            tpm.act_mut(handle)?.policy = policy;
            return Ok(Response {});
        }
    }
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Digest, Handle, Rc};

    fn set(handle: Handle, policy: &[u8], alg: Alg) -> CommandBuilder {
        let policy = Digest::from_slice(policy);
        command(Cc::SET_PRIMARY_POLICY).handle(handle).password(b"").put(policy).put(alg)
    }

    #[test]
    fn a_policy_has_the_size_of_its_hash() {
        let mut client = Client::started();
        for handle in [Handle::OWNER, Handle::ENDORSEMENT, Handle::PLATFORM, Handle::LOCKOUT] {
            client.run(&set(handle, &[1; 32], Alg::SHA256)).unwrap();
            client.run(&set(handle, &[], Alg::NULL)).unwrap();
            assert_eq!(client.rc(&set(handle, &[1; 20], Alg::SHA256)), Rc::SIZE.parameter(1));
            assert_eq!(client.rc(&set(handle, &[1; 20], Alg::NULL)), Rc::SIZE.parameter(1));
        }
    }

    #[test]
    fn an_unknown_hash_is_refused() {
        let mut client = Client::started();
        let bad = set(Handle::OWNER, &[1; 32], Alg::RSA);
        assert_eq!(client.rc(&bad), Rc::HASH.parameter(2));
    }
}
