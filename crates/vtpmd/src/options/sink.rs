//! Files that are written to: the log and the process id.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::channel::Removed;

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
    pub(crate) fn write_process_id(&self) -> Result<Option<Removed>> {
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
pub(crate) enum LogTo {
    /// To standard error.
    #[default]
    StandardError,
    /// Nowhere.
    Nowhere,
    /// To a file.
    Sink { sink: Sink, truncate: bool },
}

impl LogTo {
    /// The file; absent for standard error.
    pub(crate) fn open(&self) -> Result<Option<File>> {
        let (sink, truncate) = match self {
            Self::StandardError => return Ok(None),
            Self::Nowhere => (&Sink::Path("/dev/null".into()), false),
            Self::Sink { sink, truncate } => (sink, *truncate),
        };
        let path = sink.path();
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        let file = options
            .open(&path)
            .with_context(|| format!("cannot open the log {}", path.display()))?;
        if truncate {
            file.set_len(0).context("cannot truncate the log")?;
        }
        Ok(Some(file))
    }
}

/// The kernel's name for an open descriptor that is not a socket.
pub(crate) fn descriptor_path(number: i32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}
