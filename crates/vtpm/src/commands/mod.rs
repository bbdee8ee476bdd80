//! The subcommands, one file each.

mod attest;
mod create;
mod destroy;
mod enroll;
mod export;
mod handover;
mod host;
mod import;
mod inspect;
mod list;
mod provision;
mod recover;
mod rekey;
mod reseal;
mod start;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::host::HostOptions;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Subcommand {
    /// This host's identity in its TPM.
    #[command(subcommand)]
    Host(host::Host),
    /// Makes a vTPM, with endorsement certificates.
    Create(create::Create),
    /// Lists the vTPMs of this host.
    List(list::List),
    /// Says what a state file claims to be, without opening it.
    Inspect(inspect::Inspect),
    /// Runs a vTPM and serves its commands until it is told to end.
    Start(start::Start),
    /// Puts a new data key in place of a vTPM's old one.
    Rekey(rekey::Rekey),
    /// Seals a vTPM's data key anew, under the host's policy as it is now.
    Reseal(reseal::Reseal),
    /// Destroys a vTPM: its key, its state and its file.
    Destroy(destroy::Destroy),
    /// Accepts an older state, or the loss of what the TPM remembers; recorded.
    Recover(recover::Recover),
    /// Makes a backup that only the holder of a recovery key can read.
    Export(export::Export),
    /// Brings a vTPM back from a backup.
    Import(import::Import),
    /// Makes linked evidence: what booted in a vTPM, and on which host.
    Attest(attest::Attest),
    /// Verifies linked evidence by a policy; needs no TPM and no network.
    Verify(verify::Verify),
    /// Moves a vTPM to another host, or takes one in.
    #[command(subcommand)]
    Handover(handover::Handover),
    /// Makes vTPMs for other hosts, and delivers each order exactly once.
    #[command(subcommand)]
    Provision(provision::Provision),
    /// For verifiers: makes sure that a host's attestation key is in the TPM that it shows.
    #[command(subcommand)]
    Enroll(enroll::Enroll),
}

impl Subcommand {
    pub(crate) fn run(self, host: &HostOptions) -> Result<ExitCode> {
        let done = match self {
            Self::Verify(command) => return command.run(),
            Self::Host(command) => command.run(host),
            Self::Create(command) => command.run(host),
            Self::List(command) => command.run(host),
            Self::Inspect(command) => command.run(host),
            Self::Start(command) => command.run(host),
            Self::Rekey(command) => command.run(host),
            Self::Reseal(command) => command.run(host),
            Self::Destroy(command) => command.run(host),
            Self::Recover(command) => command.run(host),
            Self::Export(command) => command.run(host),
            Self::Import(command) => command.run(host),
            Self::Attest(command) => command.run(host),
            Self::Handover(command) => command.run(host),
            Self::Provision(command) => command.run(host),
            Self::Enroll(command) => command.run(),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
