//! EK certificates (TCG EK Credential Profile for TPM Family 2.0, version 2.5, clause 3).

use const_oid::ObjectIdentifier;
use der::asn1::{Any, SetOfVec, Utf8StringRef};
use der::{Encode, Sequence};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::Name;

use super::Validity;
use super::authority::{Fixed, Issuer, issue};
use super::names::{extension, name, raw_extension};
use crate::error::{Error, Result};
use crate::tpm::{Key, PublicArea};

/// `tcg-at-tpmManufacturer`.
const TPM_MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
/// `tcg-at-tpmModel`.
const TPM_MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");
/// `tcg-at-tpmVersion`.
const TPM_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.3");
/// `tcg-at-tpmSpecification`.
const TPM_SPECIFICATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.16");
/// `tcg-kp-EKCertificate`.
pub(crate) const EK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
/// `id-ce-subjectDirectoryAttributes`.
const SUBJECT_DIRECTORY_ATTRIBUTES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.9");

/// What a TPM says of itself, for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmIdentity {
    /// `TPM_PT_MANUFACTURER`.
    pub manufacturer: [u8; 4],
    /// The model: the vendor string.
    pub model: String,
    /// The upper half of the firmware's version.
    pub version: u32,
}

/// Which specification it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmSpecification {
    /// The level.
    pub level: u32,
    /// The revision, times 100.
    pub revision: u32,
}

impl Default for TpmSpecification {
    fn default() -> Self {
        Self { level: 0, revision: 159 }
    }
}

#[derive(Sequence)]
struct SpecificationAttribute<'a> {
    family: Utf8StringRef<'a>,
    level: u32,
    revision: u32,
}

/// What an EK certificate is asked for with.
#[derive(Clone, Copy, Debug)]
pub struct EkRequest<'a> {
    /// The endorsement key.
    pub ek: &'a PublicArea,
    /// What the TPM says of itself.
    pub identity: &'a TpmIdentity,
    /// Which specification it follows.
    pub specification: TpmSpecification,
    /// From when until when.
    pub validity: Validity,
}

/// Issues an EK certificate, DER. The subject is empty, as the profile prefers: the alternative
/// name says which kind of TPM it is.
///
/// # Errors
/// [`Error::Mismatch`] if the key is no endorsement key, [`Error::Signer`].
pub fn issue_ek(request: &EkRequest<'_>, issuer: &Issuer<'_>) -> Result<Vec<u8>> {
    use crate::tpm::Attributes as A;
    let wanted = A::FIXED_TPM.with(A::RESTRICTED).with(A::DECRYPT);
    if !request.ek.attributes().has(wanted) {
        return Err(Error::mismatch("the key to certify is no endorsement key"));
    }
    let profile = Fixed {
        issuer: issuer.name.clone(),
        subject: Name::default(),
        extensions: extensions(request, issuer)?,
    };
    issue(profile, &request.ek.spki_der()?, &request.validity, issuer.signer)
}

fn extensions(request: &EkRequest<'_>, issuer: &Issuer<'_>) -> Result<Vec<Extension>> {
    let TpmIdentity { manufacturer, model, version } = request.identity;
    let kind = name(&[
        (TPM_MANUFACTURER, &format!("id:{}", hex::encode_upper(manufacturer))),
        (TPM_MODEL, model),
        (TPM_VERSION, &format!("id:{version:08X}")),
    ])?;
    let usage = match request.ek.key() {
        Key::Rsa { .. } => KeyUsages::KeyEncipherment,
        _ => KeyUsages::KeyAgreement,
    };
    Ok(vec![
        extension(true, &SubjectAltName(vec![GeneralName::DirectoryName(kind)]))?,
        extension(true, &BasicConstraints { ca: false, path_len_constraint: None })?,
        extension(true, &KeyUsage(usage.into()))?,
        extension(false, &ExtendedKeyUsage(vec![EK_CERTIFICATE]))?,
        directory_attributes(request.specification)?,
        extension(false, &issuer.authority_key_identifier()?)?,
    ])
}

fn directory_attributes(specification: TpmSpecification) -> Result<Extension> {
    let TpmSpecification { level, revision } = specification;
    let value = SpecificationAttribute { family: Utf8StringRef::new("2.0")?, level, revision };
    let mut values = SetOfVec::new();
    values.insert(Any::encode_from(&value)?)?;
    let attributes = vec![Attribute { oid: TPM_SPECIFICATION, values }];
    raw_extension(SUBJECT_DIRECTORY_ATTRIBUTES, false, attributes.to_der()?)
}
