//! Checks of the repository itself that no ordinary tool makes.
//!
//! `cargo run -p xtask -- style` is what `scripts/test` runs as its stage `style`.

mod style;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks of the repository itself.
#[derive(Parser)]
#[command(name = "xtask", version)]
struct Arguments {
    /// Root of the repository; by default the one that this program was built in.
    #[arg(long, global = true)]
    root: Option<PathBuf>,

    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks lengths of files, functions and lines, paths of one machine, and crate manifests.
    Style,
    /// Prints the longest functions with their lengths, longest first.
    LongestFunctions {
        /// How many to print.
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = arguments.root.unwrap_or_else(repository_root);
    let outcome = match arguments.task {
        Task::Style => check_style(&root),
        Task::LongestFunctions { count } => print_longest(&root, count),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::from(2)
    })
}

/// Exit code 0 without findings, 1 with some.
fn check_style(root: &Path) -> Result<ExitCode, style::Error> {
    let report = style::check(root)?;
    for finding in &report.findings {
        println!("{finding}");
    }
    println!(
        "style: {} findings in {} files, {} functions and {} crates",
        report.findings.len(),
        report.files,
        report.functions,
        report.crates
    );
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_longest(root: &Path, count: usize) -> Result<ExitCode, style::Error> {
    for (path, function) in style::functions_by_length(root)?.iter().take(count) {
        println!("{:5}  {}:{}  {}", function.lines, path.display(), function.line, function.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder above this crate's own.
fn repository_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
