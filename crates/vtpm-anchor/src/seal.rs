//! Sealing instance keys to the chip: the [`KeySource`] of kind `tpm`.

use tss_esapi::structures::{Digest, SensitiveData};
use vtpm_credential::tpm::{PublicArea, template};
use vtpm_store::{InstanceId, Key, KeySource, SourceError};
use zeroize::Zeroizing;

use crate::anchor::Anchor;
use crate::chip::{Chip, bytes_of, public};
use crate::error::{Error, Result};
use crate::identity::Blob;
use crate::policy::PcrPolicy;
use crate::session::Purpose;

/// Version of the sealed form.
const VERSION: u8 = 1;
/// What a sealed payload begins with: keys sealed for other purposes are none of these.
const LABEL: &[u8; 4] = b"vTK1";

/// Seals instance keys to this host's chip, under its PCR policy if it has one.
///
/// The sealed key, as it lies in a state file:
/// ```text
/// offset  length  field
///      0       1  version, 1
///      1       2  length p of the public area, big-endian
///      3       p  TPMT_PUBLIC of the sealed object
///    3+p          the contents of its TPM2B_PRIVATE
/// ```
/// What is sealed is `vTK1`, the instance id, and the key: the chip hands it out only as a whole.
#[derive(Clone)]
pub struct TpmSource {
    pub(crate) anchor: Anchor,
}

impl TpmSource {
    /// The kind in state files.
    pub const KIND: &'static str = "tpm";
}

impl KeySource for TpmSource {
    fn kind(&self) -> &str {
        Self::KIND
    }

    fn seal_key(&self, instance: &InstanceId, key: &Key) -> Result<Vec<u8>, SourceError> {
        let mut payload = Zeroizing::new(Vec::with_capacity(52));
        payload.extend_from_slice(LABEL);
        payload.extend_from_slice(&instance.0);
        payload.extend_from_slice(key.expose());
        let policy = self.anchor.pcr_policy();
        let sealed = self
            .anchor
            .broker()
            .run("sealing a key", move |chip| chip.seal(&payload, policy.as_ref()));
        sealed.map(|blob| encode(&blob)).map_err(|error| explain("cannot seal", error))
    }

    fn unseal_key(&self, instance: &InstanceId, sealed: &[u8]) -> Result<Key, SourceError> {
        let unseal = || -> Result<Key> {
            let blob = decode(sealed).ok_or(Error::NotSealedHere)?;
            let policy = self.anchor.pcr_policy();
            let payload = self
                .anchor
                .broker()
                .run("unsealing a key", move |chip| chip.unseal(&blob, policy.as_ref()))?;
            open(&payload, instance)
        };
        unseal().map_err(|error| explain("does not open this vTPM's key", error))
    }
}

fn explain(what: &str, error: Error) -> SourceError {
    SourceError::new(format!("the host's TPM {what}"), error.to_string()).because(error)
}

fn open(payload: &[u8], instance: &InstanceId) -> Result<Key> {
    let rest = payload.strip_prefix(LABEL).ok_or(Error::NotSealedHere)?;
    let (owner, key) = rest.split_first_chunk::<16>().ok_or(Error::NotSealedHere)?;
    if *owner != instance.0 {
        return Err(Error::WrongInstance);
    }
    let key = key.first_chunk::<32>().ok_or(Error::NotSealedHere)?;
    Ok(Key::take(&mut Zeroizing::new(*key)))
}

fn encode(blob: &Blob) -> Vec<u8> {
    let length = u16::try_from(blob.public.len()).unwrap_or(u16::MAX);
    let mut out = vec![VERSION];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&blob.public);
    out.extend_from_slice(&blob.private);
    out
}

fn decode(sealed: &[u8]) -> Option<Blob> {
    let (version, rest) = sealed.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (public, private) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    if *version != VERSION || private.is_empty() || private.len() > 1024 {
        return None;
    }
    Some(Blob { public: public.to_vec(), private: private.to_vec() })
}

impl Chip {
    /// Seals up to 128 bytes under the storage primary.
    pub(crate) fn seal(&mut self, secret: &[u8], policy: Option<&PcrPolicy>) -> Result<Blob> {
        let digest = policy.map(PcrPolicy::digest).transpose()?;
        let template = public(&template::sealed(digest.as_ref()))?;
        let too_long = |_| Error::Invalid("a TPM seals 128 bytes at most".into());
        let secret = SensitiveData::try_from(secret).map_err(too_long)?;
        let storage = self.storage()?;
        let made = self.in_session(Purpose::Hmac, Some(storage), |chip, session| {
            chip.call("TPM2_Create", |context| {
                context.execute_with_session(session.auth(), |context| {
                    let (template, secret) = (template.clone(), Some(secret.clone()));
                    context.create(storage, template, None, secret, None, None)
                })
            })
        });
        self.flush(storage);
        let made = made?;
        Ok(Blob { public: bytes_of(&made.out_public)?, private: made.out_private.value().to_vec() })
    }

    /// Gives back what [`seal`](Self::seal) sealed. The blob is not to be trusted.
    pub(crate) fn unseal(
        &mut self,
        blob: &Blob,
        policy: Option<&PcrPolicy>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let area = PublicArea::from_bytes(&blob.public).map_err(|_| Error::NotSealedHere)?;
        // A key that was sealed without a policy, before there was one, still opens.
        let policy = match (area.auth_policy(), policy) {
            ([], _) => None,
            (sealed, Some(policy)) if sealed == policy.digest()? => Some(policy),
            _ => return Err(Error::OtherPolicy),
        };
        let purpose = if policy.is_some() { Purpose::Policy } else { Purpose::Hmac };
        let storage = self.storage()?;
        let session = self.session(purpose, Some(storage));
        let loaded = session.and_then(|session| {
            match self.load_under(storage, &blob.public, &blob.private) {
                Ok(loaded) => Ok((session, loaded)),
                Err(error) => {
                    self.end(session);
                    Err(error)
                }
            }
        });
        self.flush(storage);
        let (session, loaded) = loaded?;
        let met = policy.map_or(Ok(()), |policy| policy.meet(self, session));
        let opened = met.and_then(|()| {
            self.call("TPM2_Unseal", |context| {
                context
                    .execute_with_session(session.auth(), |context| context.unseal(loaded.into()))
            })
        });
        self.end(session);
        self.flush(loaded);
        Ok(Zeroizing::new(opened?.value().to_vec()))
    }

    /// Creates a key under the storage primary from a template.
    pub(crate) fn create_key(&mut self, template: &[u8]) -> Result<Blob> {
        let template = public(template)?;
        let storage = self.storage()?;
        let made = self.authorized("TPM2_Create", |context| {
            context.create(storage, template.clone(), None, None, None, None)
        });
        self.flush(storage);
        let made = made?;
        Ok(Blob { public: bytes_of(&made.out_public)?, private: made.out_private.value().to_vec() })
    }

    /// Random bytes of the chip, at most 32.
    pub(crate) fn random(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        let random: Digest = self.call("TPM2_GetRandom", |context| context.get_random(32))?;
        Ok(Zeroizing::new(random.value().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_opens_for_its_instance_only() {
        let payload = [LABEL.as_slice(), &[7; 16], &[9; 32]].concat();
        assert_eq!(open(&payload, &InstanceId([7; 16])).unwrap().expose(), &[9; 32]);
        assert!(matches!(open(&payload, &InstanceId([8; 16])), Err(Error::WrongInstance)));
        for cut in 0..payload.len() {
            assert!(open(&payload[..cut], &InstanceId([7; 16])).is_err());
        }
    }

    #[test]
    fn the_sealed_form_comes_back_and_no_prefix_of_its_head_does() {
        let blob = Blob { public: vec![1; 40], private: vec![2; 90] };
        let bytes = encode(&blob);
        assert_eq!(decode(&bytes), Some(blob));
        for cut in 0..=43 {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
