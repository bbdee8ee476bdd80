//! `vtpm recover`

use anyhow::Result;
use clap::Args;
use vtpm_store::{InstanceId, Store};

use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Recover {
    /// Accepts the state file of this vTPM although it is older than the TPM remembers.
    #[arg(value_parser = parse_instance, required_unless_present = "all")]
    id: Option<InstanceId>,

    /// Accepts that what the TPM remembered of all vTPMs is lost: the files as they are now count.
    #[arg(long, conflicts_with = "id")]
    all: bool,

    /// Why; recorded in the file, or with the host's identity. 1 to 128 bytes.
    #[arg(long)]
    reason: String,
}

impl Recover {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        if let Some(id) = self.id {
            let expect = host.expect(&anchor, &id, Some(&self.reason))?;
            let store = Store::open(&host.place(&id), &anchor.key_source(), &expect)?.store;
            anchor.remember(&[(id, store.generation())])?;
            println!("{id} is accepted; its generation is {} now", store.generation());
            return Ok(());
        }
        let mut generations = Vec::new();
        for (id, place) in host.all()? {
            match Store::inspect(&place) {
                Ok(summary) => generations.push((id, summary.generation)),
                Err(error) => eprintln!("{id} is left out: {error}"),
            }
        }
        anchor.accept_loss(&generations, &self.reason)?;
        println!("{} vTPMs are accepted as they are", generations.len());
        Ok(())
    }
}
