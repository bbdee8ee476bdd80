//! `vtpmd`: the engine as a daemon that speaks the swtpm protocol, so that QEMU, libvirt and the
//! TSS use it where they use swtpm.

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

mod channel;
mod control;
mod data;
mod info;
mod instance;
mod options;
mod protocol;
mod server;
mod state;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use options::{Command, Options};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("vtpmd: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let Command::Socket(socket) = &options.command;
    if socket.print_capabilities {
        println!("{}", info::capabilities());
        return Ok(());
    }
    let serve = socket.resolve(options.unencrypted, options.profile.profile())?;
    match serve.log.open()? {
        Some(file) => log(std::sync::Mutex::new(file), options.log_json, false),
        None => log(std::io::stderr, options.log_json, true),
    }
    server::run(&serve)
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
