//! The command line: swtpm's option strings, and plain ones of our own.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::channel::Endpoint;
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
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a TPM on sockets.
    Socket(Socket),
}

/// Options of `socket`, as swtpm has them.
#[derive(Debug, Args)]
pub(crate) struct Socket {
    /// A TPM 2 is meant; the only kind there is.
    #[arg(long)]
    tpm2: bool,
    /// dir=DIRECTORY: where the state is.
    #[arg(long, value_name = "dir=DIRECTORY")]
    pub(crate) tpmstate: KeyValues,
    /// type=unixio,path=PATH[,mode=MODE] or type=tcp,port=PORT[,bindaddr=ADDRESS].
    #[arg(long, value_name = "type=...")]
    pub(crate) ctrl: Option<KeyValues>,
    /// The data channel: type=unixio,path=PATH or type=tcp,port=PORT[,bindaddr=ADDRESS].
    #[arg(long, value_name = "type=...")]
    pub(crate) server: Option<KeyValues>,
    /// not-need-init, startup-clear, startup-state, startup-none.
    #[arg(long, value_delimiter = ',', value_name = "FLAG")]
    pub(crate) flags: Vec<Flag>,
    /// file=PATH or pwdfile=PATH: a key or passphrase that encrypts the state.
    #[arg(long, value_name = "file=PATH")]
    key: Option<KeyValues>,
    /// End when a connection ends.
    #[arg(short, long)]
    pub(crate) terminate: bool,
}

/// `--flags`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Flag {
    NotNeedInit,
    StartupClear,
    StartupState,
    StartupNone,
}

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

    fn need(&self, option: &str, name: &str) -> Result<&str> {
        self.get(name).with_context(|| format!("--{option} needs {name}=..."))
    }

    /// The endpoint that the pairs describe.
    pub(crate) fn endpoint(&self, option: &str) -> Result<Endpoint> {
        match self.get("type").unwrap_or("tcp") {
            "unixio" => {
                let mode = self.get("mode").map(|mode| {
                    u32::from_str_radix(mode, 8)
                        .with_context(|| format!("--{option}: mode={mode} is not octal"))
                });
                let path = PathBuf::from(self.need(option, "path")?);
                Ok(Endpoint::Unix { path, mode: mode.transpose()? })
            }
            "tcp" => {
                let port = self.need(option, "port")?;
                let port = port
                    .parse()
                    .with_context(|| format!("--{option}: port={port} is not a port number"))?;
                let address = self.get("bindaddr").unwrap_or("127.0.0.1").to_owned();
                Ok(Endpoint::Tcp { address, port })
            }
            other => bail!("--{option}: type={other} is not known; use unixio or tcp"),
        }
    }
}

impl Socket {
    /// The directory of the state.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        self.tpmstate.need("tpmstate", "dir").map(PathBuf::from)
    }

    /// How the state is protected: never unencrypted by mistake.
    pub(crate) fn protection(&self, unencrypted: bool) -> Result<Protection> {
        let Some(key) = &self.key else {
            if unencrypted {
                return Ok(Protection::Unencrypted);
            }
            bail!(
                "say how the state is to be protected: --key file=PATH, --key pwdfile=PATH, \
                 or --unencrypted"
            );
        };
        match (key.get("file"), key.get("pwdfile")) {
            (Some(path), None) => Ok(Protection::KeyFile(path.into())),
            (None, Some(path)) => Ok(Protection::PassphraseFile(path.into())),
            _ => bail!("--key needs either file=PATH or pwdfile=PATH"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_strings_of_swtpm_are_understood() {
        let pairs: KeyValues = "type=unixio,path=/run/s,mode=0600".parse().unwrap();
        let expected = Endpoint::Unix { path: "/run/s".into(), mode: Some(0o600) };
        assert_eq!(pairs.endpoint("ctrl").unwrap(), expected);
        let pairs: KeyValues = "type=tcp,port=2321".parse().unwrap();
        let expected = Endpoint::Tcp { address: "127.0.0.1".into(), port: 2321 };
        assert_eq!(pairs.endpoint("server").unwrap(), expected);
    }

    #[test]
    fn a_state_is_never_unencrypted_by_mistake() {
        let parse = |arguments: &[&str]| {
            let options = Options::try_parse_from(
                ["vtpmd", "socket", "--tpmstate", "dir=/d"].iter().chain(arguments),
            )
            .unwrap();
            let Command::Socket(socket) = &options.command;
            socket.protection(options.unencrypted)
        };
        assert!(parse(&[]).unwrap_err().to_string().contains("--unencrypted"));
        assert!(matches!(parse(&["--unencrypted"]).unwrap(), Protection::Unencrypted));
        assert!(matches!(parse(&["--key", "file=/k"]).unwrap(), Protection::KeyFile(_)));
    }
}
