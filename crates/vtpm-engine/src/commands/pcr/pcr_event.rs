//! TPM2_PCR_Event: Part 3, clause 22.3, revision 1.59.

use crate::commands::command;
use crate::crypto::hash::{HashAlg, hash_public};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhPcr, Digest, DigestValues, Event, Ha, HandleInterface, Rc};

command! {
    /// Hashes data with every algorithm that can have a bank, and extends a PCR with the digests.
    #[doc(alias = "TPM2_PCR_Event")]
    Command {
        handles {
            /// The PCR; `TPM_RH_NULL` only hashes.
            pcr_handle: Option<DhPcr>,
        }
        parameters {
            /// The data.
            event_data: Event,
        }
    }
    Response {
        parameters {
            /// The digests.
            digests: DigestValues,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let pcr = command.pcr_handle.map(|pcr| pcr.handle().0);
    if pcr.is_some_and(|pcr| !tpm.may_extend(pcr)) {
        return Err(Rc::LOCALITY);
    }
    let banks: Vec<HashAlg> = tpm.pcrs.banks.iter().map(|bank| bank.alg).collect();
    let mut digests = DigestValues::default();
    for alg in banks {
        let digest = hash_public(alg, &command.event_data);
        if let Some(pcr) = pcr {
            tpm.extend_pcr(pcr, alg, &digest);
        }
        digests.0.push(Ha { alg, digest: Digest::from_slice(&digest) });
    }
    Ok(Response { digests })
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Event, Handle, Rc};

    fn event(pcr: u32, data: &[u8]) -> CommandBuilder {
        command(Cc::PCR_EVENT).handle(Handle(pcr)).password(b"").put(Event::from_slice(data))
    }

    #[test]
    fn the_digests_of_all_banks_are_returned() {
        let mut client = Client::started();
        let reply = client.run(&event(3, b"boot")).unwrap().parameters;
        assert_eq!(reply[..4], [0, 0, 0, 4]);
        assert_eq!(reply[6..26], hash(HashAlg::Sha1, &[b"boot"])[..]);
        let bank = client.tpm.pcrs.bank(HashAlg::Sha256).unwrap();
        let digest = hash(HashAlg::Sha256, &[b"boot"]);
        assert_eq!(bank.value(3).unwrap(), &hash(HashAlg::Sha256, &[&[0; 32], &digest])[..]);
    }

    #[test]
    fn the_null_handle_only_hashes() {
        let mut client = Client::started();
        let before = client.tpm.pcrs.clone();
        client.run(&event(Handle::NULL.0, b"boot")).unwrap();
        assert_eq!(client.tpm.pcrs, before);
    }

    #[test]
    fn a_locality_that_may_not_is_refused() {
        let mut client = Client::started();
        assert_eq!(client.rc(&event(22, b"")), Rc::LOCALITY);
    }
}
