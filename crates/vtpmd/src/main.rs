//! `vtpmd`: the engine as a daemon that speaks the swtpm protocol, so that QEMU, libvirt and the
//! TSS use it where they use swtpm. Called swtpm, swtpm_setup or swtpm_ioctl it stands for those.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable,
    )
)]

mod blob;
mod channel;
mod control;
mod daemon;
mod data;
mod info;
mod ioctl;
mod metrics;
mod options;
mod protect;
mod protocol;
mod sandbox;
mod server;
mod setup;
mod tpm;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use daemon::Side;
use options::{Command, Options, Socket};
use setup::options::Setup;

fn main() -> ExitCode {
    match run(&Options::parse_from(options::command_line())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("vtpmd: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match &options.command {
        Command::Socket(socket) => serve(options, socket),
        Command::Setup(setup) => set_up(options, setup),
        Command::Ioctl(ioctl) => ioctl.run(),
    }
}

fn serve(options: &Options, socket: &Socket) -> Result<()> {
    if socket.print_capabilities {
        println!("{}", info::capabilities());
        return Ok(());
    }
    if socket.print_states {
        println!("{}", info::states(&socket.state_file()?));
        return Ok(());
    }
    let serve = socket.resolve(options.unencrypted, options.profile.profile())?;
    let side = daemon::side();
    if serve.daemon && side == Side::Foreground {
        return daemon::start_in_background();
    }
    match serve.log.open()? {
        Some(file) => log(std::sync::Mutex::new(file), options.log_json, false),
        None => log(std::io::stderr, options.log_json, true),
    }
    server::run(&serve, side)
}

fn set_up(options: &Options, setup: &Setup) -> Result<()> {
    if setup.print_capabilities {
        println!("{}", setup::capabilities());
        return Ok(());
    }
    match &setup.logfile {
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
            let file = file.with_context(|| format!("cannot open the log {}", path.display()))?;
            log(std::sync::Mutex::new(file), options.log_json, false);
        }
        None => log(std::io::stderr, options.log_json, true),
    }
    let done = setup::run(setup, options.unencrypted, options.profile.profile());
    // A caller such as libvirt shows what is in the log.
    if let (Err(cause), Some(_)) = (&done, &setup.logfile) {
        tracing::error!("{cause:#}");
    }
    done
}

/// Starts logging.
fn log<W>(writer: W, json: bool, colors: bool)
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    use std::io::IsTerminal as _;
    let colors = colors && std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(colors);
    if json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
