//! One connection to the chip: commands counted, faults told apart, slots kept free.
//!
//! At no time more than three transient objects are in the chip, so that it works without a
//! resource manager too: a parent is flushed as soon as its child is loaded.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use tracing::{debug, warn};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Private, Public};
use tss_esapi::tcti_ldr::TctiNameConf;
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Context, Error as TssError};
use vtpm_credential::tpm::{PublicArea, template};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::identity::Blob;

/// How often a command is sent again when the chip asks for that. The waits between double from
/// 5 ms, so this is some five seconds; self-tests of real chips take up to two.
const RETRIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Tells our storage primary from others of the same seed.
const STORAGE_UNIQUE: [u8; 32] = *b"vtpm-anchor storage primary no 1";

/// How many commands of each kind the chip was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operations(pub BTreeMap<&'static str, u64>);

impl Operations {
    /// All commands together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What was sent since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let left = |(command, count): (&&'static str, &u64)| {
            let before = earlier.0.get(command).copied().unwrap_or(0);
            let more = count.saturating_sub(before);
            (more > 0).then_some((*command, more))
        };
        Self(self.0.iter().filter_map(left).collect())
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TPM commands", self.total())?;
        let each: Vec<_> = self.0.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if each.is_empty() { Ok(()) } else { write!(f, " ({})", each.join(", ")) }
    }
}

/// Authorization values of the chip's hierarchies, if the owner set some.
#[derive(Clone, Default)]
pub struct Authorizations {
    /// Of the owner hierarchy.
    pub owner: Zeroizing<Vec<u8>>,
    /// Of the endorsement hierarchy.
    pub endorsement: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Authorizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizations(..)")
    }
}

pub(crate) type Counts = Arc<Mutex<Operations>>;

/// The chip, owned by the broker's thread.
pub(crate) struct Chip {
    pub(crate) address: String,
    tcti: TctiNameConf,
    authorizations: Authorizations,
    context: Option<Context>,
    counts: Counts,
    /// The storage primary, saved: loading it is faster than making it again.
    storage: Option<TpmsContext>,
    /// What the storage primary must be called; absent while the identity is made.
    pub(crate) expected: Option<Expected>,
}

/// What tells the right chip from others.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) storage: Vec<u8>,
    pub(crate) ek_template: Vec<u8>,
    pub(crate) ek_name: Vec<u8>,
}

impl Chip {
    pub(crate) fn new(
        address: &str,
        authorizations: Authorizations,
        counts: Counts,
    ) -> Result<Self> {
        let unknown = |_| Error::Address { address: address.into() };
        let tcti = TctiNameConf::from_str(address).map_err(unknown)?;
        let address = address.to_owned();
        let (context, storage, expected) = (None, None, None);
        Ok(Self { address, tcti, authorizations, context, counts, storage, expected })
    }

    /// Sends one command, again if the chip asks for that.
    pub(crate) fn call<T>(
        &mut self,
        command: &'static str,
        mut send: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T> {
        let mut wait = FIRST_WAIT;
        for _ in 0..RETRIES {
            let context = self.connected()?;
            let answer = send(context);
            self.count(command);
            match answer {
                Ok(value) => return Ok(value),
                Err(error) => match Fault::of(error) {
                    Fault::Again => {
                        debug!("{command}: the TPM is busy, again in {} ms", wait.as_millis());
                        sleep(wait);
                        wait = wait.saturating_mul(2);
                    }
                    fault => return Err(self.explain(command, fault, error)),
                },
            }
        }
        Err(Error::Busy { command })
    }

    /// As [`call`](Self::call), with a password session of empty or known authorization.
    pub(crate) fn authorized<T>(
        &mut self,
        command: &'static str,
        mut send: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T> {
        self.call(command, |context| {
            context.execute_with_session(Some(AuthSession::Password), &mut send)
        })
    }

    /// Something that the TSS does without the chip.
    pub(crate) fn local<T>(
        &mut self,
        mut work: impl FnMut(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T> {
        let done = work(self.connected()?);
        done.map_err(|error| self.unreachable("preparing a command", error))
    }

    /// Cuts the connection; the next command makes a new one.
    pub(crate) fn disconnect(&mut self) {
        self.context = None;
    }

    fn connected(&mut self) -> Result<&mut Context> {
        if self.context.is_none() {
            let mut context = Context::new(self.tcti.clone())
                .map_err(|error| self.unreachable("connecting", error))?;
            self.authorize(&mut context)
                .map_err(|error| self.unreachable("setting authorizations", error))?;
            self.context = Some(context);
        }
        self.context.as_mut().ok_or(Error::Ended)
    }

    fn authorize(&self, context: &mut Context) -> tss_esapi::Result<()> {
        let hierarchies = [
            (ObjectHandle::Owner, &self.authorizations.owner),
            (ObjectHandle::Endorsement, &self.authorizations.endorsement),
        ];
        for (hierarchy, value) in hierarchies {
            if !value.is_empty() {
                context.tr_set_auth(hierarchy, Auth::try_from(value.as_slice())?)?;
            }
        }
        Ok(())
    }

    fn count(&self, command: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.0.entry(command).or_default();
        *count = count.saturating_add(1);
    }

    fn unreachable(&self, during: &str, error: TssError) -> Error {
        let code = code(error);
        let cause = format!("{during} failed with TSS code {code:#x}");
        Error::Unreachable { address: self.address.clone(), cause }
    }

    fn explain(&mut self, command: &'static str, fault: Fault, error: TssError) -> Error {
        match fault {
            Fault::Gone => {
                self.context = None;
                self.unreachable(command, error)
            }
            Fault::Full => Error::Full { command },
            Fault::Lockout => Error::Lockout,
            Fault::Again | Fault::Other => {
                Error::Refused { command, code: code(error), meaning: error.to_string() }
            }
        }
    }

    /// Makes the primary key of a template.
    pub(crate) fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &[u8],
    ) -> Result<(KeyHandle, PublicArea)> {
        let public = public(template)?;
        let made = self.authorized("TPM2_CreatePrimary", |context| {
            context.create_primary(hierarchy, public.clone(), None, None, None, None)
        })?;
        match area(&made.out_public) {
            Ok(area) => Ok((made.key_handle, area)),
            Err(error) => {
                self.flush(made.key_handle);
                Err(error)
            }
        }
    }

    /// The storage primary, loaded. The caller flushes it.
    pub(crate) fn storage(&mut self) -> Result<KeyHandle> {
        if let Some(saved) = self.storage.clone() {
            match self.call("TPM2_ContextLoad", |context| context.context_load(saved.clone())) {
                Ok(handle) => return Ok(handle.into()),
                Err(error) if error.is_passing() => return Err(error),
                // The chip was reset: saved contexts do not outlive that.
                Err(_) => self.storage = None,
            }
        }
        let (handle, area) =
            self.create_primary(Hierarchy::Owner, &template::storage(&STORAGE_UNIQUE))?;
        if let Some(expected) = self.expected.clone()
            && expected.storage != area.name().as_bytes()
        {
            self.flush(handle);
            return Err(self.which_other(&expected));
        }
        match self.call("TPM2_ContextSave", |context| context.context_save(handle.into())) {
            Ok(saved) => self.storage = Some(saved),
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => debug!("the storage primary cannot be saved: {error}"),
        }
        Ok(handle)
    }

    /// The storage primary is another: why.
    fn which_other(&mut self, expected: &Expected) -> Error {
        let made = self.create_primary(Hierarchy::Endorsement, &expected.ek_template);
        let (handle, area) = match made {
            Ok(made) => made,
            Err(error) => return error,
        };
        self.flush(handle);
        let address = self.address.clone();
        if area.name().as_bytes() == expected.ek_name {
            return Error::Cleared { address };
        }
        let (expected, found) = (hex::encode(&expected.ek_name), area.name().to_string());
        Error::OtherChip { address, expected, found }
    }

    /// Loads a child of the storage primary. The caller flushes it.
    pub(crate) fn load(&mut self, blob: &Blob) -> Result<KeyHandle> {
        let storage = self.storage()?;
        let loaded = self.load_under(storage, &blob.public, &blob.private);
        self.flush(storage);
        loaded
    }

    /// Loads a child of any parent. The caller flushes it.
    pub(crate) fn load_under(
        &mut self,
        parent: KeyHandle,
        public_area: &[u8],
        private: &[u8],
    ) -> Result<KeyHandle> {
        let public = public(public_area)?;
        let private = Private::try_from(private).map_err(|_| Error::NotSealedHere)?;
        let loaded = self.authorized("TPM2_Load", |context| {
            context.load(parent, private.clone(), public.clone())
        });
        loaded.map_err(|error| match error {
            // TPM_RC_INTEGRITY, TPM_RC_BINDING, TPM_RC_SIZE ... of a parameter: not our blob.
            Error::Refused { code, .. } if code & 0x80 != 0 && code & 0x40 != 0 => {
                Error::NotSealedHere
            }
            other => other,
        })
    }

    /// Works with a child of the storage primary, and flushes it.
    pub(crate) fn with_key<T>(
        &mut self,
        blob: &Blob,
        work: impl FnOnce(&mut Self, KeyHandle) -> Result<T>,
    ) -> Result<T> {
        let key = self.load(blob)?;
        let result = work(self, key);
        self.flush(key);
        result
    }

    /// Frees a slot. What the chip says to that changes nothing for the caller.
    pub(crate) fn flush(&mut self, handle: impl Into<ObjectHandle>) {
        let handle = handle.into();
        // After a loss of the connection the resource manager has freed it already.
        if self.context.is_none() {
            return;
        }
        if let Err(error) = self.call("TPM2_FlushContext", |context| context.flush_context(handle))
        {
            warn!("a slot of the TPM stays taken until it is reset: {error}");
        }
    }
}

/// A public area for the TSS.
pub(crate) fn public(bytes: &[u8]) -> Result<Public> {
    // Reads it first: the TSS reads what it finds, however long.
    PublicArea::from_bytes(bytes)?;
    Public::unmarshall(bytes)
        .map_err(|_| vtpm_credential::Error::Unsupported { what: "a public area" }.into())
}

/// A public area from the TSS.
pub(crate) fn area(public: &Public) -> Result<PublicArea> {
    Ok(PublicArea::from_bytes(&bytes_of(public)?)?)
}

/// A structure of the TSS as it is on the wire.
pub(crate) fn bytes_of(structure: &impl Marshall) -> Result<Vec<u8>> {
    structure
        .marshall()
        .map_err(|_| vtpm_credential::Error::Malformed { what: "the TPM's answer" }.into())
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The chip asked to send the command again.
    Again,
    /// The connection is of no use any more.
    Gone,
    Full,
    Lockout,
    Other,
}

impl Fault {
    fn of(error: TssError) -> Self {
        const RC_OBJECT_MEMORY: u32 = 0x902;
        const RC_SESSION_MEMORY: u32 = 0x903;
        const RC_MEMORY: u32 = 0x904;
        const RC_SESSION_HANDLES: u32 = 0x905;
        const RC_YIELDED: u32 = 0x908;
        const RC_TESTING: u32 = 0x90a;
        const RC_NV_RATE: u32 = 0x920;
        const RC_LOCKOUT: u32 = 0x921;
        const RC_RETRY: u32 = 0x922;
        const RC_NV_UNAVAILABLE: u32 = 0x923;
        /// The layers of the TSS that answer with a TPM's own codes: TPM, resource manager.
        const TPM_LAYERS: [u32; 3] = [0, 11, 12];

        let code = code(error);
        let (layer, number) = (code >> 16 & 0xff, code & 0xffff);
        if TssError::Tss2Error(code.into()) == error && !TPM_LAYERS.contains(&layer) {
            // TCTI, MU, SYS, ESYS: after these the state of the connection is unknown.
            return Self::Gone;
        }
        match number {
            RC_YIELDED | RC_TESTING | RC_NV_RATE | RC_RETRY | RC_NV_UNAVAILABLE => Self::Again,
            RC_OBJECT_MEMORY | RC_SESSION_MEMORY | RC_MEMORY | RC_SESSION_HANDLES => Self::Full,
            RC_LOCKOUT => Self::Lockout,
            _ => Self::Other,
        }
    }
}

/// The number that the TSS gave, which its binding only shows as text; 0 for the binding's own.
pub(crate) fn code(error: TssError) -> u32 {
    let TssError::Tss2Error(response) = error else { return 0 };
    let Some(number) = response.source().map(ToString::to_string) else { return 0 };
    let digits = number.rsplit("0x").next().unwrap_or_default();
    u32::from_str_radix(digits.trim(), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tss(code: u32) -> TssError {
        TssError::Tss2Error(code.into())
    }

    #[test]
    fn faults_are_told_apart_by_layer_and_number() {
        for (number, fault) in [
            (0x922, Fault::Again),
            (0x908, Fault::Again),
            (0x902, Fault::Full),
            (0x000b_0902, Fault::Full),
            (0x921, Fault::Lockout),
            (0x1df, Fault::Other),
            (0x000a_000a, Fault::Gone),
            (0x0007_0009, Fault::Gone),
        ] {
            assert_eq!(code(tss(number)), number);
            assert_eq!(Fault::of(tss(number)), fault, "{number:#x}");
        }
    }

    #[test]
    fn operations_are_counted_by_command() {
        let mut before = Operations::default();
        before.0.insert("TPM2_Load", 2);
        let mut after = before.clone();
        after.0.insert("TPM2_Load", 3);
        after.0.insert("TPM2_Unseal", 1);
        let more = after.since(&before);
        assert_eq!(more.total(), 2);
        assert_eq!(more.to_string(), "2 TPM commands (TPM2_Load 1, TPM2_Unseal 1)");
    }
}
