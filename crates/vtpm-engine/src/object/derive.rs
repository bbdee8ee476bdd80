//! Where the secrets of a new object come from: the TPM's generator, the seed of a hierarchy, or a
//! derivation parent (Part 1, clauses 27.3, 27.4, 28 and 13.8.3).

use zeroize::Zeroizing;

use super::Object;
use crate::crypto::drbg::Drbg;
use crate::crypto::{Rng, kdf};
use crate::hierarchy::Hierarchy;
use crate::tpm::Tpm;
use crate::wire::{Derive, KeyedHashScheme, Public, PublicParms, Rc, Reader, SensitiveData};

/// A stream of bytes out of which an object is made.
pub(crate) trait Source: Rng {
    /// Comes between the bytes of the key and those of its seed.
    fn stir(&mut self) {}
}

impl Source for Drbg {}

/// Label of the generator of primary objects. It can never change.
const PRIMARY_LABEL: &[u8] = b"Primary Object Creation";

/// The stream of a primary object: the same seed, template and data give the same object for ever.
pub(crate) struct PrimarySource {
    drbg: Drbg,
    /// Makes the seed of an endorsement key depend on the owner's proofs, so that `TPM2_Clear`
    /// voids what was stored under it, though not the key.
    stir: Zeroizing<Vec<u8>>,
}

impl PrimarySource {
    /// A stream from a hierarchy's seed, the template, and the caller's data.
    pub(crate) fn new(seed: &[u8], template: &Public, data: &[u8], stir: &[u8]) -> Self {
        let drbg = Drbg::from_seed(seed, &[PRIMARY_LABEL, &template.name(), data]);
        Self { drbg, stir: Zeroizing::new(stir.to_vec()) }
    }
}

impl Rng for PrimarySource {
    fn fill(&mut self, out: &mut [u8]) {
        self.drbg.fill(out);
    }
}

impl Source for PrimarySource {
    fn stir(&mut self) {
        if !self.stir.is_empty() {
            self.drbg.generate(&mut [], &self.stir);
        }
    }
}

impl Tpm {
    /// The stream of a primary object of a hierarchy.
    pub(crate) fn primary_source(
        &self,
        hierarchy: Hierarchy,
        template: &Public,
        data: &SensitiveData,
    ) -> PrimarySource {
        let mut stir = Zeroizing::new(Vec::new());
        if hierarchy == Hierarchy::Endorsement {
            stir.extend_from_slice(self.proof(Hierarchy::Owner).as_ref());
            stir.extend_from_slice(self.proof(Hierarchy::Endorsement).as_ref());
        }
        PrimarySource::new(self.seed(hierarchy).as_ref(), template, data, &stir)
    }

    /// Label and context of a derived object: those of the template, and where it has none those
    /// in the sensitive data.
    ///
    /// # Errors
    /// As reading `TPMS_DERIVE` from the data, without a parameter number.
    pub(crate) fn label_and_context(
        &self,
        template: Derive,
        data: &SensitiveData,
    ) -> Result<Derive, Rc> {
        if data.is_empty() {
            return Ok(template);
        }
        let given = Reader::new(data, &self.profile.algorithms).get::<Derive>()?;
        let or = |first: crate::wire::Label, second| if first.is_empty() { second } else { first };
        Ok(Derive {
            label: or(template.label, given.label),
            context: or(template.context, given.context),
        })
    }
}

/// `TPM_MAX_DERIVATION_BITS`: the length that goes into the derivation, and bounds its output.
const MAX_DERIVATION_BITS: u32 = 8192;

/// The stream of a derived object: KDFa under the parent's secret.
pub(crate) struct DerivedSource {
    stream: Zeroizing<Vec<u8>>,
    used: usize,
}

impl DerivedSource {
    /// The stream for a label and context below a derivation parent.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` when the parent is none.
    pub(crate) fn new(parent: &Object, derive: &Derive) -> Result<Self, Rc> {
        let PublicParms::KeyedHash(KeyedHashScheme::Xor(alg, _)) = parent.public.parms else {
            return Err(Rc::TYPE);
        };
        let secret = &parent.sensitive.as_ref().ok_or(Rc::TYPE)?.composite;
        let stream =
            kdf::kdfa(alg, secret, &derive.label, &derive.context, &[], MAX_DERIVATION_BITS);
        Ok(Self { stream, used: 0 })
    }
}

impl Rng for DerivedSource {
    /// No object takes more than the stream has: a scalar and a seed are 138 bytes at most.
    fn fill(&mut self, out: &mut [u8]) {
        let rest = self.stream.get(self.used..).unwrap_or_default();
        out.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.used = self.used.saturating_add(out.len());
    }
}

impl Source for DerivedSource {}
