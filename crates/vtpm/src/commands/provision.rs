//! `vtpm provision`: a factory makes vTPMs ahead of time and delivers each order exactly once.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use vtpm_handover::driver::Books;
use vtpm_handover::{Outcome, RequestId, Side};
use vtpm_host::{Found, Whose};
use vtpm_store::{InstanceId, Place};

use crate::commands::handover::{Moving, Peer, finish, found, record, settle};
use crate::guest;
use crate::host::{HostOptions, parse_instance, private_directory};

/// Making vTPMs for other hosts.
#[derive(Subcommand)]
pub(crate) enum Provision {
    /// Makes vTPMs with endorsement certificates, to be delivered later.
    Stock(Stock),
    /// Delivers the vTPM of an order to a host. Repeated as often as need be, it delivers one.
    Deliver(Deliver),
    /// Prints the books: order, vTPM, host.
    Books,
}

#[derive(Args)]
pub(crate) struct Stock {
    /// How many.
    #[arg(long, default_value_t = 1)]
    count: u32,

    /// Without endorsement certificates.
    #[arg(long)]
    without_certificates: bool,
}

#[derive(Args)]
pub(crate) struct Deliver {
    /// The order's id: 32 hexadecimal digits of the orderer's choice. The same id always stands
    /// for the same vTPM.
    #[arg(long)]
    request: RequestId,

    #[command(flatten)]
    peer: Peer,
}

impl Provision {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        match self {
            Self::Stock(command) => command.run(host),
            Self::Deliver(command) => command.run(host),
            Self::Books => books(host),
        }
    }
}

impl Stock {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        anchor.mix_entropy()?;
        private_directory(&host.dir.join("stock"))?;
        let mut made = Vec::new();
        for _ in 0..self.count {
            let whose = InstanceId::random()?.into();
            let Whose { id, .. } = whose;
            let place = in_stock(host, &id);
            made.push((id, guest::make(&place, &anchor, whose, !self.without_certificates)?));
            println!("{id}");
        }
        anchor.remember(&made)?;
        host.tell_operations("stock", &anchor);
        Ok(())
    }
}

impl Deliver {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let directory = host.dir.join("books");
        private_directory(&directory)?;
        let books = Books::open(&directory)?;
        let order = books.order(self.request, stock(host)?)?;
        let id = InstanceId(order.instance.0);
        if let Some(there) = order.delivered {
            if self.peer.peer.is_some_and(|wanted| wanted != there) {
                books.delivered(&order, self.peer.peer.unwrap_or(there))?;
            }
            println!("{id}: delivered to host {there} before");
            return Ok(());
        }
        let place = in_stock(host, &id);
        let mut ending = None;
        // What an earlier attempt left on its way out is called back, and sent again.
        if !matches!(found(host, &anchor, &place, &id)?, Found::Active(_)) {
            ending = settle(host, &anchor, &place, &id, None, &self.peer)?;
        }
        let ending = match ending {
            Some(ending) => ending,
            None => {
                let Found::Active(instance) = found(host, &anchor, &place, &id)? else {
                    bail!("the vTPM of this order is not in the stock any more");
                };
                let moving = Moving { host, anchor: &anchor, place, request: self.request };
                moving.send(instance, &self.peer, false)?
            }
        };
        if ending.outcome != Outcome::Moved {
            return finish(host, Side::Source, ending);
        }
        let there = ending.peer.context("the handover is complete without a peer")?;
        books.delivered(&order, there)?;
        record(host, Side::Source, &ending)
    }
}

fn books(host: &HostOptions) -> Result<()> {
    let directory = host.dir.join("books");
    private_directory(&directory)?;
    for order in Books::open(&directory)?.all()? {
        let there = order.delivered.map_or_else(|| "-".into(), |host| host.to_string());
        println!("{} {} {there}", order.request, order.instance);
    }
    Ok(())
}

fn in_stock(host: &HostOptions, id: &InstanceId) -> Place {
    Place::at(host.dir.join("stock").join(format!("{id}.vtpm")))
}

/// What is in the stock, delivered or not.
fn stock(host: &HostOptions) -> Result<Vec<vtpm_handover::InstanceId>> {
    let directory = host.dir.join("stock");
    let failed = || format!("cannot read {}; run `vtpm provision stock`", directory.display());
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(&directory).with_context(failed)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "vtpm")
            && let Ok(id) = parse_instance(name)
        {
            ids.push(vtpm_handover::InstanceId(id.0));
        }
    }
    ids.sort_unstable();
    Ok(ids)
}
