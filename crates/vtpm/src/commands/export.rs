//! `vtpm export`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use vtpm_store::{InstanceId, RecoveryPublicKey, Store};

use crate::files;
use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Export {
    /// Which vTPM; it must not be running.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// The recovery key: a P-256 public key, PEM. Its private half is kept off the hosts.
    #[arg(long)]
    to: PathBuf,

    /// The backup.
    #[arg(long)]
    out: PathBuf,
}

impl Export {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let to = RecoveryPublicKey::from_pem(&files::read_text(&self.to)?)?;
        let anchor = host.anchor()?;
        let expect = host.expect(&anchor, &self.id, None)?;
        let opened = Store::open(&host.place(&self.id), &anchor.key_source(), &expect)?;
        files::write_private(&self.out, &opened.store.export(&to)?)
    }
}
