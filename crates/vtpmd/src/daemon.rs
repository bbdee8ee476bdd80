//! Becoming a daemon, becoming another user, and telling who waits that all is ready.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::{User, initgroups, setgid, setuid};
use tracing::debug;

/// Set for the process that goes on in the background.
const IN_BACKGROUND: &str = "VTPMD_IN_BACKGROUND";
/// What it writes to standard output once it is ready.
const READY: &[u8] = b"ready";

/// Which of the two processes of `--daemon` this is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// There is only one.
    Foreground,
    /// The one that goes on.
    Background,
}

/// Which side this process is on.
pub(crate) fn side() -> Side {
    match std::env::var_os(IN_BACKGROUND) {
        Some(_) => Side::Background,
        None => Side::Foreground,
    }
}

/// Starts this program anew in the background, with all that was inherited, and waits until it is
/// ready.
///
/// # Errors
/// It ended before; it said why on standard error.
pub(crate) fn start_in_background() -> Result<()> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env(IN_BACKGROUND, OsStr::new("1"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot go to the background")?;
    let mut said = Vec::new();
    let mut output = child.stdout.take().context("no way to the background")?;
    output.read_to_end(&mut said).context("cannot hear from the background")?;
    ensure!(said == READY, "the daemon could not start");
    Ok(())
}

/// Leaves the terminal of whoever started this.
pub(crate) fn leave_session() {
    if let Err(cause) = rustix::process::setsid() {
        debug!("still in the session of the caller: {cause}");
    }
}

/// Who waits until all is ready: the foreground, and the service manager. What it takes to tell
/// them is opened while that still is allowed.
pub(crate) struct Waiting {
    /// What takes the place of standard input and output of a process in the background.
    nowhere: Option<File>,
    manager: Option<UnixDatagram>,
}

impl Waiting {
    /// Finds out who waits.
    pub(crate) fn find(side: Side) -> Result<Self> {
        let nowhere = match side {
            Side::Foreground => None,
            Side::Background => Some(File::options().read(true).write(true).open("/dev/null")?),
        };
        let manager = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            connect_to_manager(name.as_bytes())
                .inspect_err(|cause| debug!("the service manager cannot be told: {cause}"))
                .ok()
        });
        Ok(Self { nowhere, manager })
    }

    /// Tells them.
    pub(crate) fn tell(self) -> Result<()> {
        if let Some(nowhere) = self.nowhere {
            let mut output = std::io::stdout();
            output.write_all(READY).and_then(|()| output.flush()).context("nobody waits")?;
            rustix::stdio::dup2_stdout(nowhere.as_fd()).context("cannot leave standard output")?;
            rustix::stdio::dup2_stdin(nowhere.as_fd()).context("cannot leave standard input")?;
        }
        if let Some(Err(cause)) = self.manager.map(|manager| manager.send(b"READY=1")) {
            debug!("the service manager is not told: {cause}");
        }
        Ok(())
    }
}

/// `sd_notify(3)`: a datagram socket at a path, or at an abstract name that begins with `@`.
fn connect_to_manager(name: &[u8]) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Becomes another user, with the groups of that user, for good.
pub(crate) fn become_user(name: &str) -> Result<()> {
    let user = match name.parse() {
        Ok(number) => User::from_uid(nix::unistd::Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let user = user.ok().flatten().with_context(|| format!("there is no user {name}"))?;
    if nix::unistd::geteuid() == user.uid && nix::unistd::getegid() == user.gid {
        return Ok(());
    }
    let login = std::ffi::CString::new(user.name.as_str()).context("a user's name")?;
    initgroups(&login, user.gid)
        .and_then(|()| setgid(user.gid))
        .and_then(|()| setuid(user.uid))
        .with_context(|| format!("cannot become {name}; only root can"))
}
