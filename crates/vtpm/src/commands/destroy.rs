//! `vtpm destroy`

use anyhow::Result;
use clap::Args;
use vtpm_store::{InstanceId, Store};

use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Destroy {
    /// Which vTPM; it must not be running.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// Yes: the vTPM's keys and everything that was sealed to it are to be gone for ever.
    #[arg(long, required = true)]
    yes: bool,
}

impl Destroy {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        // A file that cannot be opened is to be destroyed too.
        Store::erase(&host.place(&self.id))?;
        // Its generation stays remembered: a copy of the file that is put back is refused.
        if let Ok(anchor) = host.anchor()
            && let Ok(Some(remembered)) = anchor.remembered(&self.id)
        {
            anchor.remember(&[(self.id, remembered.0.saturating_add(1 << 32))])?;
            host.tell_operations("destroy", &anchor);
        }
        Ok(())
    }
}
