//! A TPM's caller: the few commands that provisioning and attesting a vTPM need, over any
//! transport (Part 3 of the specification). Authorizations are by empty values.

use super::wire::{Put, Reader};
use super::{PcrSelection, PcrValues, PublicArea, Signature};
use crate::error::{Error, Result};

/// A way to a TPM.
pub trait Transport {
    /// Sends a command and waits for its response.
    ///
    /// # Errors
    /// If the way is gone.
    fn transact(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>>;
}

impl<F: FnMut(&[u8]) -> std::io::Result<Vec<u8>>> Transport for F {
    fn transact(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
        self(command)
    }
}

/// `TPM_RH_OWNER`.
pub const OWNER: u32 = 0x4000_0001;
/// `TPM_RH_ENDORSEMENT`.
pub const ENDORSEMENT: u32 = 0x4000_000b;
/// `TPM_RH_PLATFORM`.
pub const PLATFORM: u32 = 0x4000_000c;

/// A quote as a TPM gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

/// A caller of a TPM.
pub struct Client<T> {
    transport: T,
}

/// A command on its way.
struct Command {
    name: &'static str,
    code: u32,
    handles: Vec<u32>,
    /// How many of the handles are authorized, by empty passwords.
    authorized: usize,
    parameters: Vec<u8>,
}

impl Command {
    fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.handles.iter().for_each(|handle| body.put_u32(*handle));
        if self.authorized > 0 {
            body.put_u32(u32::try_from(self.authorized.saturating_mul(9)).unwrap_or(u32::MAX));
            for _ in 0..self.authorized {
                // TPM_RS_PW, no nonce, no attributes, no password.
                body.extend_from_slice(&[0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
            }
        }
        body.extend_from_slice(&self.parameters);
        let mut out = Vec::with_capacity(body.len().saturating_add(10));
        out.put_u16(if self.authorized > 0 { 0x8002 } else { 0x8001 });
        out.put_u32(u32::try_from(body.len().saturating_add(10)).unwrap_or(u32::MAX));
        out.put_u32(self.code);
        out.extend_from_slice(&body);
        out
    }
}

impl<T: Transport> Client<T> {
    /// A caller over `transport`.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Sends a command; gives the handles (`handles` of them) and the parameters of the response.
    fn run(&mut self, command: &Command, handles: usize) -> Result<(Vec<u32>, Vec<u8>)> {
        let response = self.transport.transact(&command.to_bytes())?;
        let mut reader = Reader::new(&response, "a TPM's response");
        let tag = reader.u16()?;
        let size = reader.u32()?;
        let code = reader.u32()?;
        if usize::try_from(size).ok() != Some(response.len()) {
            return Err(reader.malformed());
        }
        if code != 0 {
            return Err(Error::Refused { command: command.name, code });
        }
        let handles = (0..handles).map(|_| reader.u32()).collect::<Result<_>>()?;
        let parameters = if tag == 0x8002 {
            let size = reader.u32()?;
            reader.take(usize::try_from(size).unwrap_or(usize::MAX))?
        } else {
            reader.rest()
        };
        Ok((handles, parameters.to_vec()))
    }

    /// `TPM2_Startup(CLEAR)`; a TPM that is started already is as good.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`].
    pub fn startup(&mut self) -> Result<()> {
        const RC_INITIALIZE: u32 = 0x100;
        let command = Command {
            name: "TPM2_Startup",
            code: 0x144,
            handles: vec![],
            authorized: 0,
            parameters: vec![0, 0],
        };
        match self.run(&command, 0) {
            Err(Error::Refused { code: RC_INITIALIZE, .. }) => Ok(()),
            result => result.map(drop),
        }
    }

    /// `TPM2_Shutdown(CLEAR)`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`].
    pub fn shutdown(&mut self) -> Result<()> {
        let command = Command {
            name: "TPM2_Shutdown",
            code: 0x145,
            handles: vec![],
            authorized: 0,
            parameters: vec![0, 0],
        };
        self.run(&command, 0).map(drop)
    }

    /// A property of the group `TPM_PT_FIXED`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn fixed_property(&mut self, property: u32) -> Result<u32> {
        let mut parameters = Vec::new();
        parameters.put_u32(6);
        parameters.put_u32(property);
        parameters.put_u32(1);
        let (name, code) = ("TPM2_GetCapability", 0x17a);
        let command = Command { name, code, handles: vec![], authorized: 0, parameters };
        let (_, answer) = self.run(&command, 0)?;
        let mut reader = Reader::new(&answer, "a TPM's capability");
        reader.take(9)?;
        if reader.u32()? != property {
            return Err(reader.malformed());
        }
        reader.u32()
    }

    /// `TPM2_CreatePrimary` from a template. The caller flushes it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn create_primary(&mut self, hierarchy: u32, template: &[u8]) -> Result<(u32, PublicArea)> {
        let mut parameters = Vec::new();
        parameters.put_sized(&[0, 0, 0, 0]);
        parameters.put_sized(template);
        parameters.put_sized(&[]);
        parameters.put_u32(0);
        let (name, code) = ("TPM2_CreatePrimary", 0x131);
        let command = Command { name, code, handles: vec![hierarchy], authorized: 1, parameters };
        let (handles, answer) = self.run(&command, 1)?;
        let area = PublicArea::from_bytes(Reader::new(&answer, "a TPM's response").sized()?)?;
        Ok((handles.first().copied().unwrap_or_default(), area))
    }

    /// `TPM2_FlushContext`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`].
    pub fn flush(&mut self, handle: u32) -> Result<()> {
        let parameters = handle.to_be_bytes().to_vec();
        let (name, code) = ("TPM2_FlushContext", 0x165);
        let command = Command { name, code, handles: vec![], authorized: 0, parameters };
        self.run(&command, 0).map(drop)
    }

    /// `TPM2_ReadPublic`; absent if there is no such object.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn read_public(&mut self, handle: u32) -> Result<Option<PublicArea>> {
        let (name, code) = ("TPM2_ReadPublic", 0x173);
        let command =
            Command { name, code, handles: vec![handle], authorized: 0, parameters: vec![] };
        match self.run(&command, 0) {
            Ok((_, answer)) => {
                let area = Reader::new(&answer, "a TPM's response").sized()?;
                PublicArea::from_bytes(area).map(Some)
            }
            // TPM_RC_HANDLE
            Err(Error::Refused { code, .. }) if code & 0xbf == 0x8b => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `TPM2_EvictControl`: keeps a loaded object at a persistent handle of the owner.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`].
    pub fn persist(&mut self, object: u32, at: u32) -> Result<()> {
        let (name, code) = ("TPM2_EvictControl", 0x120);
        let parameters = at.to_be_bytes().to_vec();
        let handles = vec![OWNER, object];
        self.run(&Command { name, code, handles, authorized: 1, parameters }, 0).map(drop)
    }

    /// `TPM2_Quote` by a key with a scheme of its own.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn quote(&mut self, key: u32, extra: &[u8], selection: &PcrSelection) -> Result<Quoted> {
        let mut parameters = Vec::new();
        parameters.put_sized(extra);
        parameters.put_u16(0x0010);
        parameters.extend_from_slice(&selection.to_bytes());
        let (name, code) = ("TPM2_Quote", 0x158);
        let command = Command { name, code, handles: vec![key], authorized: 1, parameters };
        let (_, answer) = self.run(&command, 0)?;
        let mut reader = Reader::new(&answer, "a TPM's quote");
        let attest = reader.sized()?.to_vec();
        let signature = Signature::from_bytes(reader.rest())?.to_bytes();
        Ok(Quoted { attest, signature })
    }

    /// `TPM2_PCR_Read`, as often as needed. Banks that the TPM has not active are left out.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn pcr_values(&mut self, selection: &PcrSelection) -> Result<PcrValues> {
        let mut values = PcrValues::default();
        for (bank, pcr) in selection.iter() {
            let parameters = PcrSelection::of(bank, &[pcr]).to_bytes();
            let (name, code) = ("TPM2_PCR_Read", 0x17e);
            let command = Command { name, code, handles: vec![], authorized: 0, parameters };
            let (_, answer) = self.run(&command, 0)?;
            let mut reader = Reader::new(&answer, "a TPM's PCRs");
            reader.u32()?;
            PcrSelection::read(&mut reader)?;
            if reader.u32()? == 1 {
                values.set(bank, pcr, reader.sized()?);
            }
        }
        Ok(values)
    }

    /// Size and attributes of an NV index; absent if it is not defined.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn nv_public(&mut self, index: u32) -> Result<Option<(u16, u32)>> {
        let (name, code) = ("TPM2_NV_ReadPublic", 0x169);
        let command =
            Command { name, code, handles: vec![index], authorized: 0, parameters: vec![] };
        let answer = match self.run(&command, 0) {
            Ok((_, answer)) => answer,
            Err(Error::Refused { code, .. }) if code & 0xbf == 0x8b => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut outer = Reader::new(&answer, "a TPM's NV index");
        let mut reader = Reader::new(outer.sized()?, "a TPM's NV index");
        reader.take(6)?;
        let attributes = reader.u32()?;
        reader.sized()?;
        Ok(Some((reader.u16()?, attributes)))
    }

    /// Defines an index under the platform's authorization, writes it, and locks it for good; an
    /// index of that number is replaced.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`].
    pub fn nv_install(&mut self, index: u32, attributes: u32, contents: &[u8]) -> Result<()> {
        if self.nv_public(index)?.is_some() {
            let (name, code) = ("TPM2_NV_UndefineSpace", 0x122);
            let handles = vec![PLATFORM, index];
            self.run(&Command { name, code, handles, authorized: 1, parameters: vec![] }, 0)?;
        }
        let size =
            u16::try_from(contents.len()).map_err(|_| Error::Malformed { what: "NV data" })?;
        let mut public = Vec::new();
        public.put_u32(index);
        public.put_u16(0x000b);
        public.put_u32(attributes);
        public.put_sized(&[]);
        public.put_u16(size);
        let mut parameters = Vec::new();
        parameters.put_sized(&[]);
        parameters.put_sized(&public);
        let (name, code) = ("TPM2_NV_DefineSpace", 0x12a);
        self.run(&Command { name, code, handles: vec![PLATFORM], authorized: 1, parameters }, 0)?;
        let handles = vec![PLATFORM, index];
        for (at, part) in contents.chunks(512).enumerate() {
            let mut parameters = Vec::new();
            parameters.put_sized(part);
            parameters.put_u16(u16::try_from(at.saturating_mul(512)).unwrap_or(u16::MAX));
            let (name, code) = ("TPM2_NV_Write", 0x137);
            let handles = handles.clone();
            self.run(&Command { name, code, handles, authorized: 1, parameters }, 0)?;
        }
        let (name, code) = ("TPM2_NV_WriteLock", 0x138);
        self.run(&Command { name, code, handles, authorized: 1, parameters: vec![] }, 0).map(drop)
    }

    /// The contents of an NV index that anybody may read; absent if it is not defined.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Transport`], [`Error::Malformed`].
    pub fn nv_read(&mut self, index: u32) -> Result<Option<Vec<u8>>> {
        let Some((size, _)) = self.nv_public(index)? else { return Ok(None) };
        let mut contents = Vec::new();
        while contents.len() < usize::from(size) {
            let offset = u16::try_from(contents.len()).unwrap_or(u16::MAX);
            let mut parameters = Vec::new();
            parameters.put_u16(size.saturating_sub(offset).min(512));
            parameters.put_u16(offset);
            let (name, code) = ("TPM2_NV_Read", 0x14e);
            let handles = vec![index, index];
            let command = Command { name, code, handles, authorized: 1, parameters };
            let (_, answer) = self.run(&command, 0)?;
            let part = Reader::new(&answer, "a TPM's NV data").sized()?.to_vec();
            if part.is_empty() {
                return Err(Error::Malformed { what: "a TPM's NV data" });
            }
            contents.extend_from_slice(&part);
        }
        Ok(Some(contents))
    }
}
