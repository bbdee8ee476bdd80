//! The handshake: two hosts greet, show their evidence, and prove that it is theirs.

use crate::chip::{Chip, Entropy};
use crate::crypto::{MAC, mac, same};
use crate::error::{Error, Shown};
use crate::evidence::{Evidence, Identity};
use crate::id::HostId;
use crate::judge::{Judge, Judgement, Peer, Side};
use crate::message::{Body, Kind};
use crate::pcr::PcrSelection;
use crate::secret::Secret;
use crate::session::{Channel, Received, Session};

const SOURCE_PROOF: &[u8] = b"vtpm handover 1 source opened its credential";
const DESTINATION_PROOF: &[u8] = b"vtpm handover 1 destination opened its credential";

/// This host: its chip, its judgement, its random bytes.
pub struct Local<'a> {
    /// The physical TPM.
    pub chip: &'a mut dyn Chip,
    /// The trust policy, and who reads evidence by it.
    pub judge: &'a mut dyn Judge,
    /// Random bytes.
    pub entropy: &'a mut dyn Entropy,
}

/// What a session is to be like.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What binds it to its TLS session.
    pub channel: Channel,
    /// The oldest version of the protocol to speak, from the trust policy.
    pub minimum_version: u16,
    /// The only host to deal with, if the caller means a certain one.
    pub peer: Option<HostId>,
}

impl Terms {
    /// Any trusted host, any version of this release.
    #[must_use]
    pub fn on(channel: Channel) -> Self {
        Self { channel, minimum_version: crate::MINIMUM_VERSION, peer: None }
    }
}

/// The peer of a session, judged and proven.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its lasting name.
    pub host: HostId,
    /// Its identity in this session.
    pub identity: Identity,
    /// What the judge found.
    pub peer: Peer,
}

/// A session in which both sides know each other.
#[derive(Clone)]
pub(crate) struct Established {
    pub(crate) session: Session,
    pub(crate) ours: Identity,
    pub(crate) theirs: Known,
}

/// What the source's handshake does next.
pub(crate) enum Initiated {
    Send(Vec<u8>),
    Done(Box<Established>),
}

/// The source's side of the handshake.
#[derive(Clone)]
pub(crate) struct Initiator {
    pub(crate) session: Session,
    wanted_host: Option<HostId>,
    step: InitiatorStep,
}

#[derive(Clone)]
enum InitiatorStep {
    Welcome,
    Evidence { nonce: crate::chip::Nonce, ours: Identity },
    Answer { ours: Identity, theirs: Box<Known>, expected: Secret, opened: Secret },
}

impl Initiator {
    /// The first message of the session.
    pub(crate) fn start(terms: &Terms, local: &mut Local<'_>) -> Result<(Self, Vec<u8>), Error> {
        let mut session = Session::new(Side::Source, terms.channel, terms.minimum_version);
        let mut nonce = [0; 32];
        local.entropy.fill(&mut nonce)?;
        let hello = session.seal(&Body::Hello { nonce, wanted: local.judge.wanted() });
        let step = InitiatorStep::Welcome;
        Ok((Self { session, wanted_host: terms.peer, step }, hello))
    }

    pub(crate) fn waits_for(&self) -> &'static str {
        match self.step {
            InitiatorStep::Welcome => "the answer to the greeting",
            InitiatorStep::Evidence { .. } => "the destination's evidence",
            InitiatorStep::Answer { .. } => "the destination's answer to its challenge",
        }
    }

    pub(crate) fn receive(
        &mut self,
        local: &mut Local<'_>,
        message: &[u8],
    ) -> Result<Initiated, Error> {
        let wanted = match self.step {
            InitiatorStep::Welcome => Kind::Welcome,
            InitiatorStep::Evidence { .. } => Kind::DestinationEvidence,
            InitiatorStep::Answer { .. } => Kind::DestinationAnswer,
        };
        let due = self.waits_for();
        // The answer's proof covers everything before it.
        let before = self.session.transcript();
        let Received { body, .. } = self.session.open(message, &[wanted], due)?;
        match (&self.step, body) {
            (InitiatorStep::Welcome, Body::Welcome { wanted, .. }) => self.show(local, &wanted),
            (
                InitiatorStep::Evidence { nonce, ours },
                Body::DestinationEvidence { evidence, challenge },
            ) => {
                let (nonce, ours) = (*nonce, *ours);
                let (theirs, judged) =
                    judge(local, Side::Destination, self.wanted_host, &nonce, &evidence)?;
                let opened = local.chip.activate(&challenge)?;
                let transcript = self.session.transcript();
                let proof = mac(opened.expose(), &[SOURCE_PROOF, &transcript]);
                let answer = Body::SourceAnswer { challenge: judged.challenge, proof };
                let message = self.session.seal(&answer);
                let (theirs, expected) = (Box::new(theirs), judged.secret);
                self.step = InitiatorStep::Answer { ours, theirs, expected, opened };
                Ok(Initiated::Send(message))
            }
            (
                InitiatorStep::Answer { ours, theirs, expected, opened },
                Body::DestinationAnswer { proof },
            ) => {
                check(&proof, expected, DESTINATION_PROOF, &before)?;
                let mut session = self.session.clone();
                session.establish(opened, expected);
                let theirs = Known::clone(theirs);
                Ok(Initiated::Done(Box::new(Established { session, ours: *ours, theirs })))
            }
            (_, body) => Err(ended_or_unexpected(body, due)),
        }
    }

    fn show(&mut self, local: &mut Local<'_>, wanted: &PcrSelection) -> Result<Initiated, Error> {
        let ours = self.session.nonce(Side::Source);
        let nonce = self.session.nonce(Side::Destination);
        let evidence = local.chip.evidence(&ours, wanted)?;
        let ours = evidence.identity();
        self.step = InitiatorStep::Evidence { nonce, ours };
        Ok(Initiated::Send(self.session.seal(&Body::SourceEvidence(Box::new(evidence)))))
    }
}

/// What the destination's handshake does next.
pub(crate) enum Responded {
    Send(Vec<u8>),
    Done(Vec<u8>, Box<Established>),
}

/// The destination's side of the handshake.
#[derive(Clone)]
pub(crate) struct Responder {
    pub(crate) session: Session,
    wanted_host: Option<HostId>,
    step: ResponderStep,
}

#[derive(Clone)]
enum ResponderStep {
    Hello,
    Evidence { wanted: PcrSelection },
    Answer { ours: Identity, theirs: Box<Known>, expected: Secret },
}

impl Responder {
    pub(crate) fn new(terms: &Terms) -> Self {
        let session = Session::new(Side::Destination, terms.channel, terms.minimum_version);
        Self { session, wanted_host: terms.peer, step: ResponderStep::Hello }
    }

    pub(crate) fn waits_for(&self) -> &'static str {
        match self.step {
            ResponderStep::Hello => "a greeting",
            ResponderStep::Evidence { .. } => "the source's evidence",
            ResponderStep::Answer { .. } => "the source's answer to its challenge",
        }
    }

    pub(crate) fn receive(
        &mut self,
        local: &mut Local<'_>,
        message: &[u8],
    ) -> Result<Responded, Error> {
        let wanted = match self.step {
            ResponderStep::Hello => Kind::Hello,
            ResponderStep::Evidence { .. } => Kind::SourceEvidence,
            ResponderStep::Answer { .. } => Kind::SourceAnswer,
        };
        let due = self.waits_for();
        let before = match self.step {
            // What both nonces are of.
            ResponderStep::Evidence { .. } => {
                Some((self.session.nonce(Side::Source), self.session.nonce(Side::Destination)))
            }
            _ => None,
        };
        let transcript = self.session.transcript();
        let Received { body, .. } = self.session.open(message, &[wanted], due)?;
        match (&self.step, body) {
            (ResponderStep::Hello, Body::Hello { wanted, .. }) => {
                let mut nonce = [0; 32];
                local.entropy.fill(&mut nonce)?;
                self.step = ResponderStep::Evidence { wanted };
                let welcome = Body::Welcome { nonce, wanted: local.judge.wanted() };
                Ok(Responded::Send(self.session.seal(&welcome)))
            }
            (ResponderStep::Evidence { wanted }, Body::SourceEvidence(evidence)) => {
                let wanted = wanted.clone();
                let Some((nonce, ours)) = before else { return Err(Error::Cipher) };
                let (theirs, judged) =
                    judge(local, Side::Source, self.wanted_host, &nonce, &evidence)?;
                let evidence = Box::new(local.chip.evidence(&ours, &wanted)?);
                let (ours, theirs) = (evidence.identity(), Box::new(theirs));
                self.step = ResponderStep::Answer { ours, theirs, expected: judged.secret };
                let shown = Body::DestinationEvidence { evidence, challenge: judged.challenge };
                Ok(Responded::Send(self.session.seal(&shown)))
            }
            (
                ResponderStep::Answer { ours, theirs, expected },
                Body::SourceAnswer { challenge, proof },
            ) => {
                check(&proof, expected, SOURCE_PROOF, &transcript)?;
                let opened = local.chip.activate(&challenge)?;
                let mut session = self.session.clone();
                let transcript = session.transcript();
                let proof = mac(opened.expose(), &[DESTINATION_PROOF, &transcript]);
                let message = session.seal(&Body::DestinationAnswer { proof });
                session.establish(expected, &opened);
                let theirs = Known::clone(theirs);
                let established = Established { session, ours: *ours, theirs };
                Ok(Responded::Done(message, Box::new(established)))
            }
            (_, body) => Err(ended_or_unexpected(body, due)),
        }
    }
}

fn judge(
    local: &mut Local<'_>,
    side: Side,
    wanted: Option<HostId>,
    nonce: &crate::chip::Nonce,
    evidence: &Evidence,
) -> Result<(Known, Judgement), Error> {
    let judgement = local.judge.judge(side, nonce, evidence)?;
    let host = evidence.host();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != host) {
        return Err(Error::WrongHost { wanted, found: host });
    }
    if !(16..=64).contains(&judgement.secret.expose().len()) {
        return Err(Error::Cipher);
    }
    let known = Known { host, identity: evidence.identity(), peer: judgement.peer.clone() };
    Ok((known, judgement))
}

fn check(
    proof: &[u8; MAC],
    expected: &Secret,
    label: &[u8],
    transcript: &[u8; 32],
) -> Result<(), Error> {
    if same(proof, &mac(expected.expose(), &[label, transcript])) {
        return Ok(());
    }
    Err(Error::Unproven)
}

/// The error of a message that is not the one wanted: an abort, as nothing else gets this far.
pub(crate) fn ended_or_unexpected(body: Body, wanted: &'static str) -> Error {
    match body {
        Body::Abort { reason, text } => Error::Peer { reason, text },
        other => Error::Unexpected { got: Shown(Some(other.kind())), wanted },
    }
}
