//! The command line of `swtpm_setup`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use vtpm_engine::crypto::hash::HashAlg;
use vtpm_store::InstanceId;

use crate::options::pairs::{in_directory, state_file_of_uri};
use crate::options::sink::descriptor_path;
use crate::protect::Keys;

/// Options of `swtpm_setup`.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// DIRECTORY, dir://DIRECTORY or file://FILE: where the state is made.
    #[arg(long, visible_alias = "tpmstate", value_name = "DIRECTORY")]
    tpm_state: Option<String>,
    /// A TPM 2 is meant; the only kind there is.
    #[arg(long)]
    pub(crate) tpm2: bool,
    /// Make the endorsement keys, RSA-2048 and P-384, and keep them in the TPM.
    #[arg(long)]
    pub(crate) createek: bool,
    /// Make the endorsement keys; certificates of them are not made yet, and the log says so.
    #[arg(long)]
    pub(crate) create_ek_cert: bool,
    /// As --create-ek-cert.
    #[arg(long)]
    pub(crate) create_platform_cert: bool,
    /// Make a storage key and keep it in the TPM.
    #[arg(long)]
    pub(crate) create_spk: bool,
    /// The storage key is of P-256, not RSA-2048.
    #[arg(long)]
    pub(crate) ecc: bool,
    /// Endorsement keys decrypt; they always do.
    #[arg(long)]
    decryption: bool,
    /// About certificates; without effect.
    #[arg(long)]
    lock_nvram: bool,
    /// Bits of the RSA endorsement key; 2048.
    #[arg(long, default_value_t = 2048)]
    rsa_keysize: u16,
    /// The PCR banks that are active, such as sha256,sha384; - for all.
    #[arg(long, default_value = "sha256", allow_hyphen_values = true)]
    pcr_banks: String,
    /// Change the active PCR banks of a TPM that exists, and nothing else.
    #[arg(long)]
    pub(crate) reconfigure: bool,
    /// Replace a TPM that exists.
    #[arg(long, conflicts_with = "not_overwrite")]
    pub(crate) overwrite: bool,
    /// Leave a TPM that exists as it is, without an error.
    #[arg(long)]
    pub(crate) not_overwrite: bool,
    /// NAME:UUID or UUID of the machine: its TPM bears that name.
    #[arg(long, value_name = "NAME:UUID")]
    vmid: Option<String>,
    /// A file with a key that encrypts the state.
    #[arg(long, value_name = "PATH")]
    keyfile: Option<PathBuf>,
    /// The same, inherited.
    #[arg(long, value_name = "FD")]
    keyfile_fd: Option<i32>,
    /// A file with a passphrase that encrypts the state.
    #[arg(long, value_name = "PATH")]
    pwdfile: Option<PathBuf>,
    /// The same, inherited.
    #[arg(long, value_name = "FD")]
    pwdfile_fd: Option<i32>,
    /// aes-128-cbc or aes-256-cbc, as swtpm names them; the state is always under AES-256-GCM.
    #[arg(long, value_parser = ["aes-cbc", "aes-128-cbc", "aes-256-cbc"])]
    cipher: Option<String>,
    /// A configuration of swtpm_setup; ours is vtpmd.toml.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where messages go; standard error without it.
    #[arg(long, value_name = "PATH")]
    pub(crate) logfile: Option<PathBuf>,
    /// Do it as this user.
    #[arg(long, value_name = "USER")]
    pub(crate) runas: Option<String>,
    /// Without effect: this program needs no other.
    #[arg(long, hide = true)]
    tpm: Option<String>,
    /// Without effect.
    #[arg(long = "swtpm_ioctl", hide = true)]
    swtpm_ioctl: Option<String>,
    /// Without effect.
    #[arg(long, hide = true)]
    display: bool,
    /// Make a configuration, and a key that it names: in the user's directory, or in /etc/vtpm with
    /// `root`. What is there is kept; that is an error without `skip-if-exist`.
    #[arg(long, value_name = "root,skip-if-exist", num_args = 0..=1,
        default_missing_value = "", value_delimiter = ',')]
    pub(crate) create_config_files: Option<Vec<String>>,
    /// Say what this program can, as JSON, and end.
    #[arg(long)]
    pub(crate) print_capabilities: bool,
}

impl Setup {
    /// The state file.
    pub(crate) fn state_file(&self) -> Result<PathBuf> {
        let state = self.tpm_state.as_deref().context("say where: --tpm-state DIRECTORY")?;
        if state.contains("://") { state_file_of_uri(state) } else { Ok(in_directory(state)) }
    }

    /// The key that was given, if any.
    pub(crate) fn keys(&self) -> Result<Option<Keys>> {
        let named = |path: &Option<PathBuf>, number: Option<i32>| {
            path.clone().or_else(|| number.map(descriptor_path))
        };
        let remove = false;
        match (named(&self.keyfile, self.keyfile_fd), named(&self.pwdfile, self.pwdfile_fd)) {
            (None, None) => Ok(None),
            (Some(path), None) => Ok(Some(Keys::Key { path, remove })),
            (None, Some(path)) => Ok(Some(Keys::Passphrase { path, remove })),
            (Some(_), Some(_)) => bail!("give a key or a passphrase, not both"),
        }
    }

    /// The PCR banks that are to be active; absent for all.
    pub(crate) fn banks(&self) -> Result<Option<Vec<HashAlg>>> {
        if self.pcr_banks == "-" {
            return Ok(None);
        }
        let bank = |name: &str| match name {
            "sha1" => Ok(HashAlg::Sha1),
            "sha256" => Ok(HashAlg::Sha256),
            "sha384" => Ok(HashAlg::Sha384),
            "sha512" => Ok(HashAlg::Sha512),
            _ => bail!("--pcr-banks: {name} is none of sha1, sha256, sha384, sha512"),
        };
        let banks: Result<Vec<HashAlg>> = self.pcr_banks.split(',').map(bank).collect();
        banks.map(Some)
    }

    /// The name of the TPM, if one was given.
    pub(crate) fn instance(&self) -> Result<Option<InstanceId>> {
        let Some(vmid) = &self.vmid else { return Ok(None) };
        // Anything may be the name of a machine; only a UUID names its TPM.
        let last = vmid.rsplit(':').next().unwrap_or(vmid);
        let digits: String = last.chars().filter(|c| *c != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        Ok(number.map(|number| InstanceId(number.to_be_bytes())))
    }

    /// Refuses what cannot be done.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.rsa_keysize == 2048, "--rsa-keysize: endorsement keys of RSA have 2048 bits");
        ensure!(
            !self.reconfigure || !self.overwrite,
            "--reconfigure and --overwrite contradict each other"
        );
        Ok(())
    }

    /// Whether endorsement keys are wanted.
    pub(crate) fn wants_keys(&self) -> bool {
        self.createek || self.wants_certificates()
    }

    /// Whether certificates of endorsement keys are wanted.
    pub(crate) fn wants_certificates(&self) -> bool {
        self.create_ek_cert || self.create_platform_cert
    }
}
