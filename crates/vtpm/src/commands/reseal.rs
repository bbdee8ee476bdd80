//! `vtpm reseal`

use anyhow::Result;
use clap::Args;
use vtpm_store::{InstanceId, Store};

use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Reseal {
    /// Of which vTPM; it must not be running.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,
}

impl Reseal {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let expect = host.expect(&anchor, &self.id, None)?;
        let source = anchor.key_source();
        let mut store = Store::open(&host.place(&self.id), &source, &expect)?.store;
        store.reseal(&source)?;
        anchor.remember(&[(self.id, store.generation())])?;
        host.tell_operations("reseal", &anchor);
        Ok(())
    }
}
