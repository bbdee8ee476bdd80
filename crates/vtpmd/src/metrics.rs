//! Metrics of one TPM, served on a Unix socket in the text format of Prometheus over HTTP.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::debug;
use vtpm_host::{CommandRun, Observer};

/// Seconds: from a small command to the making of an RSA key.
const BUCKETS: [f64; 9] = [0.000_1, 0.000_5, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
/// How long a caller has for its request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most command codes that are told apart, so that a guest cannot fill memory with made-up ones.
const CODES: std::ops::RangeInclusive<u32> = 0x11f..=0x1ff;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    /// The command code, in hexadecimal.
    command: String,
    /// Whether the response code is `TPM_RC_SUCCESS`.
    success: &'static str,
}

/// What is counted.
pub(crate) struct Metrics {
    commands: Family<Labels, Counter>,
    latency: Histogram,
    commits: Histogram,
    generation: Gauge,
    stopped: Gauge,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            commands: Family::default(),
            latency: histogram(),
            commits: histogram(),
            generation: Gauge::default(),
            stopped: Gauge::default(),
            registry: Registry::with_prefix("vtpm"),
        };
        let registry = &mut metrics.registry;
        registry.register("commands", "Commands that were run", metrics.commands.clone());
        let help = "Time from a command to its response, commit included";
        registry.register_with_unit("command", help, Unit::Seconds, metrics.latency.clone());
        let help = "Time to make a command's effect durable";
        registry.register_with_unit("commit", help, Unit::Seconds, metrics.commits.clone());
        let help = "Generation of the newest record in the state file";
        registry.register("generation", help, metrics.generation.clone());
        let help = "1 once the TPM has stopped because its state cannot be made durable";
        registry.register("stopped", help, metrics.stopped.clone());
        metrics
    }

    /// Serves them to whoever asks.
    pub(crate) fn serve(self: Arc<Self>, listener: UnixListener) -> Result<()> {
        let thread = thread::Builder::new().name("metrics".into());
        let serve = move || {
            for stream in listener.incoming() {
                // One at a time: a scraper that is slow waits for itself.
                if let Err(cause) = stream.and_then(|stream| self.answer(stream)) {
                    debug!("metrics could not be served: {cause}");
                    thread::sleep(Duration::from_millis(20));
                }
            }
        };
        thread.spawn(serve).context("cannot serve metrics")?;
        Ok(())
    }

    fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Whatever is asked for, there is one thing to be had.
        let _ = stream.read(&mut [0; 4096])?;
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(std::io::Error::other)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; \
             charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(text.as_bytes())
    }
}

impl Observer for Metrics {
    fn command(&self, run: &CommandRun) {
        let code = run.code.filter(|code| CODES.contains(code));
        let command = code.map_or_else(|| "other".to_owned(), |code| format!("{code:#x}"));
        let success = if run.response_code == 0 { "true" } else { "false" };
        self.commands.get_or_create(&Labels { command, success }).inc();
        self.latency.observe(run.took.as_secs_f64());
        if let Some(commit) = run.commit {
            self.commits.observe(commit.as_secs_f64());
        }
    }

    fn committed(&self, generation: u64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    fn stopped(&self, _why: &str) {
        self.stopped.set(1);
    }
}
