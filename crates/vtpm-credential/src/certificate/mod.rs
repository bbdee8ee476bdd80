//! X.509: issuing the certificates of vTPMs, and checking chains (RFC 5280; TCG EK Credential
//! Profile for TPM Family 2.0, version 2.5).

mod authority;
mod chain;
mod ek;
mod names;
mod signer;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

pub use authority::{Issuer, Subject, issue_authority, request, self_signed_authority};
pub use chain::{Purpose, Roots, pem_of, split_pem};
pub use ek::{EkRequest, TpmIdentity, TpmSpecification, issue_ek};
pub use signer::{Scheme, Signer, SoftwareSigner};

/// Why a certificate or a chain is not acceptable.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is none.
    #[error("there is no certificate; get one, or pin the key")]
    Missing,
    /// It cannot be read.
    #[error("a certificate is malformed ({0}): it is damaged, or no certificate")]
    Malformed(String),
    /// No trusted root.
    #[error(
        "no trusted root issued the certificate of \"{subject}\" (its issuer is \"{issuer}\"); add \
         that issuer's root or the missing certificate between them"
    )]
    Untrusted {
        /// Whose certificate.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// The signature is not the issuer's.
    #[error("the certificate of \"{subject}\" was not signed by its issuer: it was changed")]
    Signature {
        /// Whose certificate.
        subject: String,
    },
    /// Not valid at the time in question.
    #[error("the certificate of \"{subject}\" is not valid at that time ({reason})")]
    Time {
        /// Whose certificate.
        subject: String,
        /// Before or after.
        reason: &'static str,
    },
    /// The issuer may not issue.
    #[error("\"{subject}\" is in the chain as an issuer, but its certificate is none for issuing")]
    NotAuthority {
        /// Whose certificate.
        subject: String,
    },
    /// The certificate is for something else.
    #[error("the certificate of \"{subject}\" is not one of an endorsement key")]
    Purpose {
        /// Whose certificate.
        subject: String,
    },
    /// It is of another key.
    #[error("the certificate is of another key than the one that is shown")]
    WrongKey,
    /// It holds something that must be understood, and is not.
    #[error("the certificate of \"{subject}\" has an unknown critical extension {oid}")]
    Critical {
        /// Whose certificate.
        subject: String,
        /// Which one.
        oid: String,
    },
    /// The signature algorithm is not supported.
    #[error(
        "the certificate of \"{subject}\" is signed by an algorithm that is not supported ({oid})"
    )]
    Algorithm {
        /// Whose certificate.
        subject: String,
        /// Which one.
        oid: String,
    },
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub from: SystemTime,
    /// The last moment; absent for one without a defined end (9999-12-31).
    pub until: Option<SystemTime>,
}

impl Validity {
    /// From now (less five minutes, for clocks that differ) for so long.
    #[must_use]
    pub fn starting_now(length: Option<Duration>) -> Self {
        let now = SystemTime::now();
        let from = now.checked_sub(Duration::from_secs(300)).unwrap_or(UNIX_EPOCH);
        Self { from, until: length.and_then(|length| now.checked_add(length)) }
    }
}
