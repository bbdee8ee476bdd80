//! The other structures: PCR selections, tickets, signatures, attestation, NV and contexts
//! (Part 2, clauses 10, 11.3, 13 and 14).

use super::{
    Alg, Buffer, Cc, Data, Digest, EccParameter, Handle, List, MAX_BLOB, Marshal, Name,
    NvAttributes, PcrSelections, PublicKeyRsa, Rc, Reader, RhHierarchy, RhNvIndex, Scheme, Tag,
    Unmarshal, structure,
};
use crate::crypto::hash::{self, HashAlg};
use crate::wire::HandleInterface as _;

/// The number of hash algorithms that can have a PCR bank: the bound of PCR selections.
pub const MAX_BANKS: usize = 4;
/// `PCR_SELECT_MIN` and `PCR_SELECT_MAX`: bytes of a PCR bit map.
pub const PCR_SELECT_SIZE: usize = 3;

/// A name: the algorithm identifier and a digest (Part 1, clause 14).
pub fn name_of(alg: HashAlg, public: &[u8]) -> Name {
    let mut name = alg.id().to_bytes();
    name.extend_from_slice(&hash::hash(alg, &[public]));
    Name::from(name)
}

/// `TPMS_PCR_SELECTION`.
#[doc(alias = "TPMS_PCR_SELECTION")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrSelection {
    /// The bank.
    pub hash: HashAlg,
    /// Bit `n % 8` of byte `n / 8` selects PCR `n`.
    pub select: [u8; PCR_SELECT_SIZE],
}

impl PcrSelection {
    /// Whether a PCR is selected.
    pub fn has(&self, pcr: u32) -> bool {
        let byte = self.select.get(pcr as usize / 8).copied().unwrap_or(0);
        byte >> (pcr % 8) & 1 != 0
    }

    /// Selects a PCR.
    pub fn set(&mut self, pcr: u32) {
        if let Some(byte) = self.select.get_mut(pcr as usize / 8) {
            *byte |= 1u8 << (pcr % 8);
        }
    }

    /// A selection of nothing.
    pub const fn none(hash: HashAlg) -> Self {
        Self { hash, select: [0; PCR_SELECT_SIZE] }
    }

    /// The selected PCR in ascending order.
    pub fn pcrs(&self) -> impl Iterator<Item = u32> + '_ {
        (0..super::PCR_COUNT).filter(|pcr| self.has(*pcr))
    }
}

impl Unmarshal for PcrSelection {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let hash = reader.get()?;
        if usize::from(reader.get::<u8>()?) != PCR_SELECT_SIZE {
            return Err(Rc::VALUE);
        }
        Ok(Self { hash, select: reader.array()? })
    }
}

impl Marshal for PcrSelection {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        out.push(PCR_SELECT_SIZE as u8);
        out.extend_from_slice(&self.select);
    }
}

/// `TPMT_HA`: a digest with its algorithm.
#[doc(alias = "TPMT_HA")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ha {
    /// The algorithm.
    pub alg: HashAlg,
    /// A digest of exactly that algorithm's size.
    pub digest: Digest,
}

impl Unmarshal for Ha {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<HashAlg>()?;
        let digest = Digest::from_slice(reader.take(alg.digest_size())?);
        Ok(Self { alg, digest })
    }
}

impl Marshal for Ha {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.alg.marshal(out);
        out.extend_from_slice(&self.digest);
    }
}

/// A ticket: `TPMT_TK_CREATION`, `TPMT_TK_VERIFIED`, `TPMT_TK_AUTH` or `TPMT_TK_HASHCHECK`.
#[doc(alias = "TPMT_TK_CREATION", alias = "TPMT_TK_VERIFIED")]
#[doc(alias = "TPMT_TK_AUTH", alias = "TPMT_TK_HASHCHECK")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The kind of ticket.
    pub tag: Tag,
    /// The hierarchy whose proof made it; `TPM_RH_NULL` for none.
    pub hierarchy: Handle,
    /// HMAC with the hierarchy's proof; empty in a ticket that proves nothing.
    pub digest: Digest,
}

impl Ticket {
    /// A ticket that proves nothing.
    pub const fn null(tag: Tag) -> Ticket {
        Ticket { tag, hierarchy: Handle::NULL, digest: Digest::empty() }
    }

    fn unmarshal_tagged(reader: &mut Reader<'_>, tags: &[Tag]) -> Result<Self, Rc> {
        let tag = reader.get()?;
        if !tags.contains(&tag) {
            return Err(Rc::TAG);
        }
        let hierarchy = reader.get::<Option<RhHierarchy>>()?.handle();
        Ok(Self { tag, hierarchy, digest: reader.get()? })
    }
}

impl Marshal for Ticket {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.tag.marshal(out);
        self.hierarchy.marshal(out);
        self.digest.marshal(out);
    }
}

macro_rules! tickets {
    ($($(#[$meta:meta])* $name:ident = [$($tag:ident),*];)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Ticket);

        impl Unmarshal for $name {
            fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
                Ticket::unmarshal_tagged(reader, &[$(Tag::$tag),*]).map(Self)
            }
        }
    )*};
}

tickets! {
    /// `TPMT_TK_CREATION` as a parameter.
    CreationTicket = [CREATION];
    /// `TPMT_TK_VERIFIED` as a parameter.
    VerifiedTicket = [VERIFIED];
    /// `TPMT_TK_AUTH` as a parameter.
    AuthTicket = [AUTH_SIGNED, AUTH_SECRET];
    /// `TPMT_TK_HASHCHECK` as a parameter.
    HashCheckTicket = [HASHCHECK];
}

/// `TPMT_SIGNATURE`.
#[doc(alias = "TPMT_SIGNATURE")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// No signature.
    Null,
    /// RSASSA or RSAPSS, as the scheme says.
    Rsa {
        /// `Rsassa` or `Rsapss`.
        scheme: Scheme,
        /// The signature.
        signature: PublicKeyRsa,
    },
    /// ECDSA, ECDAA or EC-Schnorr, as the scheme says. The counter of ECDAA is not on the wire.
    Ecc {
        /// `Ecdsa`, `Ecdaa` or `EcSchnorr`.
        scheme: Scheme,
        /// First part.
        r: EccParameter,
        /// Second part.
        s: EccParameter,
    },
    /// HMAC.
    Hmac(Ha),
}

impl Signature {
    /// The scheme with its hash.
    pub const fn scheme(&self) -> Scheme {
        match self {
            Signature::Null => Scheme::Null,
            Signature::Rsa { scheme, .. } | Signature::Ecc { scheme, .. } => *scheme,
            Signature::Hmac(ha) => Scheme::Hmac(ha.alg),
        }
    }
}

impl Unmarshal for Signature {
    /// Reads a signature; `TPM_ALG_NULL` is `TPM_RC_SCHEME`.
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        if !reader.algorithms().has(alg) {
            return Err(Rc::SCHEME);
        }
        let scheme = match alg {
            Alg::HMAC => return reader.get().map(Signature::Hmac),
            Alg::RSASSA => Scheme::Rsassa(reader.get()?),
            Alg::RSAPSS => Scheme::Rsapss(reader.get()?),
            Alg::ECDSA => Scheme::Ecdsa(reader.get()?),
            Alg::ECDAA => Scheme::Ecdaa(reader.get()?, 0),
            Alg::ECSCHNORR => Scheme::EcSchnorr(reader.get()?),
            _ => return Err(Rc::SCHEME),
        };
        if matches!(alg, Alg::RSASSA | Alg::RSAPSS) {
            Ok(Signature::Rsa { scheme, signature: reader.get()? })
        } else {
            Ok(Signature::Ecc { scheme, r: reader.get()?, s: reader.get()? })
        }
    }
}

impl Marshal for Signature {
    fn marshal(&self, out: &mut Vec<u8>) {
        let scheme = self.scheme();
        scheme.alg().marshal(out);
        match self {
            Signature::Null => {}
            Signature::Rsa { signature, .. } => {
                scheme.hash().marshal(out);
                signature.marshal(out);
            }
            Signature::Ecc { r, s, .. } => {
                scheme.hash().marshal(out);
                r.marshal(out);
                s.marshal(out);
            }
            Signature::Hmac(ha) => ha.marshal(out),
        }
    }
}

structure! {
    /// `TPMS_CLOCK_INFO`.
    #[doc(alias = "TPMS_CLOCK_INFO")]
    pub struct ClockInfo {
        /// Milliseconds that the TPM was powered.
        pub clock: u64,
        /// TPM Resets since the last `TPM2_Clear`.
        pub reset_count: u32,
        /// TPM Restarts and Resumes since the last Reset or Clear.
        pub restart_count: u32,
        /// Whether no larger clock value was ever reported.
        pub safe: bool,
    }
}

structure! {
    /// `TPMS_TIME_INFO`.
    #[doc(alias = "TPMS_TIME_INFO")]
    pub struct TimeInfo {
        /// Milliseconds since the last start.
        pub time: u64,
        /// The clock.
        pub clock_info: ClockInfo,
    }
}

/// `TPMU_ATTEST`: what is attested.
#[doc(alias = "TPMU_ATTEST")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attested {
    /// `TPMS_CERTIFY_INFO`: name and qualified name.
    Certify(Name, Name),
    /// `TPMS_CREATION_INFO`: name and creation hash.
    Creation(Name, Digest),
    /// `TPMS_QUOTE_INFO`: selection and digest.
    Quote(PcrSelections, Digest),
    /// `TPMS_COMMAND_AUDIT_INFO`: counter, digest algorithm, audit digest, command digest.
    CommandAudit(u64, Alg, Digest, Digest),
    /// `TPMS_SESSION_AUDIT_INFO`: whether exclusive, and digest.
    SessionAudit(bool, Digest),
    /// `TPMS_TIME_ATTEST_INFO`: time and firmware version.
    Time(TimeInfo, u64),
    /// `TPMS_NV_CERTIFY_INFO`: index name, offset, contents.
    Nv(Name, u16, Buffer<2048>),
    /// `TPMS_NV_DIGEST_CERTIFY_INFO`: index name, digest of the contents.
    NvDigest(Name, Digest),
}

impl Attested {
    /// The structure's tag.
    pub const fn tag(&self) -> Tag {
        match self {
            Attested::Certify(..) => Tag::ATTEST_CERTIFY,
            Attested::Creation(..) => Tag::ATTEST_CREATION,
            Attested::Quote(..) => Tag::ATTEST_QUOTE,
            Attested::CommandAudit(..) => Tag::ATTEST_COMMAND_AUDIT,
            Attested::SessionAudit(..) => Tag::ATTEST_SESSION_AUDIT,
            Attested::Time(..) => Tag::ATTEST_TIME,
            Attested::Nv(..) => Tag::ATTEST_NV,
            Attested::NvDigest(..) => Tag::ATTEST_NV_DIGEST,
        }
    }
}

impl Marshal for Attested {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Attested::Certify(name, qualified_name) => {
                name.marshal(out);
                qualified_name.marshal(out);
            }
            Attested::Creation(name, digest) | Attested::NvDigest(name, digest) => {
                name.marshal(out);
                digest.marshal(out);
            }
            Attested::Quote(selections, digest) => {
                selections.marshal(out);
                digest.marshal(out);
            }
            Attested::CommandAudit(counter, alg, audit, command) => {
                counter.marshal(out);
                alg.marshal(out);
                audit.marshal(out);
                command.marshal(out);
            }
            Attested::SessionAudit(exclusive, digest) => {
                exclusive.marshal(out);
                digest.marshal(out);
            }
            Attested::Time(time, firmware) => {
                time.marshal(out);
                firmware.marshal(out);
            }
            Attested::Nv(name, offset, contents) => {
                name.marshal(out);
                offset.marshal(out);
                contents.marshal(out);
            }
        }
    }
}

/// `TPMS_ATTEST`.
#[doc(alias = "TPMS_ATTEST")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Qualified name of the signing key.
    pub qualified_signer: Name,
    /// From the caller.
    pub extra_data: Data,
    /// The clock, obfuscated for keys outside endorsement and platform hierarchy.
    pub clock_info: ClockInfo,
    /// Firmware version, obfuscated likewise.
    pub firmware_version: u64,
    /// What is attested.
    pub attested: Attested,
}

impl Marshal for Attest {
    fn marshal(&self, out: &mut Vec<u8>) {
        super::GENERATED.marshal(out);
        self.attested.tag().marshal(out);
        self.qualified_signer.marshal(out);
        self.extra_data.marshal(out);
        self.clock_info.marshal(out);
        self.firmware_version.marshal(out);
        self.attested.marshal(out);
    }
}

structure! {
    /// `TPMS_NV_PUBLIC`.
    #[doc(alias = "TPMS_NV_PUBLIC")]
    pub struct NvPublic {
        /// The index.
        pub index: RhNvIndex,
        /// Hash of the index's name and of an extend index.
        pub name_alg: HashAlg,
        /// Attributes.
        pub attributes: NvAttributes,
        /// Policy; empty, or a digest of `name_alg`.
        pub auth_policy: Digest,
        /// Size of the data in bytes.
        pub data_size: NvDataSize,
    }
}

impl NvPublic {
    /// The index's name.
    pub fn name(&self) -> Name {
        name_of(self.name_alg, &self.to_bytes())
    }
}

/// The `dataSize` of an NV index: more than `MAX_NV_INDEX_SIZE` is `TPM_RC_SIZE`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NvDataSize(pub u16);

/// `TPM_PT_NV_INDEX_MAX`: the largest NV index.
pub const MAX_NV_INDEX_SIZE: u16 = 2048;

impl Unmarshal for NvDataSize {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let size = reader.get()?;
        if size > MAX_NV_INDEX_SIZE { Err(Rc::SIZE) } else { Ok(Self(size)) }
    }
}

impl Marshal for NvDataSize {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

/// `TPMT_NV_TYPE` (`TPM_NT`): the kinds of NV index.
#[doc(alias = "TPM_NT")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NvType {
    /// Data.
    Ordinary,
    /// A 64-bit counter that only goes up.
    Counter,
    /// 64 bits that are only set.
    Bits,
    /// Extended like a PCR.
    Extend,
    /// Counts failed authorizations.
    PinFail,
    /// Counts successful authorizations.
    PinPass,
}

impl NvType {
    /// The type in these attributes, if it is a known one.
    pub const fn of(attributes: NvAttributes) -> Option<NvType> {
        Some(match attributes.index_type_bits() {
            0 => NvType::Ordinary,
            1 => NvType::Counter,
            2 => NvType::Bits,
            4 => NvType::Extend,
            8 => NvType::PinFail,
            9 => NvType::PinPass,
            _ => return None,
        })
    }
}

structure! {
    /// `TPMS_CONTEXT`.
    #[doc(alias = "TPMS_CONTEXT")]
    pub struct Context {
        /// Sequence number; also the initialization vector's source.
        pub sequence: u64,
        /// What was saved: a session's own handle, or the kind of object.
        pub saved_handle: super::DhSaved,
        /// The hierarchy whose proof protects it; `TPM_RH_NULL` for sessions.
        pub hierarchy: Handle,
        /// Integrity value and encrypted contents.
        pub blob: Buffer<MAX_BLOB>,
    }
}

structure! {
    /// `TPMS_ALG_PROPERTY`.
    #[doc(alias = "TPMS_ALG_PROPERTY")]
    pub struct AlgProperty {
        /// The algorithm.
        pub alg: Alg,
        /// Its attributes.
        pub attributes: super::AlgorithmAttributes,
    }
}

/// `TPML_DIGEST`: at most eight.
#[doc(alias = "TPML_DIGEST")]
pub type Digests = List<Digest, 8>;
/// `TPML_DIGEST_VALUES`: at most one a bank.
#[doc(alias = "TPML_DIGEST_VALUES")]
pub type DigestValues = List<Ha, MAX_BANKS>;
/// `TPML_CC`: command codes.
#[doc(alias = "TPML_CC")]
pub type Ccs = List<Cc, 254>;
/// `TPML_ALG`: algorithms.
#[doc(alias = "TPML_ALG")]
pub type Algs = List<Alg, 64>;
