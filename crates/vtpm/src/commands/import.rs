//! `vtpm import`

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::Args;
use vtpm_store::{InstanceId, Override, RecoverySecretKey, Restore, Store};

use crate::files;
use crate::host::{HostOptions, parse_instance, private_directory};

#[derive(Args)]
pub(crate) struct Import {
    /// Of which vTPM the backup is.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// The backup.
    #[arg(long)]
    from: PathBuf,

    /// The recovery key's private half, PEM.
    #[arg(long)]
    key: PathBuf,

    /// Why; recorded in the file. 1 to 128 bytes.
    #[arg(long)]
    reason: String,

    /// Also if the backup is older than the TPM remembers: what happened since is lost.
    #[arg(long)]
    accept_older: bool,
}

impl Import {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let backup = files::read(&self.from)?;
        let key = zeroize::Zeroizing::new(files::read_text(&self.key)?);
        let key = RecoverySecretKey::from_pem(&key)?;
        let id = self.id;
        let anchor = host.anchor()?;
        let by = Override::because(self.reason, SystemTime::now())?;
        let mut terms = Restore::because(by);
        if let Some(remembered) = anchor.remembered(&id)? {
            terms = terms.at_least(remembered);
        }
        if self.accept_older {
            terms = terms.or_older();
        }
        private_directory(&host.instances())?;
        let source = anchor.key_source();
        let store = Store::import(&host.place(&id), &backup, &key, &source, &terms)?;
        if store.instance() != id {
            let found = store.instance();
            store.destroy()?;
            bail!("the backup is of {found}, not of {id}; nothing was changed");
        }
        anchor.remember(&[(id, store.generation())])?;
        println!("{id}");
        Ok(())
    }
}
