//! Templates (`TPMT_PUBLIC`) of the keys that a new TPM can be furnished with.

/// PolicyA of the EK profile (SHA-256): `TPM2_PolicySecret` with the endorsement hierarchy.
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyB of the EK profile (SHA-384): the same, or a policy in NV.
const POLICY_B: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const EK: u32 = 0x0003_00b2;
/// As an EK of the high range: with userWithAuth.
const EK_HIGH: u32 = 0x0003_00f2;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
const STORAGE: u32 = 0x0003_0472;

const RSA: u16 = 0x0001;
const ECC: u16 = 0x0023;
const SHA256: u16 = 0x000b;
const SHA384: u16 = 0x000c;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;
const NULL: u16 = 0x0010;

/// The EK of RSA-2048 (TCG EK Credential Profile, template L-1).
pub(crate) fn ek_rsa_2048() -> Vec<u8> {
    rsa_2048(EK, &POLICY_A)
}

/// The EK of P-384 (TCG EK Credential Profile, template H-3).
pub(crate) fn ek_p384() -> Vec<u8> {
    ecc(SHA384, EK_HIGH, &POLICY_B, 256, P384, 0)
}

/// A storage key of RSA-2048 (TCG TPM v2.0 Provisioning Guidance, section 7.5.1).
pub(crate) fn storage_rsa_2048() -> Vec<u8> {
    rsa_2048(STORAGE, &[])
}

/// A storage key of P-256 (TCG TPM v2.0 Provisioning Guidance, section 7.5.1).
pub(crate) fn storage_p256() -> Vec<u8> {
    ecc(SHA256, STORAGE, &[], 128, P256, 32)
}

fn rsa_2048(attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut out = head(RSA, SHA256, attributes, policy, 128);
    out.extend(2048u16.to_be_bytes());
    out.extend(0u32.to_be_bytes());
    sized(&mut out, &[0; 256]);
    out
}

fn ecc(hash: u16, attributes: u32, policy: &[u8], aes: u16, curve: u16, unique: usize) -> Vec<u8> {
    let mut out = head(ECC, hash, attributes, policy, aes);
    out.extend(curve.to_be_bytes());
    // No key derivation.
    out.extend(NULL.to_be_bytes());
    for _ in ["x", "y"] {
        sized(&mut out, &vec![0; unique]);
    }
    out
}

/// Type, name algorithm, attributes, policy, AES in CFB mode, no scheme.
fn head(kind: u16, hash: u16, attributes: u32, policy: &[u8], aes: u16) -> Vec<u8> {
    const AES: u16 = 0x0006;
    const CFB: u16 = 0x0043;
    let mut out = Vec::with_capacity(512);
    out.extend(kind.to_be_bytes());
    out.extend(hash.to_be_bytes());
    out.extend(attributes.to_be_bytes());
    sized(&mut out, policy);
    out.extend([AES, aes, CFB, NULL].iter().flat_map(|word| word.to_be_bytes()));
    out
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    // All of them are short constants.
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}
