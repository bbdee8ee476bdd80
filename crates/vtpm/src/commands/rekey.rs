//! `vtpm rekey`

use anyhow::Result;
use clap::Args;
use vtpm_store::{InstanceId, SealedKey, Store};

use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Rekey {
    /// Of which vTPM; it must not be running.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,
}

impl Rekey {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        anchor.mix_entropy()?;
        let expect = host.expect(&anchor, &self.id, None)?;
        let source = anchor.key_source();
        let mut store = Store::open(&host.place(&self.id), &source, &expect)?.store;
        let key = SealedKey::new(&source, &self.id)?;
        key.check(&source)?;
        store.rekey(key)?;
        anchor.remember(&[(self.id, store.generation())])?;
        host.tell_operations("rekey", &anchor);
        Ok(())
    }
}
