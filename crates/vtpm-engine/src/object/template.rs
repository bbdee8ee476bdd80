//! What attributes and schemes a public area may have: for a template, and for an object that is
//! loaded or imported (Part 1, clauses 25 and 27; Part 2, clauses 8.3 and 12.2; Part 3, clauses
//! 12.1 and 12.2).

use super::Object;
use crate::crypto::hash::HashAlg;
use crate::wire::{
    Alg, Auth, KeyedHashScheme, MAX_DIGEST, ObjectAttributes as Attr, Public, PublicParms, Rc,
    Scheme, SymMode,
};

/// Checks a template for a new object below `parent` (`None` for a primary object), when the caller
/// gives `data_size` bytes of sensitive data.
///
/// # Errors
/// As [`check_attributes`], and `TPM_RC_ATTRIBUTES` when `sensitiveDataOrigin` does not fit the
/// kind of object or the data. Without a parameter number.
pub(crate) fn check_creation(
    parent: Option<&Object>,
    public: &Public,
    data_size: usize,
) -> Result<(), Rc> {
    let origin = public.has(Attr::SENSITIVE_DATA_ORIGIN);
    // A primary object may have both: the data then goes into its derivation.
    let contradictory = if origin { parent.is_some() && data_size != 0 } else { data_size == 0 };
    if contradictory {
        return Err(Rc::ATTRIBUTES);
    }
    let fits = match public.parms {
        // The TPM does not invent the data that it seals.
        PublicParms::KeyedHash(_) if origin => public.attributes.any(SIGN_OR_DECRYPT),
        // A restricted key that a caller brings along can't pretend to be the TPM's own.
        PublicParms::KeyedHash(_) | PublicParms::SymCipher(_) => {
            origin || !public.has(Attr::RESTRICTED) || !public.attributes.any(FIXED)
        }
        PublicParms::Rsa(_) | PublicParms::Ecc(_) => origin,
    };
    if fits { check_attributes(parent, public) } else { Err(Rc::ATTRIBUTES) }
}

const SIGN_OR_DECRYPT: Attr = Attr::SIGN.with(Attr::DECRYPT);
const FIXED: Attr = Attr::FIXED_TPM.with(Attr::FIXED_PARENT);

/// Checks the attributes of an object below `parent` (`None` for a primary or imported object).
///
/// # Errors
/// `TPM_RC_HASH`, `TPM_RC_SIZE` (of the policy), `TPM_RC_ATTRIBUTES`, and as [`check_scheme`];
/// without a parameter number.
pub(crate) fn check_attributes(parent: Option<&Object>, public: &Public) -> Result<(), Rc> {
    let name_alg = public.name_alg.ok_or(Rc::HASH)?;
    let policy = public.auth_policy.len();
    if policy != 0 && policy != name_alg.digest_size() {
        return Err(Rc::SIZE);
    }
    let consistent = is_fixing_consistent(parent, public)
        && is_usage_consistent(public)
        && is_duplication_consistent(parent, public)
        && parent.is_none_or(|parent| is_derivation_consistent(parent, public));
    if consistent { check_scheme(parent, public) } else { Err(Rc::ATTRIBUTES) }
}

/// Below a parent that is fixed to this TPM, or a hierarchy, `fixedTPM` and `fixedParent` say the
/// same; below another one, nothing is fixed to this TPM.
fn is_fixing_consistent(parent: Option<&Object>, public: &Public) -> bool {
    let fixed_tpm = public.has(Attr::FIXED_TPM);
    match parent {
        Some(parent) if !parent.public.has(Attr::FIXED_TPM) => !fixed_tpm,
        _ => fixed_tpm == public.has(Attr::FIXED_PARENT),
    }
}

/// A restricted key either signs or decrypts; only sealed data does neither.
fn is_usage_consistent(public: &Public) -> bool {
    let (sign, decrypt) = (public.has(Attr::SIGN), public.has(Attr::DECRYPT));
    if sign != decrypt {
        return true;
    }
    let data = matches!(public.parms, PublicParms::KeyedHash(_));
    !public.has(Attr::RESTRICTED) && (data || sign)
}

/// `encryptedDuplication` makes sense only where there is duplication, and then holds for all below
/// a parent or for none.
fn is_duplication_consistent(parent: Option<&Object>, public: &Public) -> bool {
    let encrypted = public.has(Attr::ENCRYPTED_DUPLICATION);
    if encrypted && public.has(Attr::FIXED_TPM) {
        return false;
    }
    match parent {
        Some(parent) if !parent.public.has(Attr::FIXED_TPM) => {
            encrypted == parent.public.has(Attr::ENCRYPTED_DUPLICATION)
        }
        _ => true,
    }
}

/// A derived object belongs to its parent for ever.
fn is_derivation_consistent(parent: &Object, public: &Public) -> bool {
    !parent.is_derivation_parent()
        || (public.has(Attr::FIXED_TPM) == parent.public.has(Attr::FIXED_TPM)
            && public.has(Attr::FIXED_PARENT))
}

/// Checks that scheme and symmetric algorithm fit the attributes.
///
/// # Errors
/// `TPM_RC_SCHEME`, `TPM_RC_SYMMETRIC`, `TPM_RC_KDF` or `TPM_RC_HASH`, without a parameter number.
pub(crate) fn check_scheme(parent: Option<&Object>, public: &Public) -> Result<(), Rc> {
    let storage = public.has(Attr::RESTRICTED.with(Attr::DECRYPT));
    match &public.parms {
        PublicParms::SymCipher(aes) => {
            // A cipher that decrypts has a mode of a cipher, or leaves it to the user.
            if public.has(Attr::DECRYPT) && aes.mode == Some(SymMode::Cmac) {
                return Err(Rc::SCHEME);
            }
        }
        PublicParms::KeyedHash(scheme) => return check_keyed_hash(public, *scheme),
        PublicParms::Rsa(_) | PublicParms::Ecc(_) => {
            check_asymmetric(public, public.parms.scheme())?;
            if !storage && public.parms.symmetric().is_some() {
                return Err(Rc::SYMMETRIC);
            }
        }
    }
    if let PublicParms::Ecc(ecc) = &public.parms
        && ecc.kdf.is_some()
    {
        return Err(Rc::KDF);
    }
    if !storage {
        return Ok(());
    }
    let symmetric = public.parms.symmetric();
    if symmetric.is_none() {
        return Err(Rc::SYMMETRIC);
    }
    match parent {
        // A storage key that can't leave its parent protects as well as its parent does.
        Some(parent) if public.has(Attr::FIXED_PARENT) => {
            if public.name_alg != parent.public.name_alg {
                Err(Rc::HASH)
            } else if symmetric != parent.public.parms.symmetric() {
                Err(Rc::SYMMETRIC)
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

fn check_keyed_hash(public: &Public, scheme: KeyedHashScheme) -> Result<(), Rc> {
    let (sign, decrypt) = (public.has(Attr::SIGN), public.has(Attr::DECRYPT));
    let fits = match scheme {
        KeyedHashScheme::Null => sign == decrypt,
        KeyedHashScheme::Hmac(_) => sign && !decrypt,
        // A derivation parent needs the one function that derives.
        KeyedHashScheme::Xor(_, kdf) => {
            decrypt && !sign && (!public.has(Attr::RESTRICTED) || kdf == Some(Alg::KDF1_SP800_108))
        }
    };
    if fits { Ok(()) } else { Err(Rc::SCHEME) }
}

fn check_asymmetric(public: &Public, scheme: Scheme) -> Result<(), Rc> {
    let (sign, decrypt) = (public.has(Attr::SIGN), public.has(Attr::DECRYPT));
    let restricted = public.has(Attr::RESTRICTED);
    let fits = match (sign, decrypt) {
        // There is no scheme that does both.
        (true, true) | (false, false) => scheme == Scheme::Null,
        (true, false) => scheme.signs() || (scheme == Scheme::Null && !restricted),
        (false, true) => scheme == Scheme::Null || (!restricted && !scheme.signs()),
    };
    if fits { Ok(()) } else { Err(Rc::SCHEME) }
}

/// Gives an authorization value the length that it has inside an object: that of the digest of the
/// name algorithm, filled with zeros.
///
/// # Errors
/// `TPM_RC_SIZE` when it is longer, trailing zeros aside.
pub(crate) fn adjust_auth(auth: &mut Auth, name_alg: Option<HashAlg>) -> Result<(), Rc> {
    let size = name_alg.map_or(MAX_DIGEST, HashAlg::digest_size);
    auth.trim_trailing_zeros();
    if auth.len() > size {
        return Err(Rc::SIZE);
    }
    auth.pad_to(size);
    Ok(())
}
