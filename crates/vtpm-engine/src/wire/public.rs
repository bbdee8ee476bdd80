//! Objects: public, private and creation structures (Part 2, clauses 11.1.14, 12 and 15).

use super::{
    Aes, Alg, Auth, Buffer, Data, Digest, EccParameter, EccScheme, KdfScheme, KeyedHashScheme,
    Label, LocalityAttributes, MAX_RSA_BYTES, Marshal, Name, ObjectAttributes, PcrSelection,
    PublicKeyRsa, Rc, Reader, RsaScheme, Scheme, Secret, SensitiveData, Unmarshal, marshal_sized,
    structure,
};
use crate::crypto::{ecc::Curve, hash::HashAlg};

/// Reads a structure inside a `TPM2B_`: an empty one, or one whose size is not what the structure
/// takes, is `TPM_RC_SIZE`.
pub fn unmarshal_sized<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Rc>,
) -> Result<T, Rc> {
    let size = usize::from(reader.get::<u16>()?);
    if size == 0 {
        return Err(Rc::SIZE);
    }
    let before = reader.rest().len();
    let value = read(reader)?;
    if before.checked_sub(reader.rest().len()) == Some(size) { Ok(value) } else { Err(Rc::SIZE) }
}

/// A structure inside a `TPM2B_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sized2b<T>(pub T);

impl<T: Unmarshal> Unmarshal for Sized2b<T> {
    const SIZED: bool = true;

    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        unmarshal_sized(reader, T::unmarshal).map(Self)
    }
}

impl<T: Marshal> Marshal for Sized2b<T> {
    const SIZED: bool = true;

    fn marshal(&self, out: &mut Vec<u8>) {
        marshal_sized(out, |out| self.0.marshal(out));
    }
}

structure! {
    /// `TPMS_ECC_POINT`.
    #[doc(alias = "TPMS_ECC_POINT")]
    #[derive(Default)]
    pub struct EccPoint {
        /// X coordinate.
        pub x: EccParameter,
        /// Y coordinate.
        pub y: EccParameter,
    }
}

structure! {
    /// `TPMS_DERIVE`: what stands in `unique` of a template for a derived object.
    #[doc(alias = "TPMS_DERIVE")]
    #[derive(Default)]
    pub struct Derive {
        /// Label of the derivation.
        pub label: Label,
        /// Context of the derivation.
        pub context: Label,
    }
}

/// `TPMU_PUBLIC_PARMS`: the type of an object with its parameters.
#[doc(alias = "TPMU_PUBLIC_PARMS", alias = "TPMT_PUBLIC_PARMS")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicParms {
    /// A keyed hash or sealed data.
    KeyedHash(KeyedHashScheme),
    /// A symmetric cipher key.
    SymCipher(Aes),
    /// An RSA key.
    Rsa(RsaParms),
    /// An ECC key.
    Ecc(EccParms),
}

structure! {
    /// `TPMS_RSA_PARMS`.
    #[doc(alias = "TPMS_RSA_PARMS")]
    pub struct RsaParms {
        /// For a storage key, how it protects its children.
        pub symmetric: Option<Aes>,
        /// The scheme; absent where the user of the key chooses it.
        pub scheme: RsaScheme,
        /// Size of the modulus.
        pub key_bits: RsaKeyBits,
        /// Public exponent; zero for 65537.
        pub exponent: u32,
    }
}

structure! {
    /// `TPMS_ECC_PARMS`.
    #[doc(alias = "TPMS_ECC_PARMS")]
    pub struct EccParms {
        /// For a storage key, how it protects its children.
        pub symmetric: Option<Aes>,
        /// The scheme; absent where the user of the key chooses it.
        pub scheme: EccScheme,
        /// The curve.
        pub curve: Curve,
        /// The key derivation function.
        pub kdf: Option<KdfScheme>,
    }
}

/// `TPMI_RSA_KEY_BITS`: `TPM_RC_VALUE` when this TPM does not have the size.
#[doc(alias = "TPMI_RSA_KEY_BITS")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RsaKeyBits(pub u16);

impl RsaKeyBits {
    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        (self.0 / 8) as usize
    }
}

impl Unmarshal for RsaKeyBits {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let bits = reader.get()?;
        if reader.algorithms().has_rsa(bits) { Ok(Self(bits)) } else { Err(Rc::VALUE) }
    }
}

impl Marshal for RsaKeyBits {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

impl PublicParms {
    /// `TPMI_ALG_PUBLIC` of the object.
    pub const fn alg(&self) -> Alg {
        match self {
            PublicParms::KeyedHash(_) => Alg::KEYEDHASH,
            PublicParms::SymCipher(_) => Alg::SYMCIPHER,
            PublicParms::Rsa(_) => Alg::RSA,
            PublicParms::Ecc(_) => Alg::ECC,
        }
    }

    /// The symmetric algorithm of a storage key.
    pub const fn symmetric(&self) -> Option<Aes> {
        match self {
            PublicParms::Rsa(rsa) => rsa.symmetric,
            PublicParms::Ecc(ecc) => ecc.symmetric,
            PublicParms::SymCipher(aes) => Some(*aes),
            PublicParms::KeyedHash(_) => None,
        }
    }

    /// The scheme of a key, with the HMAC scheme of a keyed hash among them.
    pub const fn scheme(&self) -> Scheme {
        match self {
            PublicParms::Rsa(rsa) => rsa.scheme.0,
            PublicParms::Ecc(ecc) => ecc.scheme.0,
            PublicParms::KeyedHash(KeyedHashScheme::Hmac(hash)) => Scheme::Hmac(*hash),
            PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => Scheme::Null,
        }
    }

    /// Whether the object is an RSA or ECC key.
    pub const fn is_asymmetric(&self) -> bool {
        matches!(self, PublicParms::Rsa(_) | PublicParms::Ecc(_))
    }

    fn unmarshal_after_alg(alg: Alg, reader: &mut Reader<'_>) -> Result<Self, Rc> {
        Ok(match alg {
            Alg::KEYEDHASH => PublicParms::KeyedHash(reader.get()?),
            Alg::SYMCIPHER => PublicParms::SymCipher(reader.get()?),
            Alg::RSA => PublicParms::Rsa(reader.get()?),
            Alg::ECC => PublicParms::Ecc(reader.get()?),
            _ => return Err(Rc::TYPE),
        })
    }

    /// The parameters without the type in front.
    pub fn marshal_details(&self, out: &mut Vec<u8>) {
        match self {
            PublicParms::KeyedHash(scheme) => scheme.marshal(out),
            PublicParms::SymCipher(aes) => aes.marshal(out),
            PublicParms::Rsa(rsa) => rsa.marshal(out),
            PublicParms::Ecc(ecc) => ecc.marshal(out),
        }
    }
}

/// `TPMI_ALG_PUBLIC`: `TPM_RC_TYPE` when this TPM does not have the type.
fn unmarshal_type(reader: &mut Reader<'_>) -> Result<Alg, Rc> {
    let alg = reader.get::<Alg>()?;
    match alg {
        Alg::KEYEDHASH | Alg::SYMCIPHER | Alg::RSA | Alg::ECC if reader.algorithms().has(alg) => {
            Ok(alg)
        }
        _ => Err(Rc::TYPE),
    }
}

impl Unmarshal for PublicParms {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = unmarshal_type(reader)?;
        PublicParms::unmarshal_after_alg(alg, reader)
    }
}

impl Marshal for PublicParms {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.alg().marshal(out);
        self.marshal_details(out);
    }
}

/// `TPMU_PUBLIC_ID`: what makes an object unique.
#[doc(alias = "TPMU_PUBLIC_ID")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicId {
    /// Of a keyed hash or symmetric key: a digest over seed and secret.
    Digest(Digest),
    /// The modulus.
    Rsa(PublicKeyRsa),
    /// The public point.
    Ecc(EccPoint),
    /// In a template for derivation: label and context.
    Derive(Derive),
}

impl PublicId {
    fn unmarshal_for(alg: Alg, reader: &mut Reader<'_>) -> Result<Self, Rc> {
        Ok(match alg {
            Alg::RSA => PublicId::Rsa(reader.get()?),
            Alg::ECC => PublicId::Ecc(reader.get()?),
            _ => PublicId::Digest(reader.get()?),
        })
    }
}

impl Marshal for PublicId {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            PublicId::Digest(digest) => digest.marshal(out),
            PublicId::Rsa(modulus) => modulus.marshal(out),
            PublicId::Ecc(point) => point.marshal(out),
            PublicId::Derive(derive) => derive.marshal(out),
        }
    }
}

/// `TPMT_PUBLIC`.
#[doc(alias = "TPMT_PUBLIC")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// Hash of the object's name; absent only for an external object.
    pub name_alg: Option<HashAlg>,
    /// Attributes.
    pub attributes: ObjectAttributes,
    /// Policy; empty, or a digest of `name_alg`.
    pub auth_policy: Digest,
    /// Type and parameters.
    pub parms: PublicParms,
    /// What makes it unique; always of the kind that `parms` has, or `Derive`.
    pub unique: PublicId,
}

impl Public {
    fn unmarshal_with(
        reader: &mut Reader<'_>,
        null_name: bool,
        derivation: bool,
    ) -> Result<Self, Rc> {
        let alg = unmarshal_type(reader)?;
        let name_alg = reader.get::<Option<HashAlg>>()?;
        if name_alg.is_none() && !null_name {
            return Err(Rc::HASH);
        }
        Ok(Self {
            name_alg,
            attributes: reader.get()?,
            auth_policy: reader.get()?,
            parms: PublicParms::unmarshal_after_alg(alg, reader)?,
            unique: if derivation {
                PublicId::Derive(reader.get()?)
            } else {
                PublicId::unmarshal_for(alg, reader)?
            },
        })
    }

    /// Reads a template; for a derived object, `unique` holds label and context.
    pub fn unmarshal_template(reader: &mut Reader<'_>, derivation: bool) -> Result<Self, Rc> {
        Public::unmarshal_with(reader, false, derivation)
    }

    /// Whether all of these attributes are set.
    pub const fn has(&self, attributes: ObjectAttributes) -> bool {
        self.attributes.has(attributes)
    }

    /// The object's name: the algorithm identifier and the digest of this structure, or empty
    /// without a name algorithm (Part 1, clause 14).
    pub fn name(&self) -> Name {
        self.name_alg.map_or_else(Name::empty, |alg| super::name_of(alg, &self.to_bytes()))
    }
}

impl Unmarshal for Public {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        Public::unmarshal_with(reader, false, false)
    }
}

impl Marshal for Public {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.parms.alg().marshal(out);
        self.name_alg.marshal(out);
        self.attributes.marshal(out);
        self.auth_policy.marshal(out);
        self.parms.marshal_details(out);
        self.unique.marshal(out);
    }
}

/// `TPM2B_PUBLIC`.
#[doc(alias = "TPM2B_PUBLIC")]
pub type Tpm2bPublic = Sized2b<Public>;

/// `TPM2B_PUBLIC+`: the name algorithm may be `TPM_ALG_NULL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm2bPublicPlus(pub Public);

impl Unmarshal for Tpm2bPublicPlus {
    const SIZED: bool = true;

    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        unmarshal_sized(reader, |reader| Public::unmarshal_with(reader, true, false)).map(Self)
    }
}

/// `TPMU_SENSITIVE_COMPOSITE`: the secret itself, of the kind that the object's type says. For
/// RSA it is one prime; some callers send the private exponent's five parts, hence the size.
pub type SensitiveComposite = Secret<{ MAX_RSA_BYTES / 2 }>;

/// `TPMT_SENSITIVE`.
#[doc(alias = "TPMT_SENSITIVE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensitive {
    /// `TPMI_ALG_PUBLIC` of the object.
    pub alg: Alg,
    /// Authorization value.
    pub auth: Auth,
    /// Seed: protects children of a storage key, obfuscates `unique` of symmetric objects.
    pub seed: Auth,
    /// The secret.
    pub composite: SensitiveComposite,
}

impl Unmarshal for Sensitive {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = unmarshal_type(reader)?;
        let (auth, seed) = (reader.get()?, reader.get()?);
        let max = match alg {
            Alg::RSA => reader.algorithms().max_rsa_bytes() / 2,
            Alg::ECC => super::MAX_ECC_BYTES,
            Alg::SYMCIPHER => 32,
            _ => super::MAX_SYM_DATA,
        };
        // Too large a size is told before it is seen whether so many bytes are there.
        if usize::from(reader.clone().get::<u16>()?) > max {
            return Err(Rc::SIZE);
        }
        Ok(Self { alg, auth, seed, composite: reader.get()? })
    }
}

impl Marshal for Sensitive {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.alg.marshal(out);
        self.auth.marshal(out);
        self.seed.marshal(out);
        self.composite.marshal(out);
    }
}

/// `TPM2B_SENSITIVE`, empty where no sensitive area is given.
#[doc(alias = "TPM2B_SENSITIVE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalSensitive(pub Option<Sensitive>);

impl Unmarshal for OptionalSensitive {
    const SIZED: bool = true;

    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let mut ahead = reader.clone();
        if ahead.get::<u16>()? == 0 {
            *reader = ahead;
            return Ok(Self(None));
        }
        unmarshal_sized(reader, Sensitive::unmarshal).map(|sensitive| Self(Some(sensitive)))
    }
}

structure! {
    /// `TPMS_SENSITIVE_CREATE`.
    #[doc(alias = "TPMS_SENSITIVE_CREATE")]
    pub struct SensitiveCreate {
        /// Authorization value of the new object.
        pub user_auth: Auth,
        /// Data to seal, key to use, or label and context of a derivation.
        pub data: SensitiveData,
    }
}

/// `TPM2B_SENSITIVE_CREATE`.
#[doc(alias = "TPM2B_SENSITIVE_CREATE")]
pub type Tpm2bSensitiveCreate = Sized2b<SensitiveCreate>;

/// `TPML_PCR_SELECTION`.
#[doc(alias = "TPML_PCR_SELECTION")]
pub type PcrSelections = super::List<PcrSelection, { super::MAX_BANKS }>;

structure! {
    /// `TPMS_CREATION_DATA`.
    #[doc(alias = "TPMS_CREATION_DATA")]
    pub struct CreationData {
        /// PCR selected at creation.
        pub pcr_select: PcrSelections,
        /// Digest of their values.
        pub pcr_digest: Digest,
        /// Locality of the creation.
        pub locality: LocalityAttributes,
        /// Name algorithm of the parent; `TPM_ALG_NULL` for a hierarchy.
        pub parent_name_alg: Alg,
        /// Name of the parent.
        pub parent_name: Name,
        /// Qualified name of the parent.
        pub parent_qualified_name: Name,
        /// From the caller.
        pub outside_info: Data,
    }
}

/// `TPM2B_TEMPLATE`: a template as bytes, since its form depends on the parent.
#[doc(alias = "TPM2B_TEMPLATE")]
pub type Template = Buffer<1024>;
