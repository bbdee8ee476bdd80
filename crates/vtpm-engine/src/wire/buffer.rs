//! Sized byte buffers: the `TPM2B_` structures of Part 2, clause 10.4.

use core::fmt;
use core::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{Marshal, Rc, Reader, Unmarshal};

/// The largest digest: SHA-512.
pub const MAX_DIGEST: usize = 64;
/// `MAX_DIGEST_BUFFER` and `MAX_CAP_BUFFER`: what one command hashes, encrypts or returns.
pub const MAX_BUFFER: usize = 1024;
/// `MAX_NV_BUFFER_SIZE`: what one NV read or write moves.
pub const MAX_NV_BUFFER: usize = 1024;
/// `MAX_RSA_KEY_BYTES`: RSA-4096.
pub const MAX_RSA_BYTES: usize = 512;
/// `MAX_ECC_KEY_BYTES`: P-521.
pub const MAX_ECC_BYTES: usize = 66;
/// A secret that is encrypted to an ECC key: a `TPMS_ECC_POINT`.
const MAX_ECC_SECRET: usize = 2 * (MAX_ECC_BYTES + 2);
/// `MAX_SYM_DATA`: what a sealed object holds.
pub const MAX_SYM_DATA: usize = 128;
/// An upper bound for a wrapped sensitive area or a saved context.
pub const MAX_BLOB: usize = 4096;

/// A `TPM2B_` of at most `MAX` bytes that is not secret. Reading a longer one is `TPM_RC_SIZE`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Buffer<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Buffer<MAX> {
    /// The bytes, if they fit.
    pub fn new(bytes: &[u8]) -> Result<Self, Rc> {
        if bytes.len() > MAX { Err(Rc::SIZE) } else { Ok(Self(bytes.to_vec())) }
    }

    /// An empty buffer.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// The bytes, cut to what fits: for values whose size the engine itself chose.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(bytes.get(..MAX).unwrap_or(bytes).to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> From<Vec<u8>> for Buffer<MAX> {
    /// Takes the bytes over, cut to what fits: for values whose size the engine itself chose.
    fn from(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(MAX);
        Self(bytes)
    }
}

impl<const MAX: usize> Deref for Buffer<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Buffer<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.len())?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn read_sized<'a>(reader: &mut Reader<'a>, max: usize) -> Result<&'a [u8], Rc> {
    // What holds a number of RSA holds none that is larger than the largest key of this TPM.
    let max = if max == MAX_RSA_BYTES {
        reader.algorithms().max_rsa_bytes().max(MAX_ECC_SECRET)
    } else {
        max
    };
    let size = usize::from(reader.get::<u16>()?);
    if size > max {
        return Err(Rc::SIZE);
    }
    reader.take(size)
}

fn write_sized(bytes: &[u8], out: &mut Vec<u8>) {
    super::marshal_sized(out, |out| out.extend_from_slice(bytes));
}

impl<const MAX: usize> Unmarshal for Buffer<MAX> {
    const SIZED: bool = true;

    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        read_sized(reader, MAX).map(|bytes| Self(bytes.to_vec()))
    }
}

impl<const MAX: usize> Marshal for Buffer<MAX> {
    const SIZED: bool = true;

    fn marshal(&self, out: &mut Vec<u8>) {
        write_sized(&self.0, out);
    }
}

/// A `TPM2B_` that holds a secret: wiped on drop, not printed, compared in constant time.
#[derive(Clone, Default)]
pub struct Secret<const MAX: usize>(Zeroizing<Vec<u8>>);

impl<const MAX: usize> Secret<MAX> {
    /// The bytes, if they fit.
    pub fn new(bytes: &[u8]) -> Result<Self, Rc> {
        if bytes.len() > MAX { Err(Rc::SIZE) } else { Ok(Self(Zeroizing::new(bytes.to_vec()))) }
    }

    /// An empty secret.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The bytes, cut to what fits: for values whose size the engine itself chose.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.get(..MAX).unwrap_or(bytes).to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Drops trailing zeros, as authorization values are kept (Part 1, clause 17.6.4.2 on
    /// authorization values: trailing zeros are insignificant).
    pub fn trim_trailing_zeros(&mut self) {
        let length =
            self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        if let Some(tail) = self.0.get_mut(length..) {
            tail.zeroize();
        }
        self.0.truncate(length);
    }

    /// Appends zeros until the secret has `size` bytes.
    pub fn pad_to(&mut self, size: usize) {
        if self.0.len() < size.min(MAX) {
            let mut padded = Zeroizing::new(vec![0; size.min(MAX)]);
            if let Some(head) = padded.get_mut(..self.0.len()) {
                head.copy_from_slice(&self.0);
            }
            self.0 = padded;
        }
    }
}

impl<const MAX: usize> Deref for Secret<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> PartialEq for Secret<MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<const MAX: usize> Eq for Secret<MAX> {}

impl<const MAX: usize> fmt::Debug for Secret<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<const MAX: usize> Unmarshal for Secret<MAX> {
    const SIZED: bool = true;

    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        read_sized(reader, MAX).map(|bytes| Self(Zeroizing::new(bytes.to_vec())))
    }
}

impl<const MAX: usize> Marshal for Secret<MAX> {
    const SIZED: bool = true;

    fn marshal(&self, out: &mut Vec<u8>) {
        write_sized(&self.0, out);
    }
}

/// `TPM2B_DIGEST`.
#[doc(alias = "TPM2B_DIGEST")]
pub type Digest = Buffer<MAX_DIGEST>;
/// `TPM2B_NONCE`.
#[doc(alias = "TPM2B_NONCE")]
pub type Nonce = Buffer<MAX_DIGEST>;
/// `TPM2B_AUTH`.
#[doc(alias = "TPM2B_AUTH")]
pub type Auth = Secret<MAX_DIGEST>;
/// `TPM2B_DATA`: at most a `TPMT_HA`.
#[doc(alias = "TPM2B_DATA")]
pub type Data = Buffer<{ MAX_DIGEST + 2 }>;
/// `TPM2B_NAME`: a handle, or an algorithm identifier and a digest.
#[doc(alias = "TPM2B_NAME")]
pub type Name = Buffer<{ MAX_DIGEST + 2 }>;
/// `TPM2B_EVENT`.
#[doc(alias = "TPM2B_EVENT")]
pub type Event = Buffer<1024>;
/// `TPM2B_MAX_BUFFER`.
#[doc(alias = "TPM2B_MAX_BUFFER")]
pub type MaxBuffer = Buffer<MAX_BUFFER>;
/// `TPM2B_MAX_NV_BUFFER`.
#[doc(alias = "TPM2B_MAX_NV_BUFFER")]
pub type MaxNvBuffer = Buffer<MAX_NV_BUFFER>;
/// `TPM2B_IV`.
#[doc(alias = "TPM2B_IV")]
pub type Iv = Buffer<16>;
/// `TPM2B_PUBLIC_KEY_RSA`.
#[doc(alias = "TPM2B_PUBLIC_KEY_RSA")]
pub type PublicKeyRsa = Buffer<MAX_RSA_BYTES>;
/// `TPM2B_ECC_PARAMETER`.
#[doc(alias = "TPM2B_ECC_PARAMETER")]
pub type EccParameter = Buffer<MAX_ECC_BYTES>;
/// `TPM2B_ENCRYPTED_SECRET`.
#[doc(alias = "TPM2B_ENCRYPTED_SECRET")]
pub type EncryptedSecret = Buffer<MAX_RSA_BYTES>;
/// `TPM2B_PRIVATE`.
#[doc(alias = "TPM2B_PRIVATE")]
pub type Private = Buffer<1536>;
/// `TPM2B_ID_OBJECT`.
#[doc(alias = "TPM2B_ID_OBJECT")]
pub type IdObject = Buffer<{ 2 * (MAX_DIGEST + 2) }>;
/// `TPM2B_SENSITIVE_DATA`.
#[doc(alias = "TPM2B_SENSITIVE_DATA")]
pub type SensitiveData = Secret<MAX_SYM_DATA>;
/// `TPM2B_SYM_KEY` and other key material of at most 32 bytes.
#[doc(alias = "TPM2B_SYM_KEY")]
pub type SymKey = Secret<32>;
/// `TPM2B_LABEL`: label or context of a derived object.
#[doc(alias = "TPM2B_LABEL")]
pub type Label = Buffer<32>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Algorithms;

    #[test]
    fn a_buffer_larger_than_its_bound_is_a_size_error() {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&[0, 17, 0, 0], &algorithms);
        assert_eq!(reader.get::<Iv>(), Err(Rc::SIZE));
        let mut reader = Reader::new(&[0, 16, 0, 0], &algorithms);
        assert_eq!(reader.get::<Iv>(), Err(Rc::INSUFFICIENT));
    }

    #[test]
    fn trailing_zeros_of_an_authorization_value_are_dropped() {
        let mut auth = Auth::from_slice(&[1, 0, 2, 0, 0]);
        auth.trim_trailing_zeros();
        assert_eq!(auth.as_bytes(), [1, 0, 2]);
        auth.pad_to(5);
        assert_eq!(auth.as_bytes(), [1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Auth::from_slice(b"hunter2")), "[secret]");
    }
}
