//! Names, times, serial numbers and extensions as the builder wants them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use const_oid::AssociatedOid;
use der::asn1::{Any, GeneralizedTime, ObjectIdentifier, OctetString, SetOfVec};
use der::{DateTime, Decode, Encode, Tag};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Time;

use super::Validity;
use crate::error::Result;

/// A name of these attributes, each of them one relative distinguished name, as UTF-8.
pub(crate) fn name(attributes: &[(ObjectIdentifier, &str)]) -> Result<Name> {
    let mut sequence = Vec::new();
    for (oid, text) in attributes {
        let value = Any::new(Tag::Utf8String, text.as_bytes())?;
        let mut set = SetOfVec::new();
        set.insert(AttributeTypeAndValue { oid: *oid, value })?;
        sequence.push(set);
    }
    Ok(Name::from_der(&sequence.to_der()?)?)
}

/// An extension of any content.
pub(crate) fn extension<T: Encode + AssociatedOid>(critical: bool, value: &T) -> Result<Extension> {
    raw_extension(T::OID, critical, value.to_der()?)
}

pub(crate) fn raw_extension(
    oid: ObjectIdentifier,
    critical: bool,
    der: Vec<u8>,
) -> Result<Extension> {
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(der)? })
}

/// A random serial number of 16 bytes, positive.
pub(crate) fn serial_number() -> Result<SerialNumber> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::new(&bytes)?)
}

/// The key identifier of a DER `SubjectPublicKeyInfo` (RFC 7093, method 1: 20 bytes of SHA-256).
pub(crate) fn key_identifier(spki: &[u8]) -> Result<Vec<u8>> {
    let spki = spki::SubjectPublicKeyInfoRef::from_der(spki)?;
    let digest = crate::tpm::HashAlg::Sha256.digest(&[spki.subject_public_key.raw_bytes()]);
    Ok(digest.into_iter().take(20).collect())
}

pub(crate) fn validity(validity: &Validity) -> Result<x509_cert::time::Validity> {
    // RFC 5280, 4.1.2.5: no defined end.
    let forever = || DateTime::new(9999, 12, 31, 23, 59, 59);
    let until = match validity.until {
        Some(until) => to_date(until)?,
        None => forever()?,
    };
    Ok(x509_cert::time::Validity::new(time(to_date(validity.from)?), time(until)))
}

/// The builder makes it UTCTime where RFC 5280 wants that.
fn time(date: DateTime) -> Time {
    Time::GeneralTime(GeneralizedTime::from_date_time(date))
}

fn to_date(time: SystemTime) -> Result<DateTime> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(DateTime::from_unix_duration(Duration::from_secs(since.as_secs()))?)
}
