//! `swtpm_setup`: makes the state of a TPM, with keys in it, or changes its PCR banks.

mod client;
mod config;
pub(crate) mod options;

use std::path::Path;

use anyhow::{Context, Result, bail};
use tracing::{info, warn};
use vtpm_credential::tpm::template;
use vtpm_engine::Profile;
use vtpm_engine::crypto::hash::HashAlg;
use vtpm_host::Instance;
use vtpm_store::{Expect, InstanceId, Place, Store};

use crate::daemon;
use crate::protect::Protection;
use crate::tpm::{Source, running_path};
use client::Client;
use options::Setup;

/// Where the endorsement keys are kept (TCG EK Credential Profile, section 2.2.1.4; the second as
/// swtpm keeps it).
const EK_RSA: u32 = 0x8101_0001;
const EK_P384: u32 = 0x8101_0016;
/// Where the storage key is kept (TCG TPM v2.0 Provisioning Guidance, table 2).
const STORAGE_KEY: u32 = 0x8100_0001;

/// What this program can, as JSON in the form that swtpm_setup has.
pub(crate) fn capabilities() -> String {
    let features = [
        "tpm-2.0",
        "cmdarg-keyfile-fd",
        "cmdarg-pwdfile-fd",
        "cmdarg-create-config-files",
        "cmdarg-reconfigure-pcr-banks",
        "tpm2-rsa-keysize-2048",
    ];
    format!(
        r#"{{ "type": "swtpm_setup", "features": [ "{}" ], "version": "{}" }}"#,
        features.join("\", \""),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Does what the options say.
pub(crate) fn run(setup: &Setup, unencrypted: bool, profile: Profile) -> Result<()> {
    if let Some(words) = &setup.create_config_files {
        return config::create(words);
    }
    setup.check()?;
    let file = setup.state_file()?;
    let source = Protection::choose(setup.keys()?, unencrypted)?.source()?;
    if let Some(user) = &setup.runas {
        daemon::become_user(user)?;
    }
    let directory = file.parent().unwrap_or(Path::new("."));
    if !directory.is_dir() {
        bail!("{} is not a directory; make it, or name another one", directory.display());
    }
    if setup.reconfigure {
        return reconfigure(&file, &source, setup.banks()?);
    }
    if file.exists() {
        if setup.not_overwrite {
            info!("{} is there already and stays as it is", file.display());
            return Ok(());
        }
        if !setup.overwrite {
            bail!("{} is there already; --overwrite replaces it", file.display());
        }
        erase(&file)?;
    }
    make(setup, &file, &source, profile)
}

/// Removes a TPM. Its bytes are overwritten, whoever can read them.
fn erase(file: &Path) -> Result<()> {
    for file in [file, &running_path(file)] {
        if file.exists() {
            Store::erase(&Place::at(file))?;
        }
    }
    Ok(())
}

fn make(setup: &Setup, file: &Path, source: &Source, profile: Profile) -> Result<()> {
    let profile = match setup.banks()? {
        Some(banks) => {
            Profile { algorithms: profile.algorithms.with_active_banks(&banks), ..profile }
        }
        None => profile,
    };
    let id = setup.instance()?.map_or_else(InstanceId::random, Ok)?;
    let place = Place::at(file);
    let instance = Instance::create(&place, source.as_ref(), id, profile)?;
    info!("made {id} in {}", file.display());
    let furnished = furnish(setup, instance);
    if furnished.is_err() {
        // Half of a TPM is none.
        erase(file)?;
    }
    furnished
}

fn furnish(setup: &Setup, instance: Instance) -> Result<()> {
    if !setup.wants_keys() && !setup.create_spk {
        return Ok(());
    }
    let client = Client::start(instance.start()?)?;
    if setup.wants_keys() {
        client
            .keep_endorsement_key(&template::ek_rsa_2048(), EK_RSA)
            .and_then(|()| client.keep_endorsement_key(&template::ek_p384(), EK_P384))
            .context("the endorsement keys cannot be made")?;
        info!("endorsement keys at {EK_RSA:#x} (RSA-2048) and {EK_P384:#x} (P-384)");
    }
    if setup.wants_certificates() {
        warn!("no certificates are made: this release has no authority that could sign them");
    }
    if setup.create_spk {
        let storage = if setup.ecc {
            template::storage_root_p256()
        } else {
            template::storage_root_rsa_2048()
        };
        client.keep_storage_key(&storage, STORAGE_KEY).context("no storage key can be made")?;
        info!("storage key at {STORAGE_KEY:#x}");
    }
    client.end()
}

fn reconfigure(file: &Path, source: &Source, banks: Option<Vec<HashAlg>>) -> Result<()> {
    const ALL: [HashAlg; 4] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let place = Place::at(file);
    let instance = Instance::open(&place, source.as_ref(), &Expect::anything())?;
    let client = Client::start(instance.start()?)?;
    client.allocate_banks(&ALL, banks.as_deref().unwrap_or(&ALL))?;
    client.end()?;
    info!("the PCR banks of {} are changed", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tpm_is_furnished_with_the_keys_that_are_asked_for() {
        let instance = Instance::ephemeral(Profile::like_swtpm()).unwrap();
        let client = Client::start(instance.start().unwrap()).unwrap();
        client.keep_endorsement_key(&template::ek_rsa_2048(), EK_RSA).unwrap();
        client.keep_endorsement_key(&template::ek_p384(), EK_P384).unwrap();
        client.keep_storage_key(&template::storage_root_rsa_2048(), STORAGE_KEY).unwrap();
        client.keep_storage_key(&template::storage_root_p256(), STORAGE_KEY + 1).unwrap();
        let again =
            client.keep_storage_key(&template::storage_root_rsa_2048(), STORAGE_KEY).unwrap_err();
        assert!(again.to_string().contains("EvictControl"), "{again}");
        client.end().unwrap();
    }
}
