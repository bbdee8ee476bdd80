//! TPM2_PCR_SetAuthPolicy: Part 3, clause 22.6, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::HashAlg;
use crate::pcr::attributes;
use crate::session::authorize::Authorized;
use crate::tpm::{Policy, Tpm};
use crate::wire::{DhPcr, Digest, HandleInterface, Rc, RhPlatform};

command! {
    /// Sets the policy of the group of PCR 20 to 22.
    #[doc(alias = "TPM2_PCR_SetAuthPolicy")]
    Command {
        handles {
            /// The platform.
            auth_handle: RhPlatform,
        }
        parameters {
            /// The policy.
            auth_policy: Digest,
            /// Its hash; `TPM_ALG_NULL` for none.
            hash_alg: Option<HashAlg>,
            /// A PCR of the group.
            pcr_num: DhPcr,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if command.auth_policy.len() != command.hash_alg.map_or(0, HashAlg::digest_size) {
        return Err(Rc::SIZE.parameter(1));
    }
    let group = usize::from(attributes(command.pcr_num.handle().0).policy_group);
    let group = group.checked_sub(1).ok_or(Rc::VALUE.parameter(3))?;
    let policy = command.hash_alg.map(|alg| Policy { alg, digest: command.auth_policy });
    *tpm.permanent.pcr_policies.get_mut(group).ok_or(Rc::VALUE.parameter(3))? = policy;
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Digest, Handle, Rc};

    fn set(policy: &[u8], pcr: u32) -> CommandBuilder {
        command(Cc::PCR_SET_AUTH_POLICY)
            .handle(Handle::PLATFORM)
            .password(b"")
            .put(Digest::from_slice(policy))
            .put(Alg::SHA256)
            .put(pcr)
    }

    #[test]
    fn only_pcr_20_to_22_belong_to_the_group() {
        let mut client = Client::started();
        for pcr in 0..24 {
            let result = client.run(&set(&[0; 32], pcr)).map(|_| ());
            let expected =
                if matches!(pcr, 20..=22) { Ok(()) } else { Err(Rc::VALUE.parameter(3)) };
            assert_eq!(result, expected, "PCR {pcr}");
        }
    }

    #[test]
    fn a_pcr_with_a_policy_cannot_be_extended_with_a_password() {
        let mut client = Client::started();
        client.locality = 2;
        client.run(&set(&[0; 32], 20)).unwrap();
        let extend = command(Cc::PCR_EXTEND).handle(Handle(20)).password(b"").put(0u32);
        assert_eq!(client.rc(&extend), Rc::AUTH_TYPE);
    }

    #[test]
    fn the_policy_has_the_size_of_its_hash() {
        let mut client = Client::started();
        assert_eq!(client.rc(&set(&[0; 31], 0)), Rc::SIZE.parameter(1));
    }
}
