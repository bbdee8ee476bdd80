//! `vtpm create`

use anyhow::Result;
use clap::Args;
use vtpm_credential::tpm::client::Client;
use vtpm_engine::Profile;
use vtpm_host::{Instance, Whose};
use vtpm_store::{InstanceId, MinimumGeneration};

use crate::guest::{self, ByHandle};
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
        let id = match self.id {
            Some(id) => id,
            None => {
                let mut id = [0; 16];
                getrandom::fill(&mut id)?;
                InstanceId(id)
            }
        };
        let remembered = anchor.remembered(&id)?.unwrap_or(MinimumGeneration(0));
        private_directory(&host.instances())?;
        let place = host.place(&id);
        let whose = Whose { id, remembered };
        let source = anchor.key_source();
        let handle = Instance::create(&place, &source, whose, Profile::default())?.start()?;
        if !self.without_certificates {
            handle.init()?;
            let mut tpm = Client::new(ByHandle(handle.clone()));
            tpm.startup()?;
            let endorsed = guest::endorse(&mut tpm, &anchor);
            let ended = tpm.shutdown();
            endorsed?;
            ended?;
        }
        handle.power_off()?;
        let generation = handle.generation();
        handle.shutdown();
        anchor.remember(&[(id, generation)])?;
        host.tell_operations("create", &anchor);
        println!("{id}");
        Ok(())
    }
}
