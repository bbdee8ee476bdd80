//! Whole messages over a TLS session over a stream.

use std::io::{self, Read, Write};

use rustls::{Connection, Stream};

use super::tls;
use crate::error::{Error, Shown};
use crate::message::{HEADER, Header};
use crate::session::Channel;
use crate::wire::Malformed;

/// A stream with TLS on it that carries whole messages.
///
/// It reads and writes, so that a caller can send bytes of its own where both sides agree to: a
/// machine's memory between the envelope and the commit.
pub struct Link<S: Read + Write> {
    tls: Connection,
    stream: S,
    channel: Channel,
}

impl<S: Read + Write> Link<S> {
    /// Secures a stream as the source.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn connect(stream: S) -> Result<Self, Error> {
        Self::secure(stream, tls::client())
    }

    /// Secures a stream as the destination.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub fn accept(stream: S) -> Result<Self, Error> {
        Self::secure(stream, tls::server())
    }

    fn secure(mut stream: S, tls: io::Result<Connection>) -> Result<Self, Error> {
        let failed = |cause| Error::Transport { what: "the TLS handshake", cause };
        let mut tls = tls.map_err(failed)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).map_err(failed)?;
        }
        let channel = tls::channel(&tls).map_err(failed)?;
        Ok(Self { tls, stream, channel })
    }

    /// What the handover is bound to.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The stream below.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends messages, in order.
    ///
    /// # Errors
    /// [`Error::Transport`]: what was sent of them is not known.
    pub(super) fn send(&mut self, messages: &[Vec<u8>]) -> Result<(), Error> {
        let sent = messages.iter().try_for_each(|message| self.write_all(message));
        sent.and_then(|()| self.flush())
            .map_err(|cause| Error::Transport { what: "sending a message", cause })
    }

    /// Waits for a whole message with a body of at most `longest` bytes.
    ///
    /// # Errors
    /// [`Error::Transport`], [`Error::Malformed`].
    pub(super) fn receive(&mut self, longest: u32) -> Result<Vec<u8>, Error> {
        let failed = |cause| Error::Transport { what: "waiting for a message", cause };
        let mut header = [0; HEADER];
        self.read_exact(&mut header).map_err(failed)?;
        let malformed = |cause| Error::Malformed { what: Shown(None), cause };
        let length = Header::read(&header).map_err(malformed)?.length;
        if length > longest {
            let (length, limit) = (length as usize, longest as usize);
            return Err(malformed(Malformed::TooLong { what: "the body", length, limit }));
        }
        let mut message = header.to_vec();
        // What is claimed is not allocated before it comes.
        let read = Read::take(&mut *self, u64::from(length)).read_to_end(&mut message);
        match read {
            Ok(read) if read == length as usize => Ok(message),
            Ok(_) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Says that nothing more will come; a peer that is gone does not hear it.
    pub(super) fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = self.tls.complete_io(&mut self.stream);
    }
}

impl<S: Read + Write> Read for Link<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Connection::Client(tls) => Stream::new(tls, &mut self.stream).read(buffer),
            Connection::Server(tls) => Stream::new(tls, &mut self.stream).read(buffer),
        }
    }
}

impl<S: Read + Write> Write for Link<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Connection::Client(tls) => Stream::new(tls, &mut self.stream).write(bytes),
            Connection::Server(tls) => Stream::new(tls, &mut self.stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Connection::Client(tls) => Stream::new(tls, &mut self.stream).flush(),
            Connection::Server(tls) => Stream::new(tls, &mut self.stream).flush(),
        }
    }
}

impl<S: Read + Write> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
