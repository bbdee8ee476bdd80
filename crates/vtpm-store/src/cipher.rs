//! AES-256-GCM in place (NIST SP 800-38D), and the key derivation (RFC 5869) that this crate uses.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::key::Key;

/// Bytes of a GCM nonce.
pub(crate) const NONCE: usize = 12;
/// Bytes of a GCM tag.
pub(crate) const TAG: usize = 16;

/// The bytes were not encrypted under this key with this associated data.
#[derive(Debug)]
pub(crate) struct NotAuthentic;

/// Encrypts `buffer` in place and returns the tag.
pub(crate) fn encrypt(
    key: &Key,
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
) -> Result<[u8; TAG]> {
    Aes256Gcm::new(key.expose().into())
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into())
        .map(Into::into)
        .map_err(|_| Error::Cipher)
}

/// Decrypts `buffer` in place if the tag fits; otherwise leaves no plaintext in it.
pub(crate) fn decrypt(
    key: &Key,
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), NotAuthentic> {
    Aes256Gcm::new(key.expose().into())
        .decrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into(), &Tag::from(*tag))
        .map_err(|_| NotAuthentic)
}

/// HKDF-SHA256 of `secret` into a key.
pub(crate) fn derive_key(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Key> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(info, out.as_mut_slice())
        .map_err(|_| Error::Cipher)?;
    Ok(Key::take(&mut out))
}

/// SHA-256 of the parts, one after the other.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_the_one_of_the_gcm_specification() {
        // Test case 14 of "The Galois/Counter Mode of Operation": zero key, nonce and block.
        let key = Key::take(&mut [0; 32]);
        let mut block = [0; 16];
        let tag = encrypt(&key, &[0; NONCE], &[], &mut block).unwrap();
        assert_eq!(hex(&block), "cea7403d4d606b6e074ec5d3baf39d18");
        assert_eq!(hex(&tag), "d0d1c8a799996bf0265b98b5d48ab919");
        decrypt(&key, &[0; NONCE], &[], &mut block, &tag).unwrap();
        assert_eq!(block, [0; 16]);
    }

    #[test]
    fn a_failed_decryption_leaves_no_plaintext() {
        let key = Key::take(&mut [1; 32]);
        let mut text = *b"plain text";
        let mut tag = encrypt(&key, &[0; NONCE], b"ad", &mut text).unwrap();
        tag[0] ^= 1;
        assert!(decrypt(&key, &[0; NONCE], b"ad", &mut text, &tag).is_err());
        assert_ne!(&text, b"plain text");
    }

    #[test]
    fn the_derivation_is_the_one_of_rfc_5869() {
        // Test case 1 of RFC 5869, appendix A; the first 32 of its 42 bytes.
        let key = derive_key(
            &[0x0b; 22],
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            &[0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9],
        );
        assert_eq!(
            hex(key.unwrap().expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
