//! `vtpm enroll`: on a verifier's machine, once for each host.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use vtpm_credential::certificate::{Purpose, Roots};
use vtpm_credential::evidence::host_id;
use vtpm_credential::tpm::{PublicArea, make_credential};

use super::host::{Challenged, Shown};
use crate::files;

/// Makes sure that a host's attestation key is in the TPM that it shows.
#[derive(Subcommand)]
pub(crate) enum Enroll {
    /// Makes a challenge that only the right TPM can answer (`vtpm host answer`).
    Challenge(Challenge),
    /// Checks the answer, and prints the host's entry for a policy.
    Finish(Finish),
}

impl Enroll {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Challenge(command) => command.run(),
            Self::Finish(command) => command.run(),
        }
    }
}

#[derive(Args)]
pub(crate) struct Challenge {
    /// What the host shows (`vtpm host show --json`).
    #[arg(long)]
    host: PathBuf,

    /// Roots of TPM makers, PEM: the EK's certificate is checked against them.
    #[arg(long)]
    roots: Option<PathBuf>,

    /// The challenge, to be brought to the host.
    #[arg(long)]
    out: PathBuf,

    /// The expected answer, to be kept here.
    #[arg(long)]
    secret: PathBuf,
}

impl Challenge {
    fn run(self) -> Result<()> {
        let (shown, ek, ak) = read_host(&self.host)?;
        ak.must_be_attestation_key()?;
        if let Some(roots) = &self.roots {
            let roots = Roots::from_pem(&files::read(roots)?)?;
            let certificate = hex::decode(&shown.ek_certificate)?;
            if certificate.is_empty() {
                bail!("the host shows no certificate of its EK; leave --roots out to trust it so");
            }
            ek.must_be_certified_by(&certificate)?;
            roots.check(&[certificate], Purpose::EndorsementKey, SystemTime::now())?;
        }
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        let challenge = make_credential(&ek, &ak.name(), &*secret)?;
        let challenge = Challenged {
            id_object: hex::encode(challenge.id_object),
            encrypted_secret: hex::encode(challenge.encrypted_secret),
        };
        files::write(Some(&self.out), &serde_json::to_vec_pretty(&challenge)?)?;
        files::write_private(&self.secret, format!("{}\n", hex::encode(*secret)).as_bytes())
    }
}

#[derive(Args)]
pub(crate) struct Finish {
    /// What the host shows: the same as for the challenge.
    #[arg(long)]
    host: PathBuf,

    /// The expected answer.
    #[arg(long)]
    secret: PathBuf,

    /// The host's answer.
    #[arg(long)]
    answer: PathBuf,

    /// What people call the host.
    #[arg(long)]
    name: String,
}

impl Finish {
    fn run(self) -> Result<()> {
        let (_, ek, ak) = read_host(&self.host)?;
        let wanted = files::read_text(&self.secret)?;
        let answer = files::read_text(&self.answer)?;
        if wanted.trim().len() != 64 || wanted.trim() != answer.trim() {
            bail!("the answer is wrong: the host's AK is not in the TPM with this EK");
        }
        let entry = |key: &str, value: String| format!("{key} = {}", toml::Value::String(value));
        println!("[[host]]");
        println!("{}", entry("name", self.name));
        println!("{}", entry("ek", host_id(&ek)));
        println!("{}", entry("ak", host_id(&ak)));
        Ok(())
    }
}

fn read_host(path: &Path) -> Result<(Shown, PublicArea, PublicArea)> {
    let shown: Shown = serde_json::from_slice(&files::read(path)?)
        .with_context(|| format!("{} is not what a host shows", path.display()))?;
    let ek = PublicArea::from_bytes(&hex::decode(&shown.ek)?)?;
    let ak = PublicArea::from_bytes(&hex::decode(&shown.ak)?)?;
    Ok((shown, ek, ak))
}
