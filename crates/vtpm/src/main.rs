//! `vtpm`: the command line of a host's operator, and of those who verify what booted where.
//!
//! One file a subcommand, in `commands`.

mod commands;
mod files;
mod guest;
mod host;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::commands::Subcommand;
use crate::host::HostOptions;

/// vTPMs on this host: anchored to its TPM, attested, verified.
#[derive(Parser)]
#[command(name = "vtpm", version)]
struct Arguments {
    #[command(flatten)]
    host: HostOptions,

    /// Says more on standard error; twice for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Subcommand,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let level = match arguments.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    log_to_standard_error(level);
    if let Err(error) = host::leave_no_core() {
        eprintln!("vtpm: secrets could get into a core dump: {error}");
    }
    match arguments.command.run(&arguments.host) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vtpm: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// What the TSS binding says of each failure comes with the details only: what it means for the
/// operator is in the error.
fn log_to_standard_error(level: LevelFilter) {
    let of_tss = if level == LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let filter = Targets::new().with_default(level).with_target("tss_esapi", of_tss);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(layer).with(filter).init();
}

/// An error with its causes; a cause that its effect has told already is left out.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
