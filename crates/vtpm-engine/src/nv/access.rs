//! Access to NV indices: who may read and write, locks, and the write itself
//! (Part 1, clause 37.7; Part 3, clause 31.2).

use super::MAX_ORDERLY_COUNT;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleInterface, NvAttributes, NvType, Rc};

/// The attributes that let owner and platform do something.
struct Allows {
    owner: NvAttributes,
    platform: NvAttributes,
}

const READS: Allows = Allows { owner: NvAttributes::OWNER_READ, platform: NvAttributes::PP_READ };
const WRITES: Allows =
    Allows { owner: NvAttributes::OWNER_WRITE, platform: NvAttributes::PP_WRITE };

impl Tpm {
    /// `TPM_RC_READ_ONLY` when in read-only mode an index must not change: any but one that lives
    /// in RAM and is cleared at each start (Part 3 of revision 1.83, 24.9).
    pub(crate) fn check_nv_mode(&self, handle: impl HandleInterface) -> Result<(), Rc> {
        let fleeting = NvAttributes::ORDERLY.with(NvAttributes::CLEAR_ST_CLEAR);
        if self.clear.read_only && !self.nv_index(handle)?.has(fleeting) {
            return Err(Rc::READ_ONLY);
        }
        Ok(())
    }

    /// Checks that an index may be read under the authorization of `auth_handle`, which the
    /// session code has checked already.
    ///
    /// # Errors
    /// In this order: `TPM_RC_NV_LOCKED` when it is locked for reading, `TPM_RC_NV_AUTHORIZATION`
    /// when this entity cannot authorize it, `TPM_RC_NV_UNINITIALIZED` when it was not written.
    pub(crate) fn check_nv_read(&self, auth_handle: Handle, nv_handle: Handle) -> Result<(), Rc> {
        let index = self.nv_index(nv_handle)?;
        if index.has(NvAttributes::READ_LOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        check_authority(index.public.attributes, auth_handle, nv_handle, &READS)?;
        if index.has(NvAttributes::WRITTEN) { Ok(()) } else { Err(Rc::NV_UNINITIALIZED) }
    }

    /// Checks that an index may be written under the authorization of `auth_handle`, which the
    /// session code has checked already.
    ///
    /// # Errors
    /// In this order: `TPM_RC_NV_LOCKED` when it is locked for writing, `TPM_RC_NV_AUTHORIZATION`
    /// when this entity cannot authorize it.
    pub(crate) fn check_nv_write(&self, auth_handle: Handle, nv_handle: Handle) -> Result<(), Rc> {
        let index = self.nv_index(nv_handle)?;
        if index.has(NvAttributes::WRITE_LOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        check_authority(index.public.attributes, auth_handle, nv_handle, &WRITES)
    }

    /// Writes contents and sets `TPMA_NV_WRITTEN`; what a first write leaves out is what was never
    /// written.
    ///
    /// An orderly index is written in RAM only, but for the values of a counter that a non-orderly
    /// start must know: its first, and each that the low bits roll over to.
    ///
    /// # Errors
    /// `TPM_RC_NV_RANGE` when the bytes do not fit into the index.
    pub(crate) fn write_nv(
        &mut self,
        handle: impl HandleInterface,
        offset: u16,
        bytes: &[u8],
    ) -> Result<(), Rc> {
        let index = self.nv_index_mut(handle)?;
        let start = usize::from(offset);
        let end = start.checked_add(bytes.len()).ok_or(Rc::NV_RANGE)?;
        if end > index.data.len() {
            return Err(Rc::NV_RANGE);
        }
        let first = !index.has(NvAttributes::WRITTEN);
        if first {
            index.public.attributes = index.public.attributes.with(NvAttributes::WRITTEN);
        }
        let target = index.data.get_mut(start..end).ok_or(Rc::NV_RANGE)?;
        let changed = first || target != bytes;
        target.copy_from_slice(bytes);
        let orderly = index.has(NvAttributes::ORDERLY);
        let durable = if orderly {
            let counter = index.kind() == NvType::Counter;
            let store = counter && (first || index.number() & MAX_ORDERLY_COUNT == 0);
            if store {
                index.stored = Some(index.data.clone());
            }
            store
        } else {
            changed
        };
        if durable {
            self.persist();
        }
        Ok(())
    }

    /// Locks an index for writing. The lock of `TPMA_NV_WRITEDEFINE` is for good once the index is
    /// written; any other ends with the next reset or restart, so it need not be durable.
    pub(crate) fn lock_nv_write(&mut self, handle: impl HandleInterface) -> Result<(), Rc> {
        let index = self.nv_index_mut(handle)?;
        if index.has(NvAttributes::WRITE_LOCKED) {
            return Ok(());
        }
        index.public.attributes = index.public.attributes.with(NvAttributes::WRITE_LOCKED);
        if index.has(NvAttributes::WRITE_DEFINE.with(NvAttributes::WRITTEN)) {
            self.persist();
        }
        Ok(())
    }

    /// Locks for writing all indices that have `TPMA_NV_GLOBALLOCK`.
    pub(crate) fn lock_nv_globally(&mut self) -> Result<(), Rc> {
        let all: Vec<Handle> = self
            .nv
            .indices
            .iter()
            .filter(|(_, index)| index.has(NvAttributes::GLOBAL_LOCK))
            .map(|(handle, _)| Handle(*handle))
            .collect();
        all.into_iter().try_for_each(|handle| self.lock_nv_write(handle))
    }

    /// Locks an index for reading, until the next reset or restart.
    pub(crate) fn lock_nv_read(&mut self, handle: impl HandleInterface) -> Result<(), Rc> {
        let index = self.nv_index_mut(handle)?;
        index.public.attributes = index.public.attributes.with(NvAttributes::READ_LOCKED);
        Ok(())
    }
}

/// `TPM_RC_NV_AUTHORIZATION` unless the entity is the index itself, whose attributes the session
/// code checked, or is allowed by the attributes.
fn check_authority(
    attributes: NvAttributes,
    auth_handle: Handle,
    nv_handle: Handle,
    allows: &Allows,
) -> Result<(), Rc> {
    let allowed = match auth_handle {
        Handle::OWNER => attributes.has(allows.owner),
        Handle::PLATFORM => attributes.has(allows.platform),
        _ => auth_handle == nv_handle,
    };
    if allowed { Ok(()) } else { Err(Rc::NV_AUTHORIZATION) }
}
