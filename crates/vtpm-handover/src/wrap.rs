//! Wrapping a transfer key so that one TPM can open it: a sealed data object in the form that
//! TPM2_Import takes, made without a TPM.
//!
//! TPM 2.0 Part 1, clauses 11.4.10 (KDFa, KDFe), 23 (duplication), C.6 (ECDH secret sharing);
//! Part 2, clauses 12.2.4 and 12.3.2 (TPMT_PUBLIC, TPMT_SENSITIVE).
//!
//! ```text
//! ephemeral key e, HK public point H           Z  = x(e * H)
//! seed = KDFe(SHA-256, Z, "DUPLICATE", x(e * G), x(H), 256)
//! symKey  = KDFa(SHA-256, seed, "STORAGE", name, -, 128)
//! hmacKey = KDFa(SHA-256, seed, "INTEGRITY", -, -, 256)
//! cipher  = AES-128-CFB(symKey, IV 0, TPM2B_SENSITIVE)
//! duplicate = TPM2B_DIGEST(HMAC(hmacKey, cipher || name)) || cipher
//! ```
//!
//! The object has no inner wrapper. If the peer quoted registers, its policy is TPM2_PolicyPCR
//! over their values: the chip opens it only while the host is in the state that was judged.

use aes::Aes128;
use aes::cipher::KeyIvInit;
use p256::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::chip::{ChipError, Entropy, WrappedKey};
use crate::crypto::mac;
use crate::judge::Peer;
use crate::pcr::PcrSelection;
use crate::secret::Key;
use crate::wire::Writer;

const TPM_ALG_KEYEDHASH: u16 = 0x0008;
const TPM_ALG_SHA256: u16 = 0x000b;
const TPM_ALG_NULL: u16 = 0x0010;
const TPM_CC_POLICY_PCR: u32 = 0x0000_017f;
/// TPMA_OBJECT: userWithAuth.
const USER_WITH_AUTH: u32 = 1 << 6;
/// TPMA_OBJECT: adminWithPolicy.
const ADMIN_WITH_POLICY: u32 = 1 << 7;
/// TPMA_OBJECT: noDA.
const NO_DA: u32 = 1 << 10;

/// Why a key cannot be wrapped to a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrapError {
    /// The judge gave a point that is not on the curve.
    #[error("the peer's handover key is not a point of P-256")]
    NoPoint,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] ChipError),
}

/// Wraps `key` to the handover key of `peer`.
pub(crate) fn wrap(
    key: &Key,
    peer: &Peer,
    entropy: &mut dyn Entropy,
) -> Result<WrappedKey, WrapError> {
    let to = PublicKey::from_sec1_bytes(&peer.hk_point).map_err(|_| WrapError::NoPoint)?;
    let mut blind = Zeroizing::new([0; 32]);
    entropy.fill(blind.as_mut_slice())?;
    let public = public_area(key, &blind, &peer.pcrs, &peer.pcr_digest);
    let name = name(&public);
    let ephemeral = ephemeral_key(entropy)?;
    let seed = outer_seed(&ephemeral, &to);

    let mut cipher = sensitive(key, &blind);
    let storage = Zeroizing::new(kdfa(&seed, "STORAGE", &name, 128));
    let (symmetric, _) = storage.split_at(16);
    let mut aes_key = aes::cipher::Key::<cfb_mode::Encryptor<Aes128>>::default();
    aes_key.copy_from_slice(symmetric);
    cfb_mode::Encryptor::<Aes128>::new(&aes_key, &[0; 16].into()).encrypt(&mut cipher);
    aes_key.zeroize();

    let integrity = Zeroizing::new(kdfa(&seed, "INTEGRITY", &[], 256));
    let mut duplicate = Writer::default();
    duplicate.sized(&mac(integrity.as_slice(), &[&cipher, &name]));
    duplicate.bytes(&cipher);
    Ok(WrappedKey {
        public,
        duplicate: duplicate.into_bytes(),
        seed: point_of(&ephemeral),
        pcrs: peer.pcrs.clone(),
    })
}

/// The policy digest of one TPM2_PolicyPCR, Part 3, clause 23.7.
fn policy_pcr(pcrs: &PcrSelection, digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0; 32])
        .chain_update(TPM_CC_POLICY_PCR.to_be_bytes())
        .chain_update(pcrs.to_tpml())
        .chain_update(digest)
        .finalize()
        .into()
}

/// TPMT_PUBLIC of the sealed data object.
fn public_area(key: &Key, blind: &[u8; 32], pcrs: &PcrSelection, digest: &[u8; 32]) -> Vec<u8> {
    let unique: [u8; 32] =
        Sha256::new().chain_update(blind).chain_update(key.expose()).finalize().into();
    let mut out = Writer::default();
    out.u16(TPM_ALG_KEYEDHASH);
    out.u16(TPM_ALG_SHA256);
    if pcrs.is_empty() {
        out.u32(USER_WITH_AUTH | NO_DA);
        out.sized(&[]);
    } else {
        out.u32(ADMIN_WITH_POLICY | NO_DA);
        out.sized(&policy_pcr(pcrs, digest));
    }
    out.u16(TPM_ALG_NULL);
    out.sized(&unique);
    out.into_bytes()
}

fn name(public: &[u8]) -> Vec<u8> {
    let mut name = TPM_ALG_SHA256.to_be_bytes().to_vec();
    name.extend_from_slice(&Sha256::digest(public));
    name
}

/// TPM2B_SENSITIVE: no authorization value, the blinding seed, the key.
fn sensitive(key: &Key, blind: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    const AREA: u16 = 2 + 2 + (2 + 32) + (2 + 32);
    let mut out = Zeroizing::new(Vec::with_capacity(usize::from(AREA) + 2));
    out.extend(AREA.to_be_bytes());
    out.extend(TPM_ALG_KEYEDHASH.to_be_bytes());
    out.extend(0u16.to_be_bytes());
    for part in [blind, key.expose()] {
        out.extend(32u16.to_be_bytes());
        out.extend(part);
    }
    out
}

/// KDFa with SHA-256 for up to 256 bits; the caller takes as many as it asked for.
fn kdfa(seed: &[u8; 32], label: &str, context: &[u8], bits: u32) -> [u8; 32] {
    mac(seed, &[&1u32.to_be_bytes(), label.as_bytes(), &[0], context, &bits.to_be_bytes()])
}

/// KDFe over the shared point, with SHA-256.
fn outer_seed(ephemeral: &SecretKey, to: &PublicKey) -> Zeroizing<[u8; 32]> {
    let shared = ephemeral.diffie_hellman(to);
    let mut hash = Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(shared.raw_secret_bytes());
    hash.update(b"DUPLICATE\0");
    hash.update(x_of(&ephemeral.public_key()));
    hash.update(x_of(to));
    Zeroizing::new(hash.finalize().into())
}

fn x_of(point: &PublicKey) -> Vec<u8> {
    point.to_sec1_bytes().iter().copied().skip(1).take(32).collect()
}

/// TPMS_ECC_POINT of the ephemeral key.
fn point_of(ephemeral: &SecretKey) -> Vec<u8> {
    let point = ephemeral.public_key().to_sec1_bytes();
    let mut out = Writer::default();
    for half in point.get(1..).unwrap_or_default().chunks(32) {
        out.sized(half);
    }
    out.into_bytes()
}

fn ephemeral_key(entropy: &mut dyn Entropy) -> Result<SecretKey, ChipError> {
    let mut bytes = Zeroizing::new([0; 32]);
    for _ in 0..64 {
        entropy.fill(bytes.as_mut_slice())?;
        // Zero and what is not below the order of the group: one draw in 2^32.
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            return Ok(key);
        }
    }
    Err(ChipError::new("the source of random bytes gives no usable ones", "check it"))
}
