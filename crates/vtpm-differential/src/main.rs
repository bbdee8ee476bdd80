//! Sends the same commands to the engine and to swtpm and compares the answers.
//!
//! Three TPMs run: swtpm, a second swtpm with other seeds, and the engine in this process. Where
//! the two swtpm agree the engine must agree with them to the byte; where they do not, the bytes
//! are random or a TPM's own, and only sizes are compared. Sequences are symbolic (see [`step`]):
//! each TPM gets its own handles, blobs, contexts and tickets back.

mod bench;
mod cc;
mod client;
mod crypto;
mod decode;
mod differences;
mod driver;
mod keys;
mod mutate;
mod run;
mod scenarios;
mod sent;
mod sides;
mod step;
mod templates;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use driver::Report;
use run::{Rig, rc_name};

/// Compares the engine with swtpm, command by command.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// Commands to send at least; the written sequences are always run.
    #[arg(long, default_value_t = 20_000)]
    commands: u64,
    /// Seed of the generators; random where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Stops the generators after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Runs only sequences whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Prints how long each written sequence took, and how many commands.
    #[arg(long)]
    times: bool,
    /// Writes one successful command of each kind into a folder: seeds of the engine's fuzz target
    /// `command`.
    #[arg(long)]
    seeds: Option<PathBuf>,
    /// Lists response codes by command, and what each intended difference explained.
    #[arg(long)]
    codes: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Measures latencies of the engine and of swtpm.
    Bench {
        /// Rounds; each command goes to each TPM once a round.
        #[arg(long, default_value_t = 500)]
        rounds: usize,
        /// The data socket of one more server with the same framing, initialized but not started.
        #[arg(long, env = "VTPM_SERVER")]
        server: Option<PathBuf>,
    },
    /// Measures the memory of idle instances.
    Memory {
        /// How many instances.
        #[arg(long, default_value_t = 1000)]
        instances: usize,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.mode {
        Some(Mode::Bench { rounds, server }) => bench::latency(rounds, server.as_deref()),
        Some(Mode::Memory { instances }) => bench::memory(instances),
        None => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    // Panics of the engine are findings, with their place.
    std::panic::set_hook(Box::new(|info| sides::note_panic(&info.to_string())));
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut rig = Rig::start()?;
    let mut report = Report::default();
    let chosen = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only));
    let sequences: Vec<_> = scenarios::all().into_iter().filter(|seq| chosen(&seq.name)).collect();
    for seq in &sequences {
        let (begun, before) = (Instant::now(), rig.commands);
        driver::run_sequence(&mut rig, seq, &mut report)?;
        if arguments.times {
            println!("{:8.1?} {:6} {}", begun.elapsed(), rig.commands - before, seq.name);
        }
    }
    println!("{} commands of written sequences", rig.commands);
    if let Some(folder) = &arguments.seeds {
        std::fs::create_dir_all(folder)?;
        for (code, command) in &report.seeds {
            // The first byte of a seed is the locality.
            let name = cc::name(*code).to_lowercase();
            std::fs::write(folder.join(name), [&[0], &command[..]].concat())?;
        }
    }
    let end = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let mut random = fastrand::Rng::with_seed(seed);
    while rig.commands < arguments.commands && end.is_none_or(|end| Instant::now() < end) {
        mutate::round(&mut rig, &sequences, &mut random, &mut report)?;
    }
    let sent = rig.commands;
    report.minimize(&mut rig, 200)?;
    report.print();
    print_codes(&report, arguments.codes);
    println!(
        "{sent} commands, {} skipped steps, {} undecided, {} kinds of differences",
        report.skipped,
        report.undecided,
        report.findings.values().filter(|finding| finding.confirmed).count()
    );
    println!("{} passed, {} failed", report.passed, report.failed);
    // Ends the swtpm processes, which `exit` would leave behind.
    drop(rig);
    if report.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn print_codes(report: &Report, all: bool) {
    if all {
        for ((command, code), count) in &report.codes {
            println!("{:28} {:26} {count}", cc::name(*command), rc_name(*code));
        }
        for ((reason, text), count) in &report.explained_texts {
            println!("intended, {text} ({count} times): {reason}");
        }
    }
    let has = |command: u32, success: bool| {
        report.codes.keys().any(|(code, rc)| *code == command && (*rc == 0) == success)
    };
    for (command, name) in cc::ALL {
        let here = report.codes.keys().any(|(code, rc)| code == command && *rc != 0x143);
        if here && !has(*command, true) {
            println!("never successful: {name}");
        }
        if here && !has(*command, false) {
            println!("never refused: {name}");
        }
    }
}
