//! What is derived from one transfer key, and the envelope.
//!
//! ```text
//! confirmation = HKDF(key, salt: transcript up to the offer,  "vtpm handover 1 confirmation")
//! envelope key = HKDF(key, salt: transcript up to the accept, "vtpm handover 1 envelope")
//! receipt      = HKDF(key, salt: digest of the envelope,      "vtpm handover 1 receipt")
//! commit token = HKDF(key, salt: transfer id,                 "vtpm handover 1 commit")
//! ```
//!
//! The destination keeps only a digest of the commit token, so that its disk does not hold what
//! makes it live; the source keeps only the token, so that its tombstone does not open the
//! envelope.

use zeroize::Zeroizing;

use crate::chip::{ChipError, Entropy};
use crate::crypto::{MAC, NotAuthentic, derive, digest, open_once, seal_once};
use crate::evidence::Identity;
use crate::id::TransferId;
use crate::offer::Offer;
use crate::secret::Key;

/// A fresh transfer key.
pub(crate) fn draw_key(entropy: &mut dyn Entropy) -> Result<Key, ChipError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut_slice())?;
    Ok(Key::take(&mut bytes))
}

/// Proof that the destination has the key.
pub(crate) fn confirmation(key: &Key, transcript: &[u8; 32]) -> [u8; MAC] {
    *derive(key.expose(), transcript, "vtpm handover 1 confirmation").expose()
}

/// Proof that the destination has opened this very envelope.
pub(crate) fn receipt(key: &Key, envelope: &[u8]) -> [u8; MAC] {
    let salt = digest("vtpm handover 1 envelope", &[envelope]);
    *derive(key.expose(), &salt, "vtpm handover 1 receipt").expose()
}

/// What makes the destination's copy live.
pub(crate) fn commit_token(key: &Key, transfer: &TransferId) -> Key {
    derive(key.expose(), &transfer.0, "vtpm handover 1 commit")
}

/// What the destination knows the token by.
pub(crate) fn token_digest(token: &[u8; MAC]) -> [u8; 32] {
    digest("vtpm handover 1 commit token", &[token])
}

/// Everything that an envelope is bound to.
pub(crate) struct Binding<'a> {
    pub(crate) version: u16,
    pub(crate) offer: &'a Offer,
    pub(crate) source: Identity,
    pub(crate) destination: Identity,
    /// Everything said up to the accept.
    pub(crate) transcript: [u8; 32],
}

impl Binding<'_> {
    fn associated(&self) -> [u8; 32] {
        let Offer { instance, transfer, request, epoch, state_limit } = self.offer;
        digest(
            "vtpm handover 1 envelope binding",
            &[
                &self.version.to_be_bytes(),
                &instance.0,
                &transfer.0,
                &request.0,
                &epoch.to_be_bytes(),
                &state_limit.to_be_bytes(),
                &self.source.0,
                &self.destination.0,
                &self.transcript,
            ],
        )
    }

    fn key(&self, key: &Key) -> Key {
        derive(key.expose(), &self.transcript, "vtpm handover 1 envelope")
    }

    /// Encrypts a state. A transfer key seals one envelope only.
    pub(crate) fn seal(&self, key: &Key, state: &[u8]) -> Result<Vec<u8>, NotAuthentic> {
        // Room for the tag, so that the plaintext is not copied when the vector grows.
        let mut text = Vec::with_capacity(state.len().saturating_add(crate::crypto::GCM_TAG));
        text.extend_from_slice(state);
        seal_once(&self.key(key), &self.associated(), &mut text)?;
        Ok(text)
    }

    /// Decrypts a state.
    pub(crate) fn open(
        &self,
        key: &Key,
        envelope: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
        open_once(&self.key(key), &self.associated(), envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{InstanceId, RequestId};

    #[test]
    fn an_envelope_opens_only_under_all_that_it_is_bound_to() {
        let key = Key::take(&mut [7; 32]);
        let offer = Offer {
            instance: InstanceId([1; 16]),
            transfer: TransferId([2; 16]),
            request: RequestId::NONE,
            epoch: 3,
            state_limit: 100,
        };
        let other_epoch = Offer { epoch: 4, ..offer };
        let other_instance = Offer { instance: InstanceId([9; 16]), ..offer };
        let binding = |version, offer, source, transcript| Binding {
            version,
            offer,
            source: Identity([source; 32]),
            destination: Identity([5; 32]),
            transcript: [transcript; 32],
        };
        let sealed = binding(1, &offer, 4, 6).seal(&key, b"state").unwrap();
        assert_eq!(binding(1, &offer, 4, 6).open(&key, &sealed).unwrap().as_slice(), b"state");
        for other in [
            binding(2, &offer, 4, 6),
            binding(1, &other_epoch, 4, 6),
            binding(1, &other_instance, 4, 6),
            binding(1, &offer, 5, 6),
            binding(1, &offer, 4, 7),
        ] {
            assert!(other.open(&key, &sealed).is_err());
        }
        assert!(binding(1, &offer, 4, 6).open(&Key::take(&mut [8; 32]), &sealed).is_err());
    }

    #[test]
    fn the_derived_values_are_all_different() {
        let key = Key::take(&mut [7; 32]);
        let token = commit_token(&key, &TransferId([1; 16]));
        let all = [
            confirmation(&key, &[1; 32]),
            receipt(&key, &[1; 32]),
            *token.expose(),
            token_digest(token.expose()),
            *commit_token(&key, &TransferId([2; 16])).expose(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
