//! The TPM from the host's side: a socket that takes TPM commands and gives responses, for
//! `vtpm attest` while the guest runs.
//!
//! Commands run at locality 0 between the guest's own. Who can connect can do what a guest's root
//! can: the socket is made for its owner only.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use tracing::debug;
use vtpm_credential::tpm::stream;

use super::{Backend, execute};
use crate::{
    console::Listener,
    error::{Error, Result},
};

/// Longest command; more than any TPM takes.
const MAX_COMMAND: usize = 8192;
/// How long a command may take to come whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves commands at `path` from now on, one peer after the other, in a thread of its own.
///
/// # Errors
/// [`Error::File`], [`Error::Host`].
pub fn serve(path: &Path, backend: Arc<dyn Backend>) -> Result<()> {
    let action = "make the TPM's command socket";
    let listener = Listener::bind(path, action)?;
    let owner = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, owner).map_err(Error::file(action, path))?;
    listener.0.set_nonblocking(false).map_err(Error::file(action, path))?;
    let run = move || {
        while let Ok((stream, _)) = listener.0.accept() {
            if let Err(cause) = converse(stream, backend.as_ref()) {
                debug!(%cause, "a peer of the TPM's command socket is gone");
            }
        }
    };
    thread::Builder::new()
        .name("tpm-commands".into())
        .spawn(run)
        .map_err(Error::host("start a thread for the TPM's command socket"))?;
    Ok(())
}

fn converse(stream: UnixStream, backend: &dyn Backend) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream::serve(stream, MAX_COMMAND, |command| execute(backend, 0, command))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::tpm::InProcess;

    #[test]
    fn commands_are_answered_and_impossible_ones_end_the_conversation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let tpm = Arc::new(InProcess::ephemeral().unwrap());
        tpm.init().unwrap();
        serve(&path, tpm).unwrap();
        let mut peer = UnixStream::connect(&path).unwrap();
        let startup = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        let mut response = [0; 10];
        for (rc, piece) in [(0, &startup[..]), (0x100, &startup[..])] {
            peer.write_all(piece).unwrap();
            peer.read_exact(&mut response).unwrap();
            assert_eq!(response[6..], u32::to_be_bytes(rc));
        }
        peer.write_all(&[0x80, 1, 0, 0, 0, 9, 0, 0, 1, 0x44]).unwrap();
        assert_eq!(peer.read(&mut response).unwrap(), 0);
        let mut next = UnixStream::connect(&path).unwrap();
        next.write_all(&startup).unwrap();
        next.read_exact(&mut response).unwrap();
        assert_eq!(response[6..], [0, 0, 1, 0]);
    }
}
