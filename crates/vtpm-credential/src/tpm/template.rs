//! Templates (`TPMT_PUBLIC`) of the keys that this project makes, and those of the TCG EK
//! Credential Profile for TPM Family 2.0, version 2.5, appendix B.

use super::Attributes;
use super::wire::Put;

const ALG_RSA: u16 = 0x0001;
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const ALG_NULL: u16 = 0x0010;
const ALG_AES: u16 = 0x0006;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

/// PolicyA (SHA-256): `TPM2_PolicySecret` with the endorsement hierarchy.
const POLICY_A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
/// PolicyB (SHA-384): PolicySecret of the endorsement hierarchy, or a policy in NV.
const POLICY_B: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
                        cb47ba09699646150f9fc000f3f80e12";

const OWN: Attributes =
    Attributes::FIXED_TPM.with(Attributes::FIXED_PARENT).with(Attributes::NO_DA);
const BORN_HERE: Attributes = OWN.with(Attributes::SENSITIVE_DATA_ORIGIN);
const STORAGE: Attributes = BORN_HERE
    .with(Attributes::USER_WITH_AUTH)
    .with(Attributes::RESTRICTED)
    .with(Attributes::DECRYPT);
const EK: Attributes = Attributes::FIXED_TPM
    .with(Attributes::FIXED_PARENT)
    .with(Attributes::SENSITIVE_DATA_ORIGIN)
    .with(Attributes::ADMIN_WITH_POLICY)
    .with(Attributes::RESTRICTED)
    .with(Attributes::DECRYPT);

/// All of them, for tests.
#[cfg(test)]
pub(crate) const ALL: [fn() -> Vec<u8>; 9] = [
    ek_rsa_2048,
    ek_p256,
    ek_p384,
    storage_root_rsa_2048,
    storage_root_p256,
    || storage(&[7; 32]),
    || signing(true),
    || signing(false),
    || sealed(None),
];

/// The EK of template L-1: RSA-2048.
#[must_use]
pub fn ek_rsa_2048() -> Vec<u8> {
    rsa_2048(EK, &policy(POLICY_A))
}

/// The EK of template L-2: P-256.
#[must_use]
pub fn ek_p256() -> Vec<u8> {
    let mut out = head(ALG_ECC, ALG_SHA256, EK, &policy(POLICY_A));
    cipher(&mut out, 128);
    ecc(&mut out, None, P256, [&[0; 32], &[0; 32]]);
    out
}

/// The EK of template H-3: P-384.
#[must_use]
pub fn ek_p384() -> Vec<u8> {
    let attributes = EK.with(Attributes::USER_WITH_AUTH);
    let mut out = head(ALG_ECC, ALG_SHA384, attributes, &policy(POLICY_B));
    cipher(&mut out, 256);
    ecc(&mut out, None, P384, [&[], &[]]);
    out
}

/// The storage root key of RSA-2048 (TCG TPM v2.0 Provisioning Guidance, section 7.5.1).
#[must_use]
pub fn storage_root_rsa_2048() -> Vec<u8> {
    rsa_2048(STORAGE, &[])
}

/// The storage root key of P-256 (TCG TPM v2.0 Provisioning Guidance, section 7.5.1).
#[must_use]
pub fn storage_root_p256() -> Vec<u8> {
    let mut out = head(ALG_ECC, ALG_SHA256, STORAGE, &[]);
    cipher(&mut out, 128);
    ecc(&mut out, None, P256, [&[0; 32], &[0; 32]]);
    out
}

/// A P-256 storage key that stays in its TPM. `unique` tells primary keys of one seed apart; a
/// child has none.
#[must_use]
pub fn storage(unique: &[u8]) -> Vec<u8> {
    let mut out = head(ALG_ECC, ALG_SHA256, STORAGE, &[]);
    cipher(&mut out, 128);
    ecc(&mut out, None, P256, [unique, &[]]);
    out
}

/// A P-256 signing key (ECDSA with SHA-256) that stays in its TPM. A restricted one signs nothing
/// that the TPM did not make or hash itself: an attestation key.
#[must_use]
pub fn signing(restricted: bool) -> Vec<u8> {
    let mut attributes = BORN_HERE.with(Attributes::USER_WITH_AUTH).with(Attributes::SIGN);
    if restricted {
        attributes = attributes.with(Attributes::RESTRICTED);
    }
    let mut out = head(ALG_ECC, ALG_SHA256, attributes, &[]);
    out.put_u16(ALG_NULL);
    ecc(&mut out, Some(ALG_SHA256), P256, [&[], &[]]);
    out
}

/// Sealed data that stays in its TPM: opened with an authorization value, or with a policy only.
#[must_use]
pub fn sealed(policy: Option<&[u8; 32]>) -> Vec<u8> {
    let attributes = match policy {
        None => OWN.with(Attributes::USER_WITH_AUTH),
        Some(_) => OWN.with(Attributes::ADMIN_WITH_POLICY),
    };
    let mut out = head(ALG_KEYEDHASH, ALG_SHA256, attributes, policy.map_or(&[], |p| p));
    out.put_u16(ALG_NULL);
    out.put_sized(&[]);
    out
}

/// The public area of a P-256 key that somebody outside of the TPM signs with (ECDSA), such as the
/// authority over a policy.
#[must_use]
pub fn external_p256(x: &[u8; 32], y: &[u8; 32]) -> Vec<u8> {
    let attributes = Attributes::USER_WITH_AUTH.with(Attributes::SIGN);
    let mut out = head(ALG_ECC, ALG_SHA256, attributes, &[]);
    out.put_u16(ALG_NULL);
    ecc(&mut out, Some(ALG_SHA256), P256, [x, y]);
    out
}

fn head(kind: u16, name_alg: u16, attributes: Attributes, policy: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.put_u16(kind);
    out.put_u16(name_alg);
    out.put_u32(attributes.0);
    out.put_sized(policy);
    out
}

fn cipher(out: &mut Vec<u8>, bits: u16) {
    out.put_u16(ALG_AES);
    out.put_u16(bits);
    out.put_u16(ALG_CFB);
}

fn rsa_2048(attributes: Attributes, policy: &[u8]) -> Vec<u8> {
    let mut out = head(ALG_RSA, ALG_SHA256, attributes, policy);
    cipher(&mut out, 128);
    out.put_u16(ALG_NULL);
    out.put_u16(2048);
    out.put_u32(0);
    out.put_sized(&[0; 256]);
    out
}

fn ecc(out: &mut Vec<u8>, ecdsa: Option<u16>, curve: u16, [x, y]: [&[u8]; 2]) {
    match ecdsa {
        Some(hash) => {
            out.put_u16(ALG_ECDSA);
            out.put_u16(hash);
        }
        None => out.put_u16(ALG_NULL),
    }
    out.put_u16(curve);
    out.put_u16(ALG_NULL);
    out.put_sized(x);
    out.put_sized(y);
}

/// The constants above are hexadecimal, which the tests of the templates show.
fn policy(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::{HashAlg, PublicArea};

    #[test]
    fn policy_a_is_policy_secret_of_the_endorsement_hierarchy() {
        const CC_POLICY_SECRET: [u8; 4] = [0, 0, 1, 0x51];
        const RH_ENDORSEMENT: [u8; 4] = [0x40, 0, 0, 0x0b];
        let first = HashAlg::Sha256.digest(&[&[0; 32], &CC_POLICY_SECRET, &RH_ENDORSEMENT]);
        assert_eq!(policy(POLICY_A), HashAlg::Sha256.digest(&[&first]));
        assert_eq!(policy(POLICY_B).len(), 48);
    }

    #[test]
    fn attributes_are_those_of_the_profile() {
        let attributes = |bytes: Vec<u8>| PublicArea::from_bytes(&bytes).unwrap().attributes().0;
        assert_eq!(attributes(ek_rsa_2048()), 0x0003_00b2);
        assert_eq!(attributes(ek_p256()), 0x0003_00b2);
        assert_eq!(attributes(ek_p384()), 0x0003_00f2);
        assert_eq!(attributes(storage_root_rsa_2048()), 0x0003_0472);
        assert_eq!(attributes(storage_root_p256()), 0x0003_0472);
    }
}
