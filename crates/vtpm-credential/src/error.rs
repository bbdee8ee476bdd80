//! What can go wrong in issuing and in judging.

use thiserror::Error;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be issued, or is not believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not the structure that they should be.
    #[error("{what} is malformed: it is damaged, or not what it is said to be")]
    Malformed {
        /// The structure.
        what: &'static str,
    },
    /// The structure is well-formed, but of a kind that is not supported here.
    #[error("{what} is of a kind that is not supported; use RSA-2048 to RSA-4096, P-256 or P-384")]
    Unsupported {
        /// The structure.
        what: &'static str,
    },
    /// A signature does not verify.
    #[error("the signature of {what} was not made by the key that it should be by")]
    Signature {
        /// What was signed.
        what: &'static str,
    },
    /// Something that was signed says something else than it should.
    #[error("{what}")]
    Mismatch {
        /// The difference, as a clause.
        what: String,
    },
    /// A TPM answered with an error.
    #[error("the TPM refused {command} with response code {code:#05x}")]
    Refused {
        /// The command's name in the specification.
        command: &'static str,
        /// The response code.
        code: u32,
    },
    /// The way to a TPM is gone.
    #[error("the TPM cannot be reached: {0}; check that it runs and that its address is right")]
    Transport(#[from] std::io::Error),
    /// A certificate or a chain is not acceptable.
    #[error(transparent)]
    Certificate(#[from] crate::certificate::CertificateError),
    /// A key cannot sign.
    #[error("cannot sign: {0}")]
    Signer(String),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused: {0}")]
    Crypto(#[from] openssl::error::ErrorStack),
    /// ASN.1 could not be read or written.
    #[error("ASN.1 is malformed: {0}")]
    Asn1(#[from] der::Error),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}; try again")]
    Entropy(#[from] getrandom::Error),
}

impl Error {
    pub(crate) fn mismatch(what: impl Into<String>) -> Self {
        Self::Mismatch { what: what.into() }
    }
}
