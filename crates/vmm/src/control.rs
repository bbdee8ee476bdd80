//! The control socket: one JSON object a line, each way.
//!
//! | request | answer |
//! |---|---|
//! | `{"command":"status"}` | `{"ok":true,"state":"running","memory_mib":512,"cpus":1,"tpm":"crb"}` |
//! | `{"command":"pause"}` | `{"ok":true}` when the guest stands still |
//! | `{"command":"resume"}` | `{"ok":true}` |
//! | `{"command":"snapshot","path":"/file"}` | `{"ok":true}` when the file is whole; the guest goes on if it ran |
//! | `{"command":"restore","path":"/file"}` | `{"ok":true}`; the machine is replaced by that of the file |
//! | `{"command":"migrate","to":"HOST:PORT"}` | `{"ok":true,...,"migration":{"state":"moved",...}}` when it has moved; how far it is says `status` meanwhile |
//! | `{"command":"cancel-migration"}` | `{"ok":true}`; the guest goes on here |
//! | `{"command":"shut-down"}` | `{"ok":true}`; the machine ends |
//!
//! A request that fails is answered with `{"ok":false,"error":"..."}`. Who can write to the socket
//! owns the machine: it is made for its owner only.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::{
    console::Listener,
    devices::tpm::Interface,
    error::{Error, Result},
    machine::Machine,
    migrate::{Limits, MigrationState, MigrationStatus, Mover},
    snapshot,
};

/// Longest request in bytes.
const MAX_REQUEST: usize = 16 * 1024;
/// Peers at one time.
const MAX_PEERS: usize = 16;
/// How long a client waits: a snapshot of a large machine takes its time.
const CLIENT_PATIENCE: Duration = Duration::from_secs(600);

/// What can be asked: over the socket, and by `vmm ctl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Prints how the machine is.
    Status,
    /// Stops the guest.
    Pause,
    /// Lets it go on.
    Resume,
    /// Writes the machine into a new file.
    Snapshot {
        /// The file, on the VMM's side.
        path: PathBuf,
    },
    /// Replaces the machine by that of a snapshot.
    Restore {
        /// The file, on the VMM's side.
        path: PathBuf,
    },
    /// Moves the machine to another host, and waits until it runs there.
    Migrate {
        /// Where `vmm receive` waits for it.
        #[arg(value_name = "HOST:PORT")]
        to: String,
        /// How long the guest may stand still, in milliseconds.
        #[arg(long = "downtime", value_name = "MS")]
        #[serde(default)]
        downtime_ms: Option<u64>,
        /// A machine without a TPM may go to whoever listens there.
        #[arg(long)]
        #[serde(default)]
        unattested: bool,
    },
    /// Keeps the machine here after all.
    CancelMigration,
    /// Ends the machine, as if its power were cut.
    ShutDown,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// The machine, for [`Request::Status`].
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Status>,
    /// How the last migration went, or is going.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub migration: Option<MigrationStatus>,
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it runs.
    pub state: State,
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Processors.
    pub cpus: u8,
    /// The TPM's registers.
    pub tpm: Option<Interface>,
}

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Running,
    /// It stands still.
    Paused,
}

/// What a request means for whoever owns the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing more.
    Nothing,
    /// Go on with the machine of this file.
    Restore(PathBuf),
    /// End.
    ShutDown,
}

/// The socket and who is connected to it.
pub struct Control {
    listener: Option<Listener>,
    peers: Vec<Peer>,
}

struct Peer {
    stream: UnixStream,
    pending: Vec<u8>,
    /// Whether it waits for the end of a migration.
    waits: bool,
}

impl Control {
    /// Listens at `path`, if there is one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let listener = match path {
            Some(path) => {
                let action = "make the control socket";
                let listener = Listener::bind(path, action)?;
                let owner = fs::Permissions::from_mode(0o600);
                fs::set_permissions(path, owner).map_err(Error::file(action, path))?;
                Some(listener)
            }
            None => None,
        };
        Ok(Self { listener, peers: Vec::new() })
    }

    /// What to wait for.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let listener = self.listener.iter().map(|listener| listener.0.as_raw_fd());
        listener.chain(self.peers.iter().map(|peer| peer.stream.as_raw_fd())).collect()
    }

    /// Whether `fd` is one of them.
    pub fn has(&self, fd: RawFd) -> bool {
        self.descriptors().contains(&fd)
    }

    /// Serves whoever is at `ready`.
    pub fn serve(&mut self, ready: RawFd, machine: &mut Machine, mover: &mut Mover) -> Wish {
        if self.listener.as_ref().is_some_and(|listener| listener.0.as_raw_fd() == ready) {
            self.accept();
            return Wish::Nothing;
        }
        let Some(index) = self.peers.iter().position(|peer| peer.stream.as_raw_fd() == ready)
        else {
            return Wish::Nothing;
        };
        let mut peer = self.peers.swap_remove(index);
        let (wish, stays) = peer.serve(machine, mover);
        if stays {
            self.peers.push(peer);
        }
        wish
    }

    /// Tells whoever waits for the end of a migration how it went.
    pub fn tell_of_move(&mut self, migration: Option<MigrationStatus>) {
        let moved = migration.as_ref().is_some_and(|status| status.state == MigrationState::Moved);
        let error = migration.as_ref().filter(|_| !moved).and_then(|status| status.message.clone());
        let answer = Answer { ok: moved, error, status: None, migration };
        self.peers.retain_mut(|peer| !std::mem::take(&mut peer.waits) || peer.say(&answer).is_ok());
    }

    fn accept(&mut self) {
        let accepted = self.listener.as_ref().and_then(|listener| listener.0.accept().ok());
        if let Some((stream, _)) = accepted
            && self.peers.len() < MAX_PEERS
            && stream.set_nonblocking(true).is_ok()
        {
            self.peers.push(Peer { stream, pending: Vec::new(), waits: false });
        }
    }
}

impl Peer {
    /// Takes what came; returns what to do, and whether the peer stays.
    fn serve(&mut self, machine: &mut Machine, mover: &mut Mover) -> (Wish, bool) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return (Wish::Nothing, false),
            Ok(count) => self.pending.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(cause) => {
                let later = matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                return (Wish::Nothing, later);
            }
        }
        let mut wish = Wish::Nothing;
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let (answer, asked) = answer(&line, machine, mover);
            if asked != Wish::Nothing {
                wish = asked;
            }
            let Some(answer) = answer else {
                self.waits = true;
                continue;
            };
            if self.say(&answer).is_err() {
                return (wish, false);
            }
        }
        (wish, self.pending.len() <= MAX_REQUEST)
    }

    /// A peer that does not take its answer is given up: it fits into any socket's buffer.
    fn say(&mut self, answer: &Answer) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

/// What to answer now, if anything, and what to do.
fn answer(line: &[u8], machine: &mut Machine, mover: &mut Mover) -> (Option<Answer>, Wish) {
    let outcome = serde_json::from_slice(line)
        .map_err(|cause| Error::Control(format!("not understood: {cause}")))
        .and_then(|request| act(request, machine, mover));
    match outcome {
        Ok((Said::Later, wish)) => (None, wish),
        Ok((Said::Now(status), wish)) => {
            let migration = status.as_ref().and_then(|_| mover.status());
            (Some(Answer { ok: true, error: None, status, migration }), wish)
        }
        Err(cause) => {
            let error = Some(cause.to_string());
            (Some(Answer { error, ..Answer::default() }), Wish::Nothing)
        }
    }
}

/// When a request is answered.
enum Said {
    Now(Option<Status>),
    /// At the end of the migration.
    Later,
}

fn act(request: Request, machine: &mut Machine, mover: &mut Mover) -> Result<(Said, Wish)> {
    let mut wish = Wish::Nothing;
    match request {
        Request::Status => return Ok((Said::Now(Some(status(machine))), wish)),
        Request::Pause => machine.pause()?,
        Request::Resume => machine.run()?,
        Request::Snapshot { path } => {
            let running = machine.is_running();
            machine.pause()?;
            let outcome = snapshot::write(machine, &path);
            if running {
                machine.run()?;
            }
            outcome?;
        }
        Request::Restore { path } => {
            if !path.is_file() {
                let reason = format!("there is no file {}", path.display());
                return Err(Error::Snapshot(reason));
            }
            wish = Wish::Restore(path);
        }
        Request::Migrate { to, downtime_ms, unattested } => {
            let mut limits = Limits::default();
            if let Some(milliseconds) = downtime_ms {
                limits.downtime = Duration::from_millis(milliseconds);
            }
            mover.begin(machine, &to, limits, unattested)?;
            return Ok((Said::Later, wish));
        }
        Request::CancelMigration => mover.cancel()?,
        Request::ShutDown => wish = Wish::ShutDown,
    }
    Ok((Said::Now(None), wish))
}

fn status(machine: &Machine) -> Status {
    let hardware = machine.hardware();
    Status {
        state: if machine.is_running() { State::Running } else { State::Paused },
        memory_mib: hardware.memory_mib,
        cpus: hardware.cpus,
        tpm: hardware.tpm,
    }
}

/// Asks the VMM behind the control socket at `path`, and waits.
///
/// # Errors
/// [`Error::File`], [`Error::Control`] if the answer is none.
pub fn ask(path: &Path, request: &Request) -> Result<Answer> {
    let action = "talk to the VMM at";
    let mut stream = UnixStream::connect(path).map_err(Error::file(action, path))?;
    stream.set_read_timeout(Some(CLIENT_PATIENCE)).map_err(Error::file(action, path))?;
    let unspoken = |cause: serde_json::Error| Error::Control(cause.to_string());
    let mut line = serde_json::to_vec(request).map_err(unspoken)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(Error::file(action, path))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(Error::file(action, path))?;
    serde_json::from_str(&answer)
        .map_err(|cause| Error::Control(format!("its answer {answer:?} is none: {cause}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_documentation_says() {
        let parse = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(parse(r#"{"command":"status"}"#), Some(Request::Status));
        assert_eq!(parse(r#"{"command":"shut-down"}"#), Some(Request::ShutDown));
        let snapshot = Request::Snapshot { path: "/file".into() };
        assert_eq!(parse(r#"{"command":"snapshot","path":"/file"}"#), Some(snapshot));
        assert_eq!(parse(r#"{"command":"snapshot"}"#), None);
        assert_eq!(parse(r#"{"command":"dance"}"#), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn an_answer_says_no_more_than_it_has() {
        let done = Answer { ok: true, ..Answer::default() };
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"ok":true}"#);
        let status =
            Status { state: State::Paused, memory_mib: 64, cpus: 2, tpm: Some(Interface::Tis) };
        let full = Answer { status: Some(status), ..done };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(text, r#"{"ok":true,"state":"paused","memory_mib":64,"cpus":2,"tpm":"tis"}"#);
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), full);
    }
}
