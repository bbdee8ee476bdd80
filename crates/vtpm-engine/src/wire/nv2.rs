//! Public areas of NV indices of any handle type: Part 2, clauses 13.5 to 13.12, revision 1.83.

use super::handle::handle_types;
use super::{
    Digest, Handle, HandleInterface, Marshal, NvAttributes, NvDataSize, NvPublic, Rc, Reader,
    Unmarshal, structure,
};
use crate::crypto::hash::HashAlg;

/// `TPM_HT_NV_INDEX`: an index in the TPM.
pub const HT_NV_INDEX: u8 = 0x01;
/// `TPM_HT_EXTERNAL_NV`: an index that the TPM protects outside.
pub const HT_EXTERNAL_NV: u8 = 0x11;
/// `TPM_HT_PERMANENT_NV`: an index that is always there.
pub const HT_PERMANENT_NV: u8 = 0x12;

handle_types! {
    /// `TPMI_RH_NV_EXP_INDEX`: an external NV index; anything else is `TPM_RC_VALUE`.
    #[doc(alias = "TPMI_RH_NV_EXP_INDEX")]
    RhExternalNvIndex = |handle| handle.0 >> 24 == u32::from(HT_EXTERNAL_NV);
    /// A permanent NV index; anything else is `TPM_RC_VALUE`.
    RhPermanentNvIndex = |handle| handle.0 >> 24 == u32::from(HT_PERMANENT_NV);
}

/// `TPMA_NV_EXP`: the attributes of `TPMA_NV` in the lower half, those of external NV above.
/// Reserved bits are `TPM_RC_RESERVED_BITS`.
#[doc(alias = "TPMA_NV_EXP")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NvExpAttributes(pub u64);

impl NvExpAttributes {
    /// `TPMA_EXTERNAL_NV_ENCRYPTION`: the contents are encrypted.
    pub const ENCRYPTION: NvExpAttributes = NvExpAttributes(1 << 32);
    /// `TPMA_EXTERNAL_NV_INTEGRITY`: the contents are protected against changes.
    pub const INTEGRITY: NvExpAttributes = NvExpAttributes(1 << 33);
    /// `TPMA_EXTERNAL_NV_ANTIROLLBACK`: the contents are protected against being set back.
    pub const ANTI_ROLLBACK: NvExpAttributes = NvExpAttributes(1 << 34);

    const RESERVED: u64 = 0xffff_fff8_01f0_0300;

    /// The expanded form of attributes.
    pub const fn of(attributes: NvAttributes) -> Self {
        Self(attributes.0 as u64)
    }

    /// With the attributes of `other` as well.
    #[must_use]
    pub const fn with(self, other: NvExpAttributes) -> Self {
        Self(self.0 | other.0)
    }
}

impl Unmarshal for NvExpAttributes {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let bits = reader.get::<u64>()?;
        if bits & Self::RESERVED != 0 { Err(Rc::RESERVED_BITS) } else { Ok(Self(bits)) }
    }
}

impl Marshal for NvExpAttributes {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

structure! {
    /// `TPMS_NV_PUBLIC_EXP_ATTR`: the public area of an external index.
    #[doc(alias = "TPMS_NV_PUBLIC_EXP_ATTR")]
    pub struct NvPublicExp {
        /// The index.
        pub index: RhExternalNvIndex,
        /// Hash of the index's name and of an extend index.
        pub name_alg: HashAlg,
        /// Attributes.
        pub attributes: NvExpAttributes,
        /// Policy; empty, or a digest of `name_alg`.
        pub auth_policy: Digest,
        /// Size of the data in bytes.
        pub data_size: NvDataSize,
    }
}

structure! {
    /// `TPMS_NV_PUBLIC` of a permanent index.
    pub struct NvPublicPermanent {
        /// The index.
        pub index: RhPermanentNvIndex,
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

/// `TPMT_NV_PUBLIC_2`: the public area of an index, preceded by its handle type. An unknown handle
/// type is `TPM_RC_SELECTOR`.
#[doc(alias = "TPMT_NV_PUBLIC_2", alias = "TPMU_NV_PUBLIC_2")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvPublic2 {
    /// `TPM_HT_NV_INDEX`.
    Index(NvPublic),
    /// `TPM_HT_EXTERNAL_NV`.
    External(NvPublicExp),
    /// `TPM_HT_PERMANENT_NV`.
    Permanent(NvPublicPermanent),
}

impl Unmarshal for NvPublic2 {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        Ok(match reader.get::<u8>()? {
            HT_NV_INDEX => NvPublic2::Index(reader.get()?),
            HT_EXTERNAL_NV => NvPublic2::External(reader.get()?),
            HT_PERMANENT_NV => NvPublic2::Permanent(reader.get()?),
            _ => return Err(Rc::SELECTOR),
        })
    }
}

impl Marshal for NvPublic2 {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            NvPublic2::Index(public) => {
                out.push(HT_NV_INDEX);
                public.marshal(out);
            }
            NvPublic2::External(public) => {
                out.push(HT_EXTERNAL_NV);
                public.marshal(out);
            }
            NvPublic2::Permanent(public) => {
                out.push(HT_PERMANENT_NV);
                public.marshal(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Algorithms;

    fn parse(bytes: &[u8]) -> Result<NvPublic2, Rc> {
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(bytes, &algorithms);
        let public = reader.get()?;
        reader.finish().map(|()| public)
    }

    #[test]
    fn each_handle_type_reads_back_what_it_wrote() {
        let index = [1, 1, 0, 0, 1, 0, 0x0b, 0, 2, 0, 2, 0, 0, 0, 8];
        let external = [0x11, 0x11, 0, 0, 1, 0, 0x0b, 0, 0, 0, 7, 0, 2, 0, 2, 0, 0, 0, 8];
        let permanent = [0x12, 0x12, 0, 0, 1, 0, 0x0b, 0, 2, 0, 2, 0, 0, 0, 8];
        for bytes in [&index[..], &external, &permanent] {
            assert_eq!(parse(bytes).unwrap().to_bytes(), bytes);
        }
    }

    #[test]
    fn a_handle_of_another_type_is_refused() {
        let external = [0x11, 0x01, 0, 0, 1, 0, 0x0b, 0, 0, 0, 7, 0, 2, 0, 2, 0, 0, 0, 8];
        assert_eq!(parse(&external), Err(Rc::VALUE));
        assert_eq!(parse(&[0x02]), Err(Rc::SELECTOR));
    }

    #[test]
    fn reserved_expanded_attributes_are_refused() {
        let external = [0x11, 0x11, 0, 0, 1, 0, 0x0b, 0, 0, 0, 8, 0, 2, 0, 2, 0, 0, 0, 8];
        assert_eq!(parse(&external), Err(Rc::RESERVED_BITS));
    }
}
