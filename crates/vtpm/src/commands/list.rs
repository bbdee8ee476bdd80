//! `vtpm list`

use anyhow::Result;
use clap::Args;
use vtpm_store::Store;

use crate::host::HostOptions;

#[derive(Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        for (instance, place) in host.all()? {
            match Store::inspect(&place) {
                Ok(summary) => println!(
                    "{instance}  {}, generation {}, sealed by {}",
                    summary.role, summary.generation, summary.key_source
                ),
                Err(error) => println!("{instance}  {error}"),
            }
        }
        Ok(())
    }
}
