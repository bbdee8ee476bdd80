//! Public areas, sensitive areas and objects of scenarios.

use crate::cc;
use crate::crypto::Hash;
use crate::keys;
use crate::step::{Command, Seq, cmd};

pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const NULL: u32 = 0x4000_0007;
pub(crate) const LOCKOUT: u32 = 0x4000_000a;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
pub(crate) const PLATFORM: u32 = 0x4000_000c;

pub(crate) const FIXED_TPM: u32 = 0x2;
pub(crate) const ST_CLEAR: u32 = 0x4;
pub(crate) const FIXED_PARENT: u32 = 0x10;
pub(crate) const ORIGIN: u32 = 0x20;
pub(crate) const USER_WITH_AUTH: u32 = 0x40;
pub(crate) const ADMIN_WITH_POLICY: u32 = 0x80;
pub(crate) const NO_DA: u32 = 0x400;
pub(crate) const ENCRYPTED_DUPLICATION: u32 = 0x800;
pub(crate) const RESTRICTED: u32 = 0x1_0000;
pub(crate) const DECRYPT: u32 = 0x2_0000;
pub(crate) const SIGN: u32 = 0x4_0000;
pub(crate) const X509_SIGN: u32 = 0x8_0000;

/// Attributes of a storage key.
pub(crate) const STORAGE: u32 =
    FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;

/// No algorithm.
pub(crate) const NONE: &[u8] = &[0, 0x10];
/// AES-128 in CFB mode.
pub(crate) const AES128: &[u8] = &[0, 6, 0, 128, 0, 0x43];

/// A `TPM2B`.
pub(crate) fn b2(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A public area up to the parameters.
fn head(kind: u16, hash: Hash, attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(hash.id().to_be_bytes());
    out.extend(attributes.to_be_bytes());
    out.extend(b2(policy));
    out
}

/// `TPMT_PUBLIC` of an RSA key.
pub(crate) fn rsa(
    attributes: u32,
    symmetric: &[u8],
    scheme: &[u8],
    bits: u16,
    n: &[u8],
) -> Vec<u8> {
    let mut out = head(1, Hash::Sha256, attributes, &[]);
    out.extend_from_slice(symmetric);
    out.extend_from_slice(scheme);
    out.extend(bits.to_be_bytes());
    out.extend([0; 4]);
    out.extend(b2(n));
    out
}

/// `TPMT_PUBLIC` of an ECC key.
pub(crate) fn ecc_with(
    attributes: u32,
    policy: &[u8],
    symmetric: &[u8],
    scheme: &[u8],
    curve: u16,
    point: (&[u8], &[u8]),
) -> Vec<u8> {
    let mut out = head(0x23, Hash::Sha256, attributes, policy);
    out.extend_from_slice(symmetric);
    out.extend_from_slice(scheme);
    out.extend(curve.to_be_bytes());
    out.extend_from_slice(NONE);
    out.extend(b2(point.0));
    out.extend(b2(point.1));
    out
}

/// `TPMT_PUBLIC` of a key on P-256 without policy.
pub(crate) fn ecc(attributes: u32, symmetric: &[u8], scheme: &[u8]) -> Vec<u8> {
    ecc_with(attributes, &[], symmetric, scheme, 3, (&[], &[]))
}

/// `TPMT_PUBLIC` of a keyed hash.
pub(crate) fn keyed_hash(attributes: u32, policy: &[u8], scheme: &[u8], unique: &[u8]) -> Vec<u8> {
    let mut out = head(8, Hash::Sha256, attributes, policy);
    out.extend_from_slice(scheme);
    out.extend(b2(unique));
    out
}

/// `TPMT_PUBLIC` of a symmetric key; `parms` is a `TPMT_SYM_DEF_OBJECT`.
pub(crate) fn symmetric(attributes: u32, parms: &[u8], unique: &[u8]) -> Vec<u8> {
    let mut out = head(0x25, Hash::Sha256, attributes, &[]);
    out.extend_from_slice(parms);
    out.extend(b2(unique));
    out
}

/// `TPMT_SENSITIVE`.
pub(crate) fn sensitive(kind: u16, auth: &[u8], seed: &[u8], secret: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &b2(auth), &b2(seed), &b2(secret)].concat()
}

/// `TPMS_SENSITIVE_CREATE`.
pub(crate) fn create_sensitive(auth: &[u8], data: &[u8]) -> Vec<u8> {
    [b2(auth), b2(data)].concat()
}

/// The scheme of a hash: algorithm and hash.
pub(crate) fn scheme(alg: u16, hash: Hash) -> Vec<u8> {
    [alg.to_be_bytes(), hash.id().to_be_bytes()].concat()
}

pub(crate) const RSASSA: u16 = 0x14;
pub(crate) const RSAES: u16 = 0x15;
pub(crate) const RSAPSS: u16 = 0x16;
pub(crate) const OAEP: u16 = 0x17;
pub(crate) const ECDSA: u16 = 0x18;
pub(crate) const ECDH: u16 = 0x19;
pub(crate) const ECDAA: u16 = 0x1a;
pub(crate) const ECSCHNORR: u16 = 0x1c;
pub(crate) const ECMQV: u16 = 0x1d;
pub(crate) const HMAC: u16 = 0x05;

/// `TPM2_CreatePrimary` with an authorization value.
pub(crate) fn primary(hierarchy: u32, auth: &[u8], public: &[u8]) -> Command {
    cmd(cc::CREATE_PRIMARY)
        .h(hierarchy)
        .pw()
        .b2(create_sensitive(auth, &[]))
        .b2(public)
        .b2([])
        .u32(0)
}

/// A storage key on P-256.
pub(crate) fn storage_parent() -> Vec<u8> {
    ecc(STORAGE, AES128, NONE)
}

/// `TPM2_LoadExternal`.
pub(crate) fn external(private: &[u8], public: &[u8], hierarchy: u32) -> Command {
    cmd(cc::LOAD_EXTERNAL).b2(private).b2(public).u32(hierarchy)
}

/// The fixed RSA key of 2048 bits with its private part.
pub(crate) fn rsa_key(attributes: u32, scheme: &[u8], auth: &[u8]) -> Command {
    external(
        &sensitive(1, auth, &[], keys::RSA_2048_P),
        &rsa(attributes, NONE, scheme, 2048, keys::RSA_2048_N),
        NULL,
    )
}

/// The fixed RSA key of 1024 bits with its private part.
pub(crate) fn rsa_small_key(attributes: u32, scheme: &[u8]) -> Command {
    external(
        &sensitive(1, &[], &[], keys::RSA_1024_P),
        &rsa(attributes, NONE, scheme, 1024, keys::RSA_1024_N),
        NULL,
    )
}

/// The public area of the fixed key on P-256.
pub(crate) fn p256_public(attributes: u32, scheme: &[u8]) -> Vec<u8> {
    ecc_with(attributes, &[], NONE, scheme, 3, (keys::P256_X, keys::P256_Y))
}

/// The fixed key on P-256 with its private part.
pub(crate) fn p256_key(attributes: u32, scheme: &[u8], auth: &[u8]) -> Command {
    external(&sensitive(0x23, auth, &[], keys::P256_D), &p256_public(attributes, scheme), NULL)
}

/// The fixed key on P-384 with its private part.
pub(crate) fn p384_key(attributes: u32, scheme: &[u8]) -> Command {
    let public = ecc_with(attributes, &[], NONE, scheme, 4, (keys::P384_X, keys::P384_Y));
    external(&sensitive(0x23, &[], &[], keys::P384_D), &public, NULL)
}

/// A fixed HMAC key or, without scheme, sealed data.
pub(crate) fn hmac_key(attributes: u32, scheme: &[u8], auth: &[u8], secret: &[u8]) -> Command {
    let seed = [7; 32];
    let unique = Hash::Sha256.of(&[&seed, secret]);
    external(
        &sensitive(8, auth, &seed, secret),
        &keyed_hash(attributes, &[], scheme, &unique),
        NULL,
    )
}

/// A fixed AES key; `mode` zero leaves the choice to the user of the key.
pub(crate) fn aes_key(attributes: u32, bits: u16, mode: u16) -> Command {
    let seed = [9; 32];
    let key: Vec<u8> = (0..bits / 8).map(|byte| byte as u8).collect();
    let unique = Hash::Sha256.of(&[&seed, &key]);
    let mode = if mode == 0 { 0x10 } else { mode };
    let parms = [[0, 6], bits.to_be_bytes(), mode.to_be_bytes()].concat();
    external(&sensitive(0x25, &[], &seed, &key), &symmetric(attributes, &parms, &unique), NULL)
}

/// Loads an object that `TPM2_Create` made.
pub(crate) fn load(seq: &mut Seq, parent: usize, created: usize) -> usize {
    seq.run(cmd(cc::LOAD).of(parent).pw().out(created, "outPrivate").out(created, "outPublic"))
}

/// Flushes what a step loaded or started.
pub(crate) fn flush(seq: &mut Seq, id: usize) {
    seq.run(cmd(cc::FLUSH_CONTEXT).out(id, "handle"));
}

/// `TPML_PCR_SELECTION` of one bank.
pub(crate) fn pcrs(hash: Hash, select: [u8; 3]) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 1];
    out.extend(hash.id().to_be_bytes());
    out.push(3);
    out.extend(select);
    out
}
