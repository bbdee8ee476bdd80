//! The command line: swtpm's options, and a few of our own.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the documentation of options is their help, whose brackets are no links"
)]

pub(crate) mod pairs;
pub(crate) mod sink;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use vtpm_engine::Profile;

use crate::channel::Endpoint;
use crate::ioctl::Ioctl;
use crate::protect::{Keys, Protection};
use crate::sandbox::Action;
use crate::setup::options::Setup;
use pairs::Pairs;
use sink::{LogTo, Sink};

/// A TPM 2.0 as a daemon that speaks the swtpm protocol.
///
/// Under the names swtpm, swtpm_setup and swtpm_ioctl it takes what those take.
#[derive(Debug, Parser)]
#[command(name = "vtpmd", version, propagate_version = true)]
pub(crate) struct Options {
    /// Keep the state without encryption.
    #[arg(long, global = true)]
    pub(crate) unencrypted: bool,
    /// Write logs as JSON.
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    /// What a TPM that is made here has; one that exists keeps what it has.
    #[arg(long, global = true, value_enum, default_value_t = ProfileName::Swtpm)]
    pub(crate) profile: ProfileName,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a TPM on sockets, as `swtpm socket` does.
    Socket(Box<Socket>),
    /// Make or change the state of a TPM, as `swtpm_setup` does.
    Setup(Box<Setup>),
    /// Send a command to the control channel, as `swtpm_ioctl` does.
    Ioctl(Ioctl),
}

/// The command line, in which the name of the program may say what is wanted.
pub(crate) fn command_line() -> Vec<OsString> {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = arguments.first().map(PathBuf::from).unwrap_or_default();
    let wanted = match program.file_name().and_then(|name| name.to_str()) {
        Some("swtpm_setup") => "setup",
        Some("swtpm_ioctl") => "ioctl",
        _ => return arguments,
    };
    arguments.insert(1, wanted.into());
    arguments
}

/// `--profile`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProfileName {
    /// What software made for swtpm expects: four PCR banks active, no SHA-3.
    Swtpm,
    /// Everything that the engine has; of the PCR banks SHA-256 is active.
    Full,
}

impl ProfileName {
    pub(crate) fn profile(self) -> Profile {
        match self {
            Self::Swtpm => Profile::like_swtpm(),
            Self::Full => Profile::default(),
        }
    }
}

/// Options of `socket`, as swtpm has them.
#[derive(Debug, Args)]
pub(crate) struct Socket {
    /// A TPM 2 is meant; the only kind there is.
    #[arg(long)]
    tpm2: bool,
    /// dir=DIRECTORY or backend-uri=dir://DIRECTORY|file://FILE: where the state is; its files are
    /// for their owner alone, whatever mode= says. Without it the environment variable TPM_PATH.
    #[arg(long, value_name = "dir=DIRECTORY")]
    tpmstate: Option<Pairs>,
    /// type=unixio,path=PATH[,mode=MODE][,uid=UID][,gid=GID],
    /// type=tcp,port=PORT[,bindaddr=ADDRESS], or type=unixio|tcp,fd=FD (a listening socket) or
    /// clientfd=FD (a connection).
    #[arg(long, value_name = "type=...")]
    ctrl: Option<Pairs>,
    /// The data channel: type=unixio,path=PATH[,mode=MODE][,uid=UID][,gid=GID],
    /// type=tcp,port=PORT[,bindaddr=ADDRESS], or fd=FD (a connection); disconnect ends a
    /// connection after each response.
    #[arg(long, value_name = "type=...")]
    server: Option<Pairs>,
    /// The data channel on a port of 127.0.0.1.
    #[arg(short, long, conflicts_with_all = ["server", "fd"])]
    port: Option<u16>,
    /// The data channel on an inherited connection.
    #[arg(short, long, conflicts_with = "server")]
    fd: Option<i32>,
    /// not-need-init, startup-clear, startup-state, startup-none, disable-auto-shutdown.
    #[arg(long, value_delimiter = ',', value_name = "FLAG")]
    flags: Vec<Flag>,
    /// file=PATH or fd=FD: a key that encrypts the state, as 64 or 32 hexadecimal digits or 32 raw
    /// bytes; pwdfile=PATH or pwdfd=FD: a passphrase. remove=true removes the file once it is read.
    #[arg(long, value_name = "file=PATH")]
    key: Option<Pairs>,
    /// As --key, for state blobs that a caller fetches: the other side needs the same.
    #[arg(long, value_name = "file=PATH")]
    migration_key: Option<Pairs>,
    /// incoming: open the state when the TPM is initialized, and wait for who has it until then;
    /// release-lock-outgoing: let the state go when it was fetched.
    #[arg(long, value_delimiter = ',', value_name = "SETTING")]
    migration: Vec<Migration>,
    /// reject-locality-4: nothing may run in locality 4.
    #[arg(long, value_delimiter = ',', value_name = "SETTING")]
    locality: Vec<LocalitySetting>,
    /// file=PATH or fd=FD: where the process id is written to.
    #[arg(long, value_name = "file=PATH")]
    pid: Option<Pairs>,
    /// file=PATH or fd=FD, and truncate: where the log goes, nowhere for file=-; standard error
    /// without it.
    #[arg(long, value_name = "file=PATH")]
    log: Option<Pairs>,
    /// action=kill, log or none: what becomes of a system call that this daemon does not need.
    #[arg(long, value_name = "action=kill")]
    seccomp: Option<Pairs>,
    /// Serve as this user from the moment on at which the sockets are there.
    #[arg(short, long, value_name = "USER")]
    runas: Option<String>,
    /// Go on in the background once the sockets are there.
    #[arg(short, long)]
    daemon: bool,
    /// End when the last data connection has ended.
    #[arg(short, long)]
    terminate: bool,
    /// Serve metrics on this Unix socket, in the text format of Prometheus over HTTP.
    #[arg(long, value_name = "PATH")]
    metrics: Option<PathBuf>,
    /// Say what this daemon can, as JSON, and end.
    #[arg(long, visible_alias = "print-capabilites")]
    pub(crate) print_capabilities: bool,
    /// Say which states there are, as JSON, and end.
    #[arg(long)]
    pub(crate) print_states: bool,
}

/// `--flags`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flag {
    NotNeedInit,
    StartupClear,
    StartupState,
    StartupNone,
    DisableAutoShutdown,
}

/// `--migration`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Migration {
    Incoming,
    ReleaseLockOutgoing,
}

/// `--locality`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LocalitySetting {
    #[value(name = "reject-locality-4")]
    RejectLocality4,
    /// About a command of TPM 1.2; without effect.
    AllowSetLocality,
}

/// What is to be served, after all options were checked.
#[derive(Clone, Debug)]
pub(crate) struct Serve {
    pub(crate) file: PathBuf,
    pub(crate) protection: Protection,
    pub(crate) migration_key: Option<Protection>,
    pub(crate) incoming: bool,
    pub(crate) release_outgoing: bool,
    pub(crate) profile: Profile,
    pub(crate) control: Option<Endpoint>,
    pub(crate) data: Option<Endpoint>,
    pub(crate) disconnect: bool,
    pub(crate) flags: Vec<Flag>,
    pub(crate) reject_locality_4: bool,
    pub(crate) pid: Option<Sink>,
    pub(crate) log: LogTo,
    pub(crate) seccomp: Action,
    pub(crate) runas: Option<String>,
    pub(crate) daemon: bool,
    pub(crate) terminate: bool,
    pub(crate) metrics: Option<PathBuf>,
}

impl Serve {
    /// Whether the TPM starts without `INIT`: where a flag says so, and where there is no control
    /// channel by which it could come.
    pub(crate) fn starts_by_itself(&self) -> bool {
        let asked = |flag: &Flag| !matches!(flag, Flag::StartupNone | Flag::DisableAutoShutdown);
        self.control.is_none() || self.flags.iter().any(asked)
    }

    /// The kind of `TPM2_Startup` that is to be sent, if any: 0 for CLEAR, 1 for STATE.
    pub(crate) fn startup(&self) -> Option<u8> {
        self.flags.iter().find_map(|flag| match flag {
            Flag::StartupClear => Some(0),
            Flag::StartupState => Some(1),
            Flag::NotNeedInit | Flag::StartupNone | Flag::DisableAutoShutdown => None,
        })
    }
}

impl Socket {
    /// Checks the options and what they say together.
    pub(crate) fn resolve(&self, unencrypted: bool, profile: Profile) -> Result<Serve> {
        let data = match (&self.server, self.port, self.fd) {
            (Some(server), ..) => Some(server.data_endpoint()?),
            (None, Some(port), _) => Some(Endpoint::Tcp { address: "127.0.0.1".into(), port }),
            (None, None, Some(number)) => Some(Endpoint::Connected(number)),
            (None, None, None) => None,
        };
        let pid = self.pid.as_ref().map(|pid| pid.sink("pid", &["file", "fd"])).transpose()?;
        let key = self.key.as_ref().map(|key| Keys::of_pairs("key", key)).transpose()?;
        let migration_key = self.migration_key.as_ref();
        let migration_key = migration_key.map(|key| Keys::of_pairs("migration-key", key));
        Ok(Serve {
            file: self.state_file()?,
            protection: Protection::choose(key, unencrypted)?,
            migration_key: migration_key.transpose()?.map(Protection::Keys),
            incoming: self.migration.contains(&Migration::Incoming),
            release_outgoing: self.migration.contains(&Migration::ReleaseLockOutgoing),
            profile,
            control: self.ctrl.as_ref().map(Pairs::control_endpoint).transpose()?,
            data,
            disconnect: self.server.as_ref().is_some_and(|server| server.has("disconnect")),
            flags: self.flags.clone(),
            reject_locality_4: self.locality.contains(&LocalitySetting::RejectLocality4),
            pid,
            log: self.log.as_ref().map(Pairs::log).transpose()?.unwrap_or_default(),
            seccomp: self.seccomp()?,
            runas: self.runas.clone(),
            daemon: self.daemon,
            terminate: self.terminate,
            metrics: self.metrics.clone(),
        })
    }

    /// The state file.
    pub(crate) fn state_file(&self) -> Result<PathBuf> {
        let Some(tpmstate) = &self.tpmstate else {
            let path = std::env::var("TPM_PATH").ok();
            let path = path.context("say where the state is: --tpmstate dir=...")?;
            return Ok(pairs::in_directory(&path));
        };
        tpmstate.state_file()
    }

    fn seccomp(&self) -> Result<Action> {
        let Some(seccomp) = &self.seccomp else { return Ok(Action::Kill) };
        seccomp.only("seccomp", &["action"])?;
        match seccomp.need("seccomp", "action")? {
            "kill" => Ok(Action::Kill),
            "log" => Ok(Action::Log),
            "none" => Ok(Action::None),
            other => bail!("--seccomp: action={other} is not known; use kill, log or none"),
        }
    }
}

#[cfg(test)]
mod tests;
