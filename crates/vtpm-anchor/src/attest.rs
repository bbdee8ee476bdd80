//! What the chip says of itself: certifications, quotes, PCR values, opened challenges.

use std::time::{Duration, Instant};

use tss_esapi::handles::{AuthHandle, KeyHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Data, Digest, EncryptedSecret, HashcheckTicket, IdObject, Nonce, SignatureScheme,
};
use vtpm_credential::tpm::{Challenge, HashAlg, PcrSelection, PcrValues, Signature};
use zeroize::Zeroizing;

use crate::chip::{Chip, bytes_of};
use crate::error::{Error, Result};
use crate::identity::{Attestation, Blob, EkKind};
use crate::policy::selection_list;
use crate::session::Purpose;

/// A quote of this host: what was signed, and the values that it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostQuote {
    /// The quote.
    pub attestation: Attestation,
    /// The values of the PCRs in it.
    pub values: PcrValues,
}

/// How long reading PCRs and quoting them is tried again because a PCR changed between the two.
const QUIET: Duration = Duration::from_secs(5);

impl Chip {
    /// Has the AK certify another key of ours. `purpose` is mixed in.
    pub(crate) fn certify(&mut self, ak: &Blob, key: &Blob, purpose: &[u8]) -> Result<Attestation> {
        let data = data(purpose)?;
        let certified = self.with_key(ak, |chip, ak| {
            chip.with_key(key, |chip, key| {
                chip.call("TPM2_Certify", |context| {
                    let sessions = (Some(AuthSession::Password), Some(AuthSession::Password), None);
                    context.execute_with_sessions(sessions, |context| {
                        context.certify(key.into(), ak, data.clone(), SignatureScheme::Null)
                    })
                })
            })
        })?;
        Ok(Attestation { attest: bytes_of(&certified.0)?, signature: bytes_of(&certified.1)? })
    }

    /// Quotes PCRs with the AK, together with their values.
    pub(crate) fn quote(
        &mut self,
        ak: &Blob,
        qualifying: &[u8],
        selection: &PcrSelection,
    ) -> Result<HostQuote> {
        let data = data(qualifying)?;
        let list = selection_list(selection)?;
        let begun = Instant::now();
        self.with_key(ak, |chip, ak| {
            loop {
                let values = chip.pcr_values(selection)?;
                let quoted = chip.authorized("TPM2_Quote", |context| {
                    context.quote(ak, data.clone(), SignatureScheme::Null, list.clone())
                })?;
                let digest = values.digest(selection, HashAlg::Sha256)?;
                let fits = quoted_digest(&quoted.0) == Some(digest);
                if fits || begun.elapsed() > QUIET {
                    let attestation = Attestation {
                        attest: bytes_of(&quoted.0)?,
                        signature: bytes_of(&quoted.1)?,
                    };
                    return Ok(HostQuote { attestation, values });
                }
            }
        })
    }

    /// The values of PCRs. A bank that the chip does not have is an error.
    pub(crate) fn pcr_values(&mut self, selection: &PcrSelection) -> Result<PcrValues> {
        let mut values = PcrValues::default();
        let mut left: Vec<_> = selection.iter().collect();
        while let Some((bank, _)) = left.first().copied() {
            // The chip answers up to eight values at once; ask for one bank at a time.
            let of_bank: Vec<u32> =
                left.iter().filter(|(of, _)| *of == bank).map(|(_, pcr)| *pcr).take(8).collect();
            let list = selection_list(&PcrSelection::of(bank, &of_bank))?;
            let (_, _, digests) =
                self.call("TPM2_PCR_Read", |context| context.pcr_read(list.clone()))?;
            if digests.value().len() != of_bank.len() {
                let bank = bank.name();
                return Err(Error::Invalid(format!(
                    "the TPM has no active PCR bank {bank}; choose another, or activate it"
                )));
            }
            for (pcr, digest) in of_bank.iter().zip(digests.value()) {
                values.set(bank, *pcr, digest.value());
            }
            left.retain(|(of, pcr)| *of != bank || !of_bank.contains(pcr));
        }
        Ok(values)
    }

    /// Opens a challenge that was made for an EK and the AK.
    pub(crate) fn activate(
        &mut self,
        ak: &Blob,
        ek: EkKind,
        challenge: &Challenge,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let not_ours = |_| Error::Invalid("the challenge is malformed".into());
        let id_object = IdObject::try_from(challenge.id_object.as_slice()).map_err(not_ours)?;
        let secret =
            EncryptedSecret::try_from(challenge.encrypted_secret.as_slice()).map_err(not_ours)?;
        let (ek, _) = self.create_primary(Hierarchy::Endorsement, &ek.template())?;
        let opened = self.with_key(ak, |chip, ak| {
            chip.in_session(Purpose::Policy, None, |chip, session| {
                chip.policy_endorsement(session.policy()?)?;
                chip.call("TPM2_ActivateCredential", |context| {
                    let sessions = (Some(AuthSession::Password), session.auth(), None);
                    context.execute_with_sessions(sessions, |context| {
                        context.activate_credential(ak, ek, id_object.clone(), secret.clone())
                    })
                })
            })
        });
        self.flush(ek);
        match opened {
            Ok(secret) => Ok(Zeroizing::new(secret.value().to_vec())),
            Err(Error::Refused { command: "TPM2_ActivateCredential", .. }) => Err(Error::Invalid(
                "the challenge was not made for this host's EK and AK; make a new one from its \
                 current identity (`vtpm host show`)"
                    .into(),
            )),
            Err(error) => Err(error),
        }
    }

    /// PolicyA of the EK profile: the endorsement hierarchy's authorization.
    fn policy_endorsement(
        &mut self,
        session: tss_esapi::interface_types::session_handles::PolicySession,
    ) -> Result<()> {
        self.authorized("TPM2_PolicySecret", |context| {
            let (nonce, reference) = (Nonce::default(), Nonce::default());
            let endorsement = AuthHandle::Endorsement;
            context.policy_secret(session, endorsement, nonce, Digest::default(), reference, None)
        })?;
        Ok(())
    }

    /// Signs a SHA-256 digest with a key that is not restricted.
    pub(crate) fn sign(&mut self, key: &Blob, digest: &[u8; 32]) -> Result<Signature> {
        let digest = Digest::try_from(digest.as_slice())
            .map_err(|_| Error::Invalid("a digest has 32 bytes".into()))?;
        let signature = self.with_key(key, |chip, key: KeyHandle| {
            chip.authorized("TPM2_Sign", |context| {
                context.sign(key, digest.clone(), SignatureScheme::Null, no_ticket()?)
            })
        })?;
        Ok(Signature::from_bytes(&bytes_of(&signature)?)?)
    }
}

/// The ticket that says nothing: an unrestricted key needs none.
fn no_ticket() -> tss_esapi::Result<HashcheckTicket> {
    use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
    use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
    HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    })
}

fn quoted_digest(attest: &tss_esapi::structures::Attest) -> Option<Vec<u8>> {
    use tss_esapi::structures::AttestInfo;
    match attest.attested() {
        AttestInfo::Quote { info } => Some(info.pcr_digest().value().to_vec()),
        _ => None,
    }
}

fn data(bytes: &[u8]) -> Result<Data> {
    Data::try_from(bytes).map_err(|_| Error::Invalid("qualifying data has at most 64 bytes".into()))
}
