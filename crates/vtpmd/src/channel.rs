//! Sockets: what a channel listens on, and reading of messages that must arrive in time.

use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A caller that does not take its answer for so long is given up.
const ANSWER_TAKEN: Duration = Duration::from_secs(30);

/// What a channel is served on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket that is made at a path, with these permissions and this owner.
    Unix { path: PathBuf, mode: Option<u32>, owner: Ownership },
    /// A TCP port.
    Tcp { address: String, port: u16 },
    /// An inherited descriptor of a listening socket.
    Listening(i32),
    /// An inherited descriptor of a connection.
    Connected(i32),
}

/// Whom a socket is given to; to nobody else where nothing is said.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A channel that is ready to be served.
pub(crate) enum Channel {
    /// Callers come here.
    Open(Listener),
    /// There is one caller, who is already here.
    Caller(Stream),
}

/// A listening socket.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A file that is removed when this is dropped: a socket, or the file of the process id.
pub(crate) struct Removed(PathBuf);

impl Removed {
    /// Removes `path` in the end.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// What is removed.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        // Whoever removed it first had the same wish.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Channel {
    /// Listens, or takes what was inherited. A socket that a dead process left is replaced; one
    /// that is made is removed when what comes with it is dropped.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<(Self, Option<Removed>)> {
        match endpoint {
            Endpoint::Unix { path, mode, owner } => {
                let (listener, removed) = listen_on_path(path, *mode, *owner)?;
                Ok((Self::Open(Listener::Unix(listener)), Some(removed)))
            }
            Endpoint::Tcp { address, port } => {
                let listener = TcpListener::bind((address.as_str(), *port))
                    .with_context(|| format!("cannot listen on {address}:{port}"))?;
                Ok((Self::Open(Listener::Tcp(listener)), None))
            }
            Endpoint::Listening(number) => {
                let descriptor = inherited(*number)?;
                let listener = match is_unix(&descriptor, *number)? {
                    true => Listener::Unix(descriptor.into()),
                    false => Listener::Tcp(descriptor.into()),
                };
                Ok((Self::Open(listener), None))
            }
            Endpoint::Connected(number) => {
                let descriptor = inherited(*number)?;
                let stream = match is_unix(&descriptor, *number)? {
                    true => Stream::Unix(descriptor.into()),
                    false => Stream::Tcp(descriptor.into()),
                };
                Ok((Self::Caller(stream), None))
            }
        }
    }
}

/// Listens on a path; a socket there that nobody serves any more is replaced.
pub(crate) fn listen_on_path(
    path: &Path,
    mode: Option<u32>,
    owner: Ownership,
) -> Result<(UnixListener, Removed)> {
    let dead =
        UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if dead {
        let _ = std::fs::remove_file(path);
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    let removed = Removed::at(path);
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    }
    if owner != Ownership::default() {
        std::os::unix::fs::chown(path, owner.uid, owner.gid)
            .with_context(|| format!("cannot change the owner of {}", path.display()))?;
    }
    Ok((listener, removed))
}

/// A copy of an inherited descriptor, by way of this process's own pidfd: a number alone proves
/// nothing about ownership, a copy is ours.
pub(crate) fn inherited(number: i32) -> Result<OwnedFd> {
    let copy = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()));
    copy.with_context(|| format!("descriptor {number} was not inherited, or cannot be copied"))
}

fn is_unix(descriptor: &OwnedFd, number: i32) -> Result<bool> {
    let domain = sockopt::socket_domain(descriptor)
        .with_context(|| format!("descriptor {number} is not a socket"))?;
    Ok(domain == AddressFamily::UNIX)
}

impl Listener {
    /// The next caller.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| {
                // A response is one write; waiting for more would only delay it.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What came of waiting for bytes.
#[derive(Debug)]
pub(crate) enum Received {
    /// So many bytes, and a descriptor if one came along.
    Bytes(usize, Option<OwnedFd>),
    /// Nothing within the time.
    TimedOut,
    /// The connection ended.
    Closed,
}

impl Stream {
    /// Reads what is there, and waits for it until `deadline`, or without limit.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Received {
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Received::TimedOut;
            }
            if self.set_read_timeout(left).is_err() {
                return Received::Closed;
            }
            match self.read_with_descriptor(buffer) {
                Ok((0, _)) => return Received::Closed,
                Ok((size, descriptor)) => return Received::Bytes(size, descriptor),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Received::Closed,
            }
        }
    }

    /// Sends an answer in one write; `false` when the caller does not take it.
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> bool {
        let limited = match self {
            Self::Unix(stream) => stream.set_write_timeout(Some(ANSWER_TAKEN)),
            Self::Tcp(stream) => stream.set_write_timeout(Some(ANSWER_TAKEN)),
        };
        let written = match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        };
        limited.and(written).is_ok()
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn read_with_descriptor(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let stream = match self {
            Self::Unix(stream) => stream,
            Self::Tcp(stream) => return stream.read(buffer).map(|size| (size, None)),
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = recvmsg(stream.as_fd(), &mut slices, &mut ancillary, flags)?;
        let descriptor = ancillary.drain().find_map(|item| match item {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((message.bytes, descriptor))
    }
}

/// A descriptor that a caller gave for the data channel.
impl From<OwnedFd> for Stream {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Unix(UnixStream::from(descriptor))
    }
}
