//! The data channel: TPM commands, one at a time, each answered by one write.
//!
//! A command comes raw, or with the header of the TCG's simulator protocol, which names its
//! locality; the response has a header and a trailer then:
//!
//! ```text
//!   u32 8, u8 locality, u32 size, command  ->  u32 size, response, u32 0
//! ```

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::channel::{Received, Stream};
use crate::server::Session;

/// The most bytes that are read as one message. A command may be less by the size that was set;
/// the engine answers one that is larger.
const MAX_MESSAGE: usize = 4096 + HEADER;
/// `TPM2_SEND_COMMAND`, locality, size.
const HEADER: usize = 9;
/// The first word of a command with a header.
const SEND_COMMAND: u32 = 8;
/// A message must be whole so long after its first byte.
const WHOLE_MESSAGE: Duration = Duration::from_millis(500);
/// `TPM_RC_LOCALITY`.
const BAD_LOCALITY: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x07];
/// `TPM_RC_COMMAND_SIZE`.
const BAD_SIZE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x42];

/// The tag by which a TPM 2 answers a command whose tag it does not know (Part 2, 6.9)...
const TAG_OF_TPM_1_2: [u8; 2] = [0x00, 0xc4];
/// ... and what swtpm answers instead: `TPM_RC_VALUE`. Firmware that looks for a TPM 1.2 by sending
/// it a command (OVMF does, on TIS) takes the TPM for one by that tag.
const BAD_TAG: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x84];

/// Serves a connection until the caller closes it.
pub(crate) fn serve(mut stream: Stream, session: &Session) {
    while let Some(message) = read_message(&mut stream) {
        let Some(answer) = answer(session, &message) else { return };
        if !stream.answer(&answer) || session.disconnect {
            return;
        }
    }
}

/// A message: all that arrives until it is as long as it says, or until its time is over; absent
/// at the end of the connection.
///
/// As with swtpm, a message that is not as long as it says is answered as such by the TPM, and
/// the next read begins the next message.
fn read_message(stream: &mut Stream) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(vec![0; MAX_MESSAGE]);
    let mut length = 0usize;
    let mut deadline = None;
    loop {
        match stream.receive(buffer.get_mut(length..)?, deadline) {
            Received::Bytes(size, _) => length = length.checked_add(size)?,
            Received::TimedOut => break,
            Received::Closed => return None,
        }
        deadline = deadline.or_else(|| Instant::now().checked_add(WHOLE_MESSAGE));
        let whole = declared_length(buffer.get(..length)?);
        if length == MAX_MESSAGE || whole.is_some_and(|whole| length >= whole) {
            break;
        }
    }
    buffer.truncate(length);
    Some(buffer)
}

/// How long a message says that it is, once that has arrived.
fn declared_length(message: &[u8]) -> Option<usize> {
    if word(message, 0)? == SEND_COMMAND {
        (word(message, 5)? as usize).checked_add(HEADER)
    } else {
        Some(word(message, 2)? as usize)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// The answer to a message; absent if it has no place in the protocol.
fn answer(session: &Session, message: &[u8]) -> Option<Vec<u8>> {
    if word(message, 0) != Some(SEND_COMMAND) {
        return Some(execute(session, session.locality(), message));
    }
    let Some((header, command)) = message.split_at_checked(HEADER) else {
        return Some(BAD_SIZE.to_vec());
    };
    let locality = header.get(4).copied().unwrap_or_default();
    let response = if session.set_locality(locality) {
        execute(session, locality, command)
    } else {
        BAD_LOCALITY.to_vec()
    };
    let size = u32::try_from(response.len()).ok()?;
    Some([&size.to_be_bytes(), response.as_slice(), &[0; 4]].concat())
}

fn execute(session: &Session, locality: u8, command: &[u8]) -> Vec<u8> {
    // A TPM that does not run says so, whatever the command.
    if session.tpm.is_running() && command.len() > session.buffer_size() as usize {
        return BAD_SIZE.to_vec();
    }
    let response = session.tpm.execute(locality, command.to_vec());
    if response.starts_with(&TAG_OF_TPM_1_2) { BAD_TAG.to_vec() } else { response }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_how_long_it_is_with_and_without_a_header() {
        assert_eq!(declared_length(&[0x80, 1, 0, 0, 0, 12]), Some(12));
        assert_eq!(declared_length(&[0x80, 1, 0, 0, 0]), None);
        assert_eq!(declared_length(&[0, 0, 0, 8, 2, 0, 0, 0, 12]), Some(21));
        assert_eq!(declared_length(&[0, 0, 0, 8, 2, 0, 0, 0]), None);
        assert_eq!(declared_length(&[0, 0, 0, 8, 2, 0xff, 0xff, 0xff, 0xff]), Some(0x1_0000_0008));
    }
}
