//! `vtpm create`

use anyhow::Result;
use clap::Args;
use vtpm_host::Whose;
use vtpm_store::{InstanceId, MinimumGeneration};

use crate::guest;
use crate::host::{HostOptions, parse_instance, private_directory};

#[derive(Args)]
pub(crate) struct Create {
    /// Its id (such as the virtual machine's UUID); by default a random one, which is printed.
    #[arg(long, value_parser = parse_instance)]
    id: Option<InstanceId>,

    /// Without endorsement certificates.
    #[arg(long)]
    without_certificates: bool,
}

impl Create {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        anchor.mix_entropy()?;
        let id = self.id.map_or_else(InstanceId::random, Ok)?;
        let remembered = anchor.remembered(&id)?.unwrap_or(MinimumGeneration(0));
        private_directory(&host.instances())?;
        let whose = Whose { id, remembered };
        let generation = guest::make(&host.place(&id), &anchor, whose, !self.without_certificates)?;
        anchor.remember(&[(id, generation)])?;
        host.tell_operations("create", &anchor);
        println!("{id}");
        Ok(())
    }
}
