//! `vtpm start`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vtpm_anchor::Keeper;
use vtpm_credential::tpm::client::Client;
use vtpm_credential::tpm::stream;
use vtpm_host::{Handle, Instance, Observer};
use vtpm_store::InstanceId;

use crate::guest::ByHandle;
use crate::host::{HostOptions, parse_instance};

/// The longest command that is taken.
const COMMAND_MAX: usize = 8192;
/// `CMD_SET_LOCALITY` of the swtpm protocol's control channel.
const SET_LOCALITY: [u8; 4] = [0, 0, 0, 5];

#[derive(Args)]
pub(crate) struct Start {
    /// Which vTPM.
    #[arg(value_parser = parse_instance)]
    id: InstanceId,

    /// Serves commands on this Unix socket.
    #[arg(long)]
    socket: Option<PathBuf>,

    /// Serves commands on this port of the loopback interface, and on the next one what TSS
    /// software asks of swtpm's control channel: swtpm:host=127.0.0.1,port=PORT.
    #[arg(long)]
    port: Option<u16>,

    /// How often the TPM is told the newest generation, in seconds.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    remember_every: u64,
}

/// Has the keeper note what is committed; never waits for the TPM.
struct Noting {
    keeper: Keeper,
    id: InstanceId,
}

impl Observer for Noting {
    fn committed(&self, generation: u64) {
        self.keeper.note(self.id, generation);
    }

    fn stopped(&self, why: &str) {
        eprintln!("vtpm: the vTPM stopped: {why}");
    }
}

impl Start {
    pub(crate) fn run(self, host: &HostOptions) -> Result<()> {
        if self.socket.is_none() && self.port.is_none() {
            bail!("say where to serve: --socket PATH, --port PORT, or both");
        }
        let signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
        let anchor = host.anchor()?;
        let expect = host.expect(&anchor, &self.id, None)?;
        let keeper = Keeper::start(&anchor, Duration::from_secs(self.remember_every))?;
        let noting = Arc::new(Noting { keeper, id: self.id });
        let instance = Instance::open(&host.place(&self.id), &anchor.key_source(), &expect)?;
        anchor.remember(&[(self.id, instance.generation())])?;
        let handle = instance.start_observed(noting.clone())?;
        handle.init()?;
        host.tell_operations("start", &anchor);
        self.serve(&handle)?;
        println!("{} runs", self.id);
        let begun = anchor.operations();
        let mut signals = signals;
        signals.forever().next();

        // Guests that crashed have not done it; one that has is not disturbed.
        let _ = Client::new(ByHandle(handle.clone())).shutdown();
        handle.power_off()?;
        let running = anchor.operations().since(&begun);
        noting.keeper.note(self.id, handle.generation());
        handle.shutdown();
        let begun = anchor.operations();
        noting.keeper.flush()?;
        host.tell_operations("start to stop", &anchor);
        if running.total() > 0 {
            tracing::info!("while it ran: {running}");
        }
        tracing::info!("stop: {}", anchor.operations().since(&begun));
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    fn serve(&self, handle: &Handle) -> Result<()> {
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path)
                .with_context(|| format!("cannot listen on {}", path.display()))?;
            let handle = handle.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let handle = handle.clone();
                    thread::spawn(move || serve_commands(stream, &handle));
                }
            });
        }
        if let Some(port) = self.port {
            let control = port.checked_add(1).context("there is no port after this one")?;
            let (data, control) = (listen(port)?, listen(control)?);
            let handle = handle.clone();
            thread::spawn(move || {
                for stream in data.incoming().flatten() {
                    let _ = stream.set_nodelay(true);
                    let handle = handle.clone();
                    thread::spawn(move || serve_commands(stream, &handle));
                }
            });
            thread::spawn(move || {
                for stream in control.incoming().flatten() {
                    thread::spawn(move || serve_control(stream));
                }
            });
        }
        Ok(())
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
}

/// Commands of one caller, from locality 0, until it goes or sends what is none.
fn serve_commands(caller: impl Read + Write, handle: &Handle) {
    let _ = stream::serve(caller, COMMAND_MAX, |command| handle.execute(0, command));
}

/// The one request that TSS software makes: locality 0, which it has.
fn serve_control(mut caller: impl Read + Write) {
    const FAIL: [u8; 4] = [0, 0, 0, 9];
    let mut code = [0; 4];
    while caller.read_exact(&mut code).is_ok() {
        let mut locality = [0];
        if code != SET_LOCALITY || caller.read_exact(&mut locality).is_err() {
            let _ = caller.write_all(&FAIL);
            return;
        }
        let answer = if locality == [0] { [0; 4] } else { FAIL };
        if caller.write_all(&answer).is_err() {
            return;
        }
    }
}
