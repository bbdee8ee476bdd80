//! Credential challenges (`TPM2_MakeCredential`, Part 1, clause 24) in software.

use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey};
use openssl::encrypt::Encrypter;
use openssl::pkey::PKey;
use openssl::rsa::Padding;
use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::Zeroizing;

use super::public::affine;
use super::wire::Put;
use super::{Attributes, Curve, HashAlg, Key, Name, PublicArea, kdfa, kdfe};
use crate::error::{Error, Result};

/// A secret that only the TPM with the EK gives back, and only if the named key is in it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `TPMS_ID_OBJECT`: the content of `credentialBlob`.
    pub id_object: Vec<u8>,
    /// `TPMU_ENCRYPTED_SECRET`: the content of `secret`.
    pub encrypted_secret: Vec<u8>,
}

/// Encrypts `secret` to the endorsement key `ek`, for the object `name` in the same TPM.
///
/// # Errors
/// [`Error::Mismatch`] if `ek` is no EK (a restricted decryption key that stays in its TPM) or the
/// secret is longer than its digest; [`Error::Crypto`], [`Error::Entropy`].
pub fn make_credential(ek: &PublicArea, name: &Name, secret: &[u8]) -> Result<Challenge> {
    let alg = ek.name_alg();
    let wanted = Attributes::FIXED_TPM.with(Attributes::RESTRICTED).with(Attributes::DECRYPT);
    if !ek.attributes().has(wanted) || secret.len() > alg.size() {
        return Err(Error::mismatch("the key to challenge is no endorsement key"));
    }
    let cipher = ek.symmetric().ok_or(Error::Unsupported { what: "an endorsement key" })?;
    let (seed, encrypted_secret) = share_seed(ek)?;

    let bits = u16::try_from(alg.size().saturating_mul(8)).unwrap_or(256);
    let sym_key = kdfa(alg, &seed, "STORAGE", name.as_bytes(), &[], cipher.bits);
    let hmac_key = kdfa(alg, &seed, "INTEGRITY", &[], &[], bits);
    let mut sized = Zeroizing::new(Vec::with_capacity(66));
    sized.put_sized(secret);
    let encrypted = cfb_encrypt(cipher.bits, &sym_key, &sized)?;
    let mut id_object = Vec::new();
    id_object.put_sized(&alg.hmac(&hmac_key, &[&encrypted, name.as_bytes()]));
    id_object.extend_from_slice(&encrypted);
    Ok(Challenge { id_object, encrypted_secret })
}

/// A seed that the EK's TPM can recover, and what it needs for that (Part 1, B.10.4 and C.6.4).
fn share_seed(ek: &PublicArea) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    let alg = ek.name_alg();
    match ek.key() {
        Key::Rsa { .. } => {
            let mut seed = Zeroizing::new(vec![0; alg.size()]);
            getrandom::fill(&mut seed)?;
            let encrypted = oaep(ek, alg, &seed)?;
            Ok((seed, encrypted))
        }
        Key::Ecc { curve, x, .. } => {
            let group = EcGroup::from_curve_name(curve.nid())?;
            let ephemeral = EcKey::generate(&group)?;
            let [own_x, own_y] = affine(&ephemeral, *curve)?;
            let ephemeral = PKey::from_ec_key(ephemeral)?;
            let their = ek.public_key()?;
            let mut deriver = Deriver::new(&ephemeral)?;
            deriver.set_peer(&their)?;
            let z = Zeroizing::new(deriver.derive_to_vec()?);
            let bits = u16::try_from(alg.size().saturating_mul(8)).unwrap_or(256);
            let their_x = padded(x, *curve);
            let seed = kdfe(alg, &z, "IDENTITY", &own_x, &their_x, bits);
            let mut point = Vec::new();
            point.put_sized(&own_x);
            point.put_sized(&own_y);
            Ok((seed, point))
        }
        Key::KeyedHash | Key::SymCipher => Err(Error::Unsupported { what: "an endorsement key" }),
    }
}

fn oaep(ek: &PublicArea, alg: HashAlg, seed: &[u8]) -> Result<Vec<u8>> {
    let key = ek.public_key()?;
    let mut encrypter = Encrypter::new(&key)?;
    encrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
    encrypter.set_rsa_oaep_md(alg.message_digest())?;
    encrypter.set_rsa_mgf1_md(alg.message_digest())?;
    encrypter.set_rsa_oaep_label(b"IDENTITY\0")?;
    let mut out = vec![0; encrypter.encrypt_len(seed)?];
    let length = encrypter.encrypt(seed, &mut out)?;
    out.truncate(length);
    Ok(out)
}

fn padded(coordinate: &[u8], curve: Curve) -> Vec<u8> {
    let mut out = vec![0; curve.size().saturating_sub(coordinate.len())];
    out.extend_from_slice(coordinate);
    out
}

fn cfb_encrypt(bits: u16, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let cipher = if bits == 256 { Cipher::aes_256_cfb128() } else { Cipher::aes_128_cfb128() };
    let mut crypter = Crypter::new(cipher, Mode::Encrypt, key, Some(&[0; 16]))?;
    let mut out = vec![0; data.len().saturating_add(16)];
    let length = crypter.update(data, &mut out)?;
    out.truncate(length);
    Ok(out)
}
