//! A bare-metal 64-bit guest that drives the TPM's registers through their states, on our VMM.
//!
//! ```text
//!   registers VMM [crb|tis]     boots the guest once for each interface, and says what it found
//! ```
//!
//! The guest is a few instructions (`guest.rs`) that walk through a list of steps: write a
//! register, read and compare, wait for a value. It touches no SSE, no stack and no interrupt
//! table, so that it also runs where /dev/kvm only emulates a processor. Interrupts are seen where
//! they arrive, in the local APIC's request register.

#![allow(unsafe_code, reason = "the bytes of the guest lie between two symbols")]

mod crb;
mod guest;
mod step;
mod tis;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use step::Step;

/// How long a guest may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(vmm) = arguments.next() else {
        eprintln!("usage: registers VMM [crb|tis]");
        return ExitCode::from(2);
    };
    let only = arguments.next();
    let all = [("crb", crb::steps()), ("tis", tis::steps())];
    let mut failed = false;
    for (name, steps) in all.iter().filter(|(name, _)| only.as_deref().is_none_or(|o| o == *name)) {
        match run(Path::new(&vmm), name, steps) {
            Ok(took) => println!("passed: {name}, {} steps in {took:.1?}", steps.len()),
            Err(reason) => {
                println!("FAILED: {name}: {reason}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Boots the guest with these steps; the error says which step found what.
fn run(vmm: &Path, interface: &str, steps: &[Step]) -> Result<Duration, String> {
    let folder = std::env::temp_dir().join(format!("registers-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|cause| cause.to_string())?;
    let outcome = boot(vmm, interface, steps, &folder);
    // What is left in the folder of temporary files is only a nuisance.
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn boot(vmm: &Path, interface: &str, steps: &[Step], folder: &Path) -> Result<Duration, String> {
    let (kernel, console) = (folder.join("guest"), folder.join("console"));
    fs::write(&kernel, guest::image(steps)).map_err(|cause| cause.to_string())?;
    let started = Instant::now();
    let mut child = Command::new(vmm)
        .args(["run", "--memory", "64", "--no-reboot", "--tpm", interface, "--kernel"])
        .arg(&kernel)
        .arg("--serial")
        .arg(format!("file={}", console.display()))
        .spawn()
        .map_err(|cause| format!("{} cannot be run: {cause}", vmm.display()))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|cause| cause.to_string())? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
            return Err("it does not end".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = fs::read(&console).map_err(|cause| cause.to_string())?;
    match guest::verdict(&said) {
        Some(guest::Verdict::Passed) if status.success() => Ok(started.elapsed()),
        Some(guest::Verdict::Failed { step, found }) => {
            let what = steps.get(step).map_or_else(String::new, ToString::to_string);
            Err(format!("step {step}, {what}: found {found:#x}"))
        }
        _ => Err(format!("no verdict, {status}: {}", String::from_utf8_lossy(&said))),
    }
}
