//! Attestation: what all commands that sign statements of the TPM have in common
//! (Part 1, clause 31; Part 3, clause 18.1).

use std::sync::Arc;

use crate::crypto::{hash, kdf};
use crate::hierarchy::Hierarchy;
use crate::object::Object;
use crate::sign::is_anonymous;
use crate::tpm::Tpm;
use crate::wire::{
    Attest, Attested, Buffer, Data, DhObject, Handle, Marshal, Name, Rc, Scheme, Signature,
};

/// `TPM2B_ATTEST`. What surrounds the attested part takes less than 200 bytes, and the largest
/// attested part is the contents of an NV index.
#[doc(alias = "TPM2B_ATTEST")]
pub(crate) type AttestBuffer = Buffer<2560>;

/// The key and the scheme of an attestation, checked to fit.
#[derive(Debug)]
pub(crate) struct Attester {
    /// Absent for `TPM_RH_NULL`: the attestation is not signed.
    pub(crate) key: Option<Arc<Object>>,
    /// `Scheme::Null` without a key.
    pub(crate) scheme: Scheme,
}

impl Tpm {
    /// The key of a handle and the scheme that it signs with.
    ///
    /// # Errors
    /// `TPM_RC_KEY` with the handle's number when it is no signing key; `TPM_RC_SCHEME` with the
    /// parameter's number when the scheme does not fit it.
    pub(crate) fn attester(
        &self,
        handle: Option<DhObject>,
        handle_number: u32,
        requested: Scheme,
        parameter_number: u32,
    ) -> Result<Attester, Rc> {
        let Some(handle) = handle else {
            return Ok(Attester { key: None, scheme: Scheme::Null });
        };
        let key = self.signing_key(handle).map_err(|rc| rc.handle(handle_number))?;
        let scheme =
            self.select_scheme(&key, requested).map_err(|rc| rc.parameter(parameter_number))?;
        Ok(Attester { key: Some(key), scheme })
    }

    /// The key of a handle; `TPM_RC_KEY` when it does not sign.
    pub(crate) fn signing_key(&self, handle: DhObject) -> Result<Arc<Object>, Rc> {
        let key = self.object(handle).map_err(|_| Rc::KEY)?;
        if key.is_signing_key() { Ok(key) } else { Err(Rc::KEY) }
    }

    /// Makes an attestation and signs it; without a key, the signature is the null one.
    ///
    /// An anonymous scheme leaves out who signs; the caller's data is then not in the attestation
    /// but signed with it.
    ///
    /// # Errors
    /// Those of [`Tpm::sign`].
    pub(crate) fn attest(
        &mut self,
        attester: &Attester,
        qualifying: Data,
        attested: Attested,
    ) -> Result<(AttestBuffer, Signature), Rc> {
        let (key, scheme) = (attester.key.as_deref(), attester.scheme);
        let anonymous = is_anonymous(scheme);
        let qualified_signer = match key {
            None => Name::from(Handle::NULL.to_bytes()),
            Some(_) if anonymous => Name::empty(),
            Some(key) => key.qualified_name.clone(),
        };
        let (extra_data, beside) =
            if anonymous { (Data::empty(), qualifying) } else { (qualifying, Data::empty()) };
        let mut attest = Attest {
            qualified_signer,
            extra_data,
            clock_info: self.clock_info(),
            firmware_version: self.profile.identity.firmware_version,
            attested,
        };
        let trusted = key.is_some_and(|key| {
            matches!(key.hierarchy, Hierarchy::Endorsement | Hierarchy::Platform)
        });
        if !trusted {
            self.obfuscate(&mut attest);
        }
        let bytes = AttestBuffer::from(attest.to_bytes());
        let Some(key) = key else { return Ok((bytes, Signature::Null)) };
        let alg = scheme.hash().ok_or(Rc::SCHEME)?;
        let mut digest = hash::hash(alg, &[&bytes]);
        if !beside.is_empty() {
            digest = hash::hash(alg, &[&beside, &digest]);
        }
        let signature = self.sign(key, scheme, &digest)?;
        Ok((bytes, signature))
    }

    /// Adds to counters and firmware version a value that belongs to the signer, so that two
    /// owners' keys don't show that they are in the same TPM, while one key's attestations can
    /// still be compared.
    fn obfuscate(&self, attest: &mut Attest) {
        let mask = kdf::kdfa(
            self.context_integrity_hash(),
            self.proof(Hierarchy::Owner).as_ref(),
            b"OBFUSCATE",
            &attest.qualified_signer,
            &[],
            128,
        );
        let (version, counters) = mask.split_at_checked(8).unwrap_or_default();
        let (resets, restarts) = counters.split_at_checked(4).unwrap_or_default();
        let number =
            |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        attest.firmware_version = attest.firmware_version.wrapping_add(number(version));
        let clock = &mut attest.clock_info;
        clock.reset_count = clock.reset_count.wrapping_add(number(resets) as u32);
        clock.restart_count = clock.restart_count.wrapping_add(number(restarts) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::ecc::Curve;
    use crate::crypto::hash::HashAlg;
    use crate::sign::test_keys::{self, parse_attest};
    use crate::test_util::Client;
    use crate::wire::Digest;

    const SCHEME: Scheme = Scheme::Ecdsa(HashAlg::Sha256);

    fn signer(hierarchy: Hierarchy) -> Attester {
        let mut key = test_keys::ecc(Curve::P256, SCHEME);
        key.hierarchy = hierarchy;
        Attester { key: Some(Arc::new(key)), scheme: SCHEME }
    }

    fn attested() -> Attested {
        Attested::Creation(Name::from_slice(&[7; 34]), Digest::from_slice(&[8; 32]))
    }

    #[test]
    fn counters_and_version_are_plain_for_endorsement_and_platform_keys_alone() {
        let mut client = Client::started();
        let plain = client.tpm.clock_info();
        let version = client.tpm.profile.identity.firmware_version;
        for hierarchy in
            [Hierarchy::Owner, Hierarchy::Endorsement, Hierarchy::Platform, Hierarchy::Null]
        {
            let signer = signer(hierarchy);
            let (bytes, _) = client.tpm.attest(&signer, Data::empty(), attested()).unwrap();
            let parsed = parse_attest(&bytes);
            let expected = matches!(hierarchy, Hierarchy::Endorsement | Hierarchy::Platform);
            assert_eq!(parsed.clock_info == plain, expected, "{hierarchy:?}");
            assert_eq!(parsed.firmware_version == version, expected, "{hierarchy:?}");
            assert_eq!(parsed.clock_info.clock, plain.clock);
            assert_eq!(parsed.signer, signer.key.unwrap().qualified_name);
        }
    }

    #[test]
    fn one_key_is_obfuscated_always_in_the_same_way_and_another_key_differently() {
        let mut client = Client::started();
        let (one, other) = (signer(Hierarchy::Owner), signer(Hierarchy::Owner));
        let mut version = |signer: &Attester| {
            let (bytes, _) = client.tpm.attest(signer, Data::empty(), attested()).unwrap();
            parse_attest(&bytes).firmware_version
        };
        assert_eq!(version(&one), version(&one));
        assert_ne!(version(&one), version(&other));
    }

    #[test]
    fn without_a_key_the_signer_is_the_null_handle_and_the_signature_null() {
        let mut client = Client::started();
        let data = Data::from_slice(b"nonce");
        let nobody = Attester { key: None, scheme: Scheme::Null };
        let (bytes, signature) = client.tpm.attest(&nobody, data.clone(), attested()).unwrap();
        let parsed = parse_attest(&bytes);
        assert_eq!(parsed.signer.as_bytes(), [0x40, 0, 0, 7]);
        assert_eq!(parsed.extra_data, data);
        assert_eq!(signature, Signature::Null);
        assert_ne!(parsed.firmware_version, client.tpm.profile.identity.firmware_version);
    }

    #[test]
    fn the_largest_attestation_fits() {
        let mut client = Client::started();
        let key = test_keys::ecc(Curve::P521, Scheme::Ecdsa(HashAlg::Sha512));
        let data = Data::from_slice(&[1; 66]);
        let contents = Buffer::<2048>::from_slice(&[3; 2048]);
        let attested = Attested::Nv(Name::from_slice(&[2; 66]), 9, contents.clone());
        let scheme = Scheme::Ecdsa(HashAlg::Sha512);
        let signer = Attester { key: Some(Arc::new(key)), scheme };
        let (bytes, _) = client.tpm.attest(&signer, data, attested).unwrap();
        assert!(bytes.ends_with(&contents));
    }
}
