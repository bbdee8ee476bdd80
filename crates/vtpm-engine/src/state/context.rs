//! Protection of saved contexts (Part 1, clause 30.3).
//!
//! ```text
//!   contents  = sequence (8) | record of the object, sequence or session
//!   encrypted = AES-256-CFB(contents), key and IV from KDFa(proof, "CONTEXT", sequence, handle)
//!   blob      = TPM2B of HMAC-SHA512(proof, resets | clears | sequence | handle | encrypted)
//!               | encrypted
//! ```
//!
//! `resets` counts TPM Resets over the TPM's whole life, so that no context survives one; `clears`
//! counts TPM Restarts and goes in only where it matters, with objects that have `stClear`.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::hash;
use crate::crypto::hmac::Hmac;
use crate::crypto::{kdf, sym};
use crate::hierarchy::Hierarchy;
use crate::tpm::Tpm;
use crate::wire::{Buffer, Digest, Handle, HandleInterface, MAX_BLOB, Marshal, Rc, Reader};

/// The contents of `contextBlob`.
pub(crate) type Blob = Buffer<MAX_BLOB>;

/// `savedHandle` of an object.
pub(crate) const SAVED_OBJECT: Handle = Handle(0x8000_0000);
/// `savedHandle` of a sequence.
pub(crate) const SAVED_SEQUENCE: Handle = Handle(0x8000_0001);
/// `savedHandle` of an object with `stClear`.
pub(crate) const SAVED_ST_CLEAR: Handle = Handle(0x8000_0002);

/// What a context says about itself in the clear.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Header {
    pub(crate) sequence: u64,
    pub(crate) saved_handle: Handle,
    pub(crate) hierarchy: Hierarchy,
}

const KEY_SIZE: usize = 32;
/// Bits of key and IV.
const KEY_BITS: u32 = (KEY_SIZE + sym::BLOCK_SIZE) as u32 * 8;
const FINGERPRINT_SIZE: usize = 8;

impl Tpm {
    /// Encrypts and authenticates a context.
    ///
    /// # Errors
    /// `TPM_RC_FAILURE` when it is too large, which no object is.
    pub(crate) fn seal_context(&self, header: Header, record: &[u8]) -> Result<Blob, Rc> {
        let mut contents = Zeroizing::new(Vec::with_capacity(record.len().saturating_add(8)));
        header.sequence.marshal(&mut contents);
        contents.extend_from_slice(record);
        let (key, iv) = self.context_key(header);
        sym::cfb_encrypt(&key, &iv, &mut contents).map_err(|_| Rc::FAILURE)?;
        let integrity = self.context_integrity(header, &contents);
        let mut blob = Digest::from_slice(&integrity).to_bytes();
        blob.extend_from_slice(&contents);
        Blob::new(&blob).map_err(|_| Rc::FAILURE)
    }

    /// The record in a context.
    ///
    /// # Errors
    /// `TPM_RC_SIZE` and `TPM_RC_INSUFFICIENT` when the blob has not even an integrity value;
    /// `TPM_RC_SIZE` for parameter 1 when that has the wrong size; `TPM_RC_INTEGRITY` for
    /// parameter 1 when it is not this TPM's since the last TPM Reset.
    pub(crate) fn open_context(
        &mut self,
        header: Header,
        blob: &Blob,
    ) -> Result<Zeroizing<Vec<u8>>, Rc> {
        let mut reader = Reader::new(blob, &self.profile.algorithms);
        let integrity: Digest = reader.get()?;
        let encrypted = reader.rest();
        if integrity.len() != self.context_integrity_hash().digest_size()
            || encrypted.len() < FINGERPRINT_SIZE
        {
            return Err(Rc::SIZE.parameter(1));
        }
        let expected = self.context_integrity(header, encrypted);
        if !bool::from(expected.ct_eq(&integrity)) {
            return Err(Rc::INTEGRITY.parameter(1));
        }
        let mut contents = Zeroizing::new(encrypted.to_vec());
        let (key, iv) = self.context_key(header);
        sym::cfb_decrypt(&key, &iv, &mut contents).map_err(|_| Rc::FAILURE)?;
        match contents.split_first_chunk::<FINGERPRINT_SIZE>() {
            Some((fingerprint, record)) if *fingerprint == header.sequence.to_be_bytes() => {
                Ok(Zeroizing::new(record.to_vec()))
            }
            _ => {
                // It has our HMAC, but not our contents: something is broken.
                self.fail("context");
                Err(Rc::FAILURE)
            }
        }
    }

    fn context_key(&self, header: Header) -> (Zeroizing<Vec<u8>>, [u8; sym::BLOCK_SIZE]) {
        let mut key = kdf::kdfa(
            self.context_integrity_hash(),
            self.proof(header.hierarchy).as_ref(),
            b"CONTEXT",
            &header.sequence.to_be_bytes(),
            &header.saved_handle.to_bytes(),
            KEY_BITS,
        );
        let mut iv = [0; sym::BLOCK_SIZE];
        iv.iter_mut().zip(key.iter().skip(KEY_SIZE)).for_each(|(to, from)| *to = *from);
        key.truncate(KEY_SIZE);
        (key, iv)
    }

    fn context_integrity(&self, header: Header, encrypted: &[u8]) -> hash::Digest {
        let proof = self.proof(header.hierarchy);
        let mut hmac = Hmac::new(self.context_integrity_hash(), proof.as_ref());
        hmac.update(&self.permanent.total_reset_count.to_be_bytes());
        if header.saved_handle == SAVED_ST_CLEAR {
            hmac.update(&self.reset.clear_count.to_be_bytes());
        }
        hmac.update(&header.sequence.to_be_bytes());
        hmac.update(&header.saved_handle.handle().to_bytes());
        hmac.update(encrypted);
        hmac.finish()
    }
}
