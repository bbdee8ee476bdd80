//! The anchor itself: a host's identity in its chip, and everything that is asked of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tss_esapi::interface_types::resource_handles::Hierarchy;
use vtpm_credential::certificate::split_pem;
use vtpm_credential::evidence::CREDENTIAL_PURPOSE;
use vtpm_credential::tpm::{Challenge, PcrSelection, PcrValues, PublicArea, Signature, template};
use vtpm_store::{Expect, InstanceId, MinimumGeneration, Place, Store};
use zeroize::Zeroizing;

use crate::attest::HostQuote;
use crate::broker::{Broker, PATIENCE};
use crate::chip::{Authorizations, Chip, Expected, Operations};
use crate::error::{Error, Result};
use crate::generations::{Files, Table};
use crate::identity::{
    Attestation, Blob, Certified, EkKind, Endorsement, HostAuditEntry, Identity, Root, read_bounded,
};
use crate::policy::{Approval, PcrPolicy};
use crate::seal::TpmSource;

/// What the AK's certification of the handover key has mixed in.
pub const HANDOVER_PURPOSE: &[u8] = b"vtpm handover key 1";

/// The first of the NV indices (in the owner's range) that may hold the root of generations.
const FIRST_INDEX: u32 = 0x0180_5600;
const INDICES: u32 = 64;

/// How to reach the chip.
#[derive(Clone, Debug)]
pub struct Access {
    /// The TCTI; absent for the one that the identity was made with.
    pub tpm: Option<String>,
    /// Authorization values of the chip's hierarchies.
    pub authorizations: Authorizations,
    /// How long to wait for one piece of work, which is up to a dozen commands.
    pub patience: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self { tpm: None, authorizations: Authorizations::default(), patience: PATIENCE }
    }
}

/// What a new identity is made with.
#[derive(Clone, Debug, Default)]
pub struct Making {
    /// PCRs to seal under, with the public key (PEM, P-256) of who approves their values; absent
    /// to seal under none.
    pub pcr_policy: Option<(PcrSelection, Vec<u8>)>,
}

/// A host's anchor. Clones are the same one.
#[derive(Clone)]
pub struct Anchor {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    broker: Broker,
    identity: Mutex<Identity>,
    files: Files,
    /// The authorization value of the NV index, once it was unsealed.
    root_auth: Mutex<Option<Zeroizing<Vec<u8>>>>,
}

impl Anchor {
    /// Makes this host's identity in the chip at `tpm` (a TCTI), and keeps it in `directory`.
    ///
    /// # Errors
    /// [`Error::IdentityExists`]: an identity is replaced by [`recreate`](Self::recreate) only;
    /// [`Error::Address`], [`Error::Unreachable`], or as the chip refuses.
    pub fn init(directory: &Path, tpm: &str, making: &Making, access: &Access) -> Result<Self> {
        let path = Identity::file(directory);
        if path.exists() {
            return Err(Error::IdentityExists { path });
        }
        Self::make(directory, tpm, making, access, Vec::new())
    }

    /// Replaces this host's identity: because the chip was cleared or exchanged, or the file is
    /// lost. Nothing that was sealed under the old identity opens any more.
    ///
    /// # Errors
    /// As [`init`](Self::init), but for the file.
    pub fn recreate(
        directory: &Path,
        tpm: Option<&str>,
        making: &Making,
        access: &Access,
        reason: &str,
    ) -> Result<Self> {
        let old = Identity::load(directory).ok();
        let tpm = tpm.map(ToOwned::to_owned).or_else(|| old.as_ref().map(|old| old.tpm.clone()));
        let tpm = tpm.ok_or_else(|| Error::NoIdentity { path: Identity::file(directory) })?;
        let mut audit = old.as_ref().map(|old| old.audit.clone()).unwrap_or_default();
        audit.push(audit_entry("identity recreated", reason));
        let anchor = Self::make(directory, &tpm, making, access, audit)?;
        if let Some(index) =
            old.map(|old| old.root.index).filter(|i| *i != anchor.lock().root.index)
        {
            // It may be another chip's, or gone; what remains is 40 bytes of NV.
            let removed =
                anchor.broker().run("removing the old index", move |chip| chip.undefine(index));
            if let Err(error) = removed {
                tracing::warn!("the old NV index {index:#010x} stays: {error}");
            }
        }
        Ok(anchor)
    }

    fn make(
        directory: &Path,
        tpm: &str,
        making: &Making,
        access: &Access,
        audit: Vec<HostAuditEntry>,
    ) -> Result<Self> {
        let failed = |source| Error::Io { what: "make", path: directory.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let policy = making.pcr_policy.as_ref().map(|(selection, pem)| -> Result<PcrPolicy> {
            let authority = PublicArea::of_external_key(pem)?.as_bytes().to_vec();
            Ok(PcrPolicy { selection: selection.to_string(), authority, approvals: Vec::new() })
        });
        let policy = policy.transpose()?;
        let broker = Broker::start(tpm, access.authorizations.clone(), access.patience)?;
        let mut auth = Zeroizing::new(vec![0; 32]);
        fill(&mut auth)?;
        if let Some(last) = auth.last_mut() {
            // A TPM drops zeros at the end of an authorization value.
            *last |= 1;
        }
        let (address, secret) = (tpm.to_owned(), auth.clone());
        let identity = broker.run("making the host's identity", move |chip| {
            make_identity(chip, &address, policy.clone(), &secret)
        })?;
        let identity = Identity { audit, ..identity };
        let files = Files::in_directory(directory);
        let _held = files.lock()?;
        let table = Table::default();
        files.prepare(&table)?;
        let (index, secret, root) = (identity.root.index, auth.clone(), table.root());
        broker.run("writing the root of generations", move |chip| {
            chip.with_root(index, &secret, |chip, nv| nv.write(chip, &root))
        })?;
        files.promote()?;
        identity.save(directory)?;
        Ok(Self::over(directory, broker, identity, Some(auth)))
    }

    /// Opens this host's identity. The chip is not touched yet.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::Damaged`], [`Error::Newer`], [`Error::Address`].
    pub fn open(directory: &Path, access: &Access) -> Result<Self> {
        let identity = Identity::load(directory)?;
        let tpm = access.tpm.as_deref().unwrap_or(&identity.tpm);
        let broker = Broker::start(tpm, access.authorizations.clone(), access.patience)?;
        let ek = identity.ek()?;
        let expected = Expected {
            storage: identity.storage_name.clone(),
            ek_template: ek.kind.template(),
            ek_name: PublicArea::from_bytes(&ek.public)?.name().as_bytes().to_vec(),
        };
        let anchor = Self::over(directory, broker, identity, None);
        anchor.expect(expected)?;
        Ok(anchor)
    }

    fn over(
        directory: &Path,
        broker: Broker,
        identity: Identity,
        auth: Option<Zeroizing<Vec<u8>>>,
    ) -> Self {
        let inner = Inner {
            directory: directory.into(),
            broker,
            identity: Mutex::new(identity),
            files: Files::in_directory(directory),
            root_auth: Mutex::new(auth),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells the chip's thread which chip it should be; that sends nothing.
    fn expect(&self, expected: Expected) -> Result<()> {
        self.broker().run("opening the host's identity", move |chip| {
            chip.expected = Some(expected.clone());
            Ok(())
        })
    }

    /// Seals the keys of instances.
    #[must_use]
    pub fn key_source(&self) -> TpmSource {
        TpmSource { anchor: self.clone() }
    }

    /// What the chip was sent by this process so far.
    #[must_use]
    pub fn operations(&self) -> Operations {
        self.broker().operations()
    }

    /// Checks that the chip is there and the right one.
    ///
    /// # Errors
    /// [`Error::Cleared`], [`Error::OtherChip`], or the chip's.
    pub fn check(&self) -> Result<()> {
        self.broker().run("checking the TPM", |chip| {
            let storage = chip.storage()?;
            chip.flush(storage);
            Ok(())
        })
    }

    /// Where the identity is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// What the chip is reached by.
    #[must_use]
    pub fn tpm(&self) -> String {
        self.lock().tpm.clone()
    }

    /// The endorsement keys; the first is the one that this host shows.
    #[must_use]
    pub fn endorsement(&self) -> Vec<Endorsement> {
        self.lock().endorsement.clone()
    }

    /// The certificates of the endorsement key that this host shows, DER, its own first: from the
    /// chip, and from `ek-chain.pem` in the directory, where an operator puts those between it and
    /// its maker's root. Empty if the chip has none.
    ///
    /// # Errors
    /// If that file cannot be read.
    pub fn ek_certificates(&self) -> Result<Vec<Vec<u8>>> {
        const MAX: u64 = 64 * 1024;
        let own = self.lock().ek()?.certificate.clone();
        if own.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.inner.directory.join("ek-chain.pem");
        let mut chain = vec![own];
        match read_bounded(&path, MAX) {
            Ok(pem) => chain.extend(split_pem(&pem)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { what: "read", path, source }),
        }
        Ok(chain)
    }

    /// The public areas of AK, HK and CK.
    ///
    /// # Errors
    /// Only if the identity was changed since it was read.
    pub fn keys(&self) -> Result<Keys> {
        let identity = self.lock();
        Ok(Keys {
            attestation: PublicArea::from_bytes(&identity.attestation.public)?,
            handover: PublicArea::from_bytes(&identity.handover.key.public)?,
            handover_certification: identity.handover.certification.clone(),
            credential: PublicArea::from_bytes(&identity.credential.key.public)?,
            credential_certification: identity.credential.certification.clone(),
        })
    }

    /// What operators did against the protections of all instances, oldest first.
    #[must_use]
    pub fn audit(&self) -> Vec<HostAuditEntry> {
        self.lock().audit.clone()
    }

    /// The certificates of the credential key, PEM, its own first; empty if there are none yet.
    #[must_use]
    pub fn credential_chain(&self) -> String {
        self.lock().credential_chain.clone()
    }

    /// Keeps the certificates of the credential key. The caller has checked them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_credential_chain(&self, pem: &str) -> Result<()> {
        self.change(|identity| {
            identity.credential_chain = pem.to_owned();
            Ok(())
        })
    }

    /// The PCRs that keys are sealed under, and the approvals so far.
    ///
    /// # Errors
    /// Only if the identity was changed since it was read.
    pub fn pcr_approvals(&self) -> Result<Option<(PcrSelection, Vec<Approval>)>> {
        let policy = self.pcr_policy();
        policy.map(|policy| Ok((policy.selection()?, policy.approvals))).transpose()
    }

    /// Keeps an approval of a state of PCRs, if it is signed by the policy key.
    ///
    /// # Errors
    /// [`Error::NotAuthority`], [`Error::Invalid`] if this host seals under no PCRs.
    pub fn bless(&self, approval: &Approval) -> Result<()> {
        self.change(|identity| match &mut identity.pcr_policy {
            Some(policy) => policy.add(approval.clone()),
            None => Err(Error::Invalid(
                "this host seals under no PCRs: there is nothing to approve".into(),
            )),
        })
    }

    /// A quote by the AK.
    ///
    /// # Errors
    /// The chip's.
    pub fn quote(&self, qualifying: &[u8], selection: &PcrSelection) -> Result<HostQuote> {
        let ak = self.lock().attestation.clone();
        let (qualifying, selection) = (qualifying.to_vec(), selection.clone());
        self.broker().run("quoting", move |chip| chip.quote(&ak, &qualifying, &selection))
    }

    /// The values of PCRs as they are now.
    ///
    /// # Errors
    /// The chip's; [`Error::Invalid`] for a bank that it does not have.
    pub fn pcr_values(&self, selection: &PcrSelection) -> Result<PcrValues> {
        let selection = selection.clone();
        self.broker().run("reading PCRs", move |chip| chip.pcr_values(&selection))
    }

    /// Opens a challenge that was made for the EK that this host shows, and its AK.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it was made for others, or the chip's.
    pub fn activate(&self, challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>> {
        let (ak, ek) = {
            let identity = self.lock();
            (identity.attestation.clone(), identity.ek()?.kind)
        };
        let challenge = challenge.clone();
        self.broker().run("opening a challenge", move |chip| chip.activate(&ak, ek, &challenge))
    }

    /// Signs a SHA-256 digest with the credential key.
    ///
    /// # Errors
    /// The chip's.
    pub fn sign(&self, digest: [u8; 32]) -> Result<Signature> {
        let key = self.lock().credential.key.clone();
        self.broker().run("signing", move |chip| chip.sign(&key, &digest))
    }

    /// Mixes random bytes of the chip into the kernel's pool, so that all that this host draws from
    /// there rests on both.
    ///
    /// # Errors
    /// The chip's, [`Error::Io`].
    pub fn mix_entropy(&self) -> Result<()> {
        let random = self.broker().run("drawing random bytes", Chip::random)?;
        let path = Path::new("/dev/urandom");
        let written = std::fs::write(path, &*random);
        written.map_err(|source| Error::Io { what: "write to", path: path.into(), source })
    }

    /// The newest generation that is remembered of an instance.
    ///
    /// # Errors
    /// [`Error::TableRolledBack`], [`Error::RootLost`], or the chip's.
    pub fn remembered(&self, instance: &InstanceId) -> Result<Option<MinimumGeneration>> {
        let instance = *instance;
        self.with_table(|_| false).map(|table| table.get(&instance))
    }

    /// What is expected of an instance's file: that it is the instance's, and not older than what
    /// is remembered.
    ///
    /// # Errors
    /// As [`remembered`](Self::remembered).
    pub fn expect_file(&self, instance: &InstanceId) -> Result<Expect> {
        let expect = Expect::instance(*instance);
        Ok(match self.remembered(instance)? {
            Some(remembered) => expect.at_least(remembered),
            None => expect,
        })
    }

    /// The newest generations of all instances.
    ///
    /// # Errors
    /// As [`remembered`](Self::remembered).
    pub fn all_remembered(&self) -> Result<BTreeMap<InstanceId, MinimumGeneration>> {
        self.with_table(|_| false).map(|table| table.all())
    }

    /// Remembers generations; none ever goes back. Writes the chip's NV: not for every commit.
    ///
    /// # Errors
    /// As [`remembered`](Self::remembered).
    pub fn remember(&self, generations: &[(InstanceId, u64)]) -> Result<()> {
        let generations = generations.to_vec();
        self.with_table(move |table| table.raise(&generations)).map(drop)
    }

    /// Remembers how new an instance's file is.
    ///
    /// # Errors
    /// As [`remembered`](Self::remembered), [`Error::Invalid`] if the file cannot be read.
    pub fn remember_file(&self, place: &Place) -> Result<()> {
        let summary = Store::inspect(place).map_err(|cause| Error::Invalid(cause.to_string()))?;
        self.remember(&[(summary.instance, summary.generation)])
    }

    /// Forgets an instance that was destroyed.
    ///
    /// # Errors
    /// As [`remembered`](Self::remembered).
    pub fn forget(&self, instance: &InstanceId) -> Result<()> {
        let instance = *instance;
        self.with_table(move |table| table.forget(&instance)).map(drop)
    }

    /// Accepts that what was remembered is lost, and begins with `generations`. That is recorded.
    ///
    /// # Errors
    /// The chip's, [`Error::Io`].
    pub fn accept_loss(&self, generations: &[(InstanceId, u64)], reason: &str) -> Result<()> {
        let _held = self.inner.files.lock()?;
        let policy = self.pcr_policy();
        let mut auth = Zeroizing::new(vec![0; 32]);
        fill(&mut auth)?;
        if let Some(last) = auth.last_mut() {
            *last |= 1;
        }
        let mut table = Table::default();
        table.raise(generations);
        self.inner.files.prepare(&table)?;
        let (old, secret, contents) = (self.lock().root.index, auth.clone(), table.root());
        let root = self.broker().run("making the root of generations anew", move |chip| {
            chip.undefine(old)?;
            let root = make_root(chip, policy.as_ref(), &secret)?;
            chip.with_root(root.index, &secret, |chip, nv| nv.write(chip, &contents))?;
            Ok(root)
        })?;
        self.change(|identity| {
            identity.root = root;
            identity.audit.push(audit_entry("loss of the table of generations accepted", reason));
            Ok(())
        })?;
        self.inner.files.promote()?;
        *self.inner.root_auth.lock().unwrap_or_else(PoisonError::into_inner) = Some(auth);
        Ok(())
    }

    /// Reads the table, has it changed, and writes it if it was.
    fn with_table(&self, change: impl Fn(&mut Table) -> bool + Send + 'static) -> Result<Table> {
        let _held = self.inner.files.lock()?;
        let auth = self.root_auth()?;
        let (index, files) = (self.lock().root.index, self.inner.files.clone());
        self.broker().run("the table of generations", move |chip| {
            chip.with_root(index, &auth, |chip, nv| {
                let mut table = files.load(&nv.read(chip)?)?;
                if change(&mut table) {
                    table.step();
                    files.prepare(&table)?;
                    nv.write(chip, &table.root())?;
                    files.promote()?;
                }
                Ok(table)
            })
        })
    }

    fn root_auth(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut known = self.inner.root_auth.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(auth) = &*known {
            return Ok(auth.clone());
        }
        let blob = self.lock().root.auth.clone();
        let policy = self.pcr_policy();
        let auth = self.broker().run("opening the root of generations", move |chip| {
            chip.unseal(&blob, policy.as_ref())
        })?;
        *known = Some(auth.clone());
        Ok(auth)
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    pub(crate) fn pcr_policy(&self) -> Option<PcrPolicy> {
        self.lock().pcr_policy.clone()
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Identity> {
        self.inner.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the identity, durably. What another process wrote meanwhile is kept.
    fn change(&self, change: impl FnOnce(&mut Identity) -> Result<()>) -> Result<()> {
        let mut held = self.lock();
        let mut identity = Identity::load(&self.inner.directory)?;
        change(&mut identity)?;
        identity.save(&self.inner.directory)?;
        *held = identity;
        Ok(())
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

/// The public side of a host's keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// AK.
    pub attestation: PublicArea,
    /// HK.
    pub handover: PublicArea,
    /// The AK's certification of HK.
    pub handover_certification: Attestation,
    /// CK.
    pub credential: PublicArea,
    /// The AK's certification of CK.
    pub credential_certification: Attestation,
}

fn make_identity(
    chip: &mut Chip,
    address: &str,
    pcr_policy: Option<PcrPolicy>,
    root_auth: &[u8],
) -> Result<Identity> {
    chip.expected = None;
    let endorsement = find_endorsement(chip)?;
    let storage_name = storage_name(chip)?;
    let attestation = chip.create_key(&template::signing(true))?;
    let handover = certified(chip, &attestation, &template::storage(&[]), HANDOVER_PURPOSE)?;
    let credential = certified(chip, &attestation, &template::signing(false), CREDENTIAL_PURPOSE)?;
    let root = make_root(chip, pcr_policy.as_ref(), root_auth)?;
    Ok(Identity {
        version: Identity::current_version(),
        minimum_version: 1,
        tpm: address.to_owned(),
        made_at: now(),
        storage_name,
        endorsement,
        attestation,
        handover,
        credential,
        credential_chain: String::new(),
        root,
        pcr_policy,
        audit: Vec::new(),
    })
}

/// The chip's endorsement keys: one with a certificate first, then P-256 for its speed.
fn find_endorsement(chip: &mut Chip) -> Result<Vec<Endorsement>> {
    let mut found = Vec::new();
    for kind in [EkKind::P256, EkKind::Rsa2048] {
        let (handle, area) = match chip.create_primary(Hierarchy::Endorsement, &kind.template()) {
            Ok(made) => made,
            // A chip need not have every algorithm.
            Err(Error::Refused { code, .. }) if code & 0x80 != 0 => continue,
            Err(error) => return Err(error),
        };
        chip.flush(handle);
        let certificate = chip.read_certificate(kind.certificate_index())?;
        let certificate = certificate.map(|bytes| trim_der(&bytes)).unwrap_or_default();
        found.push(Endorsement { kind, public: area.as_bytes().to_vec(), certificate });
    }
    found.sort_by_key(|ek| ek.certificate.is_empty());
    if found.is_empty() {
        return Err(Error::Invalid("the TPM makes neither a P-256 nor an RSA-2048 EK".into()));
    }
    Ok(found)
}

/// NV indices of certificates may be longer than what is in them.
fn trim_der(bytes: &[u8]) -> Vec<u8> {
    let [0x30, 0x82, high, low, ..] = bytes else { return bytes.to_vec() };
    let length = usize::from(u16::from_be_bytes([*high, *low])).saturating_add(4);
    bytes.get(..length).unwrap_or(bytes).to_vec()
}

fn storage_name(chip: &mut Chip) -> Result<Vec<u8>> {
    let storage = chip.storage()?;
    let read = chip.call("TPM2_ReadPublic", |context| context.read_public(storage));
    chip.flush(storage);
    read.map(|(_, name, _)| name.value().to_vec())
}

fn certified(chip: &mut Chip, ak: &Blob, template: &[u8], purpose: &[u8]) -> Result<Certified> {
    let key = chip.create_key(template)?;
    let certification = chip.certify(ak, &key, purpose)?;
    Ok(Certified { key, certification })
}

fn make_root(chip: &mut Chip, policy: Option<&PcrPolicy>, auth: &[u8]) -> Result<Root> {
    let sealed = chip.seal(auth, policy)?;
    for index in (FIRST_INDEX..).take(INDICES as usize) {
        if chip.define_root(index, auth)?.is_some() {
            return Ok(Root { index, auth: sealed });
        }
    }
    Err(Error::Invalid(format!(
        "all NV indices from {FIRST_INDEX:#010x} on are taken; remove those that nobody uses \
         (tpm2_nvundefine)"
    )))
}

fn audit_entry(event: &str, reason: &str) -> HostAuditEntry {
    HostAuditEntry { unix_seconds: now(), event: event.into(), reason: reason.into() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| vtpm_credential::Error::from(error).into())
}
