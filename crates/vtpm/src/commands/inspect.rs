//! `vtpm inspect`

use anyhow::Result;
use clap::Args;
use vtpm_store::{AuditEvent, InstanceId, Store};

use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Inspect {
    /// Whose file.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,
}

impl Inspect {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let place = host.place(&self.id);
        let summary = Store::inspect(&place)?;
        println!("file        {}", place.path().display());
        println!("instance    {}", summary.instance);
        println!("role        {}", summary.role);
        println!("generation  {}", summary.generation);
        println!("sealed by   {}", summary.key_source);
        println!("slots       2 of {} bytes", summary.slot_size);
        if let Some(fault) = summary.other_slot {
            println!("other slot  {fault}");
        }
        for entry in summary.audit {
            let event = match entry.event {
                AuditEvent::RollbackAccepted => "older state accepted",
                AuditEvent::Imported => "imported from a backup",
                _ => "something that a newer release knows",
            };
            println!(
                "audit {:4}  {event}: generation {}, remembered {}, at {}: {}",
                entry.sequence,
                entry.generation,
                entry.remembered,
                entry.unix_seconds,
                entry.reason
            );
        }
        println!("(read without the key: checked against accidents, not against forgery)");
        Ok(())
    }
}
