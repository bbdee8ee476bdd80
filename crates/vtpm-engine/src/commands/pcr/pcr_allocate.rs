//! TPM2_PCR_Allocate: Part 3, clause 22.5, revision 1.59.

use crate::commands::command;
use crate::pcr::{DRTM_PCR, HCRTM_PCR};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{PCR_COUNT, PcrSelection, PcrSelections, Rc, RhPlatform};

command! {
    /// Chooses the PCR of each bank from the next `_TPM_Init` on.
    #[doc(alias = "TPM2_PCR_Allocate")]
    Command {
        handles {
            /// The platform.
            auth_handle: RhPlatform,
        }
        parameters {
            /// The banks to change.
            pcr_allocation: PcrSelections,
        }
    }
    Response {
        parameters {
            /// Whether it was possible.
            allocation_success: bool,
            /// PCR a bank can have.
            max_pcr: u32,
            /// Bytes that the allocation takes.
            size_needed: u32,
            /// Bytes there are.
            size_available: u32,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    // From what is in force, so that a second call takes the place of the first.
    let mut allocation: Vec<_> = tpm.pcrs.banks.iter().map(|bank| bank.allocated.clone()).collect();
    for wanted in command.pcr_allocation.0 {
        let bank = allocation.iter_mut().find(|bank| bank.hash == wanted.hash);
        *bank.ok_or(Rc::HASH.parameter(1))? = wanted;
    }
    // The first measurement and the dynamic one must have a place.
    let has = |pcr| allocation.iter().any(|bank| bank.has(pcr));
    if !has(HCRTM_PCR) || !has(DRTM_PCR) {
        return Err(Rc::PCR);
    }
    let size = |bank: &PcrSelection| bank.pcrs().count().saturating_mul(bank.hash.digest_size());
    let size_needed = allocation.iter().map(size).sum::<usize>() as u32;
    let all = allocation.iter().map(|bank| bank.hash.digest_size()).sum::<usize>() as u32;
    tpm.permanent.pcr_allocation = allocation;
    tpm.persist();
    Ok(Response {
        allocation_success: true,
        max_pcr: PCR_COUNT,
        size_needed,
        size_available: all.saturating_mul(PCR_COUNT),
    })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::HashAlg;
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Alg, Cc, Handle, Rc};

    fn allocate(banks: &[(Alg, [u8; 3])]) -> CommandBuilder {
        let mut command = command(Cc::PCR_ALLOCATE)
            .handle(Handle::PLATFORM)
            .password(b"")
            .put(banks.len() as u32);
        for (alg, select) in banks {
            command = command.put(*alg).put(3u8).bytes(select);
        }
        command
    }

    #[test]
    fn banks_change_with_the_next_start() {
        let mut client = Client::started();
        client.run(&allocate(&[(Alg::SHA1, [0xff; 3]), (Alg::SHA256, [0; 3])])).unwrap();
        assert!(client.tpm.pcrs.bank(HashAlg::Sha1).unwrap().value(0).is_none());
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        assert!(client.tpm.pcrs.bank(HashAlg::Sha1).unwrap().value(0).is_some());
        assert!(client.tpm.pcrs.bank(HashAlg::Sha256).unwrap().value(0).is_none());
    }

    #[test]
    fn a_state_cannot_be_kept_over_a_change_of_banks() {
        let mut client = Client::started();
        client.run(&allocate(&[(Alg::SHA1, [0xff; 3])])).unwrap();
        assert_eq!(client.rc(&command(Cc::SHUTDOWN).put(1u16)), Rc::TYPE.parameter(1));
        client.run(&command(Cc::SHUTDOWN).put(0u16)).unwrap();
    }

    #[test]
    fn a_bank_must_have_the_pcr_of_the_first_measurements() {
        let mut client = Client::started();
        assert_eq!(client.rc(&allocate(&[(Alg::SHA256, [0; 3])])), Rc::PCR);
        assert_eq!(client.rc(&allocate(&[(Alg::SHA256, [1, 0, 0])])), Rc::PCR);
        client.run(&allocate(&[(Alg::SHA256, [1, 0, 2])])).unwrap();
    }
}
