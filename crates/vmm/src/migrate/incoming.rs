//! The destination: memory first, then a machine that is whole and paused, then its TPM.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::Kvm;
use tracing::{info, warn};
use vtpm_anchor::Anchor;
use vtpm_handover::{
    DestinationHost, Ending, JournalError, Outcome, Side,
    driver::{Accepted, Link, Receiver},
};
use vtpm_host::{Arriving, Homes};
use vtpm_store::{InstanceId, MinimumGeneration, Place};
use zeroize::Zeroizing;

use super::{
    Answer, Description, Identity, alike, features, memory, missing,
    party::Party,
    prepare_stream,
    record::{self, Kind},
};
use crate::{
    config::Hardware,
    error::{Error, Result},
    machine::{Connections, Incoming, Machine, SavedMachine},
    tpm::{Backend, InProcess, Reply},
};

/// Where the TPM of a machine that comes in belongs.
#[derive(Clone, Debug)]
pub struct Home {
    /// Whom this host is, and whom it trusts.
    pub identity: Identity,
    /// The file that the TPM's state goes into, sealed to the host's own TPM.
    pub state: PathBuf,
}

/// One file, and what the host's TPM remembers of whom it held.
struct OneFile(PathBuf, Anchor);

impl Homes for OneFile {
    fn place(&self, _: &InstanceId) -> Option<Place> {
        Some(Place::at(&self.0))
    }

    fn remembered(&self, instance: &InstanceId) -> Result<MinimumGeneration, JournalError> {
        Ok(self.1.remembered(instance)?.unwrap_or(MinimumGeneration(0)))
    }
}

/// Waits at `listen` (HOST:PORT) until a machine with this `hardware` has come, and lets it run. A
/// source that fails, or that settles an earlier transfer, may be followed by another.
///
/// # Errors
/// [`Error::Host`] if nobody can listen there, [`Error::Anchor`], [`Error::Migration`] for this
/// host's own faults.
pub fn wait(
    listen: &str,
    hardware: &Hardware,
    home: Option<&Home>,
    connect: &mut dyn FnMut(Option<Arc<dyn Backend>>) -> Result<Connections>,
) -> Result<(Machine, Option<Arc<dyn Backend>>)> {
    let cpuid = supported_cpuid()?;
    let listener = TcpListener::bind(listen)
        .map_err(|source| Error::Host { action: "listen for a machine", source })?;
    info!("waiting for a machine at {listen}");
    loop {
        let (stream, peer) = listener.accept().map_err(Error::host("wait for a machine"))?;
        let tpm = match home {
            Some(home) => {
                let Identity { directory, trust } = &home.identity;
                let party = Party::open(directory, trust)?;
                let file = OneFile(home.state.clone(), party.anchor().clone());
                let source = Box::new(party.anchor().key_source());
                let journal = Arriving::new(Box::new(file), source);
                Some((party, journal, home.state.clone()))
            }
            None => None,
        };
        match receive(stream, Arrival { tpm, hardware, cpuid: &cpuid, connect }) {
            Ok(Arrived::Machine(machine, tpm)) => return Ok((*machine, tpm)),
            Ok(Arrived::Settled(message)) => info!("{peer}: {message}"),
            Err(cause) => warn!("{peer}: {cause}"),
        }
    }
}

fn supported_cpuid() -> Result<CpuId> {
    let kvm = Kvm::new().map_err(Error::kvm("open /dev/kvm"))?;
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::kvm("ask for processor features"))
}

/// What a destination needs to take a machine in.
pub struct Arrival<'a> {
    /// This host's part in the handover, and where the TPM's file will be; none for a machine
    /// without a TPM.
    pub tpm: Option<(Party, Arriving, PathBuf)>,
    /// The machine that is expected: what the guest sees must be the same there.
    pub hardware: &'a Hardware,
    /// What the processors here can do.
    pub cpuid: &'a CpuId,
    /// Gives what the machine is connected to, its TPM among it.
    pub connect: &'a mut dyn FnMut(Option<Arc<dyn Backend>>) -> Result<Connections>,
}

/// What came of it.
pub enum Arrived {
    /// A machine, which runs, and its TPM.
    Machine(Box<Machine>, Option<Arc<dyn Backend>>),
    /// An earlier transfer was settled; the message says what became of it.
    Settled(String),
}

/// Takes a machine in over `stream` and lets it run.
///
/// # Errors
/// [`Error::Migration`] with the reason and what to do. Unless it says otherwise nothing of the
/// machine is here.
pub fn receive(stream: TcpStream, mut arrival: Arrival<'_>) -> Result<Arrived> {
    prepare_stream(&stream)?;
    match arrival.tpm.take() {
        Some((party, journal, state)) => {
            receive_attested(stream, (party, journal, &state), arrival)
        }
        None => receive_bare(stream, arrival),
    }
}

fn receive_attested(
    stream: TcpStream,
    (mut party, mut journal, state): (Party, Arriving, &Path),
    mut arrival: Arrival<'_>,
) -> Result<Arrived> {
    let options = party.options();
    let mut host = DestinationHost { local: party.local(), journal: &mut journal };
    let mut receiver = match Receiver::accept(stream, options, &mut host) {
        Accepted::Offer(receiver, _) => receiver,
        Accepted::Ended(ending) => {
            party.record(&ending, Side::Destination);
            let message = ending.to_string();
            return match ending.outcome {
                Outcome::LivesHere | Outcome::NotTaken if ending.is_complete() => {
                    Ok(Arrived::Settled(message))
                }
                _ => Err(Error::Migration(message)),
            };
        }
    };
    let later = Arc::new(Later::default());
    let tpm: Arc<dyn Backend> = Arc::clone(&later) as _;
    let mut machine = take_in(receiver.link(), &mut arrival, Some(tpm))?;
    let mut host = DestinationHost { local: party.local(), journal: &mut journal };
    let ending = match receiver.prepare(&mut host) {
        Ok(()) => receiver.finish(&mut host),
        Err(ending) => ending,
    };
    // First of all the guest goes on; what is written down can wait.
    let outcome = lives_here(&ending, &mut journal, state, party.anchor())
        .and_then(|tpm| {
            later.become_real(tpm);
            machine.run()
        })
        .map(|()| Arrived::Machine(Box::new(machine), Some(later as _)));
    party.record(&ending, Side::Destination);
    outcome
}

fn lives_here(
    ending: &Ending,
    journal: &mut Arriving,
    state: &Path,
    anchor: &Anchor,
) -> Result<Arc<dyn Backend>> {
    match journal.take() {
        Some(instance) if ending.outcome == Outcome::LivesHere => {
            Ok(Arc::new(InProcess::sealed(instance.start()?, state, anchor.clone())))
        }
        _ => Err(Error::Migration(ending.to_string())),
    }
}

fn receive_bare(stream: TcpStream, mut arrival: Arrival<'_>) -> Result<Arrived> {
    let mut link = Link::accept(stream).map_err(|cause| Error::Migration(cause.to_string()))?;
    let mut machine = take_in(&mut link, &mut arrival, None)?;
    record::send(&mut link, Kind::Whole, &[])?;
    record::expect(&mut link, Kind::Yours)?;
    machine.run()?;
    Ok(Arrived::Machine(Box::new(machine), None))
}

/// Everything but the TPM: a machine, paused.
fn take_in(
    link: &mut Link<TcpStream>,
    arrival: &mut Arrival<'_>,
    tpm: Option<Arc<dyn Backend>>,
) -> Result<Machine> {
    let description: Description =
        record::parse(Kind::Description, &record::expect(link, Kind::Description)?)?;
    let prepared = can_run(&description, arrival);
    let refused = prepared.as_ref().err().map(ToString::to_string);
    record::send_json(link, Kind::Answer, &Answer { refused })?;
    let incoming = prepared?;
    let mut payload = Vec::new();
    loop {
        match record::receive(link, &mut payload)? {
            Kind::Pages => memory::store(&incoming, &payload)?,
            Kind::Machine => break,
            Kind::Stays => {
                return Err(Error::Migration("the source has given up; its log says why".into()));
            }
            other => return Err(Error::Migration(format!("{other:?} is not due now"))),
        }
    }
    let mut saved: SavedMachine = record::parse(Kind::Machine, &payload)?;
    if !alike(&saved.hardware, arrival.hardware) {
        return Err(Error::Migration("the machine is not the one that was described".into()));
    }
    saved.hardware = arrival.hardware.clone();
    incoming.restore(saved, (arrival.connect)(tpm)?)
}

fn can_run(description: &Description, arrival: &Arrival<'_>) -> Result<Incoming> {
    if !alike(&description.hardware, arrival.hardware) {
        let reason = format!(
            "a machine is expected here that is not the source's ({:?}): give both sides the same \
             options",
            description.hardware
        );
        return Err(Error::Migration(reason));
    }
    if let Some(reason) = missing(&description.features, &features(arrival.cpuid)) {
        return Err(Error::Migration(reason));
    }
    let incoming = Incoming::new(arrival.hardware.clone())?;
    info!("a machine of {} MiB comes in", arrival.hardware.memory_mib);
    Ok(incoming)
}

/// A TPM that is not there yet: its registers are made before the source gives it away, and used
/// only after.
#[derive(Default)]
struct Later(OnceLock<Arc<dyn Backend>>);

impl Later {
    fn become_real(&self, tpm: Arc<dyn Backend>) {
        // It is called once.
        let _ = self.0.set(tpm);
    }

    fn get(&self) -> Result<&dyn Backend> {
        let not_yet = || Error::Tpm("it has not arrived yet".into());
        self.0.get().map(AsRef::as_ref).ok_or_else(not_yet)
    }
}

impl Backend for Later {
    fn submit(&self, locality: u8, command: Vec<u8>, reply: Reply) {
        if let Ok(tpm) = self.get() {
            tpm.submit(locality, command, reply);
        }
    }

    fn cancel(&self) {
        if let Ok(tpm) = self.get() {
            tpm.cancel();
        }
    }

    fn init(&self) -> Result<()> {
        self.get()?.init()
    }

    fn power_off(&self) -> Result<()> {
        self.get()?.power_off()
    }

    fn hash_start(&self) {
        if let Ok(tpm) = self.get() {
            tpm.hash_start();
        }
    }

    fn hash_data(&self, data: Vec<u8>) {
        if let Ok(tpm) = self.get() {
            tpm.hash_data(data);
        }
    }

    fn hash_end(&self) {
        if let Ok(tpm) = self.get() {
            tpm.hash_end();
        }
    }

    fn established(&self) -> bool {
        self.get().is_ok_and(Backend::established)
    }

    fn reset_established(&self, locality: u8) -> Result<()> {
        self.get()?.reset_established(locality)
    }

    fn save(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.get()?.save()
    }

    fn load(&self, state: Zeroizing<Vec<u8>>) -> Result<()> {
        self.get()?.load(state)
    }

    fn instance(&self) -> Option<&vtpm_host::Handle> {
        self.get().ok().and_then(Backend::instance)
    }

    fn shutdown(&self) {
        if let Ok(tpm) = self.get() {
            tpm.shutdown();
        }
    }
}
