//! `vmm`: boots a Linux kernel with a TPM of its own.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use vmm::{
    Result,
    config::{Boot, Hardware},
    console::{Console, Place},
    devices::tpm::Interface,
    machine::{Connections, Machine},
    session::{self, End, Signals},
    tpm::{Backend, Daemon, InProcess},
};

/// The guest panicked.
const EXIT_PANICKED: u8 = 3;
/// The guest asked for a reset and `--no-reboot` was given.
const EXIT_RESET: u8 = 4;

/// The reference VMM of the vTPM project: Linux guests with a TPM and a measured boot.
///
/// Exit status: 0 the guest switched itself off, 1 an error, 2 wrong usage, 3 the guest's kernel
/// panicked, 4 the guest asked for a reset under --no-reboot.
#[derive(Parser)]
#[command(name = "vmm", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boots a machine.
    Run(Run),
}

/// What boots, on what.
#[derive(Args)]
struct Run {
    /// Kernel image: bzImage or ELF.
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// Initial ramdisk.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0")]
    cmdline: String,
    /// RAM in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u64,
    /// Processors.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    cpus: u8,
    /// The TPM's registers.
    #[arg(long, value_enum, default_value_t = TpmKind::Crb)]
    tpm: TpmKind,
    /// The TPM has no interrupt; the guest polls.
    #[arg(long)]
    tpm_polling: bool,
    /// Where the TPM's sealed state is; made if it is not there. Without this and --tpm-socket the
    /// TPM is a new one, which ends with this process.
    #[arg(long, value_name = "FILE", requires = "tpm_key", conflicts_with = "tpm_socket")]
    tpm_state: Option<PathBuf>,
    /// The key under which that state is; made if it is not there.
    #[arg(long, value_name = "FILE", requires = "tpm_state")]
    tpm_key: Option<PathBuf>,
    /// The TPM is in a daemon with this control socket: vtpmd or swtpm.
    #[arg(long, value_name = "SOCKET")]
    tpm_socket: Option<PathBuf>,
    /// The console: stdio, none, file=PATH or socket=PATH. On a terminal Ctrl-A x ends the machine.
    #[arg(long, value_name = "PLACE", default_value = "stdio", value_parser = parse_place)]
    serial: Place,
    /// End when the guest asks for a reset, with exit status 4.
    #[arg(long)]
    no_reboot: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TpmKind {
    Crb,
    Tis,
    None,
}

fn parse_place(text: &str) -> std::result::Result<Place, String> {
    match text.split_once('=') {
        None if text == "stdio" => Ok(Place::Terminal),
        None if text == "none" => Ok(Place::Nothing),
        Some(("file", path)) if !path.is_empty() => Ok(Place::File(path.into())),
        Some(("socket", path)) if !path.is_empty() => Ok(Place::Socket(path.into())),
        _ => Err("stdio, none, file=PATH or socket=PATH".into()),
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("VMM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Task::Run(run) = Arguments::parse().task;
    match boot(&run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vmm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Boots, and boots again when the guest asks for a reset: the TPM stays, all else is new.
fn boot(run: &Run) -> Result<ExitCode> {
    let hardware = Hardware {
        memory_mib: run.memory,
        cpus: run.cpus,
        tpm: match run.tpm {
            TpmKind::Crb => Some(Interface::Crb),
            TpmKind::Tis => Some(Interface::Tis),
            TpmKind::None => None,
        },
        tpm_interrupts: !run.tpm_polling,
    };
    hardware.check()?;
    let boot = Boot {
        kernel: run.kernel.clone(),
        initrd: run.initrd.clone(),
        command_line: run.cmdline.clone(),
    };
    let backend = backend(run)?;
    let outcome = sessions(run, &hardware, &boot, backend.as_ref());
    if let Some(backend) = backend {
        backend.shutdown();
    }
    outcome
}

fn sessions(
    run: &Run,
    hardware: &Hardware,
    boot: &Boot,
    backend: Option<&Arc<dyn Backend>>,
) -> Result<ExitCode> {
    let mut signals = Signals::take()?;
    loop {
        let (mut console, sink) = Console::open(&run.serial)?;
        let connections = Connections { console: sink, tpm: backend.cloned() };
        let mut machine = Machine::boot(hardware, boot, connections)?;
        match session::run(&mut machine, &mut console, &mut signals)? {
            End::Off => return Ok(ExitCode::SUCCESS),
            End::Panicked => return Ok(ExitCode::from(EXIT_PANICKED)),
            End::Reset if run.no_reboot => return Ok(ExitCode::from(EXIT_RESET)),
            End::Reset => {}
        }
    }
}

fn backend(run: &Run) -> Result<Option<Arc<dyn Backend>>> {
    if run.tpm == TpmKind::None {
        return Ok(None);
    }
    Ok(Some(match (&run.tpm_socket, &run.tpm_state, &run.tpm_key) {
        (Some(socket), _, _) => Arc::new(Daemon::connect(socket)?),
        (None, Some(state), Some(key)) => Arc::new(InProcess::open_or_create(state, key)?),
        _ => Arc::new(InProcess::ephemeral()?),
    }))
}
