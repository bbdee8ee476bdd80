//! TPM2_PCR_Extend: Part 3, clause 22.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhPcr, DigestValues, HandleInterface, Rc};

command! {
    /// Extends a PCR with digests.
    #[doc(alias = "TPM2_PCR_Extend")]
    Command {
        handles {
            /// The PCR; `TPM_RH_NULL` does nothing.
            pcr_handle: Option<DhPcr>,
        }
        parameters {
            /// A digest for each bank that is to be extended.
            digests: DigestValues,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let Some(pcr) = command.pcr_handle else { return Ok(Response {}) };
    let pcr = pcr.handle().0;
    if !tpm.may_extend(pcr) {
        return Err(Rc::LOCALITY);
    }
    for value in &command.digests.0 {
        tpm.extend_pcr(pcr, value.alg, &value.digest);
    }
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Handle, Rc};

    fn extend(pcr: u32, digest: &[u8; 32]) -> CommandBuilder {
        command(Cc::PCR_EXTEND)
            .handle(Handle(pcr))
            .password(b"")
            .put(1u32)
            .put(Alg::SHA256)
            .bytes(digest)
    }

    #[test]
    fn the_value_is_the_hash_of_old_value_and_digest() {
        let mut client = Client::started();
        client.run(&extend(5, &[7; 32])).unwrap();
        let expected =
            crate::crypto::hash::hash(crate::crypto::hash::HashAlg::Sha256, &[&[0; 32], &[7; 32]]);
        let bank = client.tpm.pcrs.bank(crate::crypto::hash::HashAlg::Sha256).unwrap();
        assert_eq!(bank.value(5).unwrap(), &expected[..]);
    }

    #[test]
    fn nothing_needs_to_be_durable() {
        let mut client = Client::started();
        client.run(&extend(5, &[7; 32])).unwrap();
        assert!(!client.outcome.durable);
    }

    #[test]
    fn a_locality_that_may_not_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&extend(17, &[7; 32])), Rc::LOCALITY);
        client.locality = 3;
        client.run(&extend(17, &[7; 32])).unwrap();
    }

    #[test]
    fn the_null_handle_is_accepted_and_a_missing_pcr_is_not() {
        let mut client = Client::started();
        client.run(&extend(Handle::NULL.0, &[7; 32])).unwrap();
        assert_eq!(client.rc(&extend(24, &[7; 32])), Rc::VALUE.handle(1));
    }

    #[test]
    fn a_digest_of_an_unknown_hash_is_refused() {
        let mut client = Client::started();
        let bad = command(Cc::PCR_EXTEND).handle(Handle(0)).password(b"").put(1u32).put(Alg::RSA);
        assert_eq!(client.rc(&bad), Rc::HASH.parameter(1));
    }

    #[test]
    fn more_digests_than_banks_are_refused() {
        let mut client = Client::started();
        let bad = command(Cc::PCR_EXTEND).handle(Handle(0)).password(b"").put(5u32);
        assert_eq!(client.rc(&bad), Rc::SIZE.parameter(1));
    }
}
