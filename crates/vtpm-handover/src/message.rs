//! The messages: header, kinds, bodies. The format is in the crate's documentation.

use crate::chip::{Challenge, WrappedKey};
use crate::crypto::{GCM_TAG, MAC};
use crate::error::Reason;
use crate::evidence::Evidence;
use crate::id::{InstanceId, RequestId, TransferId};
use crate::offer::{Offer, STATE_MAX};
use crate::pcr::PcrSelection;
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of the header of every message.
pub const HEADER: usize = 16;

/// The first bytes of every message.
const MAGIC: [u8; 4] = *b"VTHO";

/// The header's flag that says that the body ends in a tag.
const TAGGED: u8 = 1;

/// The longest body but an envelope's: evidence of the largest size, and more.
pub(crate) const BODY_MAX: u32 = 128 * 1024;
/// The longest text in an abort, in bytes.
pub(crate) const TEXT_MAX: usize = 1024;
/// The longest part of a credential or a wrapped key, in bytes.
const PART_MAX: usize = 1024;
/// The longest TPML_PCR_SELECTION, in bytes.
const SELECTION_MAX: usize = 4 + 6 * PcrSelection::BANKS_MAX;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// The kinds of messages, in the order in which they are sent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name = $code,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Source: versions, a nonce, the registers it wants to see.
    Hello = 1,
    /// Destination: the version chosen, a nonce, the registers it wants to see.
    Welcome = 2,
    /// Source: its evidence.
    SourceEvidence = 3,
    /// Destination: its evidence, and a credential for the source.
    DestinationEvidence = 4,
    /// Source: a credential for the destination, and proof that it opened its own.
    SourceAnswer = 5,
    /// Destination: proof that it opened its credential.
    DestinationAnswer = 6,
    /// Source: what is to move, and the wrapped transfer key.
    Offer = 7,
    /// Destination: proof that it has the transfer key.
    Accept = 8,
    /// Source: the encrypted state.
    Envelope = 9,
    /// Destination: the state is safe here.
    Prepared = 10,
    /// Source: the state is destroyed there; the instance is the destination's.
    Commit = 11,
    /// Destination: the instance lives here.
    Active = 12,
    /// Source, on a later session: what became of a transfer.
    Settle = 13,
    /// Destination: what it has of that transfer.
    Settled = 14,
    /// Either: it ends here, and why.
    Abort = 15,
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version that the message is written in.
    pub version: u16,
    /// The oldest version whose readers understand it.
    pub minimum: u16,
    /// What it is.
    pub kind: Kind,
    /// Whether the body ends in a tag.
    pub tagged: bool,
    /// The bytes that follow the header.
    pub length: u32,
}

impl Header {
    /// Reads a header; the length is then within what its kind may have.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(bytes: &[u8; HEADER]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        if from.array::<4>()? != MAGIC {
            return Err(Malformed::Value("the magic"));
        }
        let (version, minimum) = (from.u16()?, from.u16()?);
        let kind = Kind::from_code(from.u8()?).ok_or(Malformed::Value("the kind"))?;
        let tagged = match from.u8()? {
            0 => false,
            TAGGED => true,
            _ => return Err(Malformed::Value("a flag")),
        };
        if from.u16()? != 0 {
            return Err(Malformed::Value("a reserved field"));
        }
        let length = from.u32()?;
        let limit = Self::limit(kind);
        if length > limit {
            let (length, limit) = (length as usize, limit as usize);
            return Err(Malformed::TooLong { what: "the body", length, limit });
        }
        Ok(Self { version, minimum, kind, tagged, length })
    }

    /// The longest body of a kind.
    fn limit(kind: Kind) -> u32 {
        match kind {
            Kind::Envelope => Self::envelope_limit(STATE_MAX),
            _ => BODY_MAX,
        }
    }

    /// The longest body of an envelope around a state of at most this many bytes.
    pub(crate) fn envelope_limit(state: u32) -> u32 {
        state.saturating_add((GCM_TAG + MAC) as u32)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&MAGIC);
        out.u16(self.version);
        out.u16(self.minimum);
        out.u8(self.kind as u8);
        out.u8(if self.tagged { TAGGED } else { 0 });
        out.u16(0);
        out.u32(self.length);
        out.into_bytes()
    }
}

/// What became of a transfer, by the word of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The source's state is destroyed; this is the commit again.
    Committed { token: [u8; MAC] },
    /// The transfer was called back. The instance lives at the source, or has left it by another
    /// transfer since.
    CalledBack { live: bool },
}

/// What a destination has of a transfer once it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holding {
    /// The instance arrived: it lives here, or did before it moved on.
    Arrived,
    /// There is nothing of the transfer here.
    Nothing,
}

/// A message without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Hello { nonce: [u8; 32], wanted: PcrSelection },
    Welcome { nonce: [u8; 32], wanted: PcrSelection },
    SourceEvidence(Box<Evidence>),
    DestinationEvidence { evidence: Box<Evidence>, challenge: Challenge },
    SourceAnswer { challenge: Challenge, proof: [u8; MAC] },
    DestinationAnswer { proof: [u8; MAC] },
    Offer { offer: Offer, key: WrappedKey },
    Accept { confirmation: [u8; MAC] },
    Envelope(Vec<u8>),
    Prepared { receipt: [u8; MAC] },
    Commit { token: [u8; MAC] },
    Active,
    Settle { instance: InstanceId, transfer: TransferId, epoch: u64, verdict: Verdict },
    Settled(Holding),
    Abort { reason: Reason, text: String },
}

impl Body {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Hello { .. } => Kind::Hello,
            Self::Welcome { .. } => Kind::Welcome,
            Self::SourceEvidence(_) => Kind::SourceEvidence,
            Self::DestinationEvidence { .. } => Kind::DestinationEvidence,
            Self::SourceAnswer { .. } => Kind::SourceAnswer,
            Self::DestinationAnswer { .. } => Kind::DestinationAnswer,
            Self::Offer { .. } => Kind::Offer,
            Self::Accept { .. } => Kind::Accept,
            Self::Envelope(_) => Kind::Envelope,
            Self::Prepared { .. } => Kind::Prepared,
            Self::Commit { .. } => Kind::Commit,
            Self::Active => Kind::Active,
            Self::Settle { .. } => Kind::Settle,
            Self::Settled(_) => Kind::Settled,
            Self::Abort { .. } => Kind::Abort,
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Hello { nonce, wanted } | Self::Welcome { nonce, wanted } => {
                out.bytes(nonce);
                out.sized(&wanted.to_tpml());
            }
            Self::SourceEvidence(evidence) => evidence.write(&mut out),
            Self::DestinationEvidence { evidence, challenge } => {
                evidence.write(&mut out);
                write_challenge(challenge, &mut out);
            }
            Self::SourceAnswer { challenge, proof } => {
                write_challenge(challenge, &mut out);
                out.bytes(proof);
            }
            Self::Offer { offer, key } => {
                write_offer(offer, &mut out);
                out.sized(&key.public);
                out.sized(&key.duplicate);
                out.sized(&key.seed);
                out.sized(&key.pcrs.to_tpml());
            }
            Self::DestinationAnswer { proof: mac }
            | Self::Accept { confirmation: mac }
            | Self::Prepared { receipt: mac }
            | Self::Commit { token: mac } => out.bytes(mac),
            Self::Envelope(sealed) => return sealed.clone(),
            Self::Active => {}
            Self::Settle { instance, transfer, epoch, verdict } => {
                out.bytes(&instance.0);
                out.bytes(&transfer.0);
                out.u64(*epoch);
                let (code, token) = match verdict {
                    Verdict::Committed { token } => (1, *token),
                    Verdict::CalledBack { live: true } => (2, [0; MAC]),
                    Verdict::CalledBack { live: false } => (3, [0; MAC]),
                };
                out.u8(code);
                out.bytes(&token);
            }
            Self::Settled(Holding::Arrived) => out.u8(1),
            Self::Settled(Holding::Nothing) => out.u8(2),
            Self::Abort { reason, text } => {
                out.u16(reason.code());
                out.sized(text.as_bytes());
            }
        }
        out.into_bytes()
    }

    pub(crate) fn read(kind: Kind, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let body = Self::take(kind, &mut from)?;
        from.finish()?;
        Ok(body)
    }

    fn take(kind: Kind, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Hello => Self::Hello { nonce: from.array()?, wanted: read_selection(from)? },
            Kind::Welcome => Self::Welcome { nonce: from.array()?, wanted: read_selection(from)? },
            Kind::SourceEvidence => Self::SourceEvidence(Box::new(Evidence::read(from)?)),
            Kind::DestinationEvidence => {
                let evidence = Box::new(Evidence::read(from)?);
                Self::DestinationEvidence { evidence, challenge: read_challenge(from)? }
            }
            Kind::SourceAnswer => {
                let challenge = read_challenge(from)?;
                Self::SourceAnswer { challenge, proof: from.array()? }
            }
            Kind::DestinationAnswer => Self::DestinationAnswer { proof: from.array()? },
            Kind::Offer => Self::Offer { offer: read_offer(from)?, key: read_key(from)? },
            Kind::Accept => Self::Accept { confirmation: from.array()? },
            Kind::Envelope => Self::Envelope(from.rest().to_vec()),
            Kind::Prepared => Self::Prepared { receipt: from.array()? },
            Kind::Commit => Self::Commit { token: from.array()? },
            Kind::Active => Self::Active,
            Kind::Settle => {
                let (instance, transfer) = (InstanceId(from.array()?), TransferId(from.array()?));
                let epoch = from.u64()?;
                let verdict = match (from.u8()?, from.array()?) {
                    (1, token) => Verdict::Committed { token },
                    (2, token) if token == [0; MAC] => Verdict::CalledBack { live: true },
                    (3, token) if token == [0; MAC] => Verdict::CalledBack { live: false },
                    _ => return Err(Malformed::Value("the verdict")),
                };
                Self::Settle { instance, transfer, epoch, verdict }
            }
            Kind::Settled => Self::Settled(match from.u8()? {
                1 => Holding::Arrived,
                2 => Holding::Nothing,
                _ => return Err(Malformed::Value("the holding")),
            }),
            Kind::Abort => {
                let reason = Reason::from_code(from.u16()?);
                let text = from.sized("the text", TEXT_MAX)?;
                Self::Abort { reason, text: printable(&text) }
            }
        })
    }
}

/// Text of a peer, made safe for a terminal and a log.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect()
}

fn write_challenge(challenge: &Challenge, out: &mut Writer) {
    out.sized(&challenge.credential);
    out.sized(&challenge.secret);
}

fn read_challenge(from: &mut Reader<'_>) -> Result<Challenge, Malformed> {
    let credential = from.sized("the credential", PART_MAX)?;
    Ok(Challenge { credential, secret: from.sized("the credential's secret", PART_MAX)? })
}

fn read_selection(from: &mut Reader<'_>) -> Result<PcrSelection, Malformed> {
    let tpml = from.sized("the selection of registers", SELECTION_MAX)?;
    PcrSelection::from_tpml(&tpml).ok_or(Malformed::Value("the selection of registers"))
}

fn write_offer(offer: &Offer, out: &mut Writer) {
    let Offer { instance, transfer, request, epoch, state_limit } = offer;
    out.bytes(&instance.0);
    out.bytes(&transfer.0);
    out.bytes(&request.0);
    out.u64(*epoch);
    out.u32(*state_limit);
}

fn read_offer(from: &mut Reader<'_>) -> Result<Offer, Malformed> {
    let offer = Offer {
        instance: InstanceId(from.array()?),
        transfer: TransferId(from.array()?),
        request: RequestId(from.array()?),
        epoch: from.u64()?,
        state_limit: from.u32()?,
    };
    if offer.state_limit > STATE_MAX {
        let (length, limit) = (offer.state_limit as usize, STATE_MAX as usize);
        return Err(Malformed::TooLong { what: "the state", length, limit });
    }
    Ok(offer)
}

fn read_key(from: &mut Reader<'_>) -> Result<WrappedKey, Malformed> {
    Ok(WrappedKey {
        public: from.sized("the key's public area", PART_MAX)?,
        duplicate: from.sized("the wrapped key", PART_MAX)?,
        seed: from.sized("the wrapped key's seed", PART_MAX)?,
        pcrs: read_selection(from)?,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
