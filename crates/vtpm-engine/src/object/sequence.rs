//! Hash, event and MAC sequences (Part 1, clause 32; Part 3, clause 17), and the choice of a MAC.
//!
//! ```text
//!   HashSequenceStart -> Hash  -+- SequenceUpdate* -> SequenceComplete (digest, ticket)
//!                     -> Event -+- SequenceUpdate* -> EventSequenceComplete (digests, PCR)
//!   MAC_Start         -> Hmac  -+- SequenceUpdate* -> SequenceComplete (MAC)
//!                     -> Cmac  -+
//! ```

use super::{Object, Slot};
use crate::crypto::cmac::Cmac;
use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::pcr::EventHashes;
use crate::tpm::Tpm;
use crate::wire::{
    Alg, Auth, Digest, GENERATED, Handle, HandleInterface, KeyedHashScheme, Marshal,
    ObjectAttributes, PublicParms, Rc, Reader, SymKey, SymMode, Unmarshal,
};

/// A sequence in progress. It counts as an object of the null hierarchy without a name.
pub(crate) struct Sequence {
    /// Authorization value, without trailing zeros.
    pub(crate) auth: Auth,
    pub(crate) state: SequenceState,
}

/// What a sequence computes.
pub(crate) enum SequenceState {
    /// A digest, with a ticket unless the data might be taken for something that the TPM attests.
    Hash {
        hasher: Hasher,
        /// Whether a ticket may be made. The first piece of data decides; absent before it.
        ticket_safe: Option<bool>,
    },
    /// A digest in each bank.
    Event(EventHashes),
    /// A MAC by a keyed hash.
    Hmac(Hmac),
    /// A MAC by a symmetric cipher.
    Cmac {
        /// The key, without which the saved state of a CMAC does not go on.
        key: SymKey,
        cmac: Cmac,
    },
}

impl SequenceState {
    /// A hash sequence.
    pub(crate) fn hash(alg: HashAlg) -> Self {
        Self::Hash { hasher: Hasher::new(alg), ticket_safe: None }
    }

    /// A MAC under a key, for `TPM2_MAC` and `TPM2_MAC_Start`, in both of which the key is the
    /// first handle and the scheme the second parameter.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` when the object is neither keyed hash nor symmetric cipher; `TPM_RC_VALUE`
    /// when key and caller choose no scheme or different ones; `TPM_RC_SCHEME` when the key cannot
    /// use the scheme; `TPM_RC_ATTRIBUTES` when it is restricted; `TPM_RC_KEY` when it does not
    /// sign.
    pub(crate) fn mac(key: &Object, requested: Option<MacScheme>) -> Result<Self, Rc> {
        let scheme = MacScheme::select(key, requested)?;
        if key.public.has(ObjectAttributes::RESTRICTED) {
            return Err(Rc::ATTRIBUTES.handle(1));
        }
        if !key.public.has(ObjectAttributes::SIGN) {
            return Err(Rc::KEY.handle(1));
        }
        // Authorization of the key made sure that the sensitive area is there.
        let secret = &key.sensitive.as_ref().ok_or(Rc::FAILURE)?.composite;
        Ok(match scheme {
            MacScheme::Hmac(alg) => Self::Hmac(Hmac::new(alg, secret)),
            MacScheme::Cmac => Self::Cmac {
                key: SymKey::new(secret)?,
                cmac: Cmac::new(secret).map_err(|_| Rc::FAILURE)?,
            },
        })
    }

    /// Adds data.
    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Hash { hasher, ticket_safe } => {
                ticket_safe.get_or_insert_with(|| is_safe_start(data));
                hasher.update(data);
            }
            Self::Event(hashes) => hashes.update(data),
            Self::Hmac(hmac) => hmac.update(data),
            Self::Cmac { cmac, .. } => cmac.update(data),
        }
    }

    /// The MAC of a MAC sequence; absent for the others.
    pub(crate) fn finish_mac(self) -> Option<Digest> {
        match self {
            Self::Hmac(hmac) => Some(Digest::from_slice(&hmac.finish())),
            Self::Cmac { cmac, .. } => Some(Digest::from_slice(&cmac.finish())),
            Self::Hash { .. } | Self::Event(_) => None,
        }
    }
}

impl Tpm {
    /// Puts a new sequence into a slot.
    ///
    /// # Errors
    /// `TPM_RC_OBJECT_MEMORY` when there is no empty one.
    pub(crate) fn start_sequence(
        &mut self,
        mut auth: Auth,
        state: SequenceState,
    ) -> Result<Handle, Rc> {
        auth.trim_trailing_zeros();
        self.objects.insert(Slot::Sequence(Box::new(Sequence { auth, state })))
    }

    /// Takes a sequence out of its slot.
    ///
    /// # Errors
    /// `TPM_RC_MODE` for the first handle when there is an object, or a sequence that does not
    /// fit; it stays.
    pub(crate) fn end_sequence(
        &mut self,
        handle: impl HandleInterface,
        fits: impl FnOnce(&SequenceState) -> bool,
    ) -> Result<SequenceState, Rc> {
        let slot = self.objects.slot_mut(handle.handle()).ok_or(Rc::MODE.handle(1))?;
        match slot.take() {
            Some(Slot::Sequence(sequence)) if fits(&sequence.state) => Ok(sequence.state),
            other => {
                *slot = other;
                Err(Rc::MODE.handle(1))
            }
        }
    }
}

/// Whether the first piece of a sequence's data cannot be taken for an attestation: it is long
/// enough to tell, and starts otherwise.
fn is_safe_start(data: &[u8]) -> bool {
    data.len() >= size_of_val(&GENERATED) && !starts_as_generated(data)
}

/// Whether data starts with `TPM_GENERATED_VALUE`.
pub(crate) fn starts_as_generated(data: &[u8]) -> bool {
    data.starts_with(&GENERATED.to_be_bytes())
}

/// `TPMI_ALG_MAC_SCHEME`: a hash for HMAC, or CMAC. Anything else is `TPM_RC_SYMMETRIC`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum MacScheme {
    Hmac(HashAlg),
    Cmac,
}

impl MacScheme {
    const fn alg(self) -> Alg {
        match self {
            Self::Hmac(hash) => Alg(hash.id()),
            Self::Cmac => Alg::CMAC,
        }
    }

    /// Reconciles what the key prescribes with what the caller asks for.
    fn select(key: &Object, requested: Option<Self>) -> Result<Self, Rc> {
        let prescribed = match &key.public.parms {
            PublicParms::KeyedHash(KeyedHashScheme::Null) => None,
            PublicParms::KeyedHash(KeyedHashScheme::Hmac(hash) | KeyedHashScheme::Xor(hash, _)) => {
                Some(Alg(hash.id()))
            }
            PublicParms::SymCipher(aes) => aes.mode.map(SymMode::alg),
            PublicParms::Rsa(_) | PublicParms::Ecc(_) => return Err(Rc::TYPE.handle(1)),
        };
        let chosen = match (prescribed, requested.map(Self::alg)) {
            (None, None) => return Err(Rc::VALUE.parameter(2)),
            (Some(alg), None) | (None, Some(alg)) => alg,
            (Some(prescribed), Some(requested)) if prescribed == requested => requested,
            (Some(_), Some(_)) => return Err(Rc::VALUE.parameter(2)),
        };
        let scheme = match &key.public.parms {
            PublicParms::KeyedHash(_) => HashAlg::from_id(chosen.0).map(Self::Hmac),
            _ => (chosen == Alg::CMAC).then_some(Self::Cmac),
        };
        scheme.ok_or(Rc::SCHEME.parameter(2))
    }
}

/// `TPMI_ALG_MAC_SCHEME+`: `TPM_ALG_NULL` is `None`.
impl Unmarshal for Option<MacScheme> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        let alg = reader.get::<Alg>()?;
        match alg {
            Alg::NULL => Ok(None),
            _ if !reader.algorithms().has(alg) => Err(Rc::SYMMETRIC),
            Alg::CMAC => Ok(Some(MacScheme::Cmac)),
            _ => {
                let hash = HashAlg::from_id(alg.0).ok_or(Rc::SYMMETRIC)?;
                Ok(Some(MacScheme::Hmac(hash)))
            }
        }
    }
}

impl Marshal for Option<MacScheme> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(Alg::NULL, MacScheme::alg).marshal(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe_after(pieces: &[&[u8]]) -> Option<bool> {
        let mut state = SequenceState::hash(HashAlg::Sha256);
        pieces.iter().for_each(|piece| state.update(piece));
        match state {
            SequenceState::Hash { ticket_safe, .. } => ticket_safe,
            _ => None,
        }
    }

    #[test]
    fn the_first_piece_decides_on_the_ticket() {
        assert_eq!(safe_after(&[]), None);
        assert_eq!(safe_after(&[b"data"]), Some(true));
        assert_eq!(safe_after(&[b"data", b"\xffTCG"]), Some(true));
        assert_eq!(safe_after(&[b"\xffTCG..."]), Some(false));
        assert_eq!(safe_after(&[b"\xffTCG", b"data"]), Some(false));
    }

    #[test]
    fn a_value_split_over_updates_is_not_overlooked() {
        assert_eq!(safe_after(&[b"\xff", b"TCG"]), Some(false));
        assert_eq!(safe_after(&[b"", b"\xffTCG"]), Some(false));
        // Too short a start is never safe, whatever follows.
        assert_eq!(safe_after(&[b"abc", b"d"]), Some(false));
    }
}
