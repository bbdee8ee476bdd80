//! TPM2_CreateLoaded: Part 3, clause 12.9, revision 1.59.

use std::sync::Arc;

use crate::commands::command;
use crate::hierarchy::Hierarchy;
use crate::object::create::{Above, NewObject, without_data};
use crate::object::derive::DerivedSource;
use crate::object::{Object, template};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{
    Derive, DhParent, EccPoint, HandleInterface, Name, ObjectAttributes, Private, Public, PublicId,
    PublicParms, Rc, Reader, SensitiveCreate, Sized2b, Template, Tpm2bPublic, Tpm2bSensitiveCreate,
};

command! {
    /// Makes an object and loads it: a primary object below a hierarchy, an ordinary one below a
    /// storage key, a derived one below a derivation parent.
    #[doc(alias = "TPM2_CreateLoaded")]
    Command {
        handles {
            /// The parent.
            parent_handle: Option<DhParent>,
        }
        parameters {
            /// Authorization value, and data or label and context.
            in_sensitive: Tpm2bSensitiveCreate,
            /// The template; its form depends on the parent.
            in_public: Template,
        }
    }
    Response {
        handle {
            /// The loaded object.
            object_handle
        }
        parameters {
            /// The protected sensitive area; empty unless the object is an ordinary one.
            out_private: Private,
            /// The public area.
            out_public: Tpm2bPublic,
            /// The name.
            name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let parent_handle = command.parent_handle.handle();
    let parent = match Hierarchy::of(parent_handle) {
        Some(hierarchy) => Parent::Hierarchy(hierarchy),
        None => {
            let parent = tpm.object(parent_handle).map_err(|_| Rc::TYPE.handle(1))?;
            if parent.is_derivation_parent() {
                Parent::Derivation(parent)
            } else if parent.is_storage_parent() {
                Parent::Storage(parent)
            } else {
                return Err(Rc::TYPE.handle(1));
            }
        }
    };
    tpm.objects.check_free()?;
    let derivation = matches!(parent, Parent::Derivation(_));
    let public =
        read_template(tpm, &command.in_public, derivation).map_err(|rc| rc.parameter(2))?;
    let mut create = command.in_sensitive.0;
    template::adjust_auth(&mut create.user_auth, public.name_alg).map_err(|rc| rc.parameter(1))?;
    let new = generate(tpm, &parent, public, create)?;
    let out_private = match &parent {
        Parent::Storage(parent) => {
            tpm.sensitive_to_private(&new.sensitive, &new.name, new.public.name_alg, parent)?
        }
        Parent::Hierarchy(_) | Parent::Derivation(_) => Private::empty(),
    };
    let (out_public, name) = (Sized2b(new.public.clone()), new.name.clone());
    let object = match &parent {
        Parent::Hierarchy(hierarchy) => new.below(Above::Hierarchy(*hierarchy)),
        Parent::Storage(parent) | Parent::Derivation(parent) => new.below(Above::Parent(parent)),
    };
    let object_handle = tpm.load_object(object)?;
    Ok(Response { object_handle, out_private, out_public, name })
}

/// The three kinds of parent.
enum Parent {
    Hierarchy(Hierarchy),
    Storage(Arc<Object>),
    Derivation(Arc<Object>),
}

fn read_template(tpm: &Tpm, bytes: &[u8], derivation: bool) -> Result<Public, Rc> {
    let mut reader = Reader::new(bytes, &tpm.profile.algorithms);
    let public = Public::unmarshal_template(&mut reader, derivation)?;
    reader.finish()?;
    Ok(public)
}

fn generate(
    tpm: &mut Tpm,
    parent: &Parent,
    public: Public,
    create: SensitiveCreate,
) -> Result<NewObject, Rc> {
    let above = match parent {
        Parent::Hierarchy(_) => None,
        Parent::Storage(parent) => Some(&**parent),
        Parent::Derivation(parent) => return derive(tpm, parent, public, create),
    };
    template::check_creation(above, &public, create.data.len()).map_err(|rc| rc.parameter(2))?;
    if let Parent::Hierarchy(hierarchy) = parent {
        let mut source = tpm.primary_source(*hierarchy, &public, &create.data);
        tpm.generate_from(public, &create, &mut source)
    } else {
        tpm.generate_random(public, &create)
    }
}

fn derive(
    tpm: &Tpm,
    parent: &Object,
    mut public: Public,
    create: SensitiveCreate,
) -> Result<NewObject, Rc> {
    // Primes can't be derived in a way that all TPMs share.
    if matches!(public.parms, PublicParms::Rsa(_)) {
        return Err(Rc::TYPE.parameter(2));
    }
    if public.has(ObjectAttributes::SENSITIVE_DATA_ORIGIN) {
        return Err(Rc::ATTRIBUTES);
    }
    template::check_attributes(Some(parent), &public).map_err(|rc| rc.parameter(2))?;
    // What takes the place of label and context has the kind that the type wants.
    let unique = match public.parms {
        PublicParms::Ecc(_) => PublicId::Ecc(EccPoint::default()),
        _ => PublicId::Digest(Default::default()),
    };
    let template = match core::mem::replace(&mut public.unique, unique) {
        PublicId::Derive(derive) => derive,
        _ => Derive::default(),
    };
    let derive = tpm.label_and_context(template, &create.data)?;
    let mut source = DerivedSource::new(parent, &derive)?;
    tpm.generate_from(public, &without_data(create), &mut source)
}
