//! Key derivation, message authentication and the envelope's cipher.
//!
//! HKDF-SHA256 (RFC 5869), HMAC-SHA256 (RFC 2104), AES-256-GCM (NIST SP 800-38D).

use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce as GcmNonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::Key;

/// Bytes of a message's tag, of a proof and of a token.
pub(crate) const MAC: usize = 32;
/// Bytes that the envelope's cipher adds.
pub(crate) const GCM_TAG: usize = 16;

/// The bytes are not what the key's holder made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// SHA-256 of the parts, each after its length, so that no two lists of parts are alike.
pub(crate) fn digest(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// HMAC-SHA256 of the parts, one after the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    // HMAC takes keys of every length.
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => Hmac::<Sha256>::new(&[0; 64].into()),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HKDF-SHA256 of `secret` into a key.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &str) -> Key {
    let mut out = Zeroizing::new([0; 32]);
    // 32 bytes are far below what HKDF can give.
    let _ = Hkdf::<Sha256>::new(Some(salt), secret).expand(info.as_bytes(), out.as_mut_slice());
    Key::take(&mut out)
}

/// Compares in constant time.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Encrypts `text` in place and appends the tag. The key is used for this once, so that the nonce
/// may be zero.
pub(crate) fn seal_once(
    key: &Key,
    associated: &[u8],
    text: &mut Vec<u8>,
) -> Result<(), NotAuthentic> {
    let tag = Aes256Gcm::new(key.expose().into())
        .encrypt_inout_detached(&GcmNonce::from([0; 12]), associated, text.as_mut_slice().into())
        .map_err(|_| NotAuthentic)?;
    text.extend_from_slice(&tag);
    Ok(())
}

/// Opens what [`seal_once`] made.
pub(crate) fn open_once(
    key: &Key,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let (text, tag) = sealed.split_last_chunk::<GCM_TAG>().ok_or(NotAuthentic)?;
    let mut text = Zeroizing::new(text.to_vec());
    Aes256Gcm::new(key.expose().into())
        .decrypt_inout_detached(
            &GcmNonce::from([0; 12]),
            associated,
            text.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| NotAuthentic)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        // Test case 2.
        let made = mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_flipped_bit_anywhere_does_not_open() {
        let key = derive(b"secret", b"salt", "info");
        let mut sealed = b"a state".to_vec();
        seal_once(&key, b"bound", &mut sealed).unwrap();
        assert_eq!(open_once(&key, b"bound", &sealed).unwrap().as_slice(), b"a state");
        assert!(open_once(&key, b"other", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(open_once(&key, b"bound", &bent).is_err(), "{at}");
        }
        assert!(open_once(&key, b"bound", &sealed[..3]).is_err());
    }

    #[test]
    fn digests_tell_where_one_part_ends() {
        assert_ne!(digest("x", &[b"ab", b"c"]), digest("x", &[b"a", b"bc"]));
    }
}
