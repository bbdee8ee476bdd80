//! The credential key of the chip, as a signer of certificates.

use sha2::{Digest, Sha256};
use vtpm_credential::certificate::{Scheme, Signer};
use vtpm_credential::{Error, Result};

use crate::anchor::Anchor;

/// Signs with the credential key: one TPM command a signature, and what loading the key takes.
#[derive(Clone, Debug)]
pub struct CredentialSigner {
    anchor: Anchor,
}

impl Anchor {
    /// The credential key as a signer.
    #[must_use]
    pub fn credential_signer(&self) -> CredentialSigner {
        CredentialSigner { anchor: self.clone() }
    }
}

impl Signer for CredentialSigner {
    fn public_key(&self) -> Result<Vec<u8>> {
        let keys = self.anchor.keys().map_err(|error| Error::Signer(error.to_string()))?;
        keys.credential.spki_der()
    }

    fn scheme(&self) -> Scheme {
        Scheme::EcdsaSha256
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.anchor.sign(Sha256::digest(message).into());
        let signature = signature.map_err(|error| Error::Signer(error.to_string()))?;
        signature.ecdsa_der().ok_or_else(|| Error::Signer("the TPM gave no ECDSA signature".into()))
    }
}
