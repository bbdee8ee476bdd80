//! The process: its channels, the threads that serve them, and its end.
//!
//! ```text
//!   all that is needed is opened -> another user -> the sandbox -> the state -> threads
//!   accept thread of a channel -> a thread a connection -> the thread that owns the TPM
//!                                        |
//!   signals ---------------------------> end -> main thread: closes the store, removes its files
//! ```
//!
//! A caller that is slow or silent holds its own thread and nothing else.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{debug, info, warn};
use vtpm_engine::Profile;

use crate::channel::Removed;
use crate::channel::{Channel, Listener, Ownership, Stream, listen_on_path};
use crate::control::{self, End};
use crate::daemon::{self, Side, Waiting};
use crate::data;
use crate::metrics::Metrics;
use crate::options::{Flag, Serve};
use crate::protocol::{self, MAX_BUFFER_SIZE, MIN_BUFFER_SIZE};
use crate::sandbox::{self, Needed, directory_of};
use crate::tpm::{Setting, Source, Tpm};

/// Connections that a channel serves at once; a caller beyond them is turned away.
const MAX_CONNECTIONS: usize = 64;

/// What the channels share.
pub(crate) struct Session {
    pub(crate) tpm: Tpm,
    /// The state is encrypted with a key of the caller's.
    pub(crate) encrypted: bool,
    /// Of a TPM that is made here.
    pub(crate) profile: Profile,
    reject_locality_4: bool,
    terminate: bool,
    /// A data connection ends with its first response.
    pub(crate) disconnect: bool,
    locality: AtomicU8,
    buffer_size: AtomicU32,
    /// A data channel on a descriptor is being served, or there is one of the command line.
    data_channel: AtomicBool,
    data_connections: AtomicUsize,
    end: Sender<Over>,
}

/// Why the process ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Over {
    /// A caller asked for it.
    Shutdown,
    /// `--terminate`, and the last data connection ended.
    LastConnection,
    /// A signal.
    Signal(i32),
}

impl Session {
    fn new(serve: &Serve, tpm: Tpm, has_data_channel: bool, end: Sender<Over>) -> Self {
        Self {
            tpm,
            encrypted: serve.protection.encrypts(),
            profile: serve.profile,
            reject_locality_4: serve.reject_locality_4,
            terminate: serve.terminate,
            disconnect: serve.disconnect,
            locality: AtomicU8::new(0),
            buffer_size: AtomicU32::new(MAX_BUFFER_SIZE),
            data_channel: AtomicBool::new(has_data_channel),
            data_connections: AtomicUsize::new(0),
            end,
        }
    }

    /// Closes the state.
    pub(crate) fn shut_down(&self) {
        self.tpm.shut_down();
    }

    pub(crate) fn locality(&self) -> u8 {
        self.locality.load(Ordering::Acquire)
    }

    /// Sets the locality of the commands to come; `false` for one that there is not.
    pub(crate) fn set_locality(&self, locality: u8) -> bool {
        let allowed = locality <= 4 && !(locality == 4 && self.reject_locality_4);
        if allowed {
            self.locality.store(locality, Ordering::Release);
        }
        allowed
    }

    /// The largest command that is taken, in bytes.
    pub(crate) fn buffer_size(&self) -> u32 {
        self.buffer_size.load(Ordering::Acquire)
    }

    /// Sets the largest command, as near to `size` as can be; 0 asks only.
    pub(crate) fn set_buffer_size(&self, size: u32) -> u32 {
        if size > 0 {
            let size = size.clamp(MIN_BUFFER_SIZE, MAX_BUFFER_SIZE);
            self.buffer_size.store(size, Ordering::Release);
        }
        self.buffer_size()
    }

    /// Claims the right to be the one data channel on a descriptor.
    pub(crate) fn claim_data_channel(self: &Arc<Self>) -> Option<Claim> {
        let free = !self.data_channel.swap(true, Ordering::AcqRel);
        free.then(|| Claim(Arc::clone(self)))
    }

    /// Serves a data connection, and ends the process after the last one if that was asked for.
    fn serve_data(&self, stream: Stream) {
        self.data_connections.fetch_add(1, Ordering::AcqRel);
        data::serve(stream, self);
        let last = self.data_connections.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && self.terminate {
            // Without a receiver the process ends already.
            let _ = self.end.send(Over::LastConnection);
        }
    }

    fn serve_control(self: &Arc<Self>, stream: Stream) {
        if control::serve(stream, self) == End::Shutdown {
            let _ = self.end.send(Over::Shutdown);
        }
    }
}

/// The right to be the data channel, given back when dropped.
pub(crate) struct Claim(Arc<Session>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.data_channel.store(false, Ordering::Release);
    }
}

/// Serves the data channel on a descriptor in a thread of its own.
pub(crate) fn serve_given(session: &Arc<Session>, stream: Stream, claim: Claim) -> bool {
    let session = Arc::clone(session);
    let thread = thread::Builder::new().name("data".into());
    let spawned = thread.spawn(move || {
        // Free again before the process may end because of it.
        let _claim = claim;
        session.serve_data(stream);
    });
    spawned.is_ok()
}

/// All that is opened before the process gives up its rights.
struct Open {
    signals: Signals,
    control: Option<Channel>,
    data: Option<Channel>,
    metrics: Option<UnixListener>,
    source: Source,
    migration: Option<Source>,
    waiting: Waiting,
    /// Sockets and the file of the process id: removed in the end.
    removed: Vec<Removed>,
}

impl Open {
    fn all(serve: &Serve, side: Side) -> Result<Self> {
        // Before there is a thread that could be killed by them.
        let signals = Signals::new([SIGTERM, SIGINT]).context("cannot take signals")?;
        let source = serve.protection.source()?;
        let migration = serve.migration_key.as_ref().map(|key| key.source()).transpose()?;
        let control = serve.control.as_ref().map(Channel::open).transpose()?;
        let data = serve.data.as_ref().map(Channel::open).transpose()?;
        let (control, control_socket) = control.unzip();
        let (data, data_socket) = data.unzip();
        if control.is_none() && data.is_none() {
            bail!("nothing to serve: give --ctrl, --server, or both");
        }
        let metrics = serve.metrics.as_ref();
        let metrics = metrics.map(|path| listen_on_path(path, Some(0o600), Ownership::default()));
        let (metrics, metrics_socket) = metrics.transpose()?.unzip();
        let pid = serve.pid.as_ref().map(|pid| pid.write_process_id()).transpose()?;
        let sockets = [control_socket.flatten(), data_socket.flatten(), metrics_socket];
        let removed = sockets.into_iter().chain([pid.flatten()]).flatten().collect();
        let waiting = Waiting::find(side)?;
        Ok(Self { signals, control, data, metrics, source, migration, waiting, removed })
    }
}

/// Serves a TPM until a caller, a signal or the end of the last connection ends the process.
pub(crate) fn run(serve: &Serve, side: Side) -> Result<()> {
    if side == Side::Background {
        daemon::leave_session();
    }
    let Open { mut signals, control, data, metrics, source, migration, waiting, removed } =
        Open::all(serve, side)?;
    if let Some(user) = &serve.runas {
        daemon::become_user(user)?;
    }
    let removed_from = removed.iter().map(|file| directory_of(file.path())).collect();
    let needed = Needed { state: directory_of(&serve.file), removed_from };
    sandbox::enter(serve.seccomp, &needed)?;
    let counted = Arc::new(Metrics::new());
    let tpm = Tpm::open(Setting {
        file: serve.file.clone(),
        source,
        migration,
        profile: serve.profile,
        incoming: serve.incoming,
        release_outgoing: serve.release_outgoing,
        auto_shutdown: !serve.flags.contains(&Flag::DisableAutoShutdown),
        observer: Arc::clone(&counted) as _,
    })?;
    if serve.starts_by_itself() {
        start(&tpm, serve.startup())?;
    }
    if let Some(listener) = metrics {
        counted.serve(listener)?;
    }
    let (end, over) = mpsc::channel();
    let session = Arc::new(Session::new(serve, tpm, data.is_some(), end.clone()));
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let _ = end.send(Over::Signal(signal));
        }
    })?;
    if let Some(data) = data {
        spawn_channel("data", data, &session, |session, stream| session.serve_data(stream))?;
    }
    if let Some(control) = control {
        spawn_channel("control", control, &session, |session, stream| {
            session.serve_control(stream);
        })?;
    }
    info!("ready");
    waiting.tell()?;
    let why = over.recv().context("every thread ended")?;
    info!("ending: {why:?}");
    session.shut_down();
    drop(removed);
    Ok(())
}

/// Serves a channel in threads of its own.
fn spawn_channel(
    name: &'static str,
    channel: Channel,
    session: &Arc<Session>,
    serve: fn(&Arc<Session>, Stream),
) -> Result<()> {
    let session = Arc::clone(session);
    let thread = thread::Builder::new().name(name.into());
    thread.spawn(move || match channel {
        Channel::Caller(stream) => serve(&session, stream),
        Channel::Open(listener) => accept_forever(name, &listener, &session, serve),
    })?;
    Ok(())
}

fn accept_forever(
    name: &'static str,
    listener: &Listener,
    session: &Arc<Session>,
    serve: fn(&Arc<Session>, Stream),
) {
    let places = Arc::new(());
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(cause) => {
                warn!("cannot accept a {name} connection: {cause}");
                // Out of descriptors, most often: some will be free again.
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if Arc::strong_count(&places) > MAX_CONNECTIONS {
            debug!("a {name} connection is turned away: there are {MAX_CONNECTIONS}");
            continue;
        }
        let (session, place) = (Arc::clone(session), Arc::clone(&places));
        let spawned = thread::Builder::new().name(name.into()).spawn(move || {
            let _place = place;
            serve(&session, stream);
        });
        if let Err(cause) = spawned {
            warn!("cannot serve a {name} connection: {cause}");
        }
    }
}

/// Initializes the TPM, and starts it up where a flag says so.
fn start(tpm: &Tpm, startup: Option<u8>) -> Result<()> {
    if tpm.init() != protocol::SUCCESS {
        bail!("the TPM could not be initialized; the log says why");
    }
    let Some(kind) = startup else { return Ok(()) };
    let response = tpm.execute(0, vec![0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, kind]);
    match response.get(6..10) {
        // Or TPM_RC_INITIALIZE: it runs already, from a running state that was stored.
        Some([0, 0, 0, 0] | [0, 0, 1, 0]) => Ok(()),
        _ => bail!("TPM2_Startup failed: {response:02x?}"),
    }
}
