//! The data channel: raw TPM commands, one at a time, each answered by one write.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::debug;

use crate::channel::Stream;
use crate::instance::Instance;

/// The largest command; a larger one ends the connection, since where it ends is not known.
const MAX_COMMAND: usize = 4096;
/// Tag and size.
const HEADER: usize = 6;

/// Serves a connection until the caller closes it.
pub(crate) fn serve(mut stream: Stream, instance: &Instance, locality: &Arc<AtomicU8>) {
    let mut buffer = Vec::with_capacity(MAX_COMMAND);
    while let Some(command) = read_command(&mut stream, &mut buffer) {
        let locality = locality.load(Ordering::Relaxed);
        let Some(response) = instance.execute(locality, command) else { return };
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

/// The next command; absent at the end of the connection, and after a message that is too large
/// or does not arrive in time.
fn read_command(stream: &mut Stream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut chunk = [0; MAX_COMMAND];
    loop {
        if let Some(size) = declared_size(buffer) {
            if !(10..=MAX_COMMAND).contains(&size) {
                // A header that cannot be true: let the engine answer it, then start afresh.
                return Some(core::mem::take(buffer)).filter(|_| size < 10);
            }
            if buffer.len() >= size {
                let rest = buffer.split_off(size);
                return Some(core::mem::replace(buffer, rest));
            }
        }
        stream.wait_for_whole(!buffer.is_empty()).ok()?;
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(size) => buffer.extend_from_slice(chunk.get(..size)?),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                debug!("the data connection ends: {error}");
                return None;
            }
        }
    }
}

fn declared_size(buffer: &[u8]) -> Option<usize> {
    let field = buffer.get(2..HEADER)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*field) as usize)
}
