//! Public areas and names (Part 2, clause 12.2; Part 1, clause 16).

use std::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;

use super::HashAlg;
use super::wire::Reader;
use crate::error::{Error, Result};

const ALG_RSA: u16 = 0x0001;
const ALG_HMAC: u16 = 0x0005;
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_XOR: u16 = 0x000a;
const ALG_NULL: u16 = 0x0010;
const ALG_RSAES: u16 = 0x0015;
const ALG_ECDAA: u16 = 0x001a;
const ALG_ECC: u16 = 0x0023;
const ALG_SYMCIPHER: u16 = 0x0025;

/// The exponent that a public area's 0 stands for.
const DEFAULT_EXPONENT: u32 = 65_537;

/// The longest public area that is looked at, in bytes: an RSA-4096 key needs 640.
const PUBLIC_MAX: usize = 1024;

/// The name of an object: its name algorithm, and the digest of its public area.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// A name as it stands on the wire.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the digest has not the length of its algorithm.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a name");
        let alg = HashAlg::from_id(reader.u16()?)?;
        reader.take(alg.size())?;
        reader.finish()?;
        Ok(Self(bytes.to_vec()))
    }

    /// The name as it stands on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// `TPMA_OBJECT` (Part 2, clause 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub u32);

impl Attributes {
    /// `fixedTPM`: the key cannot leave its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// `fixedParent`: the key cannot leave its parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// `sensitiveDataOrigin`: the TPM made the key.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// `userWithAuth`: the authorization value is enough to use the key.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// `adminWithPolicy`: certifying or activating needs the policy.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// `noDA`: failed authorizations do not count.
    pub const NO_DA: Self = Self(1 << 10);
    /// `restricted`: works on what the TPM made only.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// `decrypt`.
    pub const DECRYPT: Self = Self(1 << 17);
    /// `sign`.
    pub const SIGN: Self = Self(1 << 18);

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `others` are set.
    #[must_use]
    pub fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// A curve with its `TPM_ECC_CURVE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Curve {
    /// NIST P-256.
    P256 = 0x0003,
    /// NIST P-384.
    P384 = 0x0004,
}

impl Curve {
    fn from_id(id: u16) -> Result<Self> {
        match id {
            0x0003 => Ok(Self::P256),
            0x0004 => Ok(Self::P384),
            _ => Err(Error::Unsupported { what: "a curve" }),
        }
    }

    /// The length of a coordinate in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    pub(crate) fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
        }
    }
}

/// The symmetric cipher with which a storage key protects its children: AES in CFB mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymmetricCipher {
    /// 128 or 256.
    pub bits: u16,
}

/// What kind of object it is, and its public key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Key {
    /// RSA.
    Rsa {
        /// Big-endian; empty in a template, or zeros.
        modulus: Vec<u8>,
        /// The public exponent; never 0.
        exponent: u32,
    },
    /// Elliptic curve.
    Ecc {
        /// On which curve.
        curve: Curve,
        /// Big-endian; leading zeros may be missing.
        x: Vec<u8>,
        /// Big-endian; leading zeros may be missing.
        y: Vec<u8>,
    },
    /// An HMAC key or sealed data.
    KeyedHash,
    /// A symmetric key.
    SymCipher,
}

/// `TPMT_PUBLIC`: all that is public of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicArea {
    bytes: Vec<u8>,
    name_alg: HashAlg,
    attributes: Attributes,
    auth_policy: Vec<u8>,
    symmetric: Option<SymmetricCipher>,
    key: Key,
}

impl PublicArea {
    /// Reads a `TPMT_PUBLIC`.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Unsupported`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a public area");
        if bytes.len() > PUBLIC_MAX {
            return Err(reader.malformed());
        }
        let kind = reader.u16()?;
        let name_alg = HashAlg::from_id(reader.u16()?)?;
        let attributes = Attributes(reader.u32()?);
        let auth_policy = reader.sized()?.to_vec();
        let mut symmetric = None;
        let key = match kind {
            ALG_RSA => {
                symmetric = read_symmetric(&mut reader)?;
                read_rsa(&mut reader)?
            }
            ALG_ECC => {
                symmetric = read_symmetric(&mut reader)?;
                read_ecc(&mut reader)?
            }
            ALG_KEYEDHASH => read_keyed_hash(&mut reader)?,
            ALG_SYMCIPHER => {
                symmetric = read_symmetric(&mut reader)?;
                reader.sized()?;
                Key::SymCipher
            }
            _ => return Err(Error::Unsupported { what: "a public area" }),
        };
        reader.finish()?;
        Ok(Self { bytes: bytes.to_vec(), name_alg, attributes, auth_policy, symmetric, key })
    }

    /// Reads a `TPM2B_PUBLIC`.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_sized(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "a public area");
        let area = reader.sized()?;
        reader.finish()?;
        Self::from_bytes(area)
    }

    /// The public area by which a TPM knows a P-256 key that somebody outside of it signs with.
    /// `pem` is a `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for any other kind of key.
    pub fn of_external_key(pem: &[u8]) -> Result<Self> {
        let unsupported =
            || Error::Unsupported { what: "a policy key (a P-256 public key is needed)" };
        let key = PKey::public_key_from_pem(pem).map_err(|_| unsupported())?;
        let key = key.ec_key().map_err(|_| unsupported())?;
        if key.group().curve_name() != Some(Curve::P256.nid()) {
            return Err(unsupported());
        }
        let [x, y] = affine(&key, Curve::P256)?;
        match (x.first_chunk(), y.first_chunk()) {
            (Some(x), Some(y)) => Self::from_bytes(&super::template::external_p256(x, y)),
            _ => Err(unsupported()),
        }
    }

    /// The `TPMT_PUBLIC`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> Name {
        let mut name = self.name_alg.id().to_be_bytes().to_vec();
        name.extend_from_slice(&self.name_alg.digest(&[&self.bytes]));
        Name(name)
    }

    /// The hash that the name is made with.
    #[must_use]
    pub fn name_alg(&self) -> HashAlg {
        self.name_alg
    }

    /// What may be done with the object.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The authorization policy; empty if there is none.
    #[must_use]
    pub fn auth_policy(&self) -> &[u8] {
        &self.auth_policy
    }

    /// The cipher of a storage key.
    #[must_use]
    pub fn symmetric(&self) -> Option<SymmetricCipher> {
        self.symmetric
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The public key for the cryptographic library. A point is checked to be on its curve.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an object without a public key, [`Error::Crypto`].
    pub fn public_key(&self) -> Result<PKey<Public>> {
        match &self.key {
            Key::Rsa { modulus, exponent } => {
                let (n, e) = (BigNum::from_slice(modulus)?, BigNum::from_u32(*exponent)?);
                Ok(PKey::from_rsa(Rsa::from_public_components(n, e)?)?)
            }
            Key::Ecc { curve, x, y } => {
                let group = EcGroup::from_curve_name(curve.nid())?;
                let (x, y) = (BigNum::from_slice(x)?, BigNum::from_slice(y)?);
                let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y)?;
                Ok(PKey::from_ec_key(key)?)
            }
            Key::KeyedHash | Key::SymCipher => {
                Err(Error::Unsupported { what: "an object without a public key" })
            }
        }
    }

    /// The public key as a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// As [`public_key`](Self::public_key).
    pub fn spki_der(&self) -> Result<Vec<u8>> {
        Ok(self.public_key()?.public_key_to_der()?)
    }
}

impl fmt::Debug for PublicArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicArea({})", self.name())
    }
}

/// The coordinates of a point, each as long as the curve's.
pub(crate) fn affine(
    key: &EcKey<impl openssl::pkey::HasPublic>,
    curve: Curve,
) -> Result<[Vec<u8>; 2]> {
    let mut context = BigNumContext::new()?;
    let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
    let size = i32::try_from(curve.size()).unwrap_or(0);
    Ok([x.to_vec_padded(size)?, y.to_vec_padded(size)?])
}

fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<SymmetricCipher>> {
    const ALG_AES: u16 = 0x0006;
    const ALG_CFB: u16 = 0x0043;
    match reader.u16()? {
        ALG_NULL => Ok(None),
        ALG_AES => {
            let (bits, mode) = (reader.u16()?, reader.u16()?);
            if mode != ALG_CFB || !matches!(bits, 128 | 256) {
                return Err(Error::Unsupported { what: "the cipher of a storage key" });
            }
            Ok(Some(SymmetricCipher { bits }))
        }
        _ => Err(Error::Unsupported { what: "the cipher of a storage key" }),
    }
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<Key> {
    let scheme = reader.u16()?;
    if scheme != ALG_NULL && scheme != ALG_RSAES {
        reader.u16()?;
    }
    let bits = reader.u16()?;
    if !matches!(bits, 2048 | 3072 | 4096) {
        return Err(Error::Unsupported { what: "an RSA key" });
    }
    let exponent = match reader.u32()? {
        0 => DEFAULT_EXPONENT,
        given => given,
    };
    let modulus = reader.sized()?;
    if modulus.len() > usize::from(bits / 8) {
        return Err(reader.malformed());
    }
    Ok(Key::Rsa { modulus: modulus.to_vec(), exponent })
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<Key> {
    match reader.u16()? {
        ALG_NULL => {}
        ALG_ECDAA => {
            reader.take(4)?;
        }
        _ => {
            reader.u16()?;
        }
    }
    let curve = Curve::from_id(reader.u16()?)?;
    if reader.u16()? != ALG_NULL {
        reader.u16()?;
    }
    let (x, y) = (reader.sized()?, reader.sized()?);
    if x.len() > curve.size() || y.len() > curve.size() {
        return Err(reader.malformed());
    }
    Ok(Key::Ecc { curve, x: x.to_vec(), y: y.to_vec() })
}

fn read_keyed_hash(reader: &mut Reader<'_>) -> Result<Key> {
    match reader.u16()? {
        ALG_NULL => {}
        ALG_HMAC => {
            reader.u16()?;
        }
        ALG_XOR => {
            reader.take(4)?;
        }
        _ => return Err(Error::Unsupported { what: "a keyed hash object" }),
    }
    reader.sized()?;
    Ok(Key::KeyedHash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::template;

    #[test]
    fn every_template_is_read_and_none_of_its_prefixes() {
        for bytes in template::ALL {
            let bytes = bytes();
            let area = PublicArea::from_bytes(&bytes).unwrap();
            assert_eq!(area.as_bytes(), bytes);
            assert_eq!(area.name().as_bytes().len(), 2 + area.name_alg().size());
            for cut in 0..bytes.len() {
                assert!(PublicArea::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            assert!(PublicArea::from_bytes(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn a_point_off_its_curve_is_refused() {
        let mut bytes = template::signing(true);
        let length = bytes.len();
        bytes.truncate(length - 4);
        for _ in 0..2 {
            bytes.extend_from_slice(&[0, 1, 5]);
        }
        assert!(PublicArea::from_bytes(&bytes).unwrap().public_key().is_err());
    }
}
