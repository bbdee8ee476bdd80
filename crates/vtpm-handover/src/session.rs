//! One session between two hosts: versions, transcript, and the tags of messages.
//!
//! The transcript is SHA-256 over all messages of the session as they were sent, headers
//! included, in the order in which both sides see them (an abort, which may cross another
//! message, is left out). Once both chips have opened their credentials, the session has two keys
//! that only these chips' hosts can know, one for each direction, and each message ends in an
//! HMAC-SHA256 over its number in its direction, its header and its body.

use sha2::{Digest, Sha256};

use crate::chip::Nonce;
use crate::crypto::{MAC, derive, digest, mac, same};
use crate::error::{Error, Shown};
use crate::judge::Side;
use crate::message::{Body, HEADER, Header, Kind, TEXT_MAX};
use crate::secret::{Key, Secret};
use crate::wire::Malformed;
use crate::{MINIMUM_VERSION, VERSION};

/// What binds the handover to its TLS session: 32 bytes of the exporter (RFC 8446, section 7.5)
/// under the label `EXPORTER-vtpm-handover`, the same on both sides of one session only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channel(pub [u8; 32]);

impl Channel {
    /// The exporter's label.
    pub const LABEL: &'static [u8] = b"EXPORTER-vtpm-handover";
}

#[derive(Clone)]
pub(crate) struct Session {
    side: Side,
    channel: Channel,
    minimum: u16,
    /// Before it is negotiated, the newest that this side speaks.
    version: u16,
    negotiated: bool,
    transcript: Sha256,
    keys: Option<Keys>,
}

#[derive(Clone)]
struct Keys {
    send: Key,
    sent: u64,
    receive: Key,
    received: u64,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) body: Body,
    /// Whether its tag proves that the attested peer sent it, in this session and at this place.
    pub(crate) authentic: bool,
}

impl Session {
    /// `minimum` is the oldest version that this host's policy allows.
    pub(crate) fn new(side: Side, channel: Channel, minimum: u16) -> Self {
        Self {
            side,
            channel,
            minimum: minimum.clamp(MINIMUM_VERSION, VERSION),
            version: VERSION,
            negotiated: false,
            transcript: Sha256::new(),
            keys: None,
        }
    }

    /// The version in use.
    pub(crate) fn version(&self) -> u16 {
        self.version
    }

    /// SHA-256 of everything said so far.
    pub(crate) fn transcript(&self) -> [u8; 32] {
        self.transcript.clone().finalize().into()
    }

    /// What the evidence of `side` is to be bound to. To be called when greetings were exchanged
    /// and nothing more.
    pub(crate) fn nonce(&self, side: Side) -> Nonce {
        let role: &[u8] = match side {
            Side::Source => b"source",
            Side::Destination => b"destination",
        };
        Nonce(digest("vtpm handover 1 nonce", &[role, &self.channel.0, &self.transcript()]))
    }

    /// Derives the keys, when all of the handshake is in the transcript.
    pub(crate) fn establish(&mut self, of_source: &Secret, of_destination: &Secret) {
        let secrets = digest(
            "vtpm handover 1 session",
            &[of_source.expose(), of_destination.expose(), &self.channel.0],
        );
        let salt = self.transcript();
        let from_source = derive(&secrets, &salt, "vtpm handover 1 from source");
        let from_destination = derive(&secrets, &salt, "vtpm handover 1 from destination");
        let (send, receive) = match self.side {
            Side::Source => (from_source, from_destination),
            Side::Destination => (from_destination, from_source),
        };
        self.keys = Some(Keys { send, sent: 0, receive, received: 0 });
    }

    /// Makes the bytes of a message.
    pub(crate) fn seal(&mut self, body: &Body) -> Vec<u8> {
        let kind = body.kind();
        let contents = body.write();
        let tagged = self.keys.is_some();
        let length = contents.len().saturating_add(if tagged { MAC } else { 0 });
        let minimum = if self.negotiated { self.version } else { self.minimum };
        let header = Header {
            version: self.version,
            minimum,
            kind,
            tagged,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        let mut message = header.write();
        message.extend_from_slice(&contents);
        if let Some(keys) = &mut self.keys {
            let tag = mac(keys.send.expose(), &[&keys.sent.to_be_bytes(), &message]);
            keys.sent = keys.sent.saturating_add(1);
            message.extend_from_slice(&tag);
        }
        self.absorb(kind, &message);
        message
    }

    /// An abort. What this side knows of the matter is told to an attested peer only.
    pub(crate) fn abort(&mut self, error: &Error) -> Vec<u8> {
        let reason = error.reason();
        let mut text = match self.keys {
            Some(_) => error.to_string(),
            None => format!("{reason}; the log of that host says more"),
        };
        while text.len() > TEXT_MAX {
            text.pop();
        }
        self.seal(&Body::Abort { reason, text })
    }

    /// Reads a message that may be of one of the `wanted` kinds, or an abort.
    ///
    /// An abort without a tag is an answer too, but not an authentic one.
    pub(crate) fn open(
        &mut self,
        message: &[u8],
        wanted: &[Kind],
        due: &'static str,
    ) -> Result<Received, Error> {
        let malformed = |what, cause| Error::Malformed { what: Shown(what), cause };
        let (header, contents) =
            message.split_first_chunk::<HEADER>().ok_or(malformed(None, Malformed::Truncated))?;
        let header = Header::read(header).map_err(|cause| malformed(None, cause))?;
        let kind = header.kind;
        if kind != Kind::Abort && !wanted.contains(&kind) {
            return Err(Error::Unexpected { got: Shown(Some(kind)), wanted: due });
        }
        if contents.len() != header.length as usize {
            return Err(malformed(Some(kind), Malformed::Truncated));
        }
        self.check_version(&header)?;
        let (contents, authentic) = self.check_tag(&header, message, contents)?;
        let body = Body::read(kind, contents).map_err(|cause| malformed(Some(kind), cause))?;
        self.absorb(kind, message);
        Ok(Received { body, authentic })
    }

    /// The versions of the two greetings decide; after them, every message is of that one.
    fn check_version(&mut self, header: &Header) -> Result<(), Error> {
        let Header { version, minimum, kind, .. } = *header;
        if kind == Kind::Abort {
            // Its form is the same in all versions.
            return Ok(());
        }
        if self.negotiated {
            if (version, minimum) != (self.version, self.version) {
                return Err(Error::NotAuthentic(Shown(Some(kind))));
            }
            return Ok(());
        }
        let common = self.version.min(version);
        if minimum > version || common < self.minimum.max(minimum) {
            return Err(Error::Version {
                minimum: self.minimum,
                newest: self.version,
                theirs_minimum: minimum,
                theirs: version,
            });
        }
        (self.version, self.negotiated) = (common, true);
        Ok(())
    }

    fn check_tag<'a>(
        &mut self,
        header: &Header,
        message: &[u8],
        contents: &'a [u8],
    ) -> Result<(&'a [u8], bool), Error> {
        let forged = || Error::NotAuthentic(Shown(Some(header.kind)));
        match (&mut self.keys, header.tagged) {
            (Some(keys), true) => {
                let (contents, tag) = contents.split_last_chunk::<MAC>().ok_or_else(forged)?;
                let (signed, _) = message.split_last_chunk::<MAC>().ok_or_else(forged)?;
                let number = keys.received.to_be_bytes();
                if !same(tag, &mac(keys.receive.expose(), &[&number, signed])) {
                    return Err(forged());
                }
                keys.received = keys.received.saturating_add(1);
                Ok((contents, true))
            }
            (None, false) => Ok((contents, false)),
            // A side that lost its keys, or never got them, can say no more than that it ends.
            (Some(_), false) if header.kind == Kind::Abort => Ok((contents, false)),
            _ => Err(forged()),
        }
    }

    fn absorb(&mut self, kind: Kind, message: &[u8]) {
        if kind != Kind::Abort {
            self.transcript.update(message);
        }
    }
}
