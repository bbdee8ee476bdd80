//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmm::{
    config::{Boot, Hardware, Virtio},
    console::Place,
    control::Request,
    devices::tpm::Interface,
};
use vtpm_engine::{Profile, crypto::hash::HashAlg};

/// The reference VMM of the vTPM project: Linux guests with a TPM and a measured boot.
///
/// Exit status: 0 the machine was switched off, 1 an error, 2 wrong usage, 3 the guest's kernel
/// panicked, 4 the guest asked for a reset under --no-reboot, or was restored from a file.
#[derive(Parser)]
#[command(name = "vmm", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Boots a machine.
    Run(Box<Run>),
    /// Goes on with a machine from a snapshot.
    Restore(Restore),
    /// Waits for a machine from another host, and runs it.
    Receive(Box<Receive>),
    /// Asks a running VMM for something, over its control socket.
    Ctl(Ctl),
}

/// What boots, on what.
#[derive(Args)]
pub(crate) struct Run {
    /// Kernel image: bzImage or ELF.
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// Initial ramdisk.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0")]
    cmdline: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    pub(crate) host: Host,
}

/// What the guest sees.
#[derive(Args)]
pub(crate) struct Shape {
    /// RAM in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u64,
    /// Processors.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    cpus: u8,
    /// The TPM's registers.
    #[arg(long, value_enum, default_value_t = TpmKind::Crb)]
    tpm: TpmKind,
    /// The TPM has no interrupt; the guest polls.
    #[arg(long)]
    tpm_polling: bool,
    /// A disk: a raw image. May be given again.
    #[arg(long, value_name = "FILE[,ro]", value_parser = parse_disk)]
    disk: Vec<Virtio>,
    /// A network card on a tap device of the host. May be given again.
    #[arg(long, value_name = "TAP,MAC", value_parser = parse_net)]
    net: Vec<Virtio>,
    /// A source of randomness.
    #[arg(long)]
    rng: bool,
}

/// What machines are connected to, however they start.
#[derive(Args)]
pub(crate) struct Host {
    /// Where the TPM's sealed state is; made if it is not there. Without this and --tpm-socket the
    /// TPM is a new one, which ends with this process.
    #[arg(long, value_name = "FILE", conflicts_with = "tpm_socket")]
    pub(crate) tpm_state: Option<PathBuf>,
    /// The key under which that state is; made if it is not there. Without it the state is sealed
    /// to the host's own TPM, which --host says.
    #[arg(long, value_name = "FILE", requires = "tpm_state")]
    pub(crate) tpm_key: Option<PathBuf>,
    /// This host's identity in its own TPM: the directory that `vtpm host init` made. The TPM's
    /// state is sealed to it, and the machine can move to and from other hosts.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["tpm_key", "tpm_socket"])]
    pub(crate) host: Option<PathBuf>,
    /// Whom this host trusts with a machine: the trust policy of handovers.
    #[arg(long, value_name = "FILE", requires = "host")]
    pub(crate) trust: Option<PathBuf>,
    /// The TPM is in a daemon with this control socket: vtpmd or swtpm.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) tpm_socket: Option<PathBuf>,
    /// The active PCR banks of a TPM that ends with this process.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "BANKS")]
    #[arg(conflicts_with_all = ["tpm_state", "tpm_socket"])]
    pub(crate) tpm_banks: Vec<Bank>,
    /// Where the host can give the TPM commands of its own: what `vtpm attest --socket` wants.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) tpm_commands: Option<PathBuf>,
    /// The console: stdio, none, file=PATH or socket=PATH. On a terminal Ctrl-A x ends the machine.
    #[arg(long, value_name = "PLACE", default_value = "stdio", value_parser = parse_place)]
    pub(crate) serial: Place,
    /// Where to listen for `vmm ctl`.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
    /// End when the guest asks for a reset, with exit status 4.
    #[arg(long)]
    pub(crate) no_reboot: bool,
    /// Do without filters of system calls, to debug.
    #[arg(long)]
    pub(crate) no_seccomp: bool,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The snapshot.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Leave the guest paused.
    #[arg(long)]
    pub(crate) paused: bool,
    #[command(flatten)]
    pub(crate) host: Host,
}

/// The same hardware as at the source has to be named; disks and taps are this host's own.
#[derive(Args)]
pub(crate) struct Receive {
    /// Where to wait for the source.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    pub(crate) host: Host,
}

#[derive(Args)]
pub(crate) struct Ctl {
    /// The VMM's control socket.
    pub(crate) socket: PathBuf,
    #[command(subcommand)]
    pub(crate) request: Request,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TpmKind {
    Crb,
    Tis,
    None,
}

impl Shape {
    fn hardware(&self) -> Hardware {
        let rng = self.rng.then_some(Virtio::Rng);
        Hardware {
            memory_mib: self.memory,
            cpus: self.cpus,
            tpm: match self.tpm {
                TpmKind::Crb => Some(Interface::Crb),
                TpmKind::Tis => Some(Interface::Tis),
                TpmKind::None => None,
            },
            tpm_interrupts: !self.tpm_polling,
            virtio: self.disk.iter().chain(&self.net).cloned().chain(rng).collect(),
        }
    }
}

impl Receive {
    pub(crate) fn hardware(&self) -> Hardware {
        self.shape.hardware()
    }
}

/// A bank of PCRs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bank {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Host {
    /// What an ephemeral TPM is like.
    pub(crate) fn profile(&self) -> Profile {
        let bank = |bank: &Bank| match bank {
            Bank::Sha1 => HashAlg::Sha1,
            Bank::Sha256 => HashAlg::Sha256,
            Bank::Sha384 => HashAlg::Sha384,
            Bank::Sha512 => HashAlg::Sha512,
        };
        let banks: Vec<_> = self.tpm_banks.iter().map(bank).collect();
        let mut profile = Profile::default();
        if !banks.is_empty() {
            profile.algorithms = profile.algorithms.with_active_banks(&banks);
        }
        profile
    }
}

impl Run {
    pub(crate) fn hardware(&self) -> Hardware {
        self.shape.hardware()
    }

    pub(crate) fn boot(&self) -> Boot {
        Boot {
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            command_line: self.cmdline.clone(),
        }
    }
}

fn parse_place(text: &str) -> Result<Place, String> {
    match text.split_once('=') {
        None if text == "stdio" => Ok(Place::Terminal),
        None if text == "none" => Ok(Place::Nothing),
        Some(("file", path)) if !path.is_empty() => Ok(Place::File(path.into())),
        Some(("socket", path)) if !path.is_empty() => Ok(Place::Socket(path.into())),
        _ => Err("stdio, none, file=PATH or socket=PATH".into()),
    }
}

fn parse_disk(text: &str) -> Result<Virtio, String> {
    let (path, read_only) = match text.strip_suffix(",ro") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.is_empty() {
        return Err("the path of a raw image, and ,ro if the guest may only read it".into());
    }
    Ok(Virtio::Disk { path: path.into(), read_only })
}

fn parse_net(text: &str) -> Result<Virtio, String> {
    let (tap, mac) = text.split_once(',').ok_or("the name of a tap device, and an address")?;
    let mac: vmm::virtio::Mac = mac.parse()?;
    Ok(Virtio::Net { tap: tap.into(), mac: mac.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn disks_and_cards_are_understood() {
        let disk = |path: &str, read_only| Virtio::Disk { path: path.into(), read_only };
        assert_eq!(parse_disk("/a,b"), Ok(disk("/a,b", false)));
        assert_eq!(parse_disk("/a,ro"), Ok(disk("/a", true)));
        assert!(parse_disk(",ro").is_err());
        assert!(parse_net("tap0,52:54:00:00:00:01").is_ok());
        assert!(parse_net("tap0").is_err());
        assert!(parse_net("tap0,52:54").is_err());
    }
}
