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

#[cfg(test)]
mod tests {
    use crate::object::samples::{
        FIXED, OWN, STORAGE, Stored, derivation_parent, ecc, ecc_signing, ecc_storage, hmac_key,
        next, rsa, sealed, sensitive, sym_cipher,
    };
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Aes, Cc, Derive, Digest, Handle, Label, Marshal, Name, ObjectAttributes as Attr, Private,
        Public, PublicId, Rc, Scheme, Sized2b, SymMode, Template,
    };

    fn create(parent: Handle, data: &[u8], template: &Public) -> CommandBuilder {
        command(Cc::CREATE_LOADED)
            .handle(parent)
            .password(b"")
            .put(sensitive(b"", data))
            .put(Template::from_slice(&template.to_bytes()))
    }

    fn derive(label: &[u8], context: &[u8]) -> Derive {
        Derive { label: Label::from_slice(label), context: Label::from_slice(context) }
    }

    /// A template for a derived object.
    fn derived(template: Public, label: &[u8], context: &[u8]) -> Public {
        let attributes = template.attributes.without(Attr::SENSITIVE_DATA_ORIGIN);
        Public { attributes, unique: PublicId::Derive(derive(label, context)), ..template }
    }

    fn parent(client: &mut Client) -> Handle {
        client.primary(Handle::OWNER, &derivation_parent())
    }

    #[test]
    fn below_a_hierarchy_it_is_a_primary_object() {
        let mut client = Client::started();
        let reply = client.run(&create(Handle::OWNER, b"", &ecc_storage())).unwrap();
        let primary = client.primary(Handle::OWNER, &ecc_storage());
        let mut rest = reply.parameters;
        assert!(next::<Private>(&client, &mut rest).is_empty());
        let public = next::<Sized2b<Public>>(&client, &mut rest).0;
        assert_eq!(next::<Name>(&client, &mut rest), client.tpm.name(primary));
        assert_eq!(public, client.tpm.object(primary).unwrap().public);
        client.run(&create(Handle::NULL, b"", &ecc_storage())).unwrap();
    }

    #[test]
    fn below_a_storage_key_it_can_be_loaded_again() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        let reply = client.run(&create(parent, b"data", &sealed())).unwrap();
        let mut rest = reply.parameters;
        let private = next::<Private>(&client, &mut rest);
        let public = next::<Sized2b<Public>>(&client, &mut rest).0;
        let again = client.load_stored(parent, &Stored { private, public }).unwrap();
        assert_eq!(client.tpm.name(again), client.tpm.name(reply.handle.unwrap()));
    }

    #[test]
    fn a_derived_object_depends_on_label_and_context_alone() {
        let mut client = Client::started();
        let parent = parent(&mut client);
        let mut names = Vec::new();
        let mut add = |client: &mut Client, data: &[u8], template: &Public| {
            let handle = client.run(&create(parent, data, template)).unwrap().handle.unwrap();
            assert!(client.tpm.object(handle).unwrap().sensitive.is_some());
            names.push(client.tpm.name(handle));
            client.flush(handle);
        };
        add(&mut client, b"", &derived(ecc_signing(), b"l", b"c"));
        add(&mut client, b"", &derived(ecc_signing(), b"l", b"c"));
        // The template goes first, the sensitive data fills what it leaves open.
        let data = derive(b"x", b"c").to_bytes();
        add(&mut client, &data, &derived(ecc_signing(), b"l", b""));
        add(&mut client, &derive(b"l", b"y").to_bytes(), &derived(ecc_signing(), b"", b"c"));
        assert!(names.iter().all(|name| *name == names[0]));
        names.truncate(1);
        let mut add = |client: &mut Client, template: &Public| {
            let handle = client.run(&create(parent, b"", template)).unwrap().handle.unwrap();
            names.push(client.tpm.name(handle));
            client.flush(handle);
        };
        add(&mut client, &derived(ecc_signing(), b"l", b"d"));
        add(&mut client, &derived(ecc_signing(), b"m", b"c"));
        add(&mut client, &derived(hmac_key(), b"l", b"c"));
        add(
            &mut client,
            &derived(sym_cipher(FIXED.with(OWN).with(Attr::DECRYPT), None), b"l", b"c"),
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn what_can_not_be_derived_is_refused() {
        let mut client = Client::started();
        let parent = parent(&mut client);
        let mut refused = |template: &Public, data: &[u8], rc: Rc| {
            assert_eq!(client.rc(&create(parent, data, template)), rc, "{template:?}");
        };
        let sign = FIXED.with(OWN).with(Attr::SIGN);
        let rsa = rsa(1024, sign, Scheme::Null, None);
        refused(&derived(rsa, b"", b""), b"", Rc::TYPE.parameter(2));
        let mut template = derived(hmac_key(), b"", b"");
        template.attributes = template.attributes.with(Attr::SENSITIVE_DATA_ORIGIN);
        refused(&template, b"", Rc::ATTRIBUTES);
        template.attributes = hmac_key().attributes.without(FIXED.with(OWN));
        refused(&template, b"", Rc::ATTRIBUTES.parameter(2));
        // A storage key below a derivation parent would have to protect as that does.
        let storage = ecc(STORAGE, Scheme::Null, Some(Aes::cfb(128)));
        refused(&derived(storage, b"", b""), b"", Rc::SYMMETRIC.parameter(2));
        refused(&derived(hmac_key(), b"", b""), &[0, 9, 1], Rc::INSUFFICIENT);
        refused(&derived(hmac_key(), b"", b""), &[0, 99, 1], Rc::SIZE);
    }

    #[test]
    fn a_template_must_fill_its_buffer() {
        let mut client = Client::started();
        let mut bytes = hmac_key().to_bytes();
        bytes.push(0);
        let long = command(Cc::CREATE_LOADED)
            .handle(Handle::OWNER)
            .password(b"")
            .put(sensitive(b"", b""))
            .put(Template::from_slice(&bytes));
        assert_eq!(client.rc(&long), Rc::SIZE.parameter(2));
        let mut template = hmac_key();
        template.name_alg = None;
        let rc = client.rc(&create(Handle::OWNER, b"", &template));
        assert_eq!(rc, Rc::HASH.parameter(2));
    }

    #[test]
    fn only_parents_and_hierarchies_have_children() {
        let mut client = Client::started();
        let key = client.primary(Handle::OWNER, &hmac_key());
        assert_eq!(client.rc(&create(key, b"", &hmac_key())), Rc::TYPE.handle(1));
        let lockout = create(Handle::LOCKOUT, b"", &hmac_key());
        assert_eq!(client.rc(&lockout), Rc::VALUE.handle(1));
    }

    #[test]
    fn a_long_authorization_value_is_reported_before_a_bad_template() {
        let mut client = Client::started();
        let create = command(Cc::CREATE_LOADED)
            .handle(Handle::OWNER)
            .password(b"")
            .put(sensitive(&[1; 33], b""))
            .put(Template::from_slice(&sealed().to_bytes()));
        assert_eq!(client.rc(&create), Rc::SIZE.parameter(1));
    }

    #[test]
    fn a_symmetric_storage_key_has_children_too() {
        let mut client = Client::started();
        let attributes = STORAGE;
        let template = sym_cipher(attributes, Some(SymMode::Cfb));
        let parent = client.run(&create(Handle::OWNER, b"", &template)).unwrap().handle.unwrap();
        client.child(parent, &hmac_key(), b"");
        let object = client.tpm.object(parent).unwrap();
        assert!(matches!(&object.public.unique, PublicId::Digest(d) if *d != Digest::empty()));
    }
}
