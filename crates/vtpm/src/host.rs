//! This host: its directory, its anchor, its instances' files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use vtpm_anchor::{Access, Anchor, Authorizations};
use vtpm_store::{Expect, InstanceId, Override, Place};
use zeroize::Zeroizing;

use crate::files;

/// Where this host keeps its vTPMs, and how its TPM is reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostOptions {
    /// Directory of the host's identity and of its instances.
    #[arg(long, global = true, env = "VTPM_DIR", default_value = "/var/lib/vtpm")]
    pub(crate) dir: PathBuf,

    /// The host's TPM: device:/dev/tpmrm0, swtpm:host=H,port=P, mssim:..., tabrmd:...
    #[arg(long, global = true, env = "VTPM_TPM")]
    pub(crate) tpm: Option<String>,

    /// File with the TPM's owner authorization, if there is one.
    #[arg(long, global = true)]
    owner_auth: Option<PathBuf>,

    /// File with the TPM's endorsement authorization, if there is one.
    #[arg(long, global = true)]
    endorsement_auth: Option<PathBuf>,

    /// Says how many commands the host's TPM was sent.
    #[arg(long, global = true)]
    operations: bool,
}

impl HostOptions {
    /// How the TPM is reached.
    pub(crate) fn access(&self) -> Result<Access> {
        let read = |path: &Option<PathBuf>| -> Result<Zeroizing<Vec<u8>>> {
            let Some(path) = path else { return Ok(Zeroizing::default()) };
            let mut value = Zeroizing::new(files::read(path)?);
            let end = value.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
            value.truncate(end.map_or(0, |last| last.saturating_add(1)));
            Ok(value)
        };
        let authorizations = Authorizations {
            owner: read(&self.owner_auth)?,
            endorsement: read(&self.endorsement_auth)?,
        };
        Ok(Access { tpm: self.tpm.clone(), authorizations, ..Access::default() })
    }

    /// Opens the host's identity.
    pub(crate) fn anchor(&self) -> Result<Anchor> {
        Ok(Anchor::open(&self.dir, &self.access()?)?)
    }

    /// Says what the TPM was sent, if that was asked for.
    pub(crate) fn tell_operations(&self, what: &str, anchor: &Anchor) {
        if self.operations {
            eprintln!("{what}: {}", anchor.operations());
        }
    }

    /// The state file of an instance.
    pub(crate) fn place(&self, instance: &InstanceId) -> Place {
        Place::at(self.instances().join(format!("{instance}.vtpm")))
    }

    /// The directory of the state files.
    pub(crate) fn instances(&self) -> PathBuf {
        self.dir.join("instances")
    }

    /// The instances that have a file here, with its place.
    pub(crate) fn all(&self) -> Result<Vec<(InstanceId, Place)>> {
        let mut found = Vec::new();
        let directory = self.instances();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", directory.display()));
            }
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "vtpm")
                && let Ok(instance) = parse_instance(name)
            {
                found.push((instance, Place::at(path)));
            }
        }
        found.sort_by_key(|(instance, _)| *instance);
        Ok(found)
    }

    /// What is expected of an instance's file: that it is the instance's, and not older than the
    /// TPM remembers unless that is accepted.
    pub(crate) fn expect(
        &self,
        anchor: &Anchor,
        instance: &InstanceId,
        accepted: Option<&str>,
    ) -> Result<Expect> {
        let mut expect = anchor.expect_file(instance)?;
        if let Some(reason) = accepted {
            expect = expect.or_older(Override::because(reason, SystemTime::now())?);
        }
        Ok(expect)
    }
}

/// An instance id: 32 hexadecimal digits, with or without dashes.
pub(crate) fn parse_instance(text: &str) -> Result<InstanceId> {
    let mut id = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut id)
        .map_err(|_| anyhow!("\"{text}\" is no instance id: give 32 hexadecimal digits"))?;
    Ok(InstanceId(id))
}

/// Keeps the secrets of this process out of core dumps, and away from others' debuggers.
pub(crate) fn leave_no_core() -> std::io::Result<()> {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, nothing)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Makes a directory that only its owner may look into.
pub(crate) fn private_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}
