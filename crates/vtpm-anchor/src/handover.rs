//! This host's side of a handover: what the protocol asks of the chip.

use tss_esapi::structures::{EncryptedSecret, Private, SymmetricDefinitionObject};
use vtpm_credential::tpm::{Challenge, PcrSelection};
use vtpm_handover::pcr::PcrValue;
use vtpm_handover::{Attested, ChipError, Evidence, JournalError, Key, Nonce, Secret, WrappedKey};
use zeroize::Zeroizing;

use crate::anchor::Anchor;
use crate::chip::{Chip, public};
use crate::error::{Error, Result};
use crate::identity::{Attestation, Blob};
use crate::session::Purpose;

impl vtpm_handover::Chip for Anchor {
    fn evidence(
        &mut self,
        nonce: &Nonce,
        wanted: &vtpm_handover::pcr::PcrSelection,
    ) -> Result<Evidence, ChipError> {
        let gather = || -> Result<Evidence> {
            let selection = PcrSelection::from_bytes(&wanted.to_tpml())?;
            let quote = self.quote(&nonce.0, &selection)?;
            let values = selection.iter().filter_map(|(bank, pcr)| {
                let digest = quote.values.get(bank, pcr)?;
                Some(PcrValue { bank: bank.id(), index: u8::try_from(pcr).ok()?, digest })
            });
            let keys = self.keys()?;
            let ek = self.lock().ek()?.public.clone();
            Ok(Evidence {
                ek_chain: self.ek_certificates()?,
                ek_public: ek,
                ak_public: keys.attestation.as_bytes().to_vec(),
                hk_public: keys.handover.as_bytes().to_vec(),
                hk_certify: attested(keys.handover_certification),
                quote: attested(quote.attestation),
                pcrs: values.collect(),
            })
        };
        gather().map_err(|error| explain("cannot say what this host booted", error))
    }

    fn activate(&mut self, challenge: &vtpm_handover::Challenge) -> Result<Secret, ChipError> {
        let challenge = Challenge {
            id_object: challenge.credential.clone(),
            encrypted_secret: challenge.secret.clone(),
        };
        match Anchor::activate(self, &challenge) {
            Ok(secret) => Ok(Secret::from(secret)),
            Err(error) => Err(explain("cannot answer the peer's challenge", error)),
        }
    }

    fn unwrap(&mut self, wrapped: &WrappedKey) -> Result<Key, ChipError> {
        let open = || -> Result<Key> {
            let hk = self.lock().handover.key.clone();
            let selection = PcrSelection::from_bytes(&wrapped.pcrs.to_tpml())?;
            let wrapped = wrapped.clone();
            let secret = self.broker().run("opening a transfer key", move |chip| {
                chip.import_and_unseal(&hk, &wrapped, &selection)
            })?;
            let key: &[u8; 32] = secret
                .as_slice()
                .try_into()
                .map_err(|_| Error::Invalid("the peer wrapped something that is no key".into()))?;
            Ok(Key::take(&mut Zeroizing::new(*key)))
        };
        open().map_err(|error| explain("cannot open the transfer key", error))
    }
}

fn attested(attestation: Attestation) -> Attested {
    Attested { attest: attestation.attest, signature: attestation.signature }
}

impl From<Error> for JournalError {
    fn from(error: Error) -> Self {
        let what = "the host's TPM does not say what it remembers of the vTPM";
        Self::new(what, error.to_string()).because(error)
    }
}

fn explain(what: &str, error: Error) -> ChipError {
    ChipError::new(format!("the host's TPM {what}"), error.to_string()).because(error)
}

impl Chip {
    /// Imports a sealed object that was wrapped to a storage key of ours, and opens it.
    fn import_and_unseal(
        &mut self,
        hk: &Blob,
        wrapped: &WrappedKey,
        selection: &PcrSelection,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let malformed = |_| Error::Invalid("the wrapped key is malformed".into());
        let area = public(&wrapped.public)?;
        let duplicate = Private::try_from(wrapped.duplicate.as_slice()).map_err(malformed)?;
        let seed = EncryptedSecret::try_from(wrapped.seed.as_slice()).map_err(malformed)?;
        let parent = self.load(hk)?;
        let imported = self.authorized("TPM2_Import", |context| {
            let (area, duplicate, seed) = (area.clone(), duplicate.clone(), seed.clone());
            let no_cipher = SymmetricDefinitionObject::Null;
            context.import(parent.into(), None, area, duplicate, seed, no_cipher)
        });
        let opened = imported.and_then(|private| {
            // Salted, so that the key does not pass the bus in the clear.
            let purpose = if selection.is_empty() { Purpose::Hmac } else { Purpose::Policy };
            self.in_session(purpose, Some(parent), |chip, session| {
                let loaded = chip.load_under(parent, &wrapped.public, private.value())?;
                let met = match selection.is_empty() {
                    true => Ok(()),
                    false => session.policy().and_then(|policy| chip.policy_pcr(policy, selection)),
                };
                let opened = met.and_then(|()| {
                    chip.call("TPM2_Unseal", |context| {
                        context.execute_with_session(session.auth(), |context| {
                            context.unseal(loaded.into())
                        })
                    })
                });
                chip.flush(loaded);
                opened
            })
        });
        self.flush(parent);
        match opened {
            Ok(secret) => Ok(Zeroizing::new(secret.value().to_vec())),
            Err(Error::Refused { command: "TPM2_Import", .. } | Error::NotSealedHere) => {
                Err(Error::Invalid(
                    "it was wrapped to another host's handover key, or was changed on the way; \
                     begin the handover again"
                        .into(),
                ))
            }
            Err(Error::Refused { command: "TPM2_Unseal", .. }) => Err(Error::Invalid(format!(
                "the PCRs {selection} of this host have changed since it was judged; begin the \
                 handover again"
            ))),
            Err(error) => Err(error),
        }
    }
}
