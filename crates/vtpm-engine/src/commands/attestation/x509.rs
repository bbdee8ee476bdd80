//! What certificates of TPM2_CertifyX509 are made of (RFC 5280; RFC 4055; RFC 5480; RFC 5758).

use super::der::{self, Der};
use crate::crypto::ecc::Curve;
use crate::crypto::hash::HashAlg;
use crate::object::Object;
use crate::object::key::DEFAULT_EXPONENT;
use crate::wire::{ObjectAttributes, PublicId, PublicParms, Rc, Scheme};

/// Tag of the extensions in a `TBSCertificate`.
pub(super) const EXTENSIONS: u8 = der::context(3);

/// `id-ce-keyUsage`.
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// `tcg-tpmaObject`: the attributes of the key (2.23.133.10.1.1.1).
const TPMA_OBJECT: &[u8] = &[0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01];

/// `rsaEncryption`.
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-mgf1`.
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// `id-RSASSA-PSS`.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// `id-ecPublicKey`.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// What a partial certificate holds, each with its tag.
pub(super) struct Partial<'a> {
    /// `AlgorithmIdentifier` of the signature; absent when the TPM is to make it.
    pub(super) signature: Option<&'a [u8]>,
    pub(super) issuer: &'a [u8],
    pub(super) validity: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) extensions: &'a [u8],
}

impl<'a> Partial<'a> {
    /// Takes a partial certificate apart: a sequence of three or four sequences, and the
    /// extensions.
    ///
    /// # Errors
    /// `TPM_RC_SIZE` when it is not one sequence, `TPM_RC_VALUE` when anything else is wrong.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Rc> {
        if bytes.is_empty() {
            return Err(Rc::VALUE);
        }
        let outer = Der::new(bytes).only(der::SEQUENCE).ok_or(Rc::SIZE)?;
        let mut elements = Der::new(outer.content);
        let (mut sequences, mut extensions) = (Vec::new(), None);
        while !elements.is_empty() {
            let element = elements.element().ok_or(Rc::VALUE)?;
            match element.tag {
                der::SEQUENCE => sequences.push(element.whole),
                EXTENSIONS if extensions.is_none() => extensions = Some(element.whole),
                _ => return Err(Rc::VALUE),
            }
        }
        let extensions = extensions.ok_or(Rc::VALUE)?;
        match *sequences.as_slice() {
            [issuer, validity, subject] => {
                Ok(Self { signature: None, issuer, validity, subject, extensions })
            }
            [signature, issuer, validity, subject] => {
                let signature = Some(signature);
                Ok(Self { signature, issuer, validity, subject, extensions })
            }
            _ => Err(Rc::VALUE),
        }
    }

    /// Checks that the extensions say nothing of the key that its attributes deny.
    ///
    /// # Errors
    /// `TPM_RC_ATTRIBUTES` when other attributes are claimed than the key has; `TPM_RC_VALUE` when
    /// the extensions are malformed, the key usage is missing, or the key is not for that use.
    pub(super) fn check_extensions(&self, attributes: ObjectAttributes) -> Result<(), Rc> {
        let outer = Der::new(self.extensions).only(EXTENSIONS).ok_or(Rc::VALUE)?;
        let list = Der::new(outer.content).only(der::SEQUENCE).ok_or(Rc::VALUE)?.content;
        if extension_bits(list, TPMA_OBJECT)?.is_some_and(|claimed| claimed != attributes.0) {
            return Err(Rc::ATTRIBUTES);
        }
        let usage = extension_bits(list, KEY_USAGE)?.ok_or(Rc::VALUE)?;
        if is_use_allowed(usage, attributes) { Ok(()) } else { Err(Rc::VALUE) }
    }
}

/// Bits of the key usage, the first of the bit string being the most significant.
mod usage {
    pub(super) const DIGITAL_SIGNATURE: u32 = 1 << 31;
    pub(super) const NON_REPUDIATION: u32 = 1 << 30;
    pub(super) const KEY_ENCIPHERMENT: u32 = 1 << 29;
    pub(super) const DATA_ENCIPHERMENT: u32 = 1 << 28;
    pub(super) const KEY_AGREEMENT: u32 = 1 << 27;
    pub(super) const KEY_CERT_SIGN: u32 = 1 << 26;
    pub(super) const CRL_SIGN: u32 = 1 << 25;
    pub(super) const ENCIPHER_ONLY: u32 = 1 << 24;
    pub(super) const DECIPHER_ONLY: u32 = 1 << 23;
}

/// Whether a key of these attributes can do what the key usage says (Part 2, clause 8.8).
fn is_use_allowed(bits: u32, attributes: ObjectAttributes) -> bool {
    let needs = [
        (usage::DIGITAL_SIGNATURE | usage::KEY_CERT_SIGN | usage::CRL_SIGN, ObjectAttributes::SIGN),
        (
            usage::KEY_ENCIPHERMENT
                | usage::DATA_ENCIPHERMENT
                | usage::KEY_AGREEMENT
                | usage::ENCIPHER_ONLY
                | usage::DECIPHER_ONLY,
            ObjectAttributes::DECRYPT,
        ),
        (usage::NON_REPUDIATION, ObjectAttributes::FIXED_TPM),
        (usage::KEY_AGREEMENT, ObjectAttributes::RESTRICTED),
    ];
    needs.iter().all(|(uses, attribute)| bits & uses == 0 || attributes.has(*attribute))
}

/// The bit string in the first extension of this kind, if there is one; `TPM_RC_VALUE` when
/// anything on the way is malformed.
fn extension_bits(list: &[u8], oid: &[u8]) -> Result<Option<u32>, Rc> {
    let mut extensions = Der::new(list);
    while !extensions.is_empty() {
        let extension = extensions.element().filter(|extension| extension.tag == der::SEQUENCE);
        let mut parts = Der::new(extension.ok_or(Rc::VALUE)?.content);
        let id = parts.element();
        if !id.is_some_and(|id| id.tag == der::OID && id.content == oid) {
            continue;
        }
        // Between identifier and value it may say that the extension is critical.
        while let Some(part) = parts.element() {
            if part.tag == der::OCTET_STRING {
                let bits = Der::new(part.content).only(der::BIT_STRING).ok_or(Rc::VALUE)?;
                return left_bits(bits.content).map(Some).ok_or(Rc::VALUE);
            }
        }
        return Err(Rc::VALUE);
    }
    Ok(None)
}

/// The bits of a bit string, the first of them in the most significant place; at most 32.
fn left_bits(content: &[u8]) -> Option<u32> {
    let (unused, octets) = content.split_first()?;
    if *unused > 7 || octets.len() > 4 || (octets.is_empty() && *unused != 0) {
        return None;
    }
    let mut word = [0; 4];
    word.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    let bits = (octets.len() as u32).saturating_mul(8).saturating_sub(u32::from(*unused));
    let mask = !u32::MAX.checked_shr(bits).unwrap_or(0);
    Some(u32::from_be_bytes(word) & mask)
}

/// `AlgorithmIdentifier` of signatures by this key and scheme; absent when there is none.
pub(super) fn signature_algorithm(key: &Object, scheme: Scheme) -> Option<Vec<u8>> {
    match (&key.public.parms, scheme) {
        (PublicParms::Rsa(_), Scheme::Rsassa(alg)) => Some(algorithm(&rsassa_oid(alg))),
        (PublicParms::Rsa(parms), Scheme::Rsapss(alg)) => {
            Some(pss_algorithm(alg, parms.key_bits.bytes()))
        }
        (PublicParms::Ecc(_), Scheme::Ecdsa(alg)) => {
            Some(der::sequence(&[&der::element(der::OID, &[&ecdsa_oid(alg)])]))
        }
        _ => None,
    }
}

/// `SubjectPublicKeyInfo` of a key; absent when it is no asymmetric key.
pub(super) fn public_key(key: &Object) -> Option<Vec<u8>> {
    match (&key.public.parms, &key.public.unique) {
        (PublicParms::Rsa(parms), PublicId::Rsa(modulus)) => {
            let exponent = if parms.exponent == 0 { DEFAULT_EXPONENT } else { parms.exponent };
            let numbers =
                der::sequence(&[&der::integer(modulus), &der::integer(&exponent.to_be_bytes())]);
            Some(der::sequence(&[&algorithm(RSA_ENCRYPTION), &der::bit_string(&[&numbers])]))
        }
        (PublicParms::Ecc(parms), PublicId::Ecc(point)) => {
            let alg = der::sequence(&[
                &der::element(der::OID, &[EC_PUBLIC_KEY]),
                &der::element(der::OID, &[curve_oid(parms.curve)]),
            ]);
            let size = parms.curve.bytes();
            let (x, y) = (padded(&point.x, size), padded(&point.y, size));
            Some(der::sequence(&[&alg, &der::bit_string(&[&[4], &x, &y])]))
        }
        _ => None,
    }
}

fn padded(number: &[u8], size: usize) -> Vec<u8> {
    let mut out = vec![0; size.saturating_sub(number.len())];
    out.extend_from_slice(number);
    out
}

/// `AlgorithmIdentifier` with the parameter `NULL`.
fn algorithm(oid: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::element(der::OID, &[oid]), &der::element(der::NULL, &[])])
}

/// `AlgorithmIdentifier` of RSASSA-PSS with the salt that this TPM uses.
fn pss_algorithm(alg: HashAlg, key_bytes: usize) -> Vec<u8> {
    let oid = der::element(der::OID, &[RSASSA_PSS]);
    let size = alg.digest_size();
    let salt = size.min(key_bytes.saturating_sub(size.saturating_add(2)));
    // DER leaves out what has its default: SHA-1 and a salt of 20 octets.
    if alg == HashAlg::Sha1 && salt == size {
        return der::sequence(&[&oid, &der::sequence(&[])]);
    }
    let hash = algorithm(&hash_oid(alg));
    let mask = der::sequence(&[&der::element(der::OID, &[MGF1]), &hash]);
    let salt = der::integer(&salt.to_be_bytes());
    let parameters = der::sequence(&[
        &der::element(der::context(0), &[&hash]),
        &der::element(der::context(1), &[&mask]),
        &der::element(der::context(2), &[&salt]),
    ]);
    der::sequence(&[&oid, &parameters])
}

fn hash_oid(alg: HashAlg) -> Vec<u8> {
    let last = match alg {
        HashAlg::Sha1 => return vec![0x2b, 0x0e, 0x03, 0x02, 0x1a],
        HashAlg::Sha256 => 1,
        HashAlg::Sha384 => 2,
        HashAlg::Sha512 => 3,
        HashAlg::Sha3_256 => 8,
        HashAlg::Sha3_384 => 9,
        HashAlg::Sha3_512 => 10,
    };
    nist_oid(2, last)
}

fn rsassa_oid(alg: HashAlg) -> Vec<u8> {
    let last = match alg {
        HashAlg::Sha1 => 5,
        HashAlg::Sha256 => 11,
        HashAlg::Sha384 => 12,
        HashAlg::Sha512 => 13,
        HashAlg::Sha3_256 => return nist_oid(3, 14),
        HashAlg::Sha3_384 => return nist_oid(3, 15),
        HashAlg::Sha3_512 => return nist_oid(3, 16),
    };
    vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]
}

fn ecdsa_oid(alg: HashAlg) -> Vec<u8> {
    let last = match alg {
        HashAlg::Sha1 => return vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
        HashAlg::Sha256 => 2,
        HashAlg::Sha384 => 3,
        HashAlg::Sha512 => 4,
        HashAlg::Sha3_256 => return nist_oid(3, 10),
        HashAlg::Sha3_384 => return nist_oid(3, 11),
        HashAlg::Sha3_512 => return nist_oid(3, 12),
    };
    vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last]
}

/// An identifier below `nistAlgorithms`: hashes are in arc 2, signatures in arc 3.
fn nist_oid(arc: u8, last: u8) -> Vec<u8> {
    vec![0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, arc, last]
}

const fn curve_oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P224 => &[0x2b, 0x81, 0x04, 0x00, 0x21],
        Curve::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Curve::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        Curve::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_from_the_most_significant_place_on() {
        assert_eq!(left_bits(&[7, 0x80]), Some(usage::DIGITAL_SIGNATURE));
        assert_eq!(left_bits(&[7, 0, 0x80]), Some(usage::DECIPHER_ONLY));
        assert_eq!(left_bits(&[4, 0xff]), Some(0xf000_0000));
        assert_eq!(left_bits(&[0, 1, 2, 3, 4]), Some(0x0102_0304));
        assert_eq!(left_bits(&[0]), Some(0));
        for malformed in [&[][..], &[1], &[8, 0], &[0, 1, 2, 3, 4, 5]] {
            assert_eq!(left_bits(malformed), None);
        }
    }

    #[test]
    fn each_use_needs_its_attributes() {
        use ObjectAttributes as A;
        for (uses, needed) in [
            (usage::DIGITAL_SIGNATURE, A::SIGN),
            (usage::KEY_CERT_SIGN, A::SIGN),
            (usage::CRL_SIGN, A::SIGN),
            (usage::KEY_ENCIPHERMENT, A::DECRYPT),
            (usage::DATA_ENCIPHERMENT, A::DECRYPT),
            (usage::ENCIPHER_ONLY, A::DECRYPT),
            (usage::DECIPHER_ONLY, A::DECRYPT),
            (usage::NON_REPUDIATION, A::FIXED_TPM),
            (usage::KEY_AGREEMENT, A::DECRYPT.with(A::RESTRICTED)),
        ] {
            assert!(is_use_allowed(uses, needed), "{uses:#x}");
            assert!(!is_use_allowed(uses, A(!needed.0)), "{uses:#x}");
        }
        assert!(!is_use_allowed(usage::KEY_AGREEMENT, A::DECRYPT));
        assert!(is_use_allowed(0, A::NONE));
    }
}
