//! `vtpm handover`

use std::io::Write as _;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use vtpm_anchor::{Anchor, TrustJudge};
use vtpm_handover::driver::{Accepted, FileLog, Options, OsEntropy, Receiver, Sender, resume};
use vtpm_handover::{
    Departure, DestinationHost, DestinationJournal, Ending, HostId, JournalError, Local, Offer,
    Outcome, RequestId, STATE_MAX, Side, SourceHost, SourceJournal, Standing, TransferId, Word,
};
use vtpm_host::{Arriving, Found, Homes, Instance, Leaving};
use vtpm_store::{InstanceId, MinimumGeneration, Place, STATE_LIMIT};

use crate::files;
use crate::host::{HostOptions, parse_instance, private_directory};

/// Moving a vTPM to another host, and taking one in.
#[derive(Subcommand)]
pub(crate) enum Handover {
    /// Prints the name of this host that other hosts' trust policies pin it by.
    Identity,
    /// Moves a vTPM that is not running to another host.
    Send(Send),
    /// Waits for vTPMs of other hosts, and for their word on earlier transfers.
    Receive(Receive),
    /// Ends a transfer that was interrupted, whichever way its journal says.
    Resume(Resume),
    /// Tries a move as far as the key's confirmation, and moves nothing.
    Prepare(Send),
    /// Says what a vTPM is on this host, and what to do about it.
    Status(Status),
}

/// Where to, and whom to trust.
#[derive(Args, Clone)]
pub(crate) struct Peer {
    /// The other host: HOST:PORT.
    #[arg(long)]
    pub(crate) to: String,

    /// The trust policy.
    #[arg(long)]
    pub(crate) policy: PathBuf,

    /// Deal only with the host of this name (what `vtpm handover identity` prints there).
    #[arg(long)]
    pub(crate) peer: Option<HostId>,

    /// How long to wait for one message of the other host, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) patience: u64,
}

#[derive(Args)]
pub(crate) struct Send {
    /// Which vTPM.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    #[command(flatten)]
    peer: Peer,
}

#[derive(Args)]
pub(crate) struct Receive {
    /// Where to listen: ADDRESS:PORT. With port 0 the system chooses; it is printed.
    #[arg(long)]
    listen: String,

    /// The trust policy.
    #[arg(long)]
    policy: PathBuf,

    /// Ends after this many connections; by default never.
    #[arg(long)]
    count: Option<u64>,

    /// How long to wait for one message of the other host, in seconds.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
}

#[derive(Args)]
pub(crate) struct Resume {
    /// Which vTPM.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// The transfer to settle; by default the open one.
    #[arg(long)]
    transfer: Option<TransferId>,

    #[command(flatten)]
    peer: Peer,
}

#[derive(Args)]
pub(crate) struct Status {
    /// Which vTPM.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,
}

impl Handover {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        match self {
            Self::Identity => identity(host),
            Self::Send(command) => command.run(host, false),
            Self::Prepare(command) => command.run(host, true),
            Self::Receive(command) => command.run(host),
            Self::Resume(command) => command.run(host),
            Self::Status(command) => command.run(host),
        }
    }
}

fn identity(host: &HostOptions) -> Result<()> {
    let endorsement = host.anchor()?.endorsement().into_iter().next();
    let endorsement = endorsement.context("this host's identity has no endorsement key")?;
    println!("{}", HostId::of(&endorsement.public));
    Ok(())
}

impl Send {
    fn run(self, host: &HostOptions, only_try: bool) -> Result<()> {
        let anchor = host.anchor()?;
        let Found::Active(instance) = found(host, &anchor, &host.place(&self.id), &self.id)? else {
            bail!("the vTPM is not active here; see `vtpm handover status {}`", self.id);
        };
        let place = host.place(&self.id);
        let request = RequestId::NONE;
        let moving = Moving { host, anchor: &anchor, place, request };
        finish(host, Side::Source, moving.send(instance, &self.peer, only_try)?)
    }
}

/// A vTPM that leaves, from wherever its file is.
pub(crate) struct Moving<'a> {
    pub(crate) host: &'a HostOptions,
    pub(crate) anchor: &'a Anchor,
    pub(crate) place: Place,
    pub(crate) request: RequestId,
}

impl Moving<'_> {
    /// Moves it, or tries to.
    pub(crate) fn send(
        &self,
        instance: Instance,
        peer: &Peer,
        only_try: bool,
    ) -> Result<Box<Ending>> {
        let id = instance.id();
        let handle = instance.start()?;
        let inner = Leaving::new(handle.clone(), Box::new(self.anchor.key_source()));
        let (anchor, place) = (self.anchor.clone(), self.place.clone());
        let mut journal = Remembered { inner, anchor, place };
        let (mut judge, options) = judge(peer.policy.as_path(), peer.peer)?;
        let (mut chip, mut entropy) = (self.anchor.clone(), OsEntropy);
        let local = Local { chip: &mut chip, judge: &mut judge, entropy: &mut entropy };
        let mut host = SourceHost { local, journal: &mut journal };
        let state_limit = u32::try_from(STATE_LIMIT).unwrap_or(STATE_MAX);
        let instance = vtpm_handover::InstanceId(id.0);
        let departure = Departure { instance, request: self.request, state_limit };
        let ending = match Sender::connect(peer.connect()?, departure, options, &mut host) {
            Err(ending) => ending,
            Ok(sender) if only_try => {
                let _ = sender.cancel(&mut host, "it was only tried");
                println!("the other host would take it");
                Box::new(Ending {
                    outcome: Outcome::StaysHere,
                    instance: Some(instance),
                    transfer: None,
                    peer: None,
                    error: None,
                })
            }
            Ok(mut sender) => {
                let state = journal.inner.freeze()?;
                let local = Local { chip: &mut chip, judge: &mut judge, entropy: &mut entropy };
                let mut host = SourceHost { local, journal: &mut journal };
                match sender.deliver(&mut host, &state) {
                    Ok(()) => sender.commit(&mut host),
                    Err(ending) => ending,
                }
            }
        };
        drop(journal);
        handle.shutdown();
        self.host.tell_operations("handover", self.anchor);
        Ok(ending)
    }
}

impl Receive {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        anchor.mix_entropy()?;
        private_directory(&host.instances())?;
        let (mut judge, options) = judge(&self.policy, None)?;
        let listener = TcpListener::bind(&self.listen)
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        println!("listening on {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let patience = Duration::from_secs(self.patience);
        let mut left = self.count;
        while left != Some(0) {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    continue;
                }
            };
            left = left.map(|left| left.saturating_sub(1));
            let served = set_up(&stream, patience)
                .and_then(|()| receive(host, &anchor, &mut judge, options, stream));
            // What one peer did wrong is no reason to stop serving the others.
            match served.and_then(|ending| record(host, Side::Destination, &ending)) {
                Ok(()) => {}
                Err(error) => eprintln!("vtpm: {error:#}"),
            }
            std::io::stdout().flush()?;
        }
        Ok(())
    }
}

fn receive(
    host: &HostOptions,
    anchor: &Anchor,
    judge: &mut TrustJudge,
    options: Options,
    stream: TcpStream,
) -> Result<Box<Ending>> {
    let homes = Instances { host: host.clone(), anchor: anchor.clone() };
    let inner = Arriving::new(Box::new(homes), Box::new(anchor.key_source()));
    let mut journal = Remembering { inner, host: host.clone(), anchor: anchor.clone() };
    let (mut chip, mut entropy) = (anchor.clone(), OsEntropy);
    let local = Local { chip: &mut chip, judge, entropy: &mut entropy };
    let mut at = DestinationHost { local, journal: &mut journal };
    Ok(match Receiver::accept(stream, options, &mut at) {
        Accepted::Ended(ending) => ending,
        Accepted::Offer(mut receiver, _) => match receiver.prepare(&mut at) {
            Ok(()) => receiver.finish(&mut at),
            Err(ending) => ending,
        },
    })
}

impl Resume {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let place = host.place(&self.id);
        let ending = settle(host, &anchor, &place, &self.id, self.transfer, &self.peer)?;
        match ending {
            Some(ending) => finish(host, Side::Source, ending),
            None => {
                println!("the vTPM is active here, and no transfer of it is open");
                Ok(())
            }
        }
    }
}

/// Ends a transfer by what the journal has of it: calls back what was on its way out (and answers
/// nothing), or says to the destination again what became of it.
pub(crate) fn settle(
    host: &HostOptions,
    anchor: &Anchor,
    place: &Place,
    id: &InstanceId,
    transfer: Option<TransferId>,
    peer: &Peer,
) -> Result<Option<Box<Ending>>> {
    // The file stays open, and locked, until the other host has answered.
    let opened = match found(host, anchor, place, id)? {
        Found::Outgoing(outgoing) => match outgoing.abort()? {
            Some(instance) => Found::Active(instance),
            None => found(host, anchor, place, id)?,
        },
        other => other,
    };
    if matches!(opened, Found::Active(_)) && transfer.is_none() {
        return Ok(None);
    }
    let word = Word::by(vtpm_handover::InstanceId(id.0), &opened.standing(), transfer)?;
    let (mut judge, options) = judge(&peer.policy, peer.peer)?;
    let (mut chip, mut entropy) = (anchor.clone(), OsEntropy);
    let mut local = Local { chip: &mut chip, judge: &mut judge, entropy: &mut entropy };
    Ok(Some(resume(peer.connect()?, word, options, &mut local)))
}

impl Status {
    fn run(self, host: &HostOptions) -> Result<()> {
        let anchor = host.anchor()?;
        let id = self.id;
        let found = found(host, &anchor, &host.place(&id), &id)?;
        match found.standing() {
            Standing::Active { epoch } => println!("active at epoch {epoch}"),
            Standing::Outgoing { transfer, epoch, .. } => println!(
                "leaving at epoch {epoch} by transfer {transfer}, interrupted; call it back with \
                 `vtpm handover resume {id}`"
            ),
            Standing::Prepared { transfer, epoch, .. } => println!(
                "received from epoch {epoch} by transfer {transfer}, not released; run `vtpm \
                 handover resume {id} --transfer {transfer}` on its source"
            ),
            Standing::Tombstone { transfer, epoch, .. } => println!(
                "gone at epoch {epoch} by transfer {transfer}; if it is not active there, run \
                 `vtpm handover resume {id}` here"
            ),
            _ => println!("not here"),
        }
        Ok(())
    }
}

/// Opens an instance's file, whatever it is on this host.
pub(crate) fn found(
    host: &HostOptions,
    anchor: &Anchor,
    place: &Place,
    id: &InstanceId,
) -> Result<Found> {
    let expect = host.expect(anchor, id, None)?;
    Ok(Found::open(place, &anchor.key_source(), &expect)?)
}

impl Peer {
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let failed = || format!("cannot connect to {}", self.to);
        let patience = Duration::from_secs(self.patience);
        let mut last = anyhow!("{} has no address", self.to);
        for address in self.to.to_socket_addrs().with_context(failed)? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    set_up(&stream, patience)?;
                    return Ok(stream);
                }
                Err(error) => last = anyhow::Error::new(error).context(failed()),
            }
        }
        Err(last)
    }
}

fn set_up(stream: &TcpStream, patience: Duration) -> Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream.set_nodelay(true)?)
}

/// The judge by a policy file, and what the file says of the protocol.
fn judge(policy: &Path, peer: Option<HostId>) -> Result<(TrustJudge, Options)> {
    let beside = policy.parent().unwrap_or(Path::new(""));
    let judge = TrustJudge::parse(&files::read_text(policy)?, beside)?;
    let options = Options { minimum_version: judge.minimum_protocol(), peer };
    Ok((judge, options))
}

/// Records an ending, says it, and makes it this command's.
pub(crate) fn finish(host: &HostOptions, side: Side, ending: Box<Ending>) -> Result<()> {
    record(host, side, &ending)?;
    if ending.is_complete() { Ok(()) } else { Err(anyhow!("{}", ending.advice())) }
}

/// Appends an ending to the host's log of handovers, and says it.
pub(crate) fn record(host: &HostOptions, side: Side, ending: &Ending) -> Result<()> {
    let logged = FileLog::of_host(&host.dir).and_then(|mut log| log.record(ending, side));
    let instance = ending.instance.map_or_else(|| "a vTPM".into(), |id| id.to_string());
    println!("{instance}: {ending}");
    logged.context("the host's log of handovers cannot be written")
}

/// Tells the TPM the newest generation: an older file is not taken from now on.
fn remember(anchor: &Anchor, place: &Place) {
    if let Err(error) = anchor.remember_file(place) {
        // The journal holds; only an older copy of its file would not be refused.
        tracing::warn!("the host's TPM could not be told the newest generation: {error:#}");
    }
}

/// The journal of a leaving instance, whose tombstone the TPM remembers before anybody is told.
struct Remembered {
    inner: Leaving,
    anchor: Anchor,
    place: Place,
}

impl SourceJournal for Remembered {
    fn standing(&mut self) -> Result<Standing, JournalError> {
        self.inner.standing()
    }

    fn get_ready(&mut self) -> Result<(), JournalError> {
        self.inner.get_ready()
    }

    fn begin_outgoing(
        &mut self,
        transfer: &TransferId,
        state: &[u8],
        note: &[u8],
    ) -> Result<(), JournalError> {
        self.inner.begin_outgoing(transfer, state, note)
    }

    fn call_back(&mut self) -> Result<(), JournalError> {
        self.inner.call_back()
    }

    fn entomb(&mut self, note: &[u8]) -> Result<(), JournalError> {
        self.inner.entomb(note)?;
        remember(&self.anchor, &self.place);
        Ok(())
    }
}

/// The journals of arriving instances; the TPM remembers each that lives here.
struct Remembering {
    inner: Arriving,
    host: HostOptions,
    anchor: Anchor,
}

impl DestinationJournal for Remembering {
    fn standing(&mut self, instance: &vtpm_handover::InstanceId) -> Result<Standing, JournalError> {
        self.inner.standing(instance)
    }

    fn get_ready(&mut self, offer: &Offer) -> Result<(), JournalError> {
        self.inner.get_ready(offer)
    }

    fn prepare(&mut self, offer: &Offer, state: &[u8], note: &[u8]) -> Result<(), JournalError> {
        self.inner.prepare(offer, state, note)
    }

    fn activate(&mut self, instance: &vtpm_handover::InstanceId) -> Result<(), JournalError> {
        self.inner.activate(instance)?;
        remember(&self.anchor, &self.host.place(&InstanceId(instance.0)));
        Ok(())
    }

    fn discard(&mut self, instance: &vtpm_handover::InstanceId) -> Result<(), JournalError> {
        self.inner.discard(instance)
    }
}

/// Where this host keeps its instances.
struct Instances {
    host: HostOptions,
    anchor: Anchor,
}

impl Homes for Instances {
    fn place(&self, instance: &InstanceId) -> Option<Place> {
        Some(self.host.place(instance))
    }

    fn remembered(&self, instance: &InstanceId) -> Result<MinimumGeneration, JournalError> {
        Ok(self.anchor.remembered(instance)?.unwrap_or(MinimumGeneration(0)))
    }
}
