//! Attestations (Part 2, clause 10.12).

use super::wire::Reader;
use super::{Name, PcrSelection, PublicArea, Signature};
use crate::error::{Error, Result};

/// `TPM_GENERATED_VALUE`: only a TPM can have a restricted key sign what begins so.
const GENERATED: u32 = 0xff54_4347;
const ST_ATTEST_CERTIFY: u16 = 0x8017;
const ST_ATTEST_QUOTE: u16 = 0x8018;

/// The longest attestation that is looked at, in bytes.
const ATTEST_MAX: usize = 2048;

/// `TPMS_ATTEST`: what a TPM says under the signature of one of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// The qualified name of the signing key.
    pub qualified_signer: Vec<u8>,
    /// What the caller had mixed in: a nonce, or a digest of what is bound.
    pub extra_data: Vec<u8>,
    /// The state of the TPM's clock.
    pub clock: ClockInfo,
    /// The version of the TPM's firmware.
    pub firmware_version: u64,
    /// What is attested.
    pub attested: Attested,
}

/// `TPMS_CLOCK_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM has been powered.
    pub clock: u64,
    /// TPM Resets.
    pub reset_count: u32,
    /// TPM Restarts and Resumes.
    pub restart_count: u32,
    /// The clock has not gone back.
    pub safe: bool,
}

/// `TPMU_ATTEST`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attested {
    /// `TPM2_Certify`: an object with this name is in the TPM.
    Certify {
        /// Its name.
        name: Vec<u8>,
        /// Its qualified name.
        qualified_name: Vec<u8>,
    },
    /// `TPM2_Quote`: PCRs with this digest over all of them.
    Quote {
        /// Which PCRs.
        selection: PcrSelection,
        /// The digest of their values.
        digest: Vec<u8>,
    },
}

impl Attest {
    /// Reads a `TPMS_ATTEST`. Its signature is to be checked before anything in it is believed:
    /// [`verify`](Self::verify) does both.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unsupported`] for anything but a quote or a certification.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "an attestation");
        if bytes.len() > ATTEST_MAX || reader.u32()? != GENERATED {
            return Err(reader.malformed());
        }
        let kind = reader.u16()?;
        let qualified_signer = reader.sized()?.to_vec();
        let extra_data = reader.sized()?.to_vec();
        let clock = ClockInfo {
            clock: reader.u64()?,
            reset_count: reader.u32()?,
            restart_count: reader.u32()?,
            safe: reader.u8()? == 1,
        };
        let firmware_version = reader.u64()?;
        let attested = match kind {
            ST_ATTEST_CERTIFY => Attested::Certify {
                name: reader.sized()?.to_vec(),
                qualified_name: reader.sized()?.to_vec(),
            },
            ST_ATTEST_QUOTE => Attested::Quote {
                selection: PcrSelection::read(&mut reader)?,
                digest: reader.sized()?.to_vec(),
            },
            _ => return Err(Error::Unsupported { what: "an attestation" }),
        };
        reader.finish()?;
        Ok(Self { qualified_signer, extra_data, clock, firmware_version, attested })
    }

    /// Checks that the restricted key `signer` signed `bytes`, and reads them.
    ///
    /// # Errors
    /// [`Error::Signature`]; [`Error::Mismatch`] if `signer` is no attestation key: any other
    /// could have signed whatever its owner made up.
    pub fn verify(bytes: &[u8], signature: &Signature, signer: &PublicArea) -> Result<Self> {
        signer.must_be_attestation_key()?;
        signature.verify(signer, bytes, "an attestation")?;
        Self::from_bytes(bytes)
    }

    /// Checks that this certifies `object`, with `extra_data` mixed in.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn must_certify(&self, object: &Name, extra_data: &[u8]) -> Result<()> {
        let Attested::Certify { name, .. } = &self.attested else {
            return Err(Error::mismatch("the attestation is a quote, not a certification"));
        };
        if name != object.as_bytes() {
            return Err(Error::mismatch("the certification is of another key"));
        }
        if self.extra_data != extra_data {
            return Err(Error::mismatch("the certification was made for another purpose"));
        }
        Ok(())
    }
}

impl PublicArea {
    /// Checks that this is a key that signs nothing but what its TPM itself says.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn must_be_attestation_key(&self) -> Result<()> {
        use super::Attributes as A;
        let wanted = A::FIXED_TPM
            .with(A::FIXED_PARENT)
            .with(A::SENSITIVE_DATA_ORIGIN)
            .with(A::RESTRICTED)
            .with(A::SIGN);
        if self.attributes().has(wanted) && !self.attributes().has(A::DECRYPT) {
            return Ok(());
        }
        Err(Error::mismatch(
            "the key is no attestation key: not restricted, or it can leave its TPM",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certification() -> Vec<u8> {
        let mut bytes = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x17];
        bytes.extend_from_slice(&[0, 1, 9, 0, 2, 7, 7]);
        bytes.extend_from_slice(&[0; 8 + 4 + 4]);
        bytes.push(1);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[0, 1, 5, 0, 1, 6]);
        bytes
    }

    #[test]
    fn a_certification_is_read_and_none_of_its_prefixes() {
        let bytes = certification();
        let attest = Attest::from_bytes(&bytes).unwrap();
        assert_eq!(attest.extra_data, [7, 7]);
        assert!(matches!(&attest.attested, Attested::Certify { name, .. } if name == &[5]));
        for cut in 0..bytes.len() {
            assert!(Attest::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_no_tpm_generated_is_malformed() {
        let mut bytes = certification();
        bytes[0] = 0;
        assert!(matches!(Attest::from_bytes(&bytes), Err(Error::Malformed { .. })));
    }
}
