//! Parameter encryption (Part 1, clause 19).

use zeroize::Zeroizing;

use super::Session;
use crate::crypto::{kdf, sym};
use crate::wire::{Aes, Rc, SymDef};

/// Encrypts or decrypts the buffer of the first parameter in place.
///
/// `extra` is the authorization value of the entity that the session authorizes.
pub(crate) fn transform(
    session: &Session,
    extra: &[u8],
    newer: &[u8],
    older: &[u8],
    encrypt: bool,
    data: &mut [u8],
) -> Result<(), Rc> {
    let mut key = Zeroizing::new(session.key.to_vec());
    key.extend_from_slice(extra);
    match session.symmetric {
        SymDef::Null => Err(Rc::SYMMETRIC),
        // The mask comes from the session's hash, whatever hash the definition names.
        SymDef::Xor(_) => {
            sym::xor_obfuscate(session.hash, &key, newer, older, data);
            Ok(())
        }
        SymDef::Aes(aes) => transform_aes(session, aes, &key, (newer, older), encrypt, data),
    }
}

fn transform_aes(
    session: &Session,
    aes: Aes,
    key: &[u8],
    (newer, older): (&[u8], &[u8]),
    encrypt: bool,
    data: &mut [u8],
) -> Result<(), Rc> {
    let bits = u32::from(aes.bits).saturating_add(128);
    let material = kdf::kdfa(session.hash, key, b"CFB", newer, older, bits);
    let (key, iv) = material.split_at_checked(aes.key_bytes()).ok_or(Rc::FAILURE)?;
    let iv = iv.first_chunk::<16>().ok_or(Rc::FAILURE)?;
    let result =
        if encrypt { sym::cfb_encrypt(key, iv, data) } else { sym::cfb_decrypt(key, iv, data) };
    result.map_err(|_| Rc::FAILURE)
}
