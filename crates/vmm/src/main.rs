//! `vmm`: boots a Linux kernel with a TPM of its own, or goes on with one that was saved.

mod options;

use std::{path::Path, process::ExitCode, sync::Arc};

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vmm::{
    Error, Result,
    config::{Boot, Hardware},
    console::Console,
    control::{self, Control},
    devices::serial::Sink,
    machine::{Connections, Machine, Prepared},
    migrate::{self, Identity, Mover},
    seccomp,
    session::{self, End, Signals, Watch},
    snapshot,
    tpm::{self, Backend, Daemon, InProcess},
};
use vtpm_anchor::{Access, Anchor};

use self::options::{Arguments, Host, Task};

/// The guest panicked.
const EXIT_PANICKED: u8 = 3;
/// The guest asked for a reset, and is not to be reset, or cannot be.
const EXIT_RESET: u8 = 4;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("VMM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match perform(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vmm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Run(run) => {
            let hardware = run.hardware();
            hardware.check()?;
            let boot = run.boot();
            let first = Start::Boot(hardware.clone());
            Owner::new(run.host)?.own(first, Some((hardware, boot)))
        }
        Task::Restore(restore) => {
            let first = Start::File { path: restore.from, run: !restore.paused };
            Owner::new(restore.host)?.own(first, None)
        }
        Task::Receive(receive) => {
            let first =
                Start::Peer { listen: receive.listen.clone(), hardware: receive.hardware() };
            Owner::new(receive.host)?.own(first, None)
        }
        Task::Ctl(ctl) => {
            let answer = control::ask(&ctl.socket, &ctl.request)?;
            let text = serde_json::to_string(&answer);
            println!("{}", text.map_err(|cause| Error::Control(cause.to_string()))?);
            Ok(if answer.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Where the next machine comes from.
enum Start {
    /// A kernel, on this hardware.
    Boot(Hardware),
    /// A snapshot.
    File { path: std::path::PathBuf, run: bool },
    /// Another host.
    Peer { listen: String, hardware: Hardware },
}

/// Owns one machine after the other: the TPM stays, all else is new each time.
struct Owner {
    host: Host,
    backend: Option<Arc<dyn Backend>>,
    signals: Signals,
    control: Control,
    mover: Mover,
}

impl Owner {
    fn new(host: Host) -> Result<Self> {
        if !host.no_seccomp {
            seccomp::process()?;
        }
        let signals = Signals::take()?;
        let control = Control::open(host.control.as_deref())?;
        let identity = host.host.clone().zip(host.trust.clone());
        let identity = identity.map(|(directory, trust)| Identity { directory, trust });
        let mover = Mover::new(identity);
        Ok(Self { host, backend: None, signals, control, mover })
    }

    /// `again` is what a reset starts.
    fn own(mut self, first: Start, again: Option<(Hardware, Boot)>) -> Result<ExitCode> {
        let outcome = self.machines(first, again.as_ref());
        if let Some(backend) = self.backend {
            backend.shutdown();
        }
        outcome
    }

    fn machines(&mut self, mut next: Start, again: Option<&(Hardware, Boot)>) -> Result<ExitCode> {
        loop {
            let (mut console, sink) = Console::open(&self.host.serial)?;
            let (mut machine, run) = match (next, again) {
                (Start::File { path, run }, _) => (self.restore(&path, sink)?, run),
                (Start::Peer { listen, hardware }, _) => {
                    (self.receive(&listen, &hardware, sink)?, false)
                }
                (Start::Boot(hardware), Some((_, boot))) => {
                    (self.boot(&hardware, boot, sink)?, true)
                }
                (Start::Boot(_), None) => return Ok(ExitCode::from(EXIT_RESET)),
            };
            let watch = Watch {
                console: &mut console,
                control: &mut self.control,
                signals: &mut self.signals,
                mover: &mut self.mover,
            };
            next = match (session::run(&mut machine, watch, run)?, again) {
                (End::Off | End::Moved, _) => return Ok(ExitCode::SUCCESS),
                (End::Panicked, _) => return Ok(ExitCode::from(EXIT_PANICKED)),
                (End::Reset, Some((hardware, _))) if !self.host.no_reboot => {
                    Start::Boot(hardware.clone())
                }
                (End::Reset, _) => return Ok(ExitCode::from(EXIT_RESET)),
                (End::Replaced(path), _) => Start::File { path, run: true },
            };
        }
    }

    fn boot(&mut self, hardware: &Hardware, boot: &Boot, console: Sink) -> Result<Machine> {
        // What cannot boot makes no TPM.
        let prepared = Prepared::new(hardware, boot)?;
        let tpm = match hardware.tpm {
            Some(_) => Some(self.tpm()?),
            None => None,
        };
        let filters = !self.host.no_seccomp;
        prepared.start(Connections { console, tpm, filters })
    }

    fn restore(&mut self, path: &Path, console: Sink) -> Result<Machine> {
        let filters = !self.host.no_seccomp;
        let mut console = Some(console);
        let connect = &mut |tpm| {
            let console = console.take().unwrap_or(Sink::Nothing);
            Ok(Connections { console, tpm, filters })
        };
        let tpm = &mut || {
            let backend = self.tpm()?;
            backend.power_off()?;
            Ok(backend)
        };
        snapshot::read(path, tpm, connect)
    }

    /// Waits until a machine has come from another host.
    fn receive(&mut self, listen: &str, hardware: &Hardware, console: Sink) -> Result<Machine> {
        hardware.check()?;
        let filters = !self.host.no_seccomp;
        let mut console = Some(console);
        let connect = &mut |tpm| {
            let console = console.take().unwrap_or(Sink::Nothing);
            Ok(Connections { console, tpm, filters })
        };
        let (machine, tpm) = migrate::wait(listen, hardware, self.identity()?.as_ref(), connect)?;
        if let Some(tpm) = &tpm {
            self.serve_commands(tpm)?;
        }
        self.backend = tpm;
        Ok(machine)
    }

    /// This host's identity and the file that the TPM goes into; none for machines without a TPM.
    fn identity(&self) -> Result<Option<migrate::Home>> {
        let Host { host, trust, tpm_state, .. } = &self.host;
        match (host, trust, tpm_state) {
            (Some(directory), Some(trust), Some(state)) => {
                let identity = Identity { directory: directory.clone(), trust: trust.clone() };
                Ok(Some(migrate::Home { identity, state: state.clone() }))
            }
            (None, None, None) => Ok(None),
            _ => Err(Error::Migration(
                "--host, --trust and --tpm-state belong together for a machine that comes with a \
                 TPM"
                .into(),
            )),
        }
    }

    /// The TPM, which is made when first needed.
    fn tpm(&mut self) -> Result<Arc<dyn Backend>> {
        if let Some(backend) = &self.backend {
            return Ok(Arc::clone(backend));
        }
        let Host { tpm_socket, tpm_state, tpm_key, host, .. } = &self.host;
        let backend: Arc<dyn Backend> = match (tpm_socket, tpm_state, tpm_key) {
            (None, Some(state), None) => match host {
                Some(host) => {
                    let anchor = Anchor::open(host, &Access::default())?;
                    Arc::new(InProcess::anchored(state, &anchor)?)
                }
                None => {
                    let reason = "say what seals it: --host or --tpm-key";
                    return Err(Error::Option { option: "--tpm-state", reason: reason.into() });
                }
            },
            (Some(socket), _, _) => Arc::new(Daemon::connect(socket)?),
            (None, Some(state), Some(key)) => Arc::new(InProcess::open_or_create(state, key)?),
            _ => Arc::new(InProcess::ephemeral_with(self.host.profile())?),
        };
        self.serve_commands(&backend)?;
        self.backend = Some(Arc::clone(&backend));
        Ok(backend)
    }

    /// Lets the host give the TPM commands of its own, if it wants to.
    fn serve_commands(&self, backend: &Arc<dyn Backend>) -> Result<()> {
        match &self.host.tpm_commands {
            Some(path) => tpm::commands::serve(path, Arc::clone(backend)),
            None => Ok(()),
        }
    }
}
