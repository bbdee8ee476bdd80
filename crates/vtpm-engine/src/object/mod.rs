//! Objects and sequences: what is loaded, and where (Part 1, clauses 26 to 28).

pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod derive;
pub(crate) mod key;
pub(crate) mod load;
pub(crate) mod protect;
pub(crate) mod secret;
pub(crate) mod sequence;
pub(crate) mod template;

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod vectors;

use std::sync::{Arc, OnceLock};

use crate::hierarchy::Hierarchy;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleType, Name, ObjectAttributes, Public, Rc, Sensitive};
use sequence::Sequence;

/// A loaded or persistent object. Never changes, so it is shared, not copied.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) public: Public,
    /// Absent when only the public area is loaded.
    pub(crate) sensitive: Option<Sensitive>,
    pub(crate) name: Name,
    pub(crate) qualified_name: Name,
    pub(crate) hierarchy: Hierarchy,
    /// Derived from a primary seed (`TPM2_CreatePrimary`).
    pub(crate) primary: bool,
    /// Loaded by `TPM2_LoadExternal`.
    pub(crate) external: bool,
    /// The object or one of its ancestors has `stClear`, so that its contexts die at a reset or
    /// restart.
    pub(crate) st_clear: bool,
    /// The key as the cryptographic library wants it, made at first use.
    pub(crate) prepared: OnceLock<Prepared>,
}

/// A key that is ready for use: parsing and checking it is the larger part of a small operation.
#[derive(Debug)]
pub(crate) enum Prepared {
    Rsa(crate::crypto::rsa::RsaPrivate),
    Ecc(crate::crypto::ecc::EccPrivate),
}

impl Object {
    /// Whether the object can protect children: a storage key, or a derivation parent.
    pub(crate) fn is_parent(&self) -> bool {
        is_parent(&self.public) && self.sensitive.is_some()
    }

    /// Whether the object derives its children instead of storing them.
    pub(crate) fn is_derivation_parent(&self) -> bool {
        self.is_parent() && matches!(self.public.parms, crate::wire::PublicParms::KeyedHash(_))
    }

    /// Whether the object is a parent whose children are stored under its symmetric key.
    pub(crate) fn is_storage_parent(&self) -> bool {
        self.is_parent() && !matches!(self.public.parms, crate::wire::PublicParms::KeyedHash(_))
    }
}

/// Whether a public area is that of a parent: restricted, for decryption, with a name algorithm.
pub(crate) fn is_parent(public: &Public) -> bool {
    public.has(ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT))
        && !public.has(ObjectAttributes::SIGN)
        && public.name_alg.is_some()
}

/// The qualified name below a parent's: the hash of the parent's and the object's name.
pub(crate) fn qualified_name(parent: &[u8], public: &Public, name: &Name) -> Name {
    let Some(alg) = public.name_alg else { return Name::empty() };
    let digest = crate::crypto::hash::hash(alg, &[parent, name]);
    let mut qualified = alg.id().to_be_bytes().to_vec();
    qualified.extend_from_slice(&digest);
    Name::from(qualified)
}

/// A slot for an object or sequence.
pub(crate) enum Slot {
    Object(Arc<Object>),
    Sequence(Box<Sequence>),
}

/// The loaded objects; handle `0x80000000 + n` is slot `n`.
pub(crate) struct Objects {
    slots: Vec<Option<Slot>>,
}

impl Objects {
    /// So many empty slots.
    pub(crate) fn new(count: u16) -> Self {
        Self { slots: (0..count).map(|_| None).collect() }
    }

    /// The slots, in the order of handles.
    pub(crate) fn slots(&self) -> &[Option<Slot>] {
        &self.slots
    }

    /// What a handle refers to.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Slot> {
        if !handle.is(HandleType::Transient) {
            return None;
        }
        self.slots.get(handle.index() as usize)?.as_ref()
    }

    /// The slot of a handle.
    pub(crate) fn slot_mut(&mut self, handle: Handle) -> Option<&mut Option<Slot>> {
        if !handle.is(HandleType::Transient) {
            return None;
        }
        self.slots.get_mut(handle.index() as usize)
    }

    /// `TPM_RC_OBJECT_MEMORY` unless there is an empty slot.
    pub(crate) fn check_free(&self) -> Result<(), Rc> {
        if self.slots.iter().any(Option::is_none) { Ok(()) } else { Err(Rc::OBJECT_MEMORY) }
    }

    /// Puts something into the first empty slot.
    pub(crate) fn insert(&mut self, content: Slot) -> Result<Handle, Rc> {
        let position = self.slots.iter().position(Option::is_none).ok_or(Rc::OBJECT_MEMORY)?;
        if let Some(slot) = self.slots.get_mut(position) {
            *slot = Some(content);
        }
        Ok(Handle(HandleType::Transient.first().0 | position as u32))
    }

    /// Empties a slot; `false` when it was empty.
    pub(crate) fn remove(&mut self, handle: Handle) -> bool {
        self.slot_mut(handle).is_some_and(|slot| slot.take().is_some())
    }

    /// Empties the slots of objects for which `keep` is false; sequences count as objects of the
    /// null hierarchy.
    pub(crate) fn retain(&mut self, keep: impl Fn(Option<&Object>) -> bool) {
        for slot in &mut self.slots {
            let stays = match slot {
                Some(Slot::Object(object)) => keep(Some(object)),
                Some(Slot::Sequence(_)) => keep(None),
                None => true,
            };
            if !stays {
                *slot = None;
            }
        }
    }
}

impl Tpm {
    /// The object behind a transient or persistent handle that dispatch found to be there.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` for a sequence, which the caller may replace by what its clause says.
    pub(crate) fn object(
        &self,
        handle: impl crate::wire::HandleInterface,
    ) -> Result<Arc<Object>, Rc> {
        let handle = handle.handle();
        if handle.is(HandleType::Persistent) {
            return self.nv.persistent(handle).ok_or(Rc::HANDLE);
        }
        match self.objects.get(handle) {
            Some(Slot::Object(object)) => Ok(Arc::clone(object)),
            Some(Slot::Sequence(_)) => Err(Rc::TYPE),
            None => Err(Rc::HANDLE),
        }
    }

    /// The sequence behind a handle; `TPM_RC_MODE` when it is an object, as Part 3, clause 17,
    /// has it.
    pub(crate) fn sequence_mut(
        &mut self,
        handle: impl crate::wire::HandleInterface,
    ) -> Result<&mut Sequence, Rc> {
        match self.objects.slot_mut(handle.handle()) {
            Some(Some(Slot::Sequence(sequence))) => Ok(sequence),
            _ => Err(Rc::MODE),
        }
    }

    /// Puts an object into a slot.
    pub(crate) fn load_object(&mut self, object: Object) -> Result<Handle, Rc> {
        self.objects.insert(Slot::Object(Arc::new(object)))
    }
}
