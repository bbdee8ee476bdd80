//! The command line: swtpm's options, and a few of our own.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use vtpm_engine::Profile;

use crate::channel::{Endpoint, Removed};
use crate::state::Protection;

/// A TPM 2.0 as a daemon that speaks the swtpm protocol.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
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
    /// Serve a TPM on sockets.
    Socket(Socket),
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
    /// dir=DIRECTORY: where the state is; its files are for their owner alone, whatever mode= says.
    /// Without it the environment variable TPM_PATH.
    #[arg(long, value_name = "dir=DIRECTORY")]
    tpmstate: Option<KeyValues>,
    /// type=unixio,path=PATH[,mode=MODE], type=tcp,port=PORT[,bindaddr=ADDRESS], or
    /// type=unixio|tcp,fd=FD (a listening socket) or clientfd=FD (a connection).
    #[arg(long, value_name = "type=...")]
    ctrl: Option<KeyValues>,
    /// The data channel: type=unixio,path=PATH[,mode=MODE], type=tcp,port=PORT[,bindaddr=ADDRESS],
    /// or fd=FD (a connection).
    #[arg(long, value_name = "type=...")]
    server: Option<KeyValues>,
    /// The data channel on a port of 127.0.0.1.
    #[arg(short, long, conflicts_with_all = ["server", "fd"])]
    port: Option<u16>,
    /// The data channel on an inherited connection.
    #[arg(short, long, conflicts_with = "server")]
    fd: Option<i32>,
    /// not-need-init, startup-clear, startup-state, startup-none.
    #[arg(long, value_delimiter = ',', value_name = "FLAG")]
    flags: Vec<Flag>,
    /// file=PATH or fd=FD: a key that encrypts the state; pwdfile=PATH or pwdfd=FD: a passphrase.
    #[arg(long, value_name = "file=PATH")]
    key: Option<KeyValues>,
    /// reject-locality-4: nothing may run in locality 4.
    #[arg(long, value_delimiter = ',', value_name = "SETTING")]
    locality: Vec<LocalitySetting>,
    /// file=PATH or fd=FD: where the process id is written to.
    #[arg(long, value_name = "file=PATH")]
    pid: Option<KeyValues>,
    /// file=PATH or fd=FD, and truncate: where the log goes; standard error without it.
    #[arg(long, value_name = "file=PATH")]
    log: Option<KeyValues>,
    /// action=none: there is no seccomp filter.
    #[arg(long, value_name = "action=none")]
    seccomp: Option<KeyValues>,
    /// End when the last data connection has ended.
    #[arg(short, long)]
    terminate: bool,
    /// Say what this daemon can, as JSON, and end.
    #[arg(long)]
    pub(crate) print_capabilities: bool,
}

/// `--flags`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flag {
    NotNeedInit,
    StartupClear,
    StartupState,
    StartupNone,
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
    pub(crate) directory: PathBuf,
    pub(crate) protection: Protection,
    pub(crate) profile: Profile,
    pub(crate) control: Option<Endpoint>,
    pub(crate) data: Option<Endpoint>,
    pub(crate) flags: Vec<Flag>,
    pub(crate) reject_locality_4: bool,
    pub(crate) pid: Option<Sink>,
    pub(crate) log: LogTo,
    pub(crate) terminate: bool,
}

impl Serve {
    /// Whether the TPM starts without `INIT`: where a flag says so, and where there is no control
    /// channel by which it could come.
    pub(crate) fn starts_by_itself(&self) -> bool {
        let asked = |flag: &Flag| *flag != Flag::StartupNone;
        self.control.is_none() || self.flags.iter().any(asked)
    }
}

/// A file that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Path(PathBuf),
    Inherited(i32),
}

impl Sink {
    fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Inherited(number) => descriptor_path(*number),
        }
    }

    /// Writes the process id; a file of a path is removed in the end.
    pub(crate) fn write(&self) -> Result<Option<Removed>> {
        let path = self.path();
        let failed = || format!("cannot write the process id to {}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).mode(0o644);
        if matches!(self, Self::Path(_)) {
            options.create(true).truncate(true);
        }
        let mut file = options.open(&path).with_context(failed)?;
        writeln!(file, "{}", std::process::id()).with_context(failed)?;
        Ok(matches!(self, Self::Path(_)).then(|| Removed::at(&path)))
    }
}

/// Where the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogTo {
    sink: Option<Sink>,
    truncate: bool,
}

impl LogTo {
    /// The file; absent for standard error.
    pub(crate) fn open(&self) -> Result<Option<File>> {
        let Some(sink) = &self.sink else { return Ok(None) };
        let path = sink.path();
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        let file = options
            .open(&path)
            .with_context(|| format!("cannot open the log {}", path.display()))?;
        if self.truncate {
            file.set_len(0).context("cannot truncate the log")?;
        }
        Ok(Some(file))
    }
}

/// The kernel's name for an open descriptor that is not a socket.
fn descriptor_path(number: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

impl Socket {
    /// Checks the options and what they say together.
    pub(crate) fn resolve(&self, unencrypted: bool, profile: Profile) -> Result<Serve> {
        if let Some(seccomp) = &self.seccomp {
            seccomp.only("seccomp", &["action"])?;
            ensure!(seccomp.get("action") == Some("none"), "--seccomp: only action=none is known");
        }
        let data = match (&self.server, self.port, self.fd) {
            (Some(server), ..) => Some(server.data_endpoint()?),
            (None, Some(port), _) => Some(Endpoint::Tcp { address: LOCALHOST.into(), port }),
            (None, None, Some(number)) => Some(Endpoint::Connected(number)),
            (None, None, None) => None,
        };
        let pid = self.pid.as_ref().map(|pid| pid.sink("pid", &["file", "fd"])).transpose()?;
        Ok(Serve {
            directory: self.directory()?,
            protection: self.protection(unencrypted)?,
            profile,
            control: self.ctrl.as_ref().map(KeyValues::control_endpoint).transpose()?,
            data,
            flags: self.flags.clone(),
            reject_locality_4: self.locality.contains(&LocalitySetting::RejectLocality4),
            pid,
            log: self.log.as_ref().map(KeyValues::log).transpose()?.unwrap_or_default(),
            terminate: self.terminate,
        })
    }

    fn directory(&self) -> Result<PathBuf> {
        let Some(tpmstate) = &self.tpmstate else {
            let path = std::env::var_os("TPM_PATH");
            return path.map(PathBuf::from).context("say where the state is: --tpmstate dir=...");
        };
        tpmstate.only("tpmstate", &["dir", "mode", "backend-uri"])?;
        match (tpmstate.get("dir"), tpmstate.get("backend-uri")) {
            (Some(directory), None) => Ok(directory.into()),
            (None, Some(uri)) => uri
                .strip_prefix("dir://")
                .map(PathBuf::from)
                .with_context(|| format!("--tpmstate: {uri} is no dir:// URI")),
            _ => bail!("--tpmstate needs either dir=... or backend-uri=..."),
        }
    }

    /// How the state is protected: never unencrypted by mistake.
    fn protection(&self, unencrypted: bool) -> Result<Protection> {
        let Some(key) = &self.key else {
            if unencrypted {
                return Ok(Protection::Unencrypted);
            }
            bail!(
                "say how the state is to be protected: --key file=PATH, --key pwdfile=PATH, \
                 or --unencrypted"
            );
        };
        ensure!(!unencrypted, "--key and --unencrypted contradict each other");
        key.only("key", &["file", "fd", "pwdfile", "pwdfd", "mode", "format", "kdf"])?;
        let descriptor =
            |name| -> Result<Option<PathBuf>> { Ok(key.number("key", name)?.map(descriptor_path)) };
        let named = |name| key.get(name).map(PathBuf::from);
        let keys = [named("file"), descriptor("fd")?];
        let phrases = [named("pwdfile"), descriptor("pwdfd")?];
        match (keys, phrases) {
            ([Some(path), None] | [None, Some(path)], [None, None]) => {
                Ok(Protection::KeyFile(path))
            }
            ([None, None], [Some(path), None] | [None, Some(path)]) => {
                Ok(Protection::PassphraseFile(path))
            }
            _ => bail!("--key needs one of file=, fd=, pwdfile= and pwdfd="),
        }
    }
}

const LOCALHOST: &str = "127.0.0.1";

/// `name=value,name=value`.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyValues(Vec<(String, String)>);

impl FromStr for KeyValues {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let pairs = text.split(',').filter(|pair| !pair.is_empty());
        let split = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair.to_owned(), String::new()),
        };
        Ok(Self(pairs.map(split).collect()))
    }
}

impl KeyValues {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses what would otherwise be ignored.
    fn only(&self, option: &str, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => bail!("--{option}: {key} is not known; use {}", known.join(", ")),
            None => Ok(()),
        }
    }

    fn need(&self, option: &str, name: &str) -> Result<&str> {
        self.get(name).with_context(|| format!("--{option} needs {name}=..."))
    }

    fn number<T: FromStr>(&self, option: &str, name: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse().ok();
        number.map(Some).with_context(|| format!("--{option}: {name}={value} is not a number"))
    }

    fn control_endpoint(&self) -> Result<Endpoint> {
        self.only("ctrl", &["type", "path", "mode", "port", "bindaddr", "fd", "clientfd"])?;
        match (self.number("ctrl", "fd")?, self.number("ctrl", "clientfd")?) {
            (Some(number), None) => Ok(Endpoint::Listening(number)),
            (None, Some(number)) => Ok(Endpoint::Connected(number)),
            (None, None) => self.made_endpoint("ctrl"),
            (Some(_), Some(_)) => bail!("--ctrl: fd= and clientfd= contradict each other"),
        }
    }

    fn data_endpoint(&self) -> Result<Endpoint> {
        self.only("server", &["type", "path", "mode", "port", "bindaddr", "fd"])?;
        match self.number("server", "fd")? {
            Some(number) => Ok(Endpoint::Connected(number)),
            None => self.made_endpoint("server"),
        }
    }

    fn made_endpoint(&self, option: &str) -> Result<Endpoint> {
        match self.get("type").unwrap_or("tcp") {
            "unixio" => {
                let path = PathBuf::from(self.need(option, "path")?);
                let mode = self.get("mode").map(|mode| {
                    u32::from_str_radix(mode, 8)
                        .with_context(|| format!("--{option}: mode={mode} is not octal"))
                });
                Ok(Endpoint::Unix { path, mode: mode.transpose()? })
            }
            "tcp" => {
                let port = self.number(option, "port")?;
                let port = port.with_context(|| format!("--{option} needs port=..."))?;
                let address = self.get("bindaddr").unwrap_or(LOCALHOST).to_owned();
                Ok(Endpoint::Tcp { address, port })
            }
            other => bail!("--{option}: type={other} is not known; use unixio or tcp"),
        }
    }

    fn sink(&self, option: &str, known: &[&str]) -> Result<Sink> {
        self.only(option, known)?;
        match (self.get("file"), self.number(option, "fd")?) {
            (Some(path), None) => Ok(Sink::Path(path.into())),
            (None, Some(number)) => Ok(Sink::Inherited(number)),
            _ => bail!("--{option} needs either file=... or fd=..."),
        }
    }

    fn log(&self) -> Result<LogTo> {
        // swtpm's level=N is about the debug output of its library; ours has one level.
        let sink = self.sink("log", &["file", "fd", "level", "truncate"])?;
        let sink = Some(sink).filter(|sink| *sink != Sink::Path("-".into()));
        Ok(LogTo { sink, truncate: self.get("truncate").is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(arguments: &[&str]) -> Result<Serve> {
        let base = ["vtpmd", "socket", "--tpm2", "--tpmstate", "dir=/d"];
        let options = Options::try_parse_from(base.iter().chain(arguments))?;
        let Command::Socket(socket) = &options.command;
        socket.resolve(options.unencrypted, options.profile.profile())
    }

    fn refusal(arguments: &[&str]) -> String {
        resolve(arguments).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_of_libvirt_is_understood() {
        let serve = resolve(&[
            "--ctrl",
            "type=unixio,path=/run/s,mode=0600",
            "--log",
            "file=/var/log/l",
            "--terminate",
            "--key",
            "pwdfd=30,mode=aes-256-cbc",
        ])
        .unwrap();
        let expected = Endpoint::Unix { path: "/run/s".into(), mode: Some(0o600) };
        assert_eq!(serve.control, Some(expected));
        assert_eq!(serve.protection, Protection::PassphraseFile("/proc/self/fd/30".into()));
        assert!(serve.terminate && !serve.starts_by_itself());
    }

    #[test]
    fn channels_are_ports_paths_and_descriptors() {
        let data = |arguments: &[&str]| {
            let all: Vec<_> = arguments.iter().chain(&["--unencrypted"]).copied().collect();
            resolve(&all).unwrap().data
        };
        let tcp = Endpoint::Tcp { address: LOCALHOST.into(), port: 2321 };
        assert_eq!(data(&["--server", "type=tcp,port=2321"]), Some(tcp.clone()));
        assert_eq!(data(&["-p", "2321"]), Some(tcp));
        assert_eq!(data(&["--server", "type=unixio,fd=7"]), Some(Endpoint::Connected(7)));
        assert_eq!(data(&["--fd", "7"]), Some(Endpoint::Connected(7)));
        let serve = resolve(&["--unencrypted", "--ctrl", "type=unixio,fd=5"]).unwrap();
        assert_eq!(serve.control, Some(Endpoint::Listening(5)));
    }

    #[test]
    fn a_state_is_never_unencrypted_by_mistake() {
        assert!(refusal(&[]).contains("--unencrypted"));
        assert!(refusal(&["--unencrypted", "--key", "file=/k"]).contains("contradict"));
        let serve = resolve(&["--unencrypted"]).unwrap();
        assert_eq!(serve.protection, Protection::Unencrypted);
        let serve = resolve(&["--key", "file=/k"]).unwrap();
        assert_eq!(serve.protection, Protection::KeyFile("/k".into()));
    }

    #[test]
    fn what_is_not_known_is_refused_rather_than_ignored() {
        let refused = |arguments: &[&str]| {
            let all: Vec<_> = arguments.iter().chain(&["--unencrypted"]).copied().collect();
            refusal(&all)
        };
        assert!(refused(&["--ctrl", "type=unixio,path=/s,uid=3"]).contains("uid"));
        assert!(refused(&["--ctrl", "type=vsock,port=3"]).contains("vsock"));
        assert!(refused(&["--pid", "nowhere"]).contains("nowhere"));
        assert!(refused(&["--migration-key", "pwdfd=3"]).contains("migration-key"));
    }

    #[test]
    fn without_a_control_channel_the_tpm_starts_by_itself() {
        let starts = |arguments: &[&str]| {
            let all: Vec<_> = arguments.iter().chain(&["--unencrypted"]).copied().collect();
            resolve(&all).unwrap().starts_by_itself()
        };
        assert!(starts(&["-p", "2321"]));
        assert!(!starts(&["--ctrl", "type=tcp,port=1"]));
        assert!(starts(&["--ctrl", "type=tcp,port=1", "--flags", "not-need-init"]));
        assert!(starts(&["--ctrl", "type=tcp,port=1", "--flags", "startup-clear"]));
    }
}
