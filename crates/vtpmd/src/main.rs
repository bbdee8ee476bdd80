//! `vtpmd`: the engine as a daemon that speaks the swtpm protocol, so that QEMU, libvirt and the
//! TSS use it where they use swtpm.
//!
//! Three kinds of thread: one owns the TPM and its store, one serves the data channel, and the
//! main one the control channel, which therefore answers while a key is generated.

#![forbid(unsafe_code)]

mod channel;
mod control;
mod data;
mod instance;
mod options;
mod protocol;
mod state;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tracing::info;

use channel::Listener;
use control::{Control, End};
use instance::{Instance, Job};
use options::{Command, Flag, Options, Socket};
use state::{Protection, StateFile};

fn main() -> ExitCode {
    let options = Options::parse();
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr);
    if options.log_json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
    let Command::Socket(socket) = &options.command;
    match serve(socket, options.unencrypted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("vtpmd: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(socket: &Socket, unencrypted: bool) -> Result<()> {
    let protection = socket.protection(unencrypted)?;
    let encrypted = !matches!(protection, Protection::Unencrypted);
    let file = StateFile::open(&socket.directory()?, &protection)?;
    let ctrl = socket.ctrl.as_ref().map(|pairs| pairs.endpoint("ctrl")).transpose()?;
    let server = socket.server.as_ref().map(|pairs| pairs.endpoint("server")).transpose()?;
    if ctrl.is_none() && server.is_none() {
        bail!("nothing to serve: give --ctrl, --server, or both");
    }
    let ctrl = ctrl.map(|endpoint| Listener::bind(&endpoint)).transpose()?;
    let server = server.map(|endpoint| Listener::bind(&endpoint)).transpose()?;
    let (instance, thread) = Instance::start(file)?;
    if socket.flags.contains(&Flag::NotNeedInit) {
        start(&instance, &socket.flags)?;
    }
    let control =
        Control { instance: instance.clone(), locality: Arc::new(AtomicU8::new(0)), encrypted };
    if let Some(server) = server {
        let (control, terminate) = (control.clone(), socket.terminate);
        let data = std::thread::Builder::new().name("data".into());
        let data = data.spawn(move || serve_data(&server, &control, terminate))?;
        if ctrl.is_none() {
            data.join().map_err(|_| anyhow::anyhow!("the data channel's thread failed"))?;
        }
    }
    if let Some(ctrl) = ctrl {
        info!("ready");
        loop {
            let stream = ctrl.accept().context("cannot accept a control connection")?;
            if control.serve(stream) == End::Shutdown || socket.terminate {
                break;
            }
        }
    }
    // Whatever the way out, the store is closed whole. A job that finds the thread gone is answered
    // by that.
    let _ = instance.ask(|reply| Job::Shutdown { reply });
    thread.join().map_err(|_| anyhow::anyhow!("the TPM's thread failed"))
}

/// Serves one data connection after another.
fn serve_data(server: &Listener, control: &Control, terminate: bool) {
    while let Ok(stream) = server.accept() {
        data::serve(stream, &control.instance, &control.locality);
        if terminate {
            let _ = control.instance.ask(|reply| Job::Shutdown { reply });
            return;
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
    let startup = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, kind];
    let response = instance.execute(0, startup.to_vec()).unwrap_or_default();
    if response.get(6..10) != Some(&[0; 4]) {
        bail!("TPM2_Startup failed: {response:02x?}");
    }
    Ok(())
}
