//! TPM commands over a stream of bytes: a command or a response says itself how long it is.

use std::io::{self, Read, Write};

use super::client::Transport;

/// The longest command or response that is taken, in bytes: more than any TPM makes.
const MESSAGE_MAX: usize = 64 * 1024;
/// Bytes of a header: tag, size, code.
const HEADER: usize = 10;

/// A TPM at the other end of a stream: the data channel of the swtpm protocol.
pub struct Stream<S>(pub S);

impl<S: Read + Write> Transport for Stream<S> {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        receive(&mut self.0, MESSAGE_MAX)
    }
}

/// Answers the commands of one caller by `run`, one after the other, until the caller goes. None
/// is longer than `limit` bytes.
///
/// # Errors
/// That the caller has gone ([`io::ErrorKind::UnexpectedEof`]), or sent what is no command.
pub fn serve(
    mut caller: impl Read + Write,
    limit: usize,
    mut run: impl FnMut(Vec<u8>) -> Vec<u8>,
) -> io::Result<()> {
    loop {
        let command = receive(&mut caller, limit)?;
        caller.write_all(&run(command))?;
    }
}

fn receive(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let [_, _, a, b, c, d, ..] = header;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let rest = size.checked_sub(HEADER).filter(|_| size <= limit);
    let rest = rest.ok_or_else(|| io::Error::other("a TPM message has an impossible size"))?;
    let mut message = header.to_vec();
    let mut body = vec![0; rest];
    from.read_exact(&mut body)?;
    message.append(&mut body);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

    #[test]
    fn what_one_side_sends_the_other_answers() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(|| {
            serve(theirs, 64, |command| {
                assert_eq!(command, STARTUP);
                vec![0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0]
            })
        });
        let mut tpm = Stream(ours);
        for _ in 0..2 {
            assert_eq!(tpm.transact(&STARTUP).unwrap()[6..], [0, 0, 1, 0]);
        }
        drop(tpm);
        let ended = server.join().unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn sizes_below_the_header_and_above_the_limit_end_it() {
        for size in [9u8, 65] {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(&[0x80, 1, 0, 0, 0, size, 0, 0, 1, 0x44]).unwrap();
            assert!(serve(theirs, 64, |_| panic!("{size}")).is_err());
        }
    }
}
