//! Duplication commands: Part 3, clause 13.

pub(crate) mod duplicate;
pub(crate) mod import;
pub(crate) mod rewrap;

use crate::object::Object;
use crate::wire::ObjectAttributes;

/// Whether a key can protect a duplication: an asymmetric storage key, of which the public area
/// suffices.
fn is_new_parent(object: &Object) -> bool {
    let storage = ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT);
    object.public.parms.is_asymmetric()
        && object.public.has(storage)
        && !object.public.has(ObjectAttributes::SIGN)
}
