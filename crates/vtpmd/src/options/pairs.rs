//! `name=value,name=value`, the form of most of swtpm's options.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::channel::{Endpoint, Ownership};
use crate::options::sink::{LogTo, Sink};

const LOCALHOST: &str = "127.0.0.1";

/// `name=value,name=value`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl FromStr for Pairs {
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

impl Pairs {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a name is there, with a value or without.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Refuses what would otherwise be ignored.
    pub(crate) fn only(&self, option: &str, known: &[&str]) -> Result<()> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => bail!("--{option}: {key} is not known; use {}", known.join(", ")),
            None => Ok(()),
        }
    }

    pub(crate) fn need(&self, option: &str, name: &str) -> Result<&str> {
        self.get(name).with_context(|| format!("--{option} needs {name}=..."))
    }

    pub(crate) fn number<T: FromStr>(&self, option: &str, name: &str) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse().ok();
        number.map(Some).with_context(|| format!("--{option}: {name}={value} is not a number"))
    }

    /// `--ctrl`.
    pub(crate) fn control_endpoint(&self) -> Result<Endpoint> {
        let known = ["type", "path", "mode", "uid", "gid", "port", "bindaddr", "fd", "clientfd"];
        self.only("ctrl", &known)?;
        match (self.number("ctrl", "fd")?, self.number("ctrl", "clientfd")?) {
            (Some(number), None) => Ok(Endpoint::Listening(number)),
            (None, Some(number)) => Ok(Endpoint::Connected(number)),
            (None, None) => self.made_endpoint("ctrl"),
            (Some(_), Some(_)) => bail!("--ctrl: fd= and clientfd= contradict each other"),
        }
    }

    /// `--server`.
    pub(crate) fn data_endpoint(&self) -> Result<Endpoint> {
        let known = ["type", "path", "mode", "uid", "gid", "port", "bindaddr", "fd", "disconnect"];
        self.only("server", &known)?;
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
                let owner = Ownership {
                    uid: self.number(option, "uid")?,
                    gid: self.number(option, "gid")?,
                };
                Ok(Endpoint::Unix { path, mode: mode.transpose()?, owner })
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

    /// Where a text goes: `file=` or `fd=`.
    pub(crate) fn sink(&self, option: &str, known: &[&str]) -> Result<Sink> {
        self.only(option, known)?;
        match (self.get("file"), self.number(option, "fd")?) {
            (Some(path), None) => Ok(Sink::Path(path.into())),
            (None, Some(number)) => Ok(Sink::Inherited(number)),
            _ => bail!("--{option} needs either file=... or fd=..."),
        }
    }

    /// `--log`. swtpm's level is about the debug output of its library, which is not here.
    pub(crate) fn log(&self) -> Result<LogTo> {
        let sink = self.sink("log", &["file", "fd", "level", "prefix", "truncate"])?;
        let truncate = self.has("truncate");
        Ok(match sink {
            Sink::Path(path) if path.as_os_str() == "-" => LogTo::Nowhere,
            sink => LogTo::Sink { sink, truncate },
        })
    }

    /// `--tpmstate`: the state file.
    pub(crate) fn state_file(&self) -> Result<PathBuf> {
        self.only("tpmstate", &["dir", "mode", "backend-uri", "lock"])?;
        match (self.get("dir"), self.get("backend-uri")) {
            (Some(directory), None) => Ok(in_directory(directory)),
            (None, Some(uri)) => state_file_of_uri(uri),
            _ => bail!("--tpmstate needs either dir=... or backend-uri=..."),
        }
    }
}

/// The state file in a directory.
pub(crate) fn in_directory(directory: &str) -> PathBuf {
    PathBuf::from(directory).join("tpm2.vtpm")
}

/// The state file that `dir://DIRECTORY` or `file://FILE` means.
pub(crate) fn state_file_of_uri(uri: &str) -> Result<PathBuf> {
    let path = match (uri.strip_prefix("dir://"), uri.strip_prefix("file://")) {
        (Some(directory), _) => in_directory(directory),
        (None, Some(file)) => PathBuf::from(file),
        (None, None) => bail!("{uri} is neither a dir:// nor a file:// URI"),
    };
    ensure!(path.file_name().is_some(), "{uri} names no file");
    Ok(path)
}
