//! Entities: what a handle stands for, its name, and how it is authorized
//! (Part 1, clauses 15.1 and 17).

use crate::hierarchy::Hierarchy;
use crate::object::Slot;
use crate::tpm::{Policy, Tpm};
use crate::wire::{
    Auth, Handle, HandleType, Marshal, Name, NvAttributes, NvType, ObjectAttributes, Places, Rc,
};

/// The role in which a handle is authorized (Part 1, clause 17.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The handle needs no authorization.
    None,
    /// Ordinary use.
    User,
    /// Changes to the entity itself.
    Admin,
    /// Duplication.
    Dup,
}

/// What a command does with an NV index: each has its own attribute bits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anything but an NV write.
    Read,
    /// An NV write.
    Write,
}

impl Tpm {
    /// Checks that a handle of the handle area refers to something that can be used now.
    ///
    /// `position` is the handle's zero-based place.
    pub(crate) fn check_loaded(&self, handle: Handle, position: usize) -> Result<(), Rc> {
        let missing = Err(Rc::reference_handle(position));
        match handle.kind() {
            Some(HandleType::Permanent) => match handle.act() {
                Some(act) if usize::from(act) >= self.clear.acts.len() => Err(Rc::VALUE),
                None if handle.is_vendor_auth() => Err(Rc::VALUE),
                _ => {
                    Hierarchy::of(handle).map_or(Ok(()), |hierarchy| self.check_enabled(hierarchy))
                }
            },
            Some(HandleType::Transient) => self.objects.get(handle).map_or(missing, |_| Ok(())),
            Some(HandleType::Persistent) => self.check_persistent(handle),
            Some(HandleType::HmacSession | HandleType::PolicySession) => {
                match self.sessions.get(handle) {
                    None => missing,
                    Some(session)
                        if session.is_policy() != handle.is(HandleType::PolicySession) =>
                    {
                        Err(Rc::HANDLE)
                    }
                    Some(_) => Ok(()),
                }
            }
            Some(HandleType::Nv) => self.check_nv_accessible(handle),
            Some(HandleType::Pcr) => Ok(()),
            None => Err(Rc::VALUE),
        }
    }

    /// How many sessions and transient objects can have a handle.
    pub(crate) fn places(&self) -> Places {
        Places { sessions: self.sessions.slots.len(), objects: self.objects.slots().len() }
    }

    fn check_persistent(&self, handle: Handle) -> Result<(), Rc> {
        let object = self.nv.persistent(handle).ok_or(Rc::HANDLE)?;
        // A disabled hierarchy hides its objects.
        if self.is_enabled(object.hierarchy) { Ok(()) } else { Err(Rc::HANDLE) }
    }

    /// The name of an entity: a handle, or the name of an object or index.
    pub(crate) fn name(&self, handle: Handle) -> Name {
        match handle.kind() {
            Some(HandleType::Transient) => match self.objects.get(handle) {
                Some(Slot::Object(object)) => object.name.clone(),
                Some(Slot::Sequence(_)) | None => Name::empty(),
            },
            Some(HandleType::Persistent) => {
                self.nv.persistent(handle).map_or_else(Name::empty, |object| object.name.clone())
            }
            Some(HandleType::Nv) => {
                self.nv.index(handle).map_or_else(Name::empty, |index| index.public.name())
            }
            _ => Name::from(handle.to_bytes()),
        }
    }

    /// The authorization value, without trailing zeros; empty for what no longer exists.
    pub(crate) fn auth_value(&self, handle: Handle) -> Auth {
        let hierarchies = &self.permanent.hierarchies;
        let mut auth = match handle.kind() {
            Some(HandleType::Permanent) => match handle {
                Handle::OWNER => hierarchies.owner_auth.auth.clone(),
                Handle::ENDORSEMENT => hierarchies.endorsement_auth.auth.clone(),
                Handle::LOCKOUT => hierarchies.lockout_auth.auth.clone(),
                Handle::PLATFORM => self.clear.platform_auth.clone(),
                // A countdown timer is authorized with the platform's value.
                _ if handle.act().is_some() => self.clear.platform_auth.clone(),
                _ => Auth::empty(),
            },
            Some(HandleType::Transient) => match self.objects.get(handle) {
                Some(Slot::Object(object)) => {
                    object.sensitive.as_ref().map_or_else(Auth::empty, |s| s.auth.clone())
                }
                Some(Slot::Sequence(sequence)) => sequence.auth.clone(),
                None => Auth::empty(),
            },
            Some(HandleType::Persistent) => self
                .nv
                .persistent(handle)
                .and_then(|object| object.sensitive.as_ref().map(|s| s.auth.clone()))
                .unwrap_or_default(),
            Some(HandleType::Nv) => {
                self.nv.index(handle).map_or_else(Auth::empty, |index| index.auth.clone())
            }
            Some(HandleType::Pcr) => self.pcr_auth(handle),
            _ => Auth::empty(),
        };
        auth.trim_trailing_zeros();
        auth
    }

    /// The authorization policy; absent when there is none.
    pub(crate) fn auth_policy(&self, handle: Handle) -> Option<Policy> {
        let hierarchies = &self.permanent.hierarchies;
        match handle.kind()? {
            HandleType::Permanent => match handle {
                Handle::OWNER => hierarchies.owner_auth.policy.clone(),
                Handle::ENDORSEMENT => hierarchies.endorsement_auth.policy.clone(),
                Handle::LOCKOUT => hierarchies.lockout_auth.policy.clone(),
                Handle::PLATFORM => self.clear.platform_policy.clone(),
                _ => {
                    let act = usize::from(handle.act()?);
                    self.clear.acts.get(act)?.policy.clone()
                }
            },
            HandleType::Transient | HandleType::Persistent => {
                let object = self.object(handle).ok()?;
                let alg = object.public.name_alg?;
                Some(Policy { alg, digest: object.public.auth_policy.clone() })
            }
            HandleType::Nv => {
                let public = &self.nv.index(handle)?.public;
                Some(Policy { alg: public.name_alg, digest: public.auth_policy.clone() })
            }
            HandleType::Pcr => self.pcr_policy(handle).cloned(),
            HandleType::HmacSession | HandleType::PolicySession => None,
        }
    }

    /// Whether failed authorizations of the entity are not counted.
    pub(crate) fn is_da_exempt(&self, handle: Handle) -> bool {
        match handle.kind() {
            Some(HandleType::Permanent) => handle != Handle::LOCKOUT,
            Some(HandleType::Transient | HandleType::Persistent) => {
                // A sequence is exempt.
                matches!(self.objects.get(handle), Some(Slot::Sequence(_)))
                    || self
                        .object(handle)
                        .is_ok_and(|object| object.public.has(ObjectAttributes::NO_DA))
            }
            Some(HandleType::Nv) => {
                self.nv.index(handle).is_some_and(|index| index.has(NvAttributes::NO_DA))
            }
            Some(HandleType::Pcr) => true,
            _ => false,
        }
    }

    /// Whether only a policy can authorize this use.
    pub(crate) fn is_policy_required(&self, handle: Handle, role: Role) -> bool {
        match role {
            Role::Dup => true,
            // An object may allow its authorization value for the ADMIN role; nothing else may.
            Role::Admin if handle.is_object() => self
                .object(handle)
                .is_ok_and(|object| object.public.has(ObjectAttributes::ADMIN_WITH_POLICY)),
            Role::Admin => true,
            Role::User | Role::None => handle.is_pcr() && self.pcr_policy(handle).is_some(),
        }
    }

    /// Whether the authorization value may be used.
    pub(crate) fn is_auth_available(&self, handle: Handle, role: Role, access: Access) -> bool {
        match handle.kind() {
            Some(HandleType::Permanent) => {
                matches!(
                    handle,
                    Handle::OWNER
                        | Handle::ENDORSEMENT
                        | Handle::PLATFORM
                        | Handle::LOCKOUT
                        | Handle::NULL
                ) || (handle.act().is_some() && self.platform_enabled)
            }
            Some(HandleType::Transient | HandleType::Persistent) => {
                if let Some(Slot::Sequence(_)) = self.objects.get(handle) {
                    return true;
                }
                let Ok(object) = self.object(handle) else { return false };
                let admin =
                    role == Role::Admin && !object.public.has(ObjectAttributes::ADMIN_WITH_POLICY);
                object.sensitive.is_some()
                    && (admin || object.public.has(ObjectAttributes::USER_WITH_AUTH))
            }
            Some(HandleType::Nv) => {
                let Some(index) = self.nv.index(handle) else { return false };
                match (access, index.kind()) {
                    (Access::Write, _) => index.has(NvAttributes::AUTH_WRITE),
                    (Access::Read, NvType::PinFail | NvType::PinPass) => {
                        let (count, limit) = index.pin();
                        index.has(NvAttributes::WRITTEN) && count < limit
                    }
                    (Access::Read, _) => index.has(NvAttributes::AUTH_READ),
                }
            }
            Some(HandleType::Pcr) => true,
            _ => false,
        }
    }

    /// Whether a policy may be used.
    pub(crate) fn is_policy_available(&self, handle: Handle, role: Role, access: Access) -> bool {
        match handle.kind() {
            Some(HandleType::Permanent) => self.auth_policy(handle).is_some(),
            Some(HandleType::Transient | HandleType::Persistent) => {
                self.object(handle).is_ok_and(|object| object.sensitive.is_some())
            }
            Some(HandleType::Nv) => {
                let Some(index) = self.nv.index(handle) else { return false };
                let allowed = match access {
                    Access::Write => NvAttributes::POLICY_WRITE,
                    Access::Read => NvAttributes::POLICY_READ,
                };
                !index.public.auth_policy.is_empty()
                    && (self.is_policy_required(handle, role) || index.has(allowed))
            }
            Some(HandleType::Pcr) => self.has_pcr_policy_group(handle),
            _ => false,
        }
    }
}
