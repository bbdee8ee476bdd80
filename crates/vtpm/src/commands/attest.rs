//! `vtpm attest`

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use vtpm_anchor::Anchor;
use vtpm_credential::evidence::{Evidence, Guest, Host, Signed};
use vtpm_credential::tpm::PcrSelection;
use vtpm_credential::tpm::client::{Client, Transport};
use vtpm_credential::tpm::stream::Stream;
use vtpm_host::Instance;
use vtpm_store::{InstanceId, Store};

use crate::files;
use crate::guest::{self, ByHandle, PATIENCE};
use crate::host::{HostOptions, parse_instance};

#[derive(Args)]
pub(crate) struct Attest {
    /// Which vTPM.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// The socket of a running vTPM (`vtpm start --socket`, `vtpmd --server type=unixio`). Without
    /// one the vTPM, which must not be running, is started for the quote: its PCRs are then empty.
    #[arg(long)]
    socket: Option<PathBuf>,

    /// The verifier's nonce, in hexadecimal digits, up to 64 bytes.
    #[arg(long, value_parser = parse_nonce)]
    nonce: Nonce,

    /// The guest's PCRs.
    #[arg(long, default_value = "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15")]
    pcrs: PcrSelection,

    /// The host's PCRs.
    #[arg(long, default_value = "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15")]
    host_pcrs: PcrSelection,

    /// The guest's event log.
    #[arg(long)]
    event_log: Option<PathBuf>,

    /// The evidence; by default to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone)]
struct Nonce(Vec<u8>);

fn parse_nonce(text: &str) -> Result<Nonce> {
    let nonce = hex::decode(text).ok().filter(|nonce| nonce.len() <= 64);
    nonce.map(Nonce).context("a nonce is up to 128 hexadecimal digits")
}

impl Attest {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let event_log = self.event_log.as_deref().map(files::read).transpose()?.unwrap_or_default();
        let (generation, guest) = match &self.socket {
            Some(path) => {
                let stream = UnixStream::connect(path)
                    .with_context(|| format!("no vTPM answers at {}", path.display()))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let generation = Store::inspect(&host.place(&self.id))?.generation;
                (generation, self.ask(Client::new(Stream(stream)), &anchor, event_log)?)
            }
            None => self.ask_stopped(host, &anchor, event_log)?,
        };
        let mut evidence = Evidence::of_guest(self.id.0, generation, &self.nonce.0, guest);
        evidence.host = self.host_part(&anchor, &evidence.binding())?;
        host.tell_operations("attest", &anchor);
        files::write(self.out.as_deref(), format!("{}\n", evidence.to_json()).as_bytes())
    }

    fn ask<T: Transport>(
        &self,
        mut tpm: Client<T>,
        anchor: &Anchor,
        event_log: Vec<u8>,
    ) -> Result<Guest> {
        guest::attest(&mut tpm, anchor, &self.id.0, &self.nonce.0, &self.pcrs, event_log)
    }

    fn ask_stopped(
        &self,
        host: &HostOptions,
        anchor: &Anchor,
        event_log: Vec<u8>,
    ) -> Result<(u64, Guest)> {
        let expect = host.expect(anchor, &self.id, None)?;
        let place = host.place(&self.id);
        let handle = Instance::open(&place, &anchor.key_source(), &expect)?.start()?;
        handle.init()?;
        let mut tpm = Client::new(ByHandle(handle.clone()));
        tpm.startup()?;
        let guest = self.ask(tpm, anchor, event_log);
        let ended = Client::new(ByHandle(handle.clone())).shutdown();
        handle.power_off()?;
        let generation = handle.generation();
        handle.shutdown();
        ended?;
        anchor.remember(&[(self.id, generation)])?;
        Ok((generation, guest?))
    }

    fn host_part(&self, anchor: &Anchor, binding: &[u8]) -> Result<Host> {
        let keys = anchor.keys()?;
        let ek = anchor.endorsement().into_iter().next().context("the host has no EK")?;
        let quote = anchor.quote(binding, &self.host_pcrs)?;
        Ok(Host {
            ek: ek.public,
            ak: keys.attestation.as_bytes().to_vec(),
            ck: keys.credential.as_bytes().to_vec(),
            ck_certification: Signed {
                attest: keys.credential_certification.attest,
                signature: keys.credential_certification.signature,
            },
            certificates: anchor.ek_certificates()?,
            quote: Signed {
                attest: quote.attestation.attest,
                signature: quote.attestation.signature,
            },
            pcrs: quote.values,
        })
    }
}
