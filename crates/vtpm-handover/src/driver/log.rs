//! The audit log in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use crate::audit::{AuditLog, AuditRecord};
use crate::ending::Ending;
use crate::judge::Side;

/// A file that lines are appended to, each durably.
#[derive(Debug)]
pub struct FileLog(File);

impl FileLog {
    /// Opens or makes the file; only its owner may read it.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(Self)
    }
}

impl FileLog {
    /// The log of a host, in the directory of its identity: `handovers.jsonl`.
    ///
    /// # Errors
    /// As the system says, with the file's name.
    pub fn of_host(directory: &Path) -> io::Result<Self> {
        let path = directory.join("handovers.jsonl");
        Self::open(&path).map_err(|cause| {
            io::Error::new(cause.kind(), format!("cannot write to {}: {cause}", path.display()))
        })
    }

    /// Records how a handover ended just now.
    ///
    /// # Errors
    /// As the system says.
    pub fn record(&mut self, ending: &Ending, side: Side) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.append(&AuditRecord::of(ending, side, now.as_secs()).to_line())
    }
}

impl AuditLog for FileLog {
    fn append(&mut self, line: &str) -> io::Result<()> {
        // One write: lines of several processes do not mix.
        self.0.write_all(line.as_bytes())?;
        self.0.sync_data()
    }
}
