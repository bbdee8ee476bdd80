//! Algorithm selections and schemes: Part 2, clauses 9.27 to 9.37 and 11.

use super::{Alg, Marshal, Rc, Reader, Unmarshal};
use crate::crypto::{ecc::Curve, hash::HashAlg};

/// `TPMI_ALG_HASH`: `TPM_RC_HASH` when this TPM does not have the algorithm.
impl Unmarshal for HashAlg {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        HashAlg::from_id(alg.0).filter(|_| reader.algorithms().has(alg)).ok_or(Rc::HASH)
    }
}

impl Marshal for HashAlg {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.id().marshal(out);
    }
}

/// `TPMI_ALG_HASH+`: `TPM_ALG_NULL` is `None`.
impl Unmarshal for Option<HashAlg> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let mut ahead = reader.clone();
        if ahead.get::<Alg>()? == Alg::NULL {
            *reader = ahead;
            return Ok(None);
        }
        reader.get().map(Some)
    }
}

impl Marshal for Option<HashAlg> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(Alg::NULL.0, HashAlg::id).marshal(out);
    }
}

/// `TPMI_ECC_CURVE`: `TPM_RC_CURVE` when this TPM does not have the curve.
impl Unmarshal for Curve {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let curve = Curve::from_id(reader.get::<u16>()?).ok_or(Rc::CURVE)?;
        if reader.algorithms().has_curve(curve) { Ok(curve) } else { Err(Rc::CURVE) }
    }
}

impl Marshal for Curve {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.id().marshal(out);
    }
}

/// `TPMI_ALG_SYM_MODE`: a mode of operation of a block cipher, or CMAC.
#[doc(alias = "TPMI_ALG_SYM_MODE", alias = "TPMI_ALG_CIPHER_MODE")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SymMode {
    /// Cipher feedback.
    Cfb,
    /// Counter.
    Ctr,
    /// Output feedback.
    Ofb,
    /// Cipher block chaining.
    Cbc,
    /// Electronic codebook.
    Ecb,
    /// Not a cipher mode: a message authentication code.
    Cmac,
}

impl SymMode {
    /// The identifier.
    pub const fn alg(self) -> Alg {
        match self {
            SymMode::Cfb => Alg::CFB,
            SymMode::Ctr => Alg::CTR,
            SymMode::Ofb => Alg::OFB,
            SymMode::Cbc => Alg::CBC,
            SymMode::Ecb => Alg::ECB,
            SymMode::Cmac => Alg::CMAC,
        }
    }

    fn from_alg(alg: Alg) -> Option<SymMode> {
        Some(match alg {
            Alg::CFB => SymMode::Cfb,
            Alg::CTR => SymMode::Ctr,
            Alg::OFB => SymMode::Ofb,
            Alg::CBC => SymMode::Cbc,
            Alg::ECB => SymMode::Ecb,
            Alg::CMAC => SymMode::Cmac,
            _ => return None,
        })
    }
}

/// `TPMI_ALG_SYM_MODE+`.
impl Unmarshal for Option<SymMode> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        if alg == Alg::NULL {
            return Ok(None);
        }
        let mode = SymMode::from_alg(alg).filter(|_| reader.algorithms().has(alg));
        mode.map(Some).ok_or(Rc::MODE)
    }
}

impl Marshal for Option<SymMode> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(Alg::NULL, SymMode::alg).marshal(out);
    }
}

/// `TPMI_ALG_CIPHER_MODE+`: as [`SymMode`], but without CMAC.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CipherMode(pub Option<SymMode>);

impl Unmarshal for CipherMode {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get::<Option<SymMode>>()? {
            Some(SymMode::Cmac) => Err(Rc::MODE),
            mode => Ok(Self(mode)),
        }
    }
}

/// AES with a key size in bits and a mode: the only block cipher of this TPM.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Aes {
    /// 128, 192 or 256.
    pub bits: u16,
    /// The mode; absent where the user of the key chooses it.
    pub mode: Option<SymMode>,
}

impl Aes {
    /// The size of a key in bytes.
    pub const fn key_bytes(self) -> usize {
        (self.bits / 8) as usize
    }

    /// AES in CFB mode.
    pub const fn cfb(bits: u16) -> Aes {
        Aes { bits, mode: Some(SymMode::Cfb) }
    }

    fn unmarshal_after_alg(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let bits = reader.get::<u16>()?;
        if !reader.algorithms().has_aes(bits) {
            return Err(Rc::VALUE);
        }
        Ok(Self { bits, mode: reader.get()? })
    }
}

impl Marshal for Aes {
    fn marshal(&self, out: &mut Vec<u8>) {
        Alg::AES.marshal(out);
        self.bits.marshal(out);
        self.mode.marshal(out);
    }
}

/// `TPMT_SYM_DEF_OBJECT` without `+`.
impl Unmarshal for Aes {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        reader.get::<Option<Aes>>()?.ok_or(Rc::SYMMETRIC)
    }
}

/// `TPMT_SYM_DEF_OBJECT+`.
impl Unmarshal for Option<Aes> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get::<Alg>()? {
            Alg::NULL => Ok(None),
            Alg::AES if reader.algorithms().has(Alg::AES) => {
                Aes::unmarshal_after_alg(reader).map(Some)
            }
            _ => Err(Rc::SYMMETRIC),
        }
    }
}

impl Marshal for Option<Aes> {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Some(aes) => aes.marshal(out),
            None => Alg::NULL.marshal(out),
        }
    }
}

/// `TPMT_SYM_DEF+`: how a session encrypts parameters.
#[doc(alias = "TPMT_SYM_DEF")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SymDef {
    /// No encryption.
    Null,
    /// AES.
    Aes(Aes),
    /// XOR with a mask from this hash.
    Xor(HashAlg),
}

impl Unmarshal for SymDef {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        match alg {
            Alg::NULL => Ok(SymDef::Null),
            _ if !reader.algorithms().has(alg) => Err(Rc::SYMMETRIC),
            Alg::AES => Aes::unmarshal_after_alg(reader).map(SymDef::Aes),
            Alg::XOR => reader.get().map(SymDef::Xor),
            _ => Err(Rc::SYMMETRIC),
        }
    }
}

impl Marshal for SymDef {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            SymDef::Null => Alg::NULL.marshal(out),
            SymDef::Aes(aes) => aes.marshal(out),
            SymDef::Xor(hash) => {
                Alg::XOR.marshal(out);
                hash.marshal(out);
            }
        }
    }
}

/// A scheme with its details: `TPMT_ASYM_SCHEME`, `TPMT_SIG_SCHEME`, `TPMT_RSA_SCHEME`,
/// `TPMT_RSA_DECRYPT` and `TPMT_ECC_SCHEME`, which differ in what they allow.
#[doc(alias = "TPMT_ASYM_SCHEME")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// No scheme.
    Null,
    /// RSASSA-PKCS1-v1_5.
    Rsassa(HashAlg),
    /// RSASSA-PSS.
    Rsapss(HashAlg),
    /// RSAES-PKCS1-v1_5.
    Rsaes,
    /// RSAES-OAEP.
    Oaep(HashAlg),
    /// ECDSA.
    Ecdsa(HashAlg),
    /// ECDAA, with the counter of `TPM2_Commit`.
    Ecdaa(HashAlg, u16),
    /// EC-Schnorr.
    EcSchnorr(HashAlg),
    /// One-pass Diffie-Hellman.
    Ecdh(HashAlg),
    /// MQV.
    Ecmqv(HashAlg),
    /// HMAC, for a signing key that is a keyed hash.
    Hmac(HashAlg),
}

impl Scheme {
    /// The identifier.
    pub const fn alg(self) -> Alg {
        match self {
            Scheme::Null => Alg::NULL,
            Scheme::Rsassa(_) => Alg::RSASSA,
            Scheme::Rsapss(_) => Alg::RSAPSS,
            Scheme::Rsaes => Alg::RSAES,
            Scheme::Oaep(_) => Alg::OAEP,
            Scheme::Ecdsa(_) => Alg::ECDSA,
            Scheme::Ecdaa(..) => Alg::ECDAA,
            Scheme::EcSchnorr(_) => Alg::ECSCHNORR,
            Scheme::Ecdh(_) => Alg::ECDH,
            Scheme::Ecmqv(_) => Alg::ECMQV,
            Scheme::Hmac(_) => Alg::HMAC,
        }
    }

    /// The scheme's hash.
    pub const fn hash(self) -> Option<HashAlg> {
        match self {
            Scheme::Null | Scheme::Rsaes => None,
            Scheme::Rsassa(hash)
            | Scheme::Rsapss(hash)
            | Scheme::Oaep(hash)
            | Scheme::Ecdsa(hash)
            | Scheme::Ecdaa(hash, _)
            | Scheme::EcSchnorr(hash)
            | Scheme::Ecdh(hash)
            | Scheme::Ecmqv(hash)
            | Scheme::Hmac(hash) => Some(hash),
        }
    }

    /// Whether the scheme signs.
    pub const fn signs(self) -> bool {
        matches!(
            self,
            Scheme::Rsassa(_)
                | Scheme::Rsapss(_)
                | Scheme::Ecdsa(_)
                | Scheme::Ecdaa(..)
                | Scheme::EcSchnorr(_)
                | Scheme::Hmac(_)
        )
    }

    fn unmarshal_details(alg: Alg, reader: &mut Reader<'_>) -> Result<Option<Scheme>, Rc> {
        Ok(Some(match alg {
            Alg::NULL => Scheme::Null,
            _ if !reader.algorithms().has(alg) => return Ok(None),
            Alg::RSASSA => Scheme::Rsassa(reader.get()?),
            Alg::RSAPSS => Scheme::Rsapss(reader.get()?),
            Alg::RSAES => Scheme::Rsaes,
            Alg::OAEP => Scheme::Oaep(reader.get()?),
            Alg::ECDSA => Scheme::Ecdsa(reader.get()?),
            Alg::ECDAA => Scheme::Ecdaa(reader.get()?, reader.get()?),
            Alg::ECSCHNORR => Scheme::EcSchnorr(reader.get()?),
            Alg::ECDH => Scheme::Ecdh(reader.get()?),
            Alg::ECMQV => Scheme::Ecmqv(reader.get()?),
            Alg::HMAC => Scheme::Hmac(reader.get()?),
            _ => return Ok(None),
        }))
    }

    fn unmarshal_one_of(reader: &mut Reader<'_>, allowed: &[Alg], rc: Rc) -> Result<Scheme, Rc> {
        let alg = reader.get::<Alg>()?;
        if alg != Alg::NULL && !allowed.contains(&alg) {
            return Err(rc);
        }
        Scheme::unmarshal_details(alg, reader)?.ok_or(rc)
    }
}

impl Marshal for Scheme {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.alg().marshal(out);
        if let Some(hash) = self.hash() {
            hash.marshal(out);
        }
        if let Scheme::Ecdaa(_, count) = self {
            count.marshal(out);
        }
    }
}

macro_rules! scheme_selections {
    ($($(#[$meta:meta])* $name:ident, $rc:ident, [$($alg:ident),*];)*) => {$(
        $(#[$meta])*
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Scheme);

        impl Unmarshal for $name {
            fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
                Scheme::unmarshal_one_of(reader, &[$(Alg::$alg),*], Rc::$rc).map(Self)
            }
        }

        impl Marshal for $name {
            fn marshal(&self, out: &mut Vec<u8>) {
                self.0.marshal(out);
            }
        }
    )*};
}

scheme_selections! {
    /// `TPMT_SIG_SCHEME+`.
    #[doc(alias = "TPMT_SIG_SCHEME")]
    SigScheme, SCHEME, [RSASSA, RSAPSS, ECDSA, ECDAA, ECSCHNORR, HMAC];
    /// `TPMT_RSA_SCHEME+`.
    #[doc(alias = "TPMT_RSA_SCHEME")]
    RsaScheme, VALUE, [RSASSA, RSAPSS, RSAES, OAEP];
    /// `TPMT_RSA_DECRYPT+`.
    #[doc(alias = "TPMT_RSA_DECRYPT")]
    RsaDecrypt, VALUE, [RSAES, OAEP];
    /// `TPMT_ECC_SCHEME+`.
    #[doc(alias = "TPMT_ECC_SCHEME")]
    EccScheme, SCHEME, [ECDSA, ECDAA, ECSCHNORR, ECDH, ECMQV];
}

/// `TPMI_ECC_KEY_EXCHANGE`: how `TPM2_ZGen_2Phase` combines keys.
#[doc(alias = "TPMI_ECC_KEY_EXCHANGE")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KeyExchange {
    /// Two Diffie-Hellman operations.
    Ecdh,
    /// MQV.
    Ecmqv,
}

impl Unmarshal for KeyExchange {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        match alg {
            _ if !reader.algorithms().has(alg) => Err(Rc::SCHEME),
            Alg::ECDH => Ok(KeyExchange::Ecdh),
            Alg::ECMQV => Ok(KeyExchange::Ecmqv),
            _ => Err(Rc::SCHEME),
        }
    }
}

/// `TPMI_ALG_KDF` with its hash: `TPMT_KDF_SCHEME+`.
#[doc(alias = "TPMT_KDF_SCHEME")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct KdfScheme {
    /// `MGF1`, `KDF1_SP800_56A`, `KDF2` or `KDF1_SP800_108`.
    pub kdf: Alg,
    /// The hash.
    pub hash: HashAlg,
}

fn unmarshal_kdf(reader: &mut Reader<'_>) -> Result<Option<Alg>, Rc> {
    match reader.get::<Alg>()? {
        Alg::NULL => Ok(None),
        alg @ (Alg::MGF1 | Alg::KDF1_SP800_56A | Alg::KDF2 | Alg::KDF1_SP800_108)
            if reader.algorithms().has(alg) =>
        {
            Ok(Some(alg))
        }
        _ => Err(Rc::KDF),
    }
}

impl Unmarshal for Option<KdfScheme> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let Some(kdf) = unmarshal_kdf(reader)? else { return Ok(None) };
        Ok(Some(KdfScheme { kdf, hash: reader.get()? }))
    }
}

impl Marshal for Option<KdfScheme> {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            None => Alg::NULL.marshal(out),
            Some(KdfScheme { kdf, hash }) => {
                kdf.marshal(out);
                hash.marshal(out);
            }
        }
    }
}

/// `TPMT_KEYEDHASH_SCHEME+`.
#[doc(alias = "TPMT_KEYEDHASH_SCHEME")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum KeyedHashScheme {
    /// No scheme.
    Null,
    /// HMAC.
    Hmac(HashAlg),
    /// XOR obfuscation, with its hash and key derivation function.
    Xor(HashAlg, Option<Alg>),
}

impl KeyedHashScheme {
    /// The identifier.
    pub const fn alg(self) -> Alg {
        match self {
            KeyedHashScheme::Null => Alg::NULL,
            KeyedHashScheme::Hmac(_) => Alg::HMAC,
            KeyedHashScheme::Xor(..) => Alg::XOR,
        }
    }
}

impl Unmarshal for KeyedHashScheme {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        match alg {
            Alg::NULL => Ok(KeyedHashScheme::Null),
            _ if !reader.algorithms().has(alg) => Err(Rc::VALUE),
            Alg::HMAC => reader.get().map(KeyedHashScheme::Hmac),
            Alg::XOR => Ok(KeyedHashScheme::Xor(reader.get()?, unmarshal_kdf(reader)?)),
            _ => Err(Rc::VALUE),
        }
    }
}

impl Marshal for KeyedHashScheme {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.alg().marshal(out);
        match self {
            KeyedHashScheme::Null => {}
            KeyedHashScheme::Hmac(hash) => hash.marshal(out),
            KeyedHashScheme::Xor(hash, kdf) => {
                hash.marshal(out);
                kdf.unwrap_or(Alg::NULL).marshal(out);
            }
        }
    }
}
