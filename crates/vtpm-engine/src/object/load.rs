//! Loading: whether public and sensitive area are those of one object, and what it then is
//! (Part 1, clauses 27.6 and 29.3; Part 3, clauses 12.2, 12.3 and 13.3).

use std::sync::OnceLock;

use super::create::{Above, NewObject, limiting_hash, symmetric_unique};
use super::key::DEFAULT_EXPONENT;
use super::{Object, Prepared, template};
use crate::crypto::ecc::{Curve, EccPrivate, Point};
use crate::crypto::hash::HashAlg;
use crate::crypto::rsa::RsaPrivate;
use crate::hierarchy::Hierarchy;
use crate::wire::{
    EccPoint, MAX_SYM_DATA, Name, ObjectAttributes as Attr, Public, PublicId, PublicParms, Rc,
    RsaParms, Sensitive,
};

/// Which parameters carry the areas, for the numbers of response codes.
#[derive(Copy, Clone)]
pub(crate) struct Blame {
    pub(crate) public: u32,
    pub(crate) sensitive: u32,
}

/// An object below a parent, out of areas whose integrity was checked.
///
/// # Errors
/// As [`check_loadable`]; `TPM_RC_BINDING` when an RSA prime does not belong to its modulus.
pub(crate) fn below_parent(
    parent: &Object,
    public: Public,
    sensitive: Sensitive,
    name: Name,
    blame: Blame,
) -> Result<Object, Rc> {
    // What is below a fixed parent was checked when it came there.
    let check = !parent.public.has(Attr::FIXED_TPM);
    check_loadable(Some(parent), &public, Some(&sensitive), check, blame)?;
    let prepared = prepare(&public, &sensitive)?;
    Ok(NewObject { public, sensitive, name, prepared }.below(Above::Parent(parent)))
}

/// An object of `TPM2_LoadExternal`.
///
/// # Errors
/// As [`below_parent`].
pub(crate) fn external(
    hierarchy: Hierarchy,
    public: Public,
    sensitive: Option<Sensitive>,
    blame: Blame,
) -> Result<Object, Rc> {
    check_loadable(None, &public, sensitive.as_ref(), true, blame)?;
    let prepared = match &sensitive {
        Some(sensitive) => prepare(&public, sensitive)?,
        None => OnceLock::new(),
    };
    let name = public.name();
    Ok(Object {
        qualified_name: name.clone(),
        name,
        hierarchy,
        primary: false,
        external: true,
        st_clear: public.has(Attr::ST_CLEAR),
        public,
        sensitive,
        prepared,
    })
}

/// An RSA key is prepared at once, which also shows whether its parts belong together. Another key
/// is prepared when it is used.
fn prepare(public: &Public, sensitive: &Sensitive) -> Result<OnceLock<Prepared>, Rc> {
    let (PublicParms::Rsa(parms), PublicId::Rsa(modulus)) = (&public.parms, &public.unique) else {
        return Ok(OnceLock::new());
    };
    let exponent = if parms.exponent == 0 { DEFAULT_EXPONENT } else { parms.exponent };
    let key =
        RsaPrivate::from_prime(modulus, exponent, &sensitive.composite).map_err(|_| Rc::BINDING)?;
    Ok(OnceLock::from(Prepared::Rsa(key)))
}

/// Checks what can be loaded: attributes, schemes and, with `check`, that sizes are right and the
/// areas belong together.
///
/// # Errors
/// As [`template::check_attributes`] with the number of the public area; `TPM_RC_TYPE`,
/// `TPM_RC_SIZE`, `TPM_RC_KEY_SIZE`, `TPM_RC_KEY`, `TPM_RC_VALUE` and `TPM_RC_ECC_POINT` with the
/// number of the area at fault; `TPM_RC_BINDING`.
pub(crate) fn check_loadable(
    parent: Option<&Object>,
    public: &Public,
    sensitive: Option<&Sensitive>,
    check: bool,
    blame: Blame,
) -> Result<(), Rc> {
    match (sensitive, public.name_alg) {
        (Some(sensitive), Some(alg)) => {
            if sensitive.seed.len() > alg.digest_size() {
                return Err(Rc::KEY_SIZE.parameter(blame.sensitive));
            }
            template::check_attributes(parent, public)
        }
        // An area alone, or without a name, needs only what its use needs.
        _ => template::check_scheme(None, public),
    }
    .map_err(|rc| rc.parameter(blame.public))?;
    if check { check_key(public, sensitive, blame) } else { Ok(()) }
}

fn check_key(public: &Public, sensitive: Option<&Sensitive>, blame: Blame) -> Result<(), Rc> {
    let digest_size = public.name_alg.map_or(0, HashAlg::digest_size);
    if let Some(sensitive) = sensitive {
        if sensitive.alg != public.parms.alg() {
            return Err(Rc::TYPE.parameter(blame.sensitive));
        }
        if digest_size != 0 && sensitive.auth.len() > digest_size {
            return Err(Rc::SIZE.parameter(blame.sensitive));
        }
    }
    match (&public.parms, &public.unique) {
        (PublicParms::Rsa(parms), PublicId::Rsa(modulus)) => {
            check_rsa(parms, modulus, sensitive, blame)?;
        }
        (PublicParms::Ecc(parms), PublicId::Ecc(point)) => {
            let named = public.name_alg.is_some();
            check_ecc(parms.curve, point, sensitive, named, blame)?;
        }
        (_, PublicId::Digest(unique)) => match sensitive {
            Some(sensitive) => check_symmetric(public, unique, sensitive, blame)?,
            None if unique.len() != digest_size => return Err(Rc::KEY.parameter(blame.public)),
            None => {}
        },
        _ => return Err(Rc::TYPE.parameter(blame.public)),
    }
    if let (Some(sensitive), Some(_)) = (sensitive, public.name_alg)
        && public.has(Attr::RESTRICTED.with(Attr::DECRYPT))
        && !(digest_size / 2..=digest_size).contains(&sensitive.seed.len())
    {
        return Err(Rc::SIZE.parameter(blame.sensitive));
    }
    Ok(())
}

fn check_rsa(
    parms: &RsaParms,
    modulus: &[u8],
    sensitive: Option<&Sensitive>,
    blame: Blame,
) -> Result<(), Rc> {
    let full = |number: &[u8], size: usize| {
        number.len() == size && number.first().is_some_and(|first| *first >= 0x80)
    };
    let size = parms.key_bits.bytes();
    if !full(modulus, size) {
        return Err(Rc::KEY.parameter(blame.public));
    }
    if (1..7).contains(&parms.exponent) {
        return Err(Rc::VALUE.parameter(blame.public));
    }
    match sensitive {
        Some(sensitive) if !full(&sensitive.composite, size / 2) => {
            Err(Rc::KEY_SIZE.parameter(blame.sensitive))
        }
        _ => Ok(()),
    }
}

fn check_ecc(
    curve: Curve,
    point: &EccPoint,
    sensitive: Option<&Sensitive>,
    named: bool,
    blame: Blame,
) -> Result<(), Rc> {
    let Some(sensitive) = sensitive else {
        if point.x.len() != curve.bytes() || point.y.len() != curve.bytes() {
            return Err(Rc::KEY.parameter(blame.public));
        }
        if named && !Point::from(point).is_on_curve(curve) {
            return Err(Rc::ECC_POINT.parameter(blame.public));
        }
        return Ok(());
    };
    let key = EccPrivate::new(curve, &sensitive.composite).map_err(|_| Rc::KEY_SIZE)?;
    let same = |given: &[u8], computed: &[u8]| without_zeros(given) == without_zeros(computed);
    if named && !(same(&point.x, &key.public().x) && same(&point.y, &key.public().y)) {
        return Err(Rc::BINDING);
    }
    Ok(())
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn check_symmetric(
    public: &Public,
    unique: &[u8],
    sensitive: &Sensitive,
    blame: Blame,
) -> Result<(), Rc> {
    let length = sensitive.composite.len();
    let fits = match &public.parms {
        PublicParms::SymCipher(aes) => length == aes.key_bytes(),
        PublicParms::KeyedHash(scheme) => {
            length <= limiting_hash(*scheme).map_or(MAX_SYM_DATA, HashAlg::block_size)
        }
        PublicParms::Rsa(_) | PublicParms::Ecc(_) => false,
    };
    if !fits {
        return Err(Rc::KEY_SIZE.parameter(blame.sensitive));
    }
    let Some(alg) = public.name_alg else { return Ok(()) };
    if sensitive.seed.len() != alg.digest_size() {
        return Err(Rc::KEY_SIZE.parameter(blame.sensitive));
    }
    let expected = symmetric_unique(alg, public, sensitive);
    if expected.as_bytes() == unique { Ok(()) } else { Err(Rc::BINDING) }
}
