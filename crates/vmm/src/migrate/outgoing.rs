//! The source: pre-copy in a thread of its own, then the blackout in the machine's.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use vtpm_handover::{
    Departure, Ending, InstanceId, Outcome, RequestId, STATE_MAX, Side, SourceHost,
    driver::{Link, Sender},
};
use vtpm_host::{Handle, Leaving};
use zeroize::Zeroizing;

use super::{
    Answer, Description, features,
    memory::GuestPages,
    party::Party,
    precopy::{Copier, Limits, Next, Pages, Progress},
    prepare_stream,
    record::{self, Kind},
};
use crate::{
    config::Hardware,
    error::{Error, Result},
    machine::Machine,
};

/// How the pages and the machine go: below the handover of a TPM, or by themselves.
enum Way {
    Attested { party: Box<Party>, journal: Box<Leaving>, sender: Box<Sender<TcpStream>> },
    Bare(Box<Link<TcpStream>>),
}

/// A source whose peer is known and can run the machine: the guest may be copied.
pub struct Ready {
    way: Way,
    copier: Copier,
    pages: GuestPages,
}

/// The machine has gone.
#[derive(Debug)]
pub struct Gone {
    /// From the pause of the guest to the word that it runs at the destination.
    pub blackout: Duration,
    /// What of it the TPM took: freezing, journals, envelope.
    pub tpm: Duration,
    /// What was sent.
    pub progress: Progress,
    /// What is still to be done, if the destination's last word did not come.
    pub advice: Option<String>,
}

/// The machine has not gone. Its guest can go on unless `must_not_run` says why not.
#[derive(Debug)]
pub struct Stayed {
    /// Why it stayed.
    pub error: Error,
    /// Set if only opening the TPM's file tells where the TPM is.
    pub must_not_run: bool,
}

impl From<Error> for Stayed {
    fn from(error: Error) -> Self {
        Self { error, must_not_run: false }
    }
}

/// Begins to move a machine over `stream`, while it runs: both hosts prove who they are, the
/// destination's chip opens the transfer key, and the destination says whether it can run this.
/// `tpm` is the way to the machine's TPM and this host's part in the handover; none for a machine
/// without a TPM, which goes to whoever listens.
///
/// # Errors
/// [`Error::Migration`] with the reason; the machine is as it was.
pub fn begin(
    stream: TcpStream,
    tpm: Option<(Party, &Handle)>,
    machine: (&Hardware, &kvm_bindings::CpuId),
    pages: GuestPages,
    limits: Limits,
) -> Result<Ready> {
    prepare_stream(&stream)?;
    let mut way = match tpm {
        Some((party, handle)) => attested(stream, party, handle)?,
        None => Way::Bare(Box::new(Link::connect(stream).map_err(failed)?)),
    };
    let (hardware, cpuid) = machine;
    let description = Description { hardware: hardware.clone(), features: features(cpuid) };
    record::send_json(way.link(), Kind::Description, &description)?;
    let answer: Answer = record::parse(Kind::Answer, &record::expect(way.link(), Kind::Answer)?)?;
    if let Some(reason) = answer.refused {
        way.call_off("the destination cannot run this machine");
        return Err(Error::Migration(format!("the destination refuses the machine: {reason}")));
    }
    let copier = Copier::new(limits, pages.count());
    Ok(Ready { way, copier, pages })
}

fn attested(stream: TcpStream, mut party: Party, handle: &Handle) -> Result<Way> {
    let departure = Departure {
        instance: InstanceId(handle.id().0),
        request: RequestId::NONE,
        state_limit: STATE_MAX,
    };
    let source = Box::new(party.anchor().key_source());
    let mut journal = Box::new(Leaving::new(handle.clone(), source));
    let options = party.options();
    let mut host = SourceHost { local: party.local(), journal: journal.as_mut() };
    let connected = Sender::connect(stream, departure, options, &mut host);
    match connected {
        Ok(sender) => {
            Ok(Way::Attested { party: Box::new(party), journal, sender: Box::new(sender) })
        }
        Err(ending) => {
            party.record(&ending, Side::Source);
            Err(Error::Migration(ending.to_string()))
        }
    }
}

fn failed(cause: vtpm_handover::Error) -> Error {
    Error::Migration(cause.to_string())
}

impl Way {
    fn link(&mut self) -> &mut Link<TcpStream> {
        match self {
            Self::Attested { sender, .. } => sender.link(),
            Self::Bare(link) => link,
        }
    }

    /// Stops the TPM for its last way, and gives all that it is; nothing without a TPM.
    fn freeze(&mut self) -> Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Attested { journal, .. } => Ok(journal.freeze()?),
            Self::Bare(_) => Ok(Zeroizing::default()),
        }
    }

    /// Ends it before the TPM has left; the peer learns of it if it listens.
    fn call_off(self, why: &str) {
        match self {
            Self::Attested { mut party, mut journal, mut sender } => {
                let _ = record::send(sender.link(), Kind::Stays, &[]);
                let mut host = SourceHost { local: party.local(), journal: journal.as_mut() };
                let ending = sender.cancel(&mut host, why);
                journal.thaw();
                party.record(&ending, Side::Source);
            }
            Self::Bare(mut link) => {
                let _ = record::send(&mut *link, Kind::Stays, &[]);
            }
        }
    }
}

impl Ready {
    /// Copies the guest's memory while it runs, until little enough is left for the blackout.
    /// `throttle` slows the guest down by so many percent; `report` is told how far it is, and
    /// ends the migration by answering no.
    ///
    /// # Errors
    /// [`Error::Migration`]; the machine is as it was.
    pub fn copy(
        mut self,
        mut throttle: impl FnMut(u8),
        mut report: impl FnMut(Progress) -> bool,
    ) -> Result<Self> {
        match self.rounds(&mut throttle, &mut report) {
            Ok(()) => Ok(self),
            Err(error) => {
                throttle(0);
                self.way.call_off(&error.to_string());
                Err(error)
            }
        }
    }

    fn rounds(
        &mut self,
        throttle: &mut impl FnMut(u8),
        report: &mut impl FnMut(Progress) -> bool,
    ) -> Result<()> {
        loop {
            let Self { way, copier, pages } = self;
            copier.round(pages, |batch, progress| {
                if !report(progress) {
                    return Err(Error::Migration("it was cancelled".into()));
                }
                record::send(way.link(), Kind::Pages, batch)
            })?;
            match copier.next(pages)? {
                Next::Round { throttle: percent } => throttle(percent),
                Next::Pause => return Ok(()),
            }
        }
    }

    /// The blackout: pauses the machine, sends the rest and the TPM, and commits.
    ///
    /// # Errors
    /// Why it has not gone. The machine is paused then; unless it must not, it can be let run.
    pub fn finish(mut self, machine: &mut Machine) -> std::result::Result<Gone, Stayed> {
        let began = Instant::now();
        let last = self.last_round(machine).and_then(|()| {
            let tpm_began = Instant::now();
            Ok((self.way.freeze()?, tpm_began))
        });
        let (state, tpm_began) = match last {
            Ok(last) => last,
            Err(error) => {
                self.way.call_off(&error.to_string());
                return Err(error.into());
            }
        };
        let progress = self.copier.progress();
        let (tpm, advice) = match self.way {
            Way::Attested { party, journal, sender } => {
                let advice = hand_over(*party, *journal, *sender, &state)?;
                (tpm_began.elapsed(), advice)
            }
            Way::Bare(mut link) => {
                give_away(&mut link)?;
                (Duration::ZERO, None)
            }
        };
        Ok(Gone { blackout: began.elapsed(), tpm, progress, advice })
    }

    fn last_round(&mut self, machine: &mut Machine) -> Result<()> {
        machine.pause()?;
        let Self { way, copier, pages } = self;
        // What was written since the last look is due as well, whatever it is.
        copier.next(pages)?;
        copier.round(pages, |batch, _| record::send(way.link(), Kind::Pages, batch))?;
        record::send_json(way.link(), Kind::Machine, &machine.save()?)
    }
}

/// The TPM's part of the blackout, with its frozen `state`; says what is left to do.
fn hand_over(
    mut party: Party,
    mut journal: Leaving,
    mut sender: Sender<TcpStream>,
    state: &[u8],
) -> std::result::Result<Option<String>, Stayed> {
    let mut host = SourceHost { local: party.local(), journal: &mut journal };
    let ending = match sender.deliver(&mut host, state) {
        Ok(()) => sender.commit(&mut host),
        Err(ending) => ending,
    };
    party.record(&ending, Side::Source);
    match ending.outcome {
        Outcome::Moved => Ok(None),
        Outcome::Committed => Ok(Some(ending.to_string())),
        Outcome::StaysHere => {
            journal.thaw();
            Err(stayed(&ending, false))
        }
        _ => Err(stayed(&ending, true)),
    }
}

fn stayed(ending: &Ending, must_not_run: bool) -> Stayed {
    Stayed { error: Error::Migration(ending.to_string()), must_not_run }
}

/// Without a TPM there is nothing that must not live twice but the guest itself: it is the
/// destination's when that has said that it has all of it.
fn give_away(link: &mut Link<TcpStream>) -> Result<()> {
    record::expect(link, Kind::Whole)?;
    record::send(link, Kind::Yours, &[])
}
