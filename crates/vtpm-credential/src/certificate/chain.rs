//! Checking chains (RFC 5280, clause 6), as far as TPM certificates need it.

use std::time::{Duration, SystemTime};

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5280, rfc5912};
use der::{Decode, DecodePem, Encode, Reader, SliceReader};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Verifier;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

use super::CertificateError as Refused;
use super::ek::EK_CERTIFICATE;
use crate::error::Result;

/// The longest chain, its root included.
const DEPTH_MAX: usize = 8;
/// The longest certificate, in bytes.
const CERTIFICATE_MAX: usize = 16 * 1024;

/// Extensions that may be critical: their content is checked here, or harmless to an EK.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    rfc5280::ID_CE_BASIC_CONSTRAINTS,
    rfc5280::ID_CE_KEY_USAGE,
    rfc5280::ID_CE_EXT_KEY_USAGE,
    rfc5280::ID_CE_SUBJECT_ALT_NAME,
    rfc5280::ID_CE_CERTIFICATE_POLICIES,
];

/// What the certificate at the end of a chain is to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An endorsement key.
    EndorsementKey,
    /// An authority over endorsement keys.
    Authority,
}

/// Certificates that are trusted.
#[derive(Clone, Debug, Default)]
pub struct Roots(Vec<Parsed>);

#[derive(Clone, Debug)]
struct Parsed {
    certificate: Certificate,
    signed: Vec<u8>,
}

impl Roots {
    /// One or more certificates, PEM.
    ///
    /// # Errors
    /// [`Refused::Malformed`], [`Refused::Missing`] if there is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let all = split_pem(pem)?;
        if all.is_empty() {
            return Err(Refused::Missing.into());
        }
        Self::from_der(&all)
    }

    /// Certificates, DER.
    ///
    /// # Errors
    /// [`Refused::Malformed`].
    pub fn from_der(all: &[Vec<u8>]) -> Result<Self> {
        Ok(Self(all.iter().map(|der| Parsed::new(der)).collect::<Result<_>>()?))
    }

    /// Trusts those of `other` too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a chain: its first certificate (DER) is the one in question, the others may be in any
    /// order, and more than needed. Answers the names on the way, the root's last.
    ///
    /// # Errors
    /// [`Refused`], each failure its own.
    pub fn check(
        &self,
        chain: &[Vec<u8>],
        purpose: Purpose,
        at: SystemTime,
    ) -> Result<Vec<String>> {
        let (leaf, between) = chain.split_first().ok_or(Refused::Missing)?;
        let leaf = Parsed::new(leaf)?;
        let between: Vec<Parsed> =
            between.iter().take(DEPTH_MAX).map(|der| Parsed::new(der)).collect::<Result<_>>()?;
        leaf.must_be_for(purpose)?;
        let mut path = vec![leaf.subject()];
        let mut current = &leaf;
        for depth in 0..DEPTH_MAX {
            current.must_be_sound(at)?;
            // A certificate that is itself trusted needs no issuer.
            if self.0.iter().any(|root| root.certificate == current.certificate) {
                return Ok(path);
            }
            if let Some(root) = self.0.iter().find(|root| root.issued(current)) {
                current.must_be_signed_by(root)?;
                root.must_be_sound(at)?;
                root.must_be_authority(depth)?;
                path.push(root.subject());
                return Ok(path);
            }
            let issuer = between
                .iter()
                .find(|other| other.issued(current) && other.certificate != current.certificate);
            let issuer = issuer.ok_or_else(|| Refused::Untrusted {
                subject: current.subject(),
                issuer: current.certificate.tbs_certificate().issuer().to_string(),
            })?;
            current.must_be_signed_by(issuer)?;
            issuer.must_be_authority(depth)?;
            path.push(issuer.subject());
            current = issuer;
        }
        Err(Refused::Malformed("the chain is too long".into()).into())
    }
}

impl Parsed {
    fn new(der: &[u8]) -> Result<Self> {
        let malformed = |error: der::Error| Refused::Malformed(error.to_string());
        if der.len() > CERTIFICATE_MAX {
            return Err(Refused::Malformed("it is too long".into()).into());
        }
        let certificate = Certificate::from_der(der).map_err(malformed)?;
        // What was signed is these bytes, not what encoding it again gives.
        let mut reader = SliceReader::new(der).map_err(malformed)?;
        der::Header::decode(&mut reader).map_err(malformed)?;
        let signed = reader.tlv_bytes().map_err(malformed)?.to_vec();
        Ok(Self { certificate, signed })
    }

    /// The subject, or for an empty one the issuer's name and the serial number.
    fn subject(&self) -> String {
        let tbs = self.certificate.tbs_certificate();
        let subject = tbs.subject().to_string();
        if subject.is_empty() {
            let serial = hex::encode(tbs.serial_number().as_bytes());
            return format!("number {serial} of {}", tbs.issuer());
        }
        subject
    }

    fn issued(&self, other: &Self) -> bool {
        self.certificate.tbs_certificate().subject() == other.certificate.tbs_certificate().issuer()
    }

    /// Within its time, and without critical extensions that nobody understands.
    fn must_be_sound(&self, at: SystemTime) -> Result<()> {
        let tbs = self.certificate.tbs_certificate();
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wrong = |reason| Refused::Time { subject: self.subject(), reason };
        if at < tbs.validity().not_before.to_unix_duration() {
            return Err(wrong("its time has not begun; check the clock").into());
        }
        if at > tbs.validity().not_after.to_unix_duration() {
            return Err(wrong("its time has ended; it must be renewed").into());
        }
        for extension in tbs.extensions().into_iter().flatten() {
            if extension.critical && !UNDERSTOOD.contains(&extension.extn_id) {
                let oid = extension.extn_id.to_string();
                return Err(Refused::Critical { subject: self.subject(), oid }.into());
            }
        }
        Ok(())
    }

    /// May issue, with `below` authorities between it and the end.
    fn must_be_authority(&self, below: usize) -> Result<()> {
        let refused = || Refused::NotAuthority { subject: self.subject() };
        let tbs = self.certificate.tbs_certificate();
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(|_| refused())?;
        let (_, constraints) = constraints.ok_or_else(refused)?;
        let deep_enough =
            constraints.path_len_constraint.is_none_or(|most| below <= usize::from(most));
        let usage = tbs.get_extension::<KeyUsage>().map_err(|_| refused())?;
        let signs = usage.is_none_or(|(_, usage)| usage.0.contains(KeyUsages::KeyCertSign));
        if constraints.ca && deep_enough && signs { Ok(()) } else { Err(refused().into()) }
    }

    fn must_be_for(&self, purpose: Purpose) -> Result<()> {
        if purpose == Purpose::Authority {
            return self.must_be_authority(0);
        }
        let refused = || Refused::Purpose { subject: self.subject() };
        let tbs = self.certificate.tbs_certificate();
        let usage = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| refused())?;
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(|_| refused())?;
        // Early certificates of chips have no extended key usage; none of theirs is an authority.
        let for_ek = usage.is_none_or(|(_, usage)| usage.0.contains(&EK_CERTIFICATE));
        let authority = constraints.is_some_and(|(_, constraints)| constraints.ca);
        if for_ek && !authority { Ok(()) } else { Err(refused().into()) }
    }

    fn must_be_signed_by(&self, issuer: &Self) -> Result<()> {
        let refused = || Refused::Signature { subject: self.subject() };
        let algorithm = self.certificate.signature_algorithm();
        if algorithm != self.certificate.tbs_certificate().signature() {
            return Err(refused().into());
        }
        let digest = match algorithm.oid {
            rfc5912::ECDSA_WITH_SHA_256 | rfc5912::SHA_256_WITH_RSA_ENCRYPTION => {
                MessageDigest::sha256()
            }
            rfc5912::ECDSA_WITH_SHA_384 | rfc5912::SHA_384_WITH_RSA_ENCRYPTION => {
                MessageDigest::sha384()
            }
            rfc5912::ECDSA_WITH_SHA_512 | rfc5912::SHA_512_WITH_RSA_ENCRYPTION => {
                MessageDigest::sha512()
            }
            other => {
                let (subject, oid) = (self.subject(), other.to_string());
                return Err(Refused::Algorithm { subject, oid }.into());
            }
        };
        let spki = issuer.certificate.tbs_certificate().subject_public_key_info().to_der()?;
        let key = PKey::public_key_from_der(&spki).map_err(|_| refused())?;
        let mut verifier = Verifier::new(digest, &key).map_err(|_| refused())?;
        let signature = self.certificate.signature().as_bytes().ok_or_else(refused)?;
        match verifier.verify_oneshot(signature, &self.signed) {
            Ok(true) => Ok(()),
            _ => Err(refused().into()),
        }
    }
}

impl crate::tpm::PublicArea {
    /// Checks that a certificate (DER) is of this key.
    ///
    /// # Errors
    /// [`Refused::WrongKey`].
    pub fn must_be_certified_by(&self, certificate: &[u8]) -> Result<()> {
        let parsed = Parsed::new(certificate)?;
        let theirs = parsed.certificate.tbs_certificate().subject_public_key_info().to_der()?;
        let theirs = PKey::public_key_from_der(&theirs).map_err(|_| Refused::WrongKey)?;
        // A point that is not on its curve is nobody's key.
        let own = self.public_key().map_err(|_| Refused::WrongKey)?;
        if theirs.public_eq(&own) { Ok(()) } else { Err(Refused::WrongKey.into()) }
    }
}

/// The certificates in a PEM text, DER, in their order.
///
/// # Errors
/// [`Refused::Malformed`].
pub fn split_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    const END: &str = "-----END CERTIFICATE-----";
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let malformed = |what: String| Refused::Malformed(what);
    let text = std::str::from_utf8(pem).map_err(|error| malformed(error.to_string()))?;
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (_, from) = rest.split_at(begin);
        let end = from.find(END).ok_or_else(|| malformed("a PEM block has no end".into()))?;
        let (block, after) = from.split_at(end.saturating_add(END.len()));
        let certificate = Certificate::from_pem(block.as_bytes())
            .map_err(|error| malformed(error.to_string()))?;
        found.push(certificate.to_der()?);
        rest = after;
    }
    Ok(found)
}

/// Certificates (DER) as PEM.
///
/// # Errors
/// [`Refused::Malformed`].
pub fn pem_of(certificates: &[Vec<u8>]) -> Result<String> {
    use der::EncodePem;
    let mut pem = String::new();
    for der in certificates {
        pem.push_str(&Parsed::new(der)?.certificate.to_pem(der::pem::LineEnding::LF)?);
    }
    Ok(pem)
}
