//! Creation of objects: key, seed, `unique`, and what is said about the creation (Part 1, clauses
//! 27 and 28; Part 2, clause 15; annexes B.9 and C.5 of Part 1).

use std::sync::OnceLock;

use zeroize::Zeroizing;

use super::derive::Source;
use super::key::DEFAULT_EXPONENT;
use super::{Object, Prepared};
use crate::crypto::ecc::EccPrivate;
use crate::crypto::hash::{self, HashAlg};
use crate::crypto::rsa::RsaPrivate;
use crate::crypto::{self, hmac};
use crate::hierarchy::Hierarchy;
use crate::tpm::Tpm;
use crate::wire::{
    Alg, Auth, CreationData, Data, Digest, KeyedHashScheme, LocalityAttributes, Marshal, Name,
    ObjectAttributes as Attr, PcrSelections, Public, PublicId, PublicParms, Rc, RsaParms,
    Sensitive, SensitiveComposite, SensitiveCreate, SensitiveData, Sized2b, Ticket,
};

/// A new object, not loaded yet.
#[derive(Debug)]
pub(crate) struct NewObject {
    pub(crate) public: Public,
    pub(crate) sensitive: Sensitive,
    pub(crate) name: Name,
    /// Filled for asymmetric keys, whose making prepares them.
    pub(crate) prepared: OnceLock<Prepared>,
}

/// What is above a new or loaded object.
#[derive(Copy, Clone)]
pub(crate) enum Above<'a> {
    /// A hierarchy: the object is primary.
    Hierarchy(Hierarchy),
    /// A parent.
    Parent(&'a Object),
}

impl Above<'_> {
    /// The hierarchy that everything below belongs to.
    pub(crate) fn hierarchy(self) -> Hierarchy {
        match self {
            Above::Hierarchy(hierarchy) => hierarchy,
            Above::Parent(parent) => parent.hierarchy,
        }
    }

    /// Name algorithm, name and qualified name. A hierarchy's names are its handle.
    fn names(self) -> (Alg, Name, Name) {
        match self {
            Above::Hierarchy(hierarchy) => {
                let name = Name::from(hierarchy.handle().to_bytes());
                (Alg::NULL, name.clone(), name)
            }
            Above::Parent(parent) => (
                parent.public.name_alg.map_or(Alg::NULL, |alg| Alg(alg.id())),
                parent.name.clone(),
                parent.qualified_name.clone(),
            ),
        }
    }
}

impl NewObject {
    /// The object as it is loaded below a parent or hierarchy.
    pub(crate) fn below(self, above: Above<'_>) -> Object {
        let (_, _, qualified) = above.names();
        let st_clear = match above {
            Above::Hierarchy(_) => false,
            Above::Parent(parent) => parent.st_clear,
        };
        Object {
            qualified_name: super::qualified_name(&qualified, &self.public, &self.name),
            hierarchy: above.hierarchy(),
            primary: matches!(above, Above::Hierarchy(_)),
            external: false,
            st_clear: st_clear || self.public.has(Attr::ST_CLEAR),
            public: self.public,
            sensitive: Some(self.sensitive),
            name: self.name,
            prepared: self.prepared,
        }
    }
}

impl Tpm {
    /// Makes an object from the TPM's own random numbers.
    ///
    /// # Errors
    /// As [`generate`].
    pub(crate) fn generate_random(
        &mut self,
        template: Public,
        create: &SensitiveCreate,
    ) -> Result<NewObject, Rc> {
        let Self { drbg, platform, .. } = self;
        generate(template, create, drbg, &|| platform.canceled())
    }

    /// Makes an object from a stream of its own.
    ///
    /// # Errors
    /// As [`generate`].
    pub(crate) fn generate_from(
        &self,
        template: Public,
        create: &SensitiveCreate,
        source: &mut dyn Source,
    ) -> Result<NewObject, Rc> {
        generate(template, create, source, &|| self.platform.canceled())
    }

    /// What is said about a creation: the data, its digest, and the ticket that proves both.
    pub(crate) fn creation(
        &self,
        above: Above<'_>,
        new: &NewObject,
        mut pcr_select: PcrSelections,
        outside_info: Data,
    ) -> Result<(Sized2b<CreationData>, Digest, Ticket), Rc> {
        let alg = new.public.name_alg.ok_or(Rc::HASH)?;
        self.pcrs.filter(&mut pcr_select.0);
        let (parent_name_alg, parent_name, parent_qualified_name) = above.names();
        let data = CreationData {
            pcr_digest: self.pcrs.digest(alg, &pcr_select.0),
            pcr_select,
            locality: LocalityAttributes::of(self.locality),
            parent_name_alg,
            parent_name,
            parent_qualified_name,
            outside_info,
        };
        let digest = Digest::from_slice(&hash::hash(alg, &[&data.to_bytes()]));
        let ticket = self.creation_ticket(above.hierarchy(), &new.name, &digest);
        Ok((Sized2b(data), digest, ticket))
    }
}

/// Makes an object out of a checked template, whose `unique` is replaced, and bytes of `source`.
///
/// `create.user_auth` has its final length already.
///
/// # Errors
/// `TPM_RC_RANGE` for an RSA exponent that is not a prime above 65536, `TPM_RC_SIZE` for a keyed
/// hash key longer than a block, `TPM_RC_KEY_SIZE` for a symmetric key of the wrong length,
/// `TPM_RC_CANCELED`. None has a parameter number, as the clauses have it.
pub(crate) fn generate(
    template: Public,
    create: &SensitiveCreate,
    source: &mut dyn Source,
    cancel: &dyn Fn() -> bool,
) -> Result<NewObject, Rc> {
    let mut public = template;
    let name_alg = public.name_alg.ok_or(Rc::HASH)?;
    // What the TPM makes itself does not come from the caller: a primary object's data went into
    // its stream.
    let given = if public.has(Attr::SENSITIVE_DATA_ORIGIN) { &[] } else { create.data.as_bytes() };
    let mut prepared = OnceLock::new();
    let composite = match public.parms.clone() {
        PublicParms::Rsa(parms) => {
            let key = generate_rsa(&parms, source, cancel)?;
            public.unique = PublicId::Rsa(key.modulus().to_vec().into());
            let prime = SensitiveComposite::new(key.prime())?;
            prepared = OnceLock::from(Prepared::Rsa(key));
            prime
        }
        PublicParms::Ecc(parms) => {
            let key = EccPrivate::generate(parms.curve, &mut *source).map_err(creation_error)?;
            public.unique = PublicId::Ecc(key.public().clone().into());
            let scalar = SensitiveComposite::new(key.scalar())?;
            prepared = OnceLock::from(Prepared::Ecc(key));
            scalar
        }
        PublicParms::SymCipher(aes) => {
            if !given.is_empty() && given.len() != aes.key_bytes() {
                return Err(Rc::KEY_SIZE);
            }
            given_or_new(given, aes.key_bytes(), source)?
        }
        PublicParms::KeyedHash(scheme) => {
            let alg = limiting_hash(scheme).unwrap_or(name_alg);
            // A longer key would be hashed, and so not be stronger.
            let is_key = public.attributes.any(Attr::SIGN.with(Attr::DECRYPT));
            if is_key && given.len() > alg.block_size() {
                return Err(Rc::SIZE);
            }
            given_or_new(given, alg.digest_size(), source)?
        }
    };
    source.stir();
    let mut seed = Zeroizing::new(vec![0; name_alg.digest_size()]);
    source.fill(&mut seed);
    let mut sensitive = Sensitive {
        alg: public.parms.alg(),
        auth: create.user_auth.clone(),
        seed: Auth::new(&seed)?,
        composite,
    };
    if !public.parms.is_asymmetric() {
        public.unique = PublicId::Digest(symmetric_unique(name_alg, &public, &sensitive));
    } else if public.has(Attr::SIGN) || !public.has(Attr::RESTRICTED) {
        // Only a storage key has use for a seed.
        sensitive.seed = Auth::empty();
    }
    let name = public.name();
    Ok(NewObject { public, sensitive, name, prepared })
}

/// The hash of a keyed hash's scheme, whose block bounds the key.
pub(crate) fn limiting_hash(scheme: KeyedHashScheme) -> Option<HashAlg> {
    match scheme {
        KeyedHashScheme::Null => None,
        KeyedHashScheme::Hmac(alg) | KeyedHashScheme::Xor(alg, _) => Some(alg),
    }
}

/// `unique` of a symmetric object: binds public to sensitive area. A parent's is an HMAC, because
/// its seed is more than a blinding value.
pub(crate) fn symmetric_unique(alg: HashAlg, public: &Public, sensitive: &Sensitive) -> Digest {
    let digest = if public.has(Attr::RESTRICTED.with(Attr::DECRYPT)) {
        hmac::hmac(alg, &sensitive.seed, &[&sensitive.composite])
    } else {
        hash::hash(alg, &[&sensitive.seed, &sensitive.composite])
    };
    Digest::from_slice(&digest)
}

fn given_or_new(
    given: &[u8],
    size: usize,
    source: &mut dyn Source,
) -> Result<SensitiveComposite, Rc> {
    if !given.is_empty() {
        return SensitiveComposite::new(given);
    }
    let mut fresh = Zeroizing::new(vec![0; size]);
    source.fill(&mut fresh);
    SensitiveComposite::new(&fresh)
}

fn generate_rsa(
    parms: &RsaParms,
    source: &mut dyn Source,
    cancel: &dyn Fn() -> bool,
) -> Result<RsaPrivate, Rc> {
    let exponent = match parms.exponent {
        0 => DEFAULT_EXPONENT,
        exponent if exponent >= DEFAULT_EXPONENT && is_prime(exponent) => exponent,
        _ => return Err(Rc::RANGE),
    };
    RsaPrivate::generate(usize::from(parms.key_bits.0), exponent, &mut *source, cancel)
        .map_err(creation_error)
}

/// Whether an exponent is prime; by division, since the largest takes 32768 of them.
fn is_prime(number: u32) -> bool {
    let divisors = (3..=u32::from(u16::MAX)).step_by(2);
    !number.is_multiple_of(2)
        && divisors
            .take_while(|divisor| u64::from(*divisor).pow(2) <= u64::from(number))
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn creation_error(error: crypto::Error) -> Rc {
    match error {
        crypto::Error::Cancelled => Rc::CANCELED,
        crypto::Error::NoResult => Rc::NO_RESULT,
        _ => Rc::FAILURE,
    }
}

/// The same without sensitive data: a derived object's is its label and context, which are used up.
pub(crate) fn without_data(create: SensitiveCreate) -> SensitiveCreate {
    SensitiveCreate { data: SensitiveData::empty(), ..create }
}
