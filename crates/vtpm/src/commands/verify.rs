//! `vtpm verify`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use vtpm_credential::certificate::Roots;
use vtpm_credential::evidence::{Check, Evidence, Policy, PolicyFile, Report};

use crate::files;

/// The version of policies that this release reads.
const POLICY_VERSION: u32 = 1;

#[derive(Args)]
pub(crate) struct Verify {
    /// The evidence; `-` for standard input.
    evidence: PathBuf,

    /// What to believe and what to want (see the README of this crate).
    #[arg(long)]
    policy: PathBuf,

    /// The nonce that was asked for, in hexadecimal digits. Without it anybody could show evidence
    /// again that was made for somebody else.
    #[arg(long, required_unless_present = "any_nonce")]
    nonce: Option<String>,

    /// Takes evidence with any nonce.
    #[arg(long, conflicts_with = "nonce")]
    any_nonce: bool,

    /// Judges as of this time, in seconds since 1970; by default now.
    #[arg(long)]
    at: Option<u64>,

    /// The report for programs.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let policy = read_policy(&self.policy)?;
        let nonce = self.nonce.as_deref().map(hex::decode).transpose();
        let nonce = nonce.context("the nonce is not in hexadecimal digits")?;
        let now = match self.at {
            Some(at) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at)),
            None => Some(SystemTime::now()),
        };
        let now = now.context("there is no such time")?;
        let report = match Evidence::from_json(&files::read(&self.evidence)?) {
            Ok(evidence) => evidence.judge(&policy, nonce.as_deref(), now),
            Err(detail) => {
                let check = Check { name: "format", passed: false, detail };
                Report { trusted: false, checks: vec![check] }
            }
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            tell(&report);
        }
        Ok(if report.trusted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn tell(report: &Report) {
    for Check { name, passed, detail } in &report.checks {
        let mark = if *passed { "ok    " } else { "FAILED" };
        println!("{mark} {name}: {detail}");
    }
    match report.failures().count() {
        0 => println!("trusted"),
        count => println!("NOT TRUSTED: {count} of {} checks failed", report.checks.len()),
    }
}

fn read_policy(path: &Path) -> Result<Policy> {
    let wrong = || format!("in the policy {}", path.display());
    let file: PolicyFile = toml::from_str(&files::read_text(path)?).with_context(wrong)?;
    if file.version != POLICY_VERSION {
        bail!(
            "{} has version {}, this release reads {POLICY_VERSION}",
            path.display(),
            file.version
        );
    }
    let beside = path.parent().unwrap_or(Path::new("."));
    let roots = |names: &[String]| -> Result<Roots> {
        let mut all = Roots::default();
        for name in names {
            all.extend(Roots::from_pem(&files::read(&beside.join(name))?).with_context(wrong)?);
        }
        Ok(all)
    };
    let (host_roots, credential_roots) = (roots(&file.host_roots)?, roots(&file.credential_roots)?);
    Ok(Policy { file, host_roots, credential_roots })
}
