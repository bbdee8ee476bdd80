//! The dynamic root of trust for measurement: the hash sequence of locality 4
//! (Part 1, clause 34.3; PC Client Platform TPM Profile, clause 3.3.4).

use crate::Outcome;
use crate::pcr::{DRTM_PCR, EventHashes, HCRTM_PCR, attributes};
use crate::tpm::{Power, Tpm};
use crate::wire::PCR_COUNT;

impl Tpm {
    /// `_TPM_Hash_Start`: starts a sequence, giving up an earlier one.
    #[doc(alias = "_TPM_Hash_Start")]
    pub fn hash_start(&mut self) {
        if self.power != Power::Failed {
            self.drtm = Some(EventHashes::new(&self.pcrs));
        }
    }

    /// `_TPM_Hash_Data`: adds to the sequence, if one was started.
    #[doc(alias = "_TPM_Hash_Data")]
    pub fn hash_data(&mut self, data: &[u8]) {
        if let Some(hashes) = &mut self.drtm {
            hashes.update(data);
        }
    }

    /// `_TPM_Hash_End`: ends the sequence. After `TPM2_Startup` it resets the dynamic PCR and
    /// measures into PCR 17; before, it measures into PCR 0 (H-CRTM).
    #[doc(alias = "_TPM_Hash_End")]
    pub fn hash_end(&mut self) -> Outcome {
        let Some(hashes) = self.drtm.take() else { return Outcome::default() };
        let started = self.power == Power::Started;
        let pcr = if started { DRTM_PCR } else { HCRTM_PCR };
        if started {
            for bank in &mut self.pcrs.banks {
                let dynamic = (0..PCR_COUNT).filter(|pcr| attributes(*pcr).drtm);
                dynamic.for_each(|pcr| bank.fill(pcr, 0));
            }
            self.reset.restart_count = self.reset.restart_count.wrapping_add(1);
            self.clear_orderly();
        } else {
            self.pre_startup.hcrtm = true;
        }
        for (alg, digest) in hashes.finish() {
            if let Some(bank) = self.pcrs.bank_mut(alg) {
                bank.mark_locality(pcr, if started { 0 } else { 4 });
            }
            self.extend_pcr(pcr, alg, &digest);
        }
        self.permanent.established = true;
        self.persist();
        Outcome { durable: core::mem::take(&mut self.durable) }
    }

    /// `TPM_ESTABLISHMENT`: whether a D-RTM sequence took place since the flag was reset.
    pub fn established(&self) -> bool {
        self.permanent.established
    }

    /// Resets the established flag; `false`, and nothing done, from a locality other than 3 and 4.
    #[must_use]
    pub fn reset_established(&mut self, locality: u8) -> bool {
        if !matches!(locality, 3 | 4) {
            return false;
        }
        self.permanent.established = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::crypto::hash::{HashAlg, hash};
    use crate::test_util::{Client, command};
    use crate::wire::Cc;

    fn value(client: &Client, pcr: u32) -> Vec<u8> {
        client.tpm.pcrs.bank(HashAlg::Sha256).unwrap().value(pcr).unwrap().to_vec()
    }

    #[test]
    fn the_sequence_measures_into_pcr_17_and_resets_the_dynamic_pcr() {
        let mut client = Client::started();
        assert_eq!(value(&client, 18), [0xff; 32]);
        client.tpm.hash_start();
        client.tpm.hash_data(b"launch");
        client.tpm.hash_data(b"ed");
        assert!(client.tpm.hash_end().durable);
        let digest = hash(HashAlg::Sha256, &[b"launched"]);
        assert_eq!(value(&client, 17), hash(HashAlg::Sha256, &[&[0; 32], &digest])[..]);
        assert_eq!(value(&client, 18), [0; 32]);
        assert!(client.tpm.established());
        assert!(!client.tpm.reset_established(0));
        assert!(client.tpm.reset_established(3));
        assert!(!client.tpm.established());
    }

    #[test]
    fn before_startup_it_measures_into_pcr_0() {
        let mut client = Client::initialized();
        client.tpm.hash_start();
        client.tpm.hash_data(b"crtm");
        client.tpm.hash_end();
        client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
        let mut start = [0; 32];
        start[31] = 4;
        let digest = hash(HashAlg::Sha256, &[b"crtm"]);
        assert_eq!(value(&client, 0), hash(HashAlg::Sha256, &[&start, &digest])[..]);
    }

    #[test]
    fn a_command_ends_the_sequence_without_effect() {
        let mut client = Client::started();
        client.tpm.hash_start();
        client.run(&command(Cc::READ_CLOCK)).unwrap();
        client.tpm.hash_end();
        assert_eq!(value(&client, 17), [0xff; 32]);
        assert!(!client.tpm.established());
    }
}
