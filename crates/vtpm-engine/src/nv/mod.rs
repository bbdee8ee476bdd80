//! NV storage: indices and persistent objects (Part 1, clauses 37 and 31.5).
//!
//! ```text
//!   NV_DefineSpace -> defined -> written -> read, locked ... -> NV_UndefineSpace
//!                        ^          |
//!                        +----------+  a start clears WRITTEN: TPMA_NV_CLEAR_STCLEAR, ORDERLY
//! ```
//!
//! `access` says who may read and write and does the writing, `define` makes and deletes indices,
//! `space` counts bytes, `start` is what reset, restart, resume and shutdown do.

mod access;
mod define;
mod space;
mod start;

pub(crate) use start::MAX_ORDERLY_COUNT;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::object::Object;
use crate::tpm::Tpm;
use crate::wire::{Auth, Handle, HandleInterface, NvAttributes, NvPublic, NvType, Rc};

/// An NV index.
#[derive(Clone)]
pub(crate) struct NvIndex {
    pub(crate) public: NvPublic,
    pub(crate) auth: Auth,
    /// The current contents, `dataSize` bytes; numbers are big-endian.
    pub(crate) data: Vec<u8>,
    /// For an orderly index, the contents at the last orderly shutdown or at a write that had to
    /// be durable: what a non-orderly start goes back to. Absent when it was not written then.
    pub(crate) stored: Option<Vec<u8>>,
}

/// Without contents: they may be secret.
impl core::fmt::Debug for NvIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NvIndex").field("public", &self.public).finish_non_exhaustive()
    }
}

impl NvIndex {
    /// Whether all of these attributes are set.
    pub(crate) const fn has(&self, attributes: NvAttributes) -> bool {
        self.public.attributes.has(attributes)
    }

    /// The kind of index; `define` admits known kinds only.
    pub(crate) fn kind(&self) -> NvType {
        NvType::of(self.public.attributes).unwrap_or(NvType::Ordinary)
    }

    /// The contents as a number: counter, bits, or PIN data.
    pub(crate) fn number(&self) -> u64 {
        self.data.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Sets the contents to a number.
    pub(crate) fn set_number(&mut self, number: u64) {
        self.data = number.to_be_bytes().to_vec();
    }

    /// `TPMS_NV_PIN_COUNTER_PARAMETERS`: pinCount and pinLimit.
    pub(crate) fn pin(&self) -> (u32, u32) {
        let number = self.number();
        ((number >> 32) as u32, number as u32)
    }

    /// The value of bytes that were never written, which the specification leaves open: ones in
    /// NV, as the reference implementation has it, zeros in RAM. A PIN index has zeros, so that
    /// a limit which was not written allows nothing.
    pub(crate) fn erased(public: &NvPublic) -> u8 {
        let pin = matches!(NvType::of(public.attributes), Some(NvType::PinFail | NvType::PinPass));
        if pin || public.attributes.has(NvAttributes::ORDERLY) { 0 } else { 0xff }
    }

    /// Sets pinCount.
    pub(crate) fn set_pin_count(&mut self, count: u32) {
        self.set_number(u64::from(count) << 32 | u64::from(self.pin().1));
    }
}

/// All of NV.
#[derive(Default)]
pub(crate) struct Nv {
    pub(crate) indices: BTreeMap<u32, NvIndex>,
    pub(crate) objects: BTreeMap<u32, Arc<Object>>,
    /// The largest value that any counter index had when it was deleted, so that a new counter
    /// never repeats a value (Part 1, clause 37.2.4).
    pub(crate) max_counter: u64,
}

impl Nv {
    /// A persistent object.
    pub(crate) fn persistent(&self, handle: Handle) -> Option<Arc<Object>> {
        self.objects.get(&handle.0).cloned()
    }

    /// An index.
    pub(crate) fn index(&self, handle: Handle) -> Option<&NvIndex> {
        self.indices.get(&handle.0)
    }
}

impl Tpm {
    /// An index that dispatch found to be there.
    pub(crate) fn nv_index(&self, handle: impl HandleInterface) -> Result<&NvIndex, Rc> {
        self.nv.index(handle.handle()).ok_or(Rc::HANDLE)
    }

    /// An index that dispatch found to be there.
    pub(crate) fn nv_index_mut(
        &mut self,
        handle: impl HandleInterface,
    ) -> Result<&mut NvIndex, Rc> {
        self.nv.indices.get_mut(&handle.handle().0).ok_or(Rc::HANDLE)
    }

    /// `TPM_RC_HANDLE` unless the index is defined and its hierarchy is enabled.
    pub(crate) fn check_nv_accessible(&self, handle: Handle) -> Result<(), Rc> {
        let index = self.nv.index(handle).ok_or(Rc::HANDLE)?;
        let enabled = if index.has(NvAttributes::PLATFORM_CREATE) {
            self.clear.platform_nv_enabled
        } else {
            self.clear.storage_enabled
        };
        if enabled { Ok(()) } else { Err(Rc::HANDLE) }
    }

    /// Counts the use of a PIN index's authorization value (Part 1, clause 37.2.8).
    pub(crate) fn note_pin_use(&mut self, handle: Handle, success: bool) {
        let Some(index) = self.nv.indices.get_mut(&handle.0) else { return };
        if !index.has(NvAttributes::WRITTEN) {
            return;
        }
        let (count, _) = index.pin();
        let new_count = match (index.kind(), success) {
            (NvType::PinFail, true) => 0,
            (NvType::PinFail, false) | (NvType::PinPass, true) => count.saturating_add(1),
            _ => return,
        };
        if new_count != count {
            index.set_pin_count(new_count);
            if index.has(NvAttributes::ORDERLY) {
                self.clear_orderly();
            } else {
                self.persist();
            }
        }
    }
}
