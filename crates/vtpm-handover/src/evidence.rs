//! What a host shows of itself: [`Evidence`], as the chip made it, and its form on the wire.
//!
//! The protocol carries these structures and hashes them; only a [`Judge`](crate::Judge) reads
//! them. Sizes are bounded before anything is taken apart.

use sha2::{Digest, Sha256};

use crate::id::HostId;
use crate::pcr::PcrValue;
use crate::wire::{Malformed, Reader, Writer};

/// The most certificates in an EK's chain.
pub const CERTIFICATES_MAX: usize = 8;
/// The longest certificate, in bytes.
pub const CERTIFICATE_MAX: usize = 8192;
/// The longest TPM structure in the evidence, in bytes.
pub const STRUCTURE_MAX: usize = 2048;
/// The most register values in the evidence.
pub const PCR_VALUES_MAX: usize = 8 * 24;

/// Who a host is and what it booted, as its chip says it, fresh for one session.
///
/// The chain of trust that a judge follows: `ek_chain` ends in a trusted root (or the EK is
/// pinned) and certifies `ek_public`; the credential challenge ties `ak_public` to it; the AK
/// certified `hk_public`, and quoted the registers over the session's nonce.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// X.509 certificates in DER, the EK's first. May be empty for a pinned EK.
    pub ek_chain: Vec<Vec<u8>>,
    /// The endorsement key, a TPMT_PUBLIC.
    pub ek_public: Vec<u8>,
    /// The attestation key (restricted signing), a TPMT_PUBLIC.
    pub ak_public: Vec<u8>,
    /// The handover key (ECC P-256 storage key), a TPMT_PUBLIC.
    pub hk_public: Vec<u8>,
    /// The AK's certification of the HK.
    pub hk_certify: Attested,
    /// The AK's quote over the session's nonce.
    pub quote: Attested,
    /// The values of the registers in the quote's selection, in the order of the quote's digest.
    pub pcrs: Vec<PcrValue>,
}

/// A structure that the AK signed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attested {
    /// What was signed, a TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// The signature, a TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// Who speaks, as a digest: of EK, AK and HK together. A transfer is bound to both sides'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 32]);

impl Evidence {
    /// The host's lasting name, of its EK alone.
    #[must_use]
    pub fn host(&self) -> HostId {
        HostId::of(&self.ek_public)
    }

    /// The host's identity in this session: of the public areas of EK, AK and HK.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let mut hash = Sha256::new_with_prefix(b"vtpm handover identity 1");
        for public in [&self.ek_public, &self.ak_public, &self.hk_public] {
            hash.update((public.len() as u64).to_be_bytes());
            hash.update(public);
        }
        Identity(hash.finalize().into())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let Self { ek_chain, ek_public, ak_public, hk_public, hk_certify, quote, pcrs } = self;
        out.u16_count(ek_chain.len());
        for certificate in ek_chain {
            out.sized(certificate);
        }
        for structure in [ek_public, ak_public, hk_public] {
            out.sized(structure);
        }
        for Attested { attest, signature } in [hk_certify, quote] {
            out.sized(attest);
            out.sized(signature);
        }
        out.u16_count(pcrs.len());
        for PcrValue { bank, index, digest } in pcrs {
            out.u16(*bank);
            out.u8(*index);
            out.sized(digest);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = from.count("certificates", CERTIFICATES_MAX)?;
        let ek_chain = (0..count)
            .map(|_| from.sized("a certificate", CERTIFICATE_MAX))
            .collect::<Result<_, _>>()?;
        let ek_public = from.sized("the EK", STRUCTURE_MAX)?;
        let ak_public = from.sized("the AK", STRUCTURE_MAX)?;
        let hk_public = from.sized("the HK", STRUCTURE_MAX)?;
        let hk_certify = Attested::read(from)?;
        let quote = Attested::read(from)?;
        let count = from.count("register values", PCR_VALUES_MAX)?;
        let pcrs = (0..count)
            .map(|_| {
                let (bank, index) = (from.u16()?, from.u8()?);
                Ok(PcrValue { bank, index, digest: from.sized("a register's value", 64)? })
            })
            .collect::<Result<_, Malformed>>()?;
        Ok(Self { ek_chain, ek_public, ak_public, hk_public, hk_certify, quote, pcrs })
    }
}

impl Attested {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let attest = from.sized("an attestation", STRUCTURE_MAX)?;
        let signature = from.sized("a signature", STRUCTURE_MAX)?;
        Ok(Self { attest, signature })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pcr::SHA256;

    pub(crate) fn example() -> Evidence {
        let attested = |byte: u8| Attested { attest: vec![byte; 40], signature: vec![byte; 70] };
        Evidence {
            ek_chain: vec![vec![1; 300], vec![2; 400]],
            ek_public: vec![3; 120],
            ak_public: vec![4; 90],
            hk_public: vec![5; 92],
            hk_certify: attested(6),
            quote: attested(7),
            pcrs: vec![PcrValue { bank: SHA256, index: 7, digest: vec![8; 32] }],
        }
    }

    #[test]
    fn evidence_comes_back_from_its_bytes_and_no_truncation_of_them_does() {
        let evidence = example();
        let mut out = Writer::default();
        evidence.write(&mut out);
        let bytes = out.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(Evidence::read(&mut reader).unwrap(), evidence);
        assert!(reader.finish().is_ok());
        for length in 0..bytes.len() {
            assert!(Evidence::read(&mut Reader::new(&bytes[..length])).is_err(), "{length}");
        }
    }

    #[test]
    fn an_identity_is_of_all_three_keys_and_a_host_of_its_ek() {
        let one = example();
        let mut other = one.clone();
        other.hk_public = vec![9; 92];
        assert_ne!(one.identity(), other.identity());
        assert_eq!(one.host(), other.host());
        // A byte that moves from one key to the next is another identity.
        let mut moved = one.clone();
        moved.ek_public.push(4);
        moved.ak_public.pop();
        assert_ne!(one.identity(), moved.identity());
    }
}
