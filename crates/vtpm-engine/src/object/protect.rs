//! Protection of sensitive areas outside the TPM: below a parent, in a duplication, and of
//! credentials (Part 1, clauses 22 to 24).
//!
//! ```text
//!   outer wrapper   integrity HMAC | (IV) | AES-CFB( contents )   keys from the protector's seed
//!   inner wrapper   AES-CFB( integrity hash | contents )          key given or made
//!   contents        size | TPMT_SENSITIVE, or a TPM2B_DIGEST of a credential
//! ```
//!
//! Both integrity values are `TPM2B_DIGEST`s and cover the name of what is protected.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Object;
use super::template::adjust_auth;
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::hmac;
use crate::crypto::kdf::kdfa;
use crate::crypto::sym::{self, BLOCK_SIZE};
use crate::tpm::Tpm;
use crate::wire::{
    Digest, IdObject, Iv, Marshal, Private, Rc, Reader, Sensitive, Unmarshal, marshal_sized,
};

/// Bytes that hold a secret.
type Bytes = Zeroizing<Vec<u8>>;

/// An outer wrapper: algorithms of the key that protects, and the seed of the wrapper's keys.
pub(crate) struct Outer<'a> {
    alg: HashAlg,
    aes_bits: u16,
    seed: &'a [u8],
}

impl<'a> Outer<'a> {
    /// The wrapper of a key's children.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` when the key is not a storage key.
    pub(crate) fn of_parent(parent: &'a Object) -> Result<Self, Rc> {
        let seed = &parent.sensitive.as_ref().ok_or(Rc::TYPE)?.seed;
        Self::with_seed(parent, seed)
    }

    /// The wrapper with a key's algorithms and another seed: of a duplication or credential.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` when the key is not a storage key.
    pub(crate) fn with_seed(protector: &Object, seed: &'a [u8]) -> Result<Self, Rc> {
        let alg = protector.public.name_alg.ok_or(Rc::TYPE)?;
        let aes = protector.public.parms.symmetric().ok_or(Rc::TYPE)?;
        Ok(Self { alg, aes_bits: aes.bits, seed })
    }

    /// The size of the integrity value that stands in front.
    fn integrity_size(&self) -> usize {
        self.alg.digest_size().saturating_add(2)
    }

    /// Wraps contents; with an initialization vector, it stands in front of them.
    ///
    /// # Errors
    /// None but `TPM_RC_FAILURE`, and `TPM_RC_SIZE` when the result does not fit its buffer.
    fn wrap(
        &self,
        name: &[u8],
        iv: Option<[u8; BLOCK_SIZE]>,
        contents: &[u8],
    ) -> Result<Vec<u8>, Rc> {
        let mut encrypted = contents.to_vec();
        let key = self.storage_key(name);
        sym::cfb_encrypt(&key, &iv.unwrap_or_default(), &mut encrypted).map_err(|_| Rc::FAILURE)?;
        let mut body = Vec::new();
        if let Some(iv) = iv {
            Iv::from_slice(&iv).marshal(&mut body);
        }
        body.extend_from_slice(&encrypted);
        let mut wrapped = Digest::from_slice(&self.integrity(name, &body)).to_bytes();
        wrapped.extend_from_slice(&body);
        Ok(wrapped)
    }

    /// Takes a wrapper off.
    ///
    /// # Errors
    /// `TPM_RC_INTEGRITY`, and those of reading the integrity value and initialization vector.
    fn unwrap(&self, tpm: &Tpm, name: &[u8], with_iv: bool, wrapped: &[u8]) -> Result<Bytes, Rc> {
        let mut reader = Reader::new(wrapped, &tpm.profile.algorithms);
        let integrity = reader.get::<Digest>()?;
        let expected = self.integrity(name, reader.rest());
        if !bool::from(expected.as_bytes().ct_eq(integrity.as_bytes())) {
            return Err(Rc::INTEGRITY);
        }
        let mut iv = [0; BLOCK_SIZE];
        if with_iv {
            iv = reader.get::<Iv>()?.as_bytes().try_into().map_err(|_| Rc::VALUE)?;
        }
        let mut contents = Zeroizing::new(reader.rest().to_vec());
        sym::cfb_decrypt(&self.storage_key(name), &iv, &mut contents).map_err(|_| Rc::FAILURE)?;
        Ok(contents)
    }

    fn storage_key(&self, name: &[u8]) -> Bytes {
        kdfa(self.alg, self.seed, b"STORAGE", name, &[], u32::from(self.aes_bits))
    }

    fn integrity(&self, name: &[u8], body: &[u8]) -> hash::Digest {
        let bits = (self.alg.digest_size() as u32).saturating_mul(8);
        let key = kdfa(self.alg, self.seed, b"INTEGRITY", &[], &[], bits);
        hmac::hmac(self.alg, &key, &[body, name])
    }
}

/// An inner wrapper of a duplication: its key, and the name algorithm of what is duplicated.
pub(crate) struct Inner<'a> {
    /// Hash of the integrity value.
    pub(crate) alg: HashAlg,
    /// An AES key.
    pub(crate) key: &'a [u8],
}

impl Inner<'_> {
    fn wrap(&self, name: &[u8], contents: &[u8]) -> Result<Bytes, Rc> {
        let integrity = hash::hash(self.alg, &[contents, name]);
        let mut wrapped = Zeroizing::new(Digest::from_slice(&integrity).to_bytes());
        wrapped.extend_from_slice(contents);
        sym::cfb_encrypt(self.key, &[0; BLOCK_SIZE], &mut wrapped).map_err(|_| Rc::SIZE)?;
        Ok(wrapped)
    }

    fn unwrap(&self, tpm: &Tpm, name: &[u8], wrapped: &[u8]) -> Result<Bytes, Rc> {
        let mut plain = Zeroizing::new(wrapped.to_vec());
        sym::cfb_decrypt(self.key, &[0; BLOCK_SIZE], &mut plain).map_err(|_| Rc::SIZE)?;
        let mut reader = Reader::new(&plain, &tpm.profile.algorithms);
        let integrity = reader.get::<Digest>()?;
        let expected = hash::hash(self.alg, &[reader.rest(), name]);
        if !bool::from(expected.as_bytes().ct_eq(integrity.as_bytes())) {
            return Err(Rc::INTEGRITY);
        }
        Ok(Zeroizing::new(reader.rest().to_vec()))
    }
}

impl Tpm {
    /// A sensitive area as it is stored below its parent.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` when the parent is not a storage key.
    pub(crate) fn sensitive_to_private(
        &mut self,
        sensitive: &Sensitive,
        name: &[u8],
        name_alg: Option<HashAlg>,
        parent: &Object,
    ) -> Result<Private, Rc> {
        let outer = Outer::of_parent(parent)?;
        let mut iv = [0; BLOCK_SIZE];
        iv.copy_from_slice(&self.random(BLOCK_SIZE));
        Private::new(&outer.wrap(name, Some(iv), &sized_sensitive(sensitive, name_alg)?)?)
    }

    /// The sensitive area in what [`Tpm::sensitive_to_private`] made.
    ///
    /// # Errors
    /// `TPM_RC_INTEGRITY`; `TPM_RC_SENSITIVE` when what was protected is no sensitive area; those
    /// of reading the parts. Without a parameter number.
    pub(crate) fn private_to_sensitive(
        &self,
        private: &Private,
        name: &[u8],
        parent: &Object,
    ) -> Result<Sensitive, Rc> {
        let contents = Outer::of_parent(parent)?.unwrap(self, name, true, private)?;
        self.read_sensitive(&contents, |_| Rc::SENSITIVE, Rc::SENSITIVE)
    }

    /// A sensitive area as it goes to another parent, in the wrappers that there are.
    ///
    /// # Errors
    /// `TPM_RC_SIZE` when the key of the inner wrapper is no AES key.
    pub(crate) fn sensitive_to_duplicate(
        &self,
        object: &Object,
        inner: Option<&Inner<'_>>,
        outer: Option<&Outer<'_>>,
    ) -> Result<Private, Rc> {
        let sensitive = object.sensitive.as_ref().ok_or(Rc::TYPE)?;
        let mut contents = sized_sensitive(sensitive, object.public.name_alg)?;
        if let Some(inner) = inner {
            contents = inner.wrap(&object.name, &contents)?;
        }
        match outer {
            Some(outer) => Private::new(&outer.wrap(&object.name, None, &contents)?),
            None => Private::new(&contents),
        }
    }

    /// The sensitive area in what [`Tpm::sensitive_to_duplicate`] made.
    ///
    /// # Errors
    /// `TPM_RC_INTEGRITY`, `TPM_RC_SIZE`, and those of reading the parts. Without a parameter
    /// number.
    pub(crate) fn duplicate_to_sensitive(
        &self,
        duplicate: &Private,
        name: &[u8],
        inner: Option<&Inner<'_>>,
        outer: Option<&Outer<'_>>,
    ) -> Result<Sensitive, Rc> {
        let mut contents = Zeroizing::new(duplicate.to_vec());
        if let Some(outer) = outer {
            contents = outer.unwrap(self, name, false, &contents)?;
        }
        if let Some(inner) = inner {
            contents = inner.unwrap(self, name, &contents)?;
        }
        self.read_sensitive(&contents, |rc| rc, Rc::SIZE)
    }

    /// What is inside the outer wrapper of a duplication: for another outer wrapper.
    ///
    /// # Errors
    /// As [`Tpm::duplicate_to_sensitive`].
    pub(crate) fn unwrap_duplicate(
        &self,
        duplicate: &Private,
        name: &[u8],
        outer: &Outer<'_>,
    ) -> Result<Private, Rc> {
        Private::new(&outer.unwrap(self, name, false, duplicate)?)
    }

    /// A credential for the object of this name.
    ///
    /// # Errors
    /// None but `TPM_RC_FAILURE`.
    pub(crate) fn secret_to_credential(
        &self,
        secret: &Digest,
        name: &[u8],
        outer: &Outer<'_>,
    ) -> Result<IdObject, Rc> {
        IdObject::new(&outer.wrap(name, None, &secret.to_bytes())?)
    }

    /// The secret in a credential for the object of this name.
    ///
    /// # Errors
    /// `TPM_RC_INTEGRITY`, `TPM_RC_SIZE`, and those of reading the parts. Without a parameter
    /// number.
    pub(crate) fn credential_to_secret(
        &self,
        credential: &IdObject,
        name: &[u8],
        outer: &Outer<'_>,
    ) -> Result<Digest, Rc> {
        let contents = outer.unwrap(self, name, false, credential)?;
        let mut reader = Reader::new(&contents, &self.profile.algorithms);
        let secret = reader.get::<Digest>()?;
        reader.finish()?;
        Ok(secret)
    }

    /// Reads a sensitive area with its size in front. `inside` replaces errors inside it, `size` is
    /// for a size that is not that of the rest.
    fn read_sensitive(
        &self,
        contents: &[u8],
        inside: impl Fn(Rc) -> Rc,
        size: Rc,
    ) -> Result<Sensitive, Rc> {
        let mut reader = Reader::new(contents, &self.profile.algorithms);
        if usize::from(reader.get::<u16>()?) != reader.rest().len() {
            return Err(size);
        }
        let sensitive = Sensitive::unmarshal(&mut reader).map_err(inside)?;
        if reader.is_empty() { Ok(sensitive) } else { Err(size) }
    }
}

/// Wraps what [`Tpm::unwrap_duplicate`] gave for another parent.
///
/// # Errors
/// `TPM_RC_VALUE` when wrapper and contents are too long together.
pub(crate) fn rewrap_duplicate(
    contents: &Private,
    name: &[u8],
    outer: &Outer<'_>,
) -> Result<Private, Rc> {
    if outer.integrity_size().saturating_add(contents.len()) > MAX_PRIVATE {
        return Err(Rc::VALUE);
    }
    Private::new(&outer.wrap(name, None, contents)?)
}

/// The largest `TPM2B_PRIVATE`.
const MAX_PRIVATE: usize = 1536;

/// A sensitive area with its size in front and its authorization value at full length.
fn sized_sensitive(sensitive: &Sensitive, name_alg: Option<HashAlg>) -> Result<Bytes, Rc> {
    let mut sensitive = sensitive.clone();
    if name_alg.is_some() {
        adjust_auth(&mut sensitive.auth, name_alg)?;
    }
    let mut contents = Zeroizing::new(Vec::with_capacity(MAX_PRIVATE));
    marshal_sized(&mut contents, |out| sensitive.marshal(out));
    Ok(contents)
}
