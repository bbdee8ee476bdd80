//! The process: its channels, the threads that serve them, and its end.
//!
//! ```text
//!   accept thread of a channel -> a thread a connection -> the thread that owns the TPM
//!                                        |
//!   signals ---------------------------> end -> main thread: closes the store, removes its files
//! ```
//!
//! A caller that is slow or silent holds its own thread and nothing else.

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

use crate::channel::{Channel, Listener, Stream};
use crate::control::{self, End};
use crate::data;
use crate::instance::{Instance, Job};
use crate::options::{Flag, Serve};
use crate::protocol::{self, MAX_BUFFER_SIZE, MIN_BUFFER_SIZE};
use crate::state::{Protection, StateFile};

/// Connections that a channel serves at once; a caller beyond them is turned away.
const MAX_CONNECTIONS: usize = 64;

/// What the channels share.
pub(crate) struct Session {
    pub(crate) instance: Instance,
    /// The state is encrypted with a key of the caller's.
    pub(crate) encrypted: bool,
    /// Of a TPM that is made here.
    pub(crate) profile: Profile,
    reject_locality_4: bool,
    terminate: bool,
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

/// Serves a TPM until a caller, a signal or the end of the last connection ends the process.
pub(crate) fn run(serve: &Serve) -> Result<()> {
    let file = StateFile::open(&serve.directory, &serve.protection)?;
    // Before there is a thread that could be killed by them.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot take signals")?;
    let control = serve.control.as_ref().map(Channel::open).transpose()?;
    let data = serve.data.as_ref().map(Channel::open).transpose()?;
    let (control, _control_socket) = control.unzip();
    let (data, _data_socket) = data.unzip();
    if control.is_none() && data.is_none() {
        bail!("nothing to serve: give --ctrl, --server, or both");
    }
    let _pid_file = serve.pid.as_ref().map(|pid| pid.write()).transpose()?;
    let (instance, tpm_thread) = Instance::start(file, serve.profile)?;
    if serve.starts_by_itself() {
        start(&instance, &serve.flags)?;
    }
    let (end, over) = mpsc::channel();
    let session = Arc::new(Session {
        instance,
        encrypted: serve.protection != Protection::Unencrypted,
        profile: serve.profile,
        reject_locality_4: serve.reject_locality_4,
        terminate: serve.terminate,
        locality: AtomicU8::new(0),
        buffer_size: AtomicU32::new(MAX_BUFFER_SIZE),
        data_channel: AtomicBool::new(data.is_some()),
        data_connections: AtomicUsize::new(0),
        end: end.clone(),
    });
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
    let why = over.recv().context("every thread ended")?;
    info!("ending: {why:?}");
    session.instance.shut_down();
    tpm_thread.join().map_err(|_| anyhow::anyhow!("the TPM's thread failed"))
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
fn start(instance: &Instance, flags: &[Flag]) -> Result<()> {
    let result = instance.ask(|reply| Job::Init { delete_volatile: false, reply });
    if result != Some(protocol::SUCCESS) {
        bail!("the TPM could not be initialized; the log says why");
    }
    let kind = match flags.iter().find(|flag| **flag != Flag::NotNeedInit) {
        Some(Flag::StartupClear) => 0,
        Some(Flag::StartupState) => 1,
        _ => return Ok(()),
    };
    let startup = vec![0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, kind];
    let response = instance.execute(0, startup.into()).unwrap_or_default();
    match response.get(6..10) {
        // Or TPM_RC_INITIALIZE: it runs already, from a running state that was stored.
        Some([0, 0, 0, 0] | [0, 0, 1, 0]) => Ok(()),
        _ => bail!("TPM2_Startup failed: {response:02x?}"),
    }
}
