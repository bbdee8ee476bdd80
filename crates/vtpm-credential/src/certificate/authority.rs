//! Certificates of those who issue: the credential key of a host, and a local authority.

use std::str::FromStr;

use der::asn1::OctetString;
use der::{Decode, Encode};
use spki::SubjectPublicKeyInfoRef;
use x509_cert::builder::CertificateBuilder;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, RequestBuilder};
use x509_cert::{Certificate, SubjectPublicKeyInfo};

use super::names::{extension, key_identifier, serial_number, validity};
use super::signer::{Signer, build};
use super::{CertificateError, Validity};
use crate::error::{Error, Result};

/// What a certificate is to say of whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(pub(crate) Name);

impl FromStr for Subject {
    type Err = Error;

    /// A distinguished name as RFC 4514 writes it: `CN=host 7,O=Example`.
    fn from_str(text: &str) -> Result<Self> {
        let malformed = |_| CertificateError::Malformed(format!("\"{text}\" is no name"));
        Ok(Self(Name::from_str(text).map_err(malformed)?))
    }
}

/// An issuer: its key, and the certificate that names it.
pub struct Issuer<'a> {
    pub(crate) signer: &'a dyn Signer,
    pub(crate) name: Name,
    key_id: Vec<u8>,
}

impl<'a> Issuer<'a> {
    /// The key `signer` with its `certificate` (DER).
    ///
    /// # Errors
    /// [`CertificateError::WrongKey`] if the certificate is of another key.
    pub fn new(signer: &'a dyn Signer, certificate: &[u8]) -> Result<Self> {
        let malformed = |error: der::Error| CertificateError::Malformed(error.to_string());
        let certificate = Certificate::from_der(certificate).map_err(malformed)?;
        let tbs = certificate.tbs_certificate();
        let public_key = signer.public_key()?;
        if tbs.subject_public_key_info().to_der()? != public_key {
            return Err(CertificateError::WrongKey.into());
        }
        let identifier = tbs.get_extension::<SubjectKeyIdentifier>().ok().flatten();
        let key_id = match identifier {
            Some((_, identifier)) => identifier.0.as_bytes().to_vec(),
            None => key_identifier(&public_key)?,
        };
        Ok(Self { signer, name: tbs.subject().clone(), key_id })
    }

    pub(crate) fn authority_key_identifier(&self) -> Result<AuthorityKeyIdentifier> {
        Ok(AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(self.key_id.clone())?),
            ..Default::default()
        })
    }
}

/// A profile whose extensions are known beforehand.
pub(crate) struct Fixed {
    pub(crate) issuer: Name,
    pub(crate) subject: Name,
    pub(crate) extensions: Vec<Extension>,
}

impl BuilderProfile for Fixed {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// Builds and signs a certificate.
pub(crate) fn issue(
    profile: Fixed,
    public_key: &[u8],
    valid: &Validity,
    signer: &dyn Signer,
) -> Result<Vec<u8>> {
    let public_key = SubjectPublicKeyInfo::from_der(public_key)?;
    let builder = CertificateBuilder::new(profile, serial_number()?, validity(valid)?, public_key)
        .map_err(|error| Error::Signer(error.to_string()))?;
    Ok(build(builder, signer)?.to_der()?)
}

/// A request (PKCS #10, PEM) to certify `signer` as an authority over vTPMs' endorsement keys.
///
/// # Errors
/// [`Error::Signer`].
pub fn request(signer: &dyn Signer, subject: &Subject) -> Result<String> {
    use der::EncodePem;
    let mut builder =
        RequestBuilder::new(subject.0.clone()).map_err(|error| Error::Signer(error.to_string()))?;
    for wanted in authority_extensions(&signer.public_key()?, Some(0))? {
        builder.add_extension(wanted)?;
    }
    let request: CertReq = build(builder, signer)?;
    Ok(request.to_pem(der::pem::LineEnding::LF)?)
}

/// A self-signed certificate of an authority: a local root, or a credential key that no authority
/// certifies (then the AK's certification speaks for it). With `depth`, so many authorities may be
/// below it.
///
/// # Errors
/// [`Error::Signer`].
pub fn self_signed_authority(
    signer: &dyn Signer,
    subject: &Subject,
    depth: u8,
    valid: &Validity,
) -> Result<Vec<u8>> {
    let public_key = signer.public_key()?;
    let profile = Fixed {
        issuer: subject.0.clone(),
        subject: subject.0.clone(),
        extensions: authority_extensions(&public_key, Some(depth))?,
    };
    issue(profile, &public_key, valid, signer)
}

/// A certificate of an authority (DER) from its request (PEM): what an operator's CA does.
///
/// # Errors
/// [`CertificateError::Malformed`], [`Error::Signature`] if the request is not signed by its key.
pub fn issue_authority(request: &[u8], issuer: &Issuer<'_>, valid: &Validity) -> Result<Vec<u8>> {
    let malformed = |what: String| CertificateError::Malformed(what);
    let request = openssl::x509::X509Req::from_pem(request)
        .map_err(|_| malformed("it is no certificate request".into()))?;
    let key = request.public_key()?;
    if !request.verify(&key).unwrap_or(false) {
        return Err(Error::Signature { what: "the certificate request" });
    }
    let public_key = key.public_key_to_der()?;
    let mut extensions = authority_extensions(&public_key, Some(0))?;
    extensions.push(extension(false, &issuer.authority_key_identifier()?)?);
    let subject = Name::from_der(&request.subject_name().to_der()?)?;
    let profile = Fixed { issuer: issuer.name.clone(), subject, extensions };
    issue(profile, &public_key, valid, issuer.signer)
}

fn authority_extensions(public_key: &[u8], depth: Option<u8>) -> Result<Vec<Extension>> {
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let identifier = SubjectKeyIdentifier(OctetString::new(key_identifier(public_key)?)?);
    Ok(vec![
        extension(true, &BasicConstraints { ca: true, path_len_constraint: depth })?,
        extension(true, &usage)?,
        extension(false, &identifier)?,
    ])
}
