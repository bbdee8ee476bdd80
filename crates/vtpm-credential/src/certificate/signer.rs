//! Who signs certificates: a key in the host's chip, or one in software.

use der::asn1::{Any, BitString, Null, ObjectIdentifier};
use der::{Decode, Document};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use spki::{AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey};
use x509_cert::builder::Builder;

use crate::error::{Error, Result};

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RsaSha256,
}

impl Scheme {
    pub(crate) fn oid(self) -> ObjectIdentifier {
        use const_oid::db::rfc5912 as db;
        match self {
            Self::EcdsaSha256 => db::ECDSA_WITH_SHA_256,
            Self::EcdsaSha384 => db::ECDSA_WITH_SHA_384,
            Self::RsaSha256 => db::SHA_256_WITH_RSA_ENCRYPTION,
        }
    }
}

/// A key that signs certificates.
pub trait Signer {
    /// Its public key, a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// If it cannot be had.
    fn public_key(&self) -> Result<Vec<u8>>;

    /// How it signs.
    fn scheme(&self) -> Scheme;

    /// The signature over `message` as X.509 has it: DER for ECDSA.
    ///
    /// # Errors
    /// [`Error::Signer`] with what to do.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>>;
}

/// A key in software: for a local authority, and for tests.
pub struct SoftwareSigner {
    key: PKey<Private>,
    scheme: Scheme,
}

impl SoftwareSigner {
    /// A new P-256 key.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn generate() -> Result<Self> {
        use openssl::ec::{EcGroup, EcKey};
        let group = EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        Ok(Self { key, scheme: Scheme::EcdsaSha256 })
    }

    /// A key from PEM (PKCS #8 or the older forms), not encrypted.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless it is P-256, P-384 or RSA.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let unsupported = || Error::Unsupported { what: "a signing key" };
        let key = PKey::private_key_from_pem(pem).map_err(|_| unsupported())?;
        let scheme = match (key.id(), key.bits()) {
            (Id::EC, 256) => Scheme::EcdsaSha256,
            (Id::EC, 384) => Scheme::EcdsaSha384,
            (Id::RSA, 2048..) => Scheme::RsaSha256,
            _ => return Err(unsupported()),
        };
        Ok(Self { key, scheme })
    }

    /// The key as PEM (PKCS #8), not encrypted.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn to_pem(&self) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        Ok(zeroize::Zeroizing::new(self.key.private_key_to_pem_pkcs8()?))
    }

    /// The public key as PEM.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn public_pem(&self) -> Result<Vec<u8>> {
        Ok(self.key.public_key_to_pem()?)
    }
}

impl Signer for SoftwareSigner {
    fn public_key(&self) -> Result<Vec<u8>> {
        Ok(self.key.public_key_to_der()?)
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let digest = match self.scheme {
            Scheme::EcdsaSha256 | Scheme::RsaSha256 => MessageDigest::sha256(),
            Scheme::EcdsaSha384 => MessageDigest::sha384(),
        };
        let mut signer = openssl::sign::Signer::new(digest, &self.key)?;
        Ok(signer.sign_oneshot_to_vec(message)?)
    }
}

impl std::fmt::Debug for SoftwareSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SoftwareSigner({:?})", self.scheme)
    }
}

/// A signer as the builder wants it.
struct Bridge {
    public_key: PublicKey,
    scheme: Scheme,
}

#[derive(Clone)]
struct PublicKey(Vec<u8>);

impl EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::from_der(&self.0)?)
    }
}

impl signature::Keypair for Bridge {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        self.public_key.clone()
    }
}

impl DynSignatureAlgorithmIdentifier for Bridge {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        let parameters = match self.scheme {
            Scheme::RsaSha256 => Some(Any::from(Null)),
            Scheme::EcdsaSha256 | Scheme::EcdsaSha384 => None,
        };
        Ok(AlgorithmIdentifierOwned { oid: self.scheme.oid(), parameters })
    }
}

/// Has `signer` sign what `builder` builds.
pub(crate) fn build<B: Builder>(mut builder: B, signer: &dyn Signer) -> Result<B::Output> {
    let bridge = Bridge { public_key: PublicKey(signer.public_key()?), scheme: signer.scheme() };
    let failed = |error: x509_cert::builder::Error| Error::Signer(error.to_string());
    let message = builder.finalize(&bridge).map_err(failed)?;
    let signature = BitString::from_bytes(&signer.sign(&message)?)?;
    builder.assemble(signature, &bridge).map_err(failed)
}
