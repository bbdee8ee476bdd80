//! Making and deleting NV indices (Part 1, clause 37.3; Part 3, clause 31.3).

use super::NvIndex;
use crate::tpm::Tpm;
use crate::wire::{
    Auth, Handle, MAX_NV_BUFFER, MAX_NV_INDEX_SIZE, NvAttributes, NvPublic, NvType, Rc,
};

const READERS: NvAttributes = NvAttributes::OWNER_READ
    .with(NvAttributes::PP_READ)
    .with(NvAttributes::AUTH_READ)
    .with(NvAttributes::POLICY_READ);
const WRITERS: NvAttributes = NvAttributes::OWNER_WRITE
    .with(NvAttributes::PP_WRITE)
    .with(NvAttributes::AUTH_WRITE)
    .with(NvAttributes::POLICY_WRITE);
/// Attributes that only the TPM sets.
const STATUS: NvAttributes =
    NvAttributes::WRITTEN.with(NvAttributes::WRITE_LOCKED).with(NvAttributes::READ_LOCKED);

impl Tpm {
    /// Defines an index: `TPM2_NV_DefineSpace` and `TPM2_NV_DefineSpace2`.
    ///
    /// # Errors
    /// With the numbers of handle 1 (`auth_handle`), parameter 1 (`auth`) and parameter 2
    /// (`public`): `TPM_RC_SIZE`, `TPM_RC_ATTRIBUTES`, `TPM_RC_HIERARCHY`; `TPM_RC_NV_DEFINED`
    /// when there is such an index, `TPM_RC_NV_SPACE` when there is no room.
    pub(crate) fn define_nv(
        &mut self,
        auth_handle: Handle,
        mut auth: Auth,
        public: NvPublic,
    ) -> Result<(), Rc> {
        let digest_size = public.name_alg.digest_size();
        if !public.auth_policy.is_empty() && public.auth_policy.len() != digest_size {
            return Err(Rc::SIZE.parameter(2));
        }
        auth.trim_trailing_zeros();
        if auth.len() > digest_size {
            return Err(Rc::SIZE.parameter(1));
        }
        // Of a disabled storage hierarchy the owner cannot be authorized; but the platform can
        // while its NV is disabled.
        if auth_handle == Handle::PLATFORM && !self.clear.platform_nv_enabled {
            return Err(Rc::HIERARCHY.handle(1));
        }
        check_kind(&public).map_err(|rc| rc.parameter(2))?;
        check_attributes(public.attributes).map_err(|rc| rc.parameter(2))?;
        check_creator(auth_handle, public.attributes)?;
        if usize::from(public.data_size.0) > MAX_NV_BUFFER
            && public.attributes.has(NvAttributes::WRITE_ALL)
        {
            return Err(Rc::SIZE.parameter(2));
        }
        let handle = crate::wire::HandleInterface::handle(&public.index).0;
        if self.nv.indices.contains_key(&handle) {
            return Err(Rc::NV_DEFINED);
        }
        self.check_index_space(&public)?;
        let data = vec![NvIndex::erased(&public); usize::from(public.data_size.0)];
        self.nv.indices.insert(handle, NvIndex { public, auth, data, stored: None });
        self.persist();
        Ok(())
    }

    /// Deletes an index; a counter's value is remembered.
    pub(crate) fn undefine_nv(&mut self, handle: Handle) {
        let Some(index) = self.nv.indices.remove(&handle.0) else { return };
        if index.kind() == NvType::Counter && index.has(NvAttributes::WRITTEN) {
            self.nv.max_counter = self.nv.max_counter.max(index.number());
        }
        self.persist();
    }
}

/// Checks what depends on the kind of index: its size, and attributes that do not go with it.
fn check_kind(public: &NvPublic) -> Result<(), Rc> {
    let attributes = public.attributes;
    let kind = NvType::of(attributes).ok_or(Rc::ATTRIBUTES)?;
    let size = usize::from(public.data_size.0);
    let fits = match kind {
        NvType::Ordinary => size <= usize::from(MAX_NV_INDEX_SIZE),
        NvType::Extend => size == public.name_alg.digest_size(),
        NvType::Counter | NvType::Bits | NvType::PinFail | NvType::PinPass => size == 8,
    };
    if !fits {
        return Err(Rc::SIZE);
    }
    // The authorization value of a PIN index is usable only once it is written, so it must not
    // be what writes it; and it must stay writable, or a used-up PIN could not be reset.
    let pin_forbidden =
        NvAttributes::AUTH_WRITE.with(NvAttributes::GLOBAL_LOCK).with(NvAttributes::WRITE_DEFINE);
    let allowed = match kind {
        NvType::Counter => !attributes.has(NvAttributes::CLEAR_ST_CLEAR),
        NvType::PinFail => attributes.has(NvAttributes::NO_DA) && !attributes.any(pin_forbidden),
        NvType::PinPass => !attributes.any(pin_forbidden),
        NvType::Ordinary | NvType::Bits | NvType::Extend => true,
    };
    if allowed { Ok(()) } else { Err(Rc::ATTRIBUTES) }
}

/// Checks what any index must fulfil: readable, writable, and not in a state of use.
fn check_attributes(attributes: NvAttributes) -> Result<(), Rc> {
    let contradiction = NvAttributes::CLEAR_ST_CLEAR.with(NvAttributes::WRITE_DEFINE);
    if attributes.any(STATUS)
        || !attributes.any(READERS)
        || !attributes.any(WRITERS)
        || attributes.has(contradiction)
    {
        return Err(Rc::ATTRIBUTES);
    }
    Ok(())
}

/// Checks that who defines the index can delete it.
fn check_creator(auth_handle: Handle, attributes: NvAttributes) -> Result<(), Rc> {
    let by_platform = auth_handle == Handle::PLATFORM;
    if attributes.has(NvAttributes::PLATFORM_CREATE) != by_platform {
        return Err(Rc::ATTRIBUTES.handle(1));
    }
    if attributes.has(NvAttributes::POLICY_DELETE) && !by_platform {
        return Err(Rc::ATTRIBUTES.parameter(2));
    }
    Ok(())
}
