//! NV of the chip: EK certificates, and the index that remembers.

use tss_esapi::attributes::NvIndexAttributes;
use tss_esapi::constants::NvIndexType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{Auth, MaxNvBuffer, NvPublic};

use crate::chip::Chip;
use crate::error::{Error, Result};
use crate::session::{Purpose, Session};

/// Every chip reads and writes so many bytes of NV at once.
const CHUNK: usize = 512;
/// The longest certificate that is read.
const CERTIFICATE_MAX: usize = 8192;

/// How long what the chip remembers is: serial number of the table, and its digest.
pub(crate) const ROOT_SIZE: usize = 40;

impl Chip {
    /// The contents of an NV index that anybody may read, or nothing if there is none.
    pub(crate) fn read_certificate(&mut self, index: u32) -> Result<Option<Vec<u8>>> {
        let Some(handle) = self.nv_handle(index)? else { return Ok(None) };
        let read = self.read_public_index(handle);
        self.close(handle);
        read.map(Some)
    }

    fn read_public_index(&mut self, handle: NvIndexHandle) -> Result<Vec<u8>> {
        let (public, _) =
            self.call("TPM2_NV_ReadPublic", |context| context.nv_read_public(handle))?;
        let size = public.data_size().min(CERTIFICATE_MAX);
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let (offset, wanted) = (bytes.len(), size.saturating_sub(bytes.len()).min(CHUNK));
            let (offset, wanted) = (to_u16(offset)?, to_u16(wanted)?);
            let read = self.authorized("TPM2_NV_Read", |context| {
                context.nv_read(NvAuth::NvIndex(handle), handle, wanted, offset)
            })?;
            if read.value().is_empty() {
                break;
            }
            bytes.extend_from_slice(read.value());
        }
        Ok(bytes)
    }

    /// The handle of an NV index, or nothing if it is not defined. The caller closes it.
    pub(crate) fn nv_handle(&mut self, index: u32) -> Result<Option<NvIndexHandle>> {
        let tpm_handle = TpmHandle::NvIndex(index_handle(index)?);
        let found = self.call("TPM2_NV_ReadPublic", |context| {
            context.execute_without_session(|context| context.tr_from_tpm_public(tpm_handle))
        });
        match found {
            Ok(handle) => Ok(Some(handle.into())),
            // TPM_RC_HANDLE of a handle: not defined.
            Err(Error::Refused { code, .. }) if code & 0xbf == 0x8b => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn close(&mut self, handle: NvIndexHandle) {
        let mut handle = ObjectHandle::from(handle);
        // Forgets what the TSS knows of it; the chip is not asked.
        let _ = self.local(|context| context.tr_close(&mut handle));
    }

    /// Defines an index that only the holder of `auth` can read or write; nothing if the number
    /// is taken.
    pub(crate) fn define_root(&mut self, index: u32, auth: &[u8]) -> Result<Option<()>> {
        let refused = |_| Error::Invalid("the TPM software refuses the NV index".into());
        let attributes = NvIndexAttributes::builder()
            .with_auth_read(true)
            .with_auth_write(true)
            .with_no_da(true)
            .with_nv_index_type(NvIndexType::Ordinary)
            .build()
            .map_err(refused)?;
        let public = NvPublic::builder()
            .with_nv_index(index_handle(index)?)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(ROOT_SIZE)
            .build()
            .map_err(refused)?;
        let auth = Auth::try_from(auth).map_err(refused)?;
        let defined = self.authorized("TPM2_NV_DefineSpace", |context| {
            context.nv_define_space(Provision::Owner, Some(auth.clone()), public.clone())
        });
        const RC_NV_DEFINED: u32 = 0x14c;
        match defined {
            Ok(handle) => {
                self.close(handle);
                Ok(Some(()))
            }
            Err(Error::Refused { code: RC_NV_DEFINED, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an index of the owner; nothing happens if there is none.
    pub(crate) fn undefine(&mut self, index: u32) -> Result<()> {
        let Some(handle) = self.nv_handle(index)? else { return Ok(()) };
        self.authorized("TPM2_NV_UndefineSpace", |context| {
            context.nv_undefine_space(Provision::Owner, handle)
        })
    }

    /// Works on the index that remembers, in a session of its authorization value.
    pub(crate) fn with_root<T>(
        &mut self,
        index: u32,
        auth: &[u8],
        work: impl FnOnce(&mut Self, &mut RootIndex) -> Result<T>,
    ) -> Result<T> {
        let auth = Auth::try_from(auth).map_err(|_| Error::RootLost { index })?;
        let handle = self.nv_handle(index)?.ok_or(Error::RootLost { index })?;
        let set = self.local(|context| context.tr_set_auth(handle.into(), auth.clone()));
        let result = set.and_then(|()| {
            self.in_session(Purpose::Hmac, None, |chip, session| {
                work(chip, &mut RootIndex { index, handle, session })
            })
        });
        self.close(handle);
        result
    }
}

/// The index that remembers, while it is worked on. Reading it proves that it is ours: the chip's
/// answer has an HMAC under the authorization value.
pub(crate) struct RootIndex {
    index: u32,
    handle: NvIndexHandle,
    session: Session,
}

impl RootIndex {
    pub(crate) fn read(&self, chip: &mut Chip) -> Result<[u8; ROOT_SIZE]> {
        let (handle, session) = (self.handle, self.session);
        let read = chip.call("TPM2_NV_Read", |context| {
            context.execute_with_session(session.auth(), |context| {
                context.nv_read(NvAuth::NvIndex(handle), handle, to_size(ROOT_SIZE), 0)
            })
        });
        let lost = Error::RootLost { index: self.index };
        match read {
            Ok(bytes) => bytes.value().first_chunk().copied().ok_or(lost),
            // Not written, or another authorization value: somebody made the index anew.
            Err(Error::Refused { code, .. }) if is_not_ours(code) => Err(lost),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self, chip: &mut Chip, bytes: &[u8; ROOT_SIZE]) -> Result<()> {
        let (handle, session) = (self.handle, self.session);
        let data = MaxNvBuffer::try_from(bytes.as_slice())
            .map_err(|_| Error::RootLost { index: self.index })?;
        chip.call("TPM2_NV_Write", |context| {
            context.execute_with_session(session.auth(), |context| {
                context.nv_write(NvAuth::NvIndex(handle), handle, data.clone(), 0)
            })
        })
    }
}

/// `TPM_RC_NV_UNINITIALIZED`, `TPM_RC_NV_AUTHORIZATION`, `TPM_RC_AUTH_FAIL`, `TPM_RC_BAD_AUTH`.
fn is_not_ours(code: u32) -> bool {
    matches!(code, 0x14a | 0x149) || matches!(code & 0xbf, 0x8e | 0xa2)
}

fn index_handle(index: u32) -> Result<NvIndexTpmHandle> {
    NvIndexTpmHandle::new(index)
        .map_err(|_| Error::Invalid(format!("{index:#010x} is no NV index")))
}

fn to_u16(value: usize) -> Result<u16> {
    u16::try_from(value).map_err(|_| Error::Invalid("too many bytes for NV".into()))
}

fn to_size(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}
