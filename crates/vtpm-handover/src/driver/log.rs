//! The audit log in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::audit::AuditLog;

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

impl AuditLog for FileLog {
    fn append(&mut self, line: &str) -> io::Result<()> {
        // One write: lines of several processes do not mix.
        self.0.write_all(line.as_bytes())?;
        self.0.sync_data()
    }
}
