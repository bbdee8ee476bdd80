//! The few TPM commands that the making of a TPM needs, each authorized by an empty password.

use anyhow::{Context, Result, ensure};
use vtpm_engine::crypto::hash::HashAlg;
use vtpm_host::Handle;

const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000b;
const PLATFORM: u32 = 0x4000_000c;

const CC_EVICT_CONTROL: u32 = 0x120;
const CC_PCR_ALLOCATE: u32 = 0x12b;
const CC_CREATE_PRIMARY: u32 = 0x131;
const CC_STARTUP: u32 = 0x144;
const CC_SHUTDOWN: u32 = 0x145;
const CC_FLUSH_CONTEXT: u32 = 0x165;

/// PCR 0 to 23.
const ALL_PCR: [u8; 4] = [3, 0xff, 0xff, 0xff];

/// A TPM that was started up for being set up.
pub(crate) struct Client(Handle);

impl Client {
    /// Switches the TPM on and starts it up.
    pub(crate) fn start(handle: Handle) -> Result<Self> {
        handle.init()?;
        let client = Self(handle);
        client.bare("TPM2_Startup", CC_STARTUP, &[0, 0])?;
        Ok(client)
    }

    /// Shuts the TPM down in order and closes its file.
    pub(crate) fn end(self) -> Result<()> {
        self.bare("TPM2_Shutdown", CC_SHUTDOWN, &[0, 0])?;
        self.0.shutdown();
        Ok(())
    }

    /// Makes an endorsement key and keeps it under a persistent handle.
    pub(crate) fn keep_endorsement_key(&self, template: &[u8], at: u32) -> Result<()> {
        self.keep_primary(ENDORSEMENT, template, at)
    }

    /// Makes a storage key of the owner and keeps it under a persistent handle.
    pub(crate) fn keep_storage_key(&self, template: &[u8], at: u32) -> Result<()> {
        self.keep_primary(OWNER, template, at)
    }

    fn keep_primary(&self, hierarchy: u32, template: &[u8], at: u32) -> Result<()> {
        let size = u16::try_from(template.len())?.to_be_bytes();
        // No authorization value, no data, no outside information, no PCR.
        let parameters = [&[0, 4, 0, 0, 0, 0], &size[..], template, &[0, 0, 0, 0, 0, 0]].concat();
        let response =
            self.authorized("TPM2_CreatePrimary", CC_CREATE_PRIMARY, &[hierarchy], &parameters)?;
        let handle = response.get(10..14).and_then(|bytes| bytes.first_chunk());
        let handle = u32::from_be_bytes(*handle.context("a response that is too short")?);
        let kept = self.authorized(
            "TPM2_EvictControl",
            CC_EVICT_CONTROL,
            &[OWNER, handle],
            &at.to_be_bytes(),
        );
        self.bare("TPM2_FlushContext", CC_FLUSH_CONTEXT, &handle.to_be_bytes())?;
        kept.map(drop)
    }

    /// Chooses the PCR banks of the next start.
    pub(crate) fn allocate_banks(&self, all: &[HashAlg], active: &[HashAlg]) -> Result<()> {
        let mut parameters = u32::try_from(all.len())?.to_be_bytes().to_vec();
        for bank in all {
            parameters.extend_from_slice(&bank.id().to_be_bytes());
            let pcrs = if active.contains(bank) { ALL_PCR } else { [3, 0, 0, 0] };
            parameters.extend_from_slice(&pcrs);
        }
        let response =
            self.authorized("TPM2_PCR_Allocate", CC_PCR_ALLOCATE, &[PLATFORM], &parameters)?;
        // Behind the size of the parameters: whether it was done.
        ensure!(response.get(14) == Some(&1), "the TPM has no room for these PCR banks");
        Ok(())
    }

    fn bare(&self, name: &str, code: u32, parameters: &[u8]) -> Result<Vec<u8>> {
        let size = u32::try_from(parameters.len())?.saturating_add(10);
        let head = [&[0x80, 0x01], &size.to_be_bytes()[..], &code.to_be_bytes()].concat();
        self.send(name, [&head, parameters].concat())
    }

    fn authorized(
        &self,
        name: &str,
        code: u32,
        handles: &[u32],
        parameters: &[u8],
    ) -> Result<Vec<u8>> {
        // One password session for the first handle, with an empty password.
        const AUTH: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
        body.extend_from_slice(&AUTH);
        body.extend_from_slice(parameters);
        let size = u32::try_from(body.len())?.saturating_add(10);
        let head = [&[0x80, 0x02], &size.to_be_bytes()[..], &code.to_be_bytes()].concat();
        self.send(name, [head, body].concat())
    }

    fn send(&self, name: &str, command: Vec<u8>) -> Result<Vec<u8>> {
        let response = self.0.execute(0, command);
        let code = response.get(6..10).and_then(|bytes| bytes.first_chunk());
        let code = u32::from_be_bytes(*code.context("a response that is too short")?);
        ensure!(code == 0, "{name} failed with {code:#x}");
        Ok(response)
    }
}
