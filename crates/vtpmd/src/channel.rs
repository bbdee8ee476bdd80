//! Sockets: what a channel listens on, and reading of whole messages.

use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A message must be whole so long after its first byte.
const WHOLE_MESSAGE: Duration = Duration::from_millis(500);

/// Where a channel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix { path: PathBuf, mode: Option<u32> },
    Tcp { address: String, port: u16 },
}

/// A listening channel.
pub(crate) enum Listener {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens; a socket that a dead process left is replaced.
    pub(crate) fn bind(endpoint: &Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Unix { path, mode } => {
                if UnixStream::connect(path).is_err() {
                    let _ = std::fs::remove_file(path);
                }
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on {}", path.display()))?;
                if let Some(mode) = mode {
                    use std::os::unix::fs::PermissionsExt as _;
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
                        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
                }
                Ok(Self::Unix(listener, path.clone()))
            }
            Endpoint::Tcp { address, port } => {
                let listener = TcpListener::bind((address.as_str(), *port))
                    .with_context(|| format!("cannot listen on {address}:{port}"))?;
                Ok(Self::Tcp(listener))
            }
        }
    }

    /// The next caller.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener, _) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| {
                // A response is one write; waiting for more would only delay it.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Waits without limit for the first byte of a message, or only so long for the rest of it.
    pub(crate) fn wait_for_whole(&self, started: bool) -> io::Result<()> {
        let timeout = started.then_some(WHOLE_MESSAGE);
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Reads what is there, and a descriptor if one came along.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let Self::Unix(stream) = self else { return self.read(buffer).map(|size| (size, None)) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let message =
            recvmsg(stream.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let descriptor = ancillary.drain().find_map(|item| match item {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((message.bytes, descriptor))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A descriptor that a caller gave for the data channel.
impl From<OwnedFd> for Stream {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Unix(UnixStream::from(descriptor))
    }
}
