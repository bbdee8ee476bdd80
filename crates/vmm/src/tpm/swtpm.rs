//! A TPM in a daemon that speaks swtpm's protocol: vtpmd or swtpm itself.
//!
//! Two threads, so that nobody else waits for the daemon: one for the control channel, one for
//! commands. The data channel is one end of a socket pair whose other end the daemon is given.

use std::{
    io::{Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use tracing::warn;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;
use zeroize::Zeroizing;

use super::{Backend, Reply};
use crate::error::{Error, Result};

/// Commands of the control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Control {
    Init = 0x02,
    Shutdown = 0x03,
    GetEstablished = 0x04,
    SetLocality = 0x05,
    HashStart = 0x06,
    HashData = 0x07,
    HashEnd = 0x08,
    Cancel = 0x09,
    ResetEstablished = 0x0b,
    GetStateBlob = 0x0c,
    SetStateBlob = 0x0d,
    Stop = 0x0e,
    SetDataFd = 0x10,
}

/// INIT: the volatile state is not wanted again.
const DELETE_VOLATILE: u32 = 1;
/// GET_STATEBLOB: in the clear, if the daemon has it encrypted.
const DECRYPTED: u32 = 1;
/// Permanent, volatile and saved state.
const BLOBS: [u32; 3] = [1, 2, 3];
/// Largest blob that is taken from or given to a daemon, in bytes.
const MAX_BLOB: usize = 512 * 1024;
/// Largest response, in bytes: the header's length is checked against it.
const MAX_RESPONSE: usize = 64 * 1024;
/// Header of every response: tag, length, code.
const HEADER: usize = 10;
/// A daemon that says nothing on its control channel for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is answered in a daemon's place when it is gone: TPM_RC_FAILURE.
const FAILURE: [u8; HEADER] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];

/// Something to do on the control channel, in its thread.
type Job = Box<dyn FnOnce(&mut Channel) + Send>;

/// A daemon.
pub struct Daemon {
    control: Sender<Job>,
    commands: Sender<Command>,
}

struct Command {
    locality: u8,
    bytes: Zeroizing<Vec<u8>>,
    reply: Reply,
}

impl Daemon {
    /// Connects to the control socket at `path` and gives the daemon its data channel. The TPM is
    /// switched off.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Host`], [`Error::Tpm`] if it refuses.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(path).map_err(Error::file("connect to the TPM daemon at", path))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(Error::host("set a time-out"))?;
        let mut channel = Channel { stream };
        let (ours, theirs) = UnixStream::pair().map_err(Error::host("make a pair of sockets"))?;
        channel.give_data(&theirs)?;
        let (control, jobs) = mpsc::channel();
        let (commands, queue) = mpsc::channel();
        let to_control = control.clone();
        thread::Builder::new()
            .name("tpm-control".into())
            .spawn(move || serve_control(channel, &jobs))
            .and_then(|_| {
                thread::Builder::new()
                    .name("tpm-commands".into())
                    .spawn(move || serve_commands(ours, &queue, &to_control))
            })
            .map_err(Error::host("start the TPM's threads"))?;
        let daemon = Self { control, commands };
        daemon.power_off()?;
        Ok(daemon)
    }

    fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Channel) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        call(&self.control, job)
    }

    /// Has something done and does not wait; what goes wrong is logged.
    fn post(&self, control: Control, payload: Vec<u8>) {
        let job: Job = Box::new(move |channel| {
            if let Err(cause) = channel.ask(control, &payload, &mut []) {
                warn!(%cause, ?control, "the TPM daemon does not do it");
            }
        });
        // Without the thread the daemon is gone, which the next command shows.
        let _ = self.control.send(job);
    }
}

fn call<T: Send + 'static>(
    control: &Sender<Job>,
    job: impl FnOnce(&mut Channel) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, answer) = mpsc::sync_channel(1);
    let gone = || Error::Tpm("the daemon is gone".into());
    let job: Job = Box::new(move |channel| {
        // Whoever asked waits.
        let _ = sender.send(job(channel));
    });
    control.send(job).map_err(|_| gone())?;
    answer.recv().unwrap_or_else(|_| Err(gone()))
}

impl Backend for Daemon {
    fn submit(&self, locality: u8, command: Vec<u8>, reply: Reply) {
        let command = Command { locality, bytes: Zeroizing::new(command), reply };
        if let Err(mpsc::SendError(command)) = self.commands.send(command) {
            (command.reply)(FAILURE.to_vec());
        }
    }

    fn cancel(&self) {
        self.post(Control::Cancel, Vec::new());
    }

    fn init(&self) -> Result<()> {
        self.call(|channel| {
            channel.ask(Control::Stop, &[], &mut [])?;
            channel.ask(Control::Init, &0u32.to_be_bytes(), &mut [])
        })
    }

    fn power_off(&self) -> Result<()> {
        self.call(|channel| channel.ask(Control::Stop, &[], &mut []))
    }

    fn hash_start(&self) {
        self.post(Control::HashStart, Vec::new());
    }

    fn hash_data(&self, data: Vec<u8>) {
        let length = (data.len() as u32).to_be_bytes();
        self.post(Control::HashData, [length.as_slice(), &data].concat());
    }

    fn hash_end(&self) {
        self.post(Control::HashEnd, Vec::new());
    }

    fn established(&self) -> bool {
        let asked = self.call(|channel| {
            let mut answer = [0; 4];
            channel.ask(Control::GetEstablished, &[], &mut answer)?;
            Ok(answer[0] != 0)
        });
        asked.unwrap_or_else(|cause| {
            warn!(%cause, "the TPM daemon does not say whether a dynamic launch took place");
            false
        })
    }

    fn reset_established(&self, locality: u8) -> Result<()> {
        self.call(move |channel| {
            channel.ask(Control::ResetEstablished, &[locality, 0, 0, 0], &mut [])
        })
    }

    /// Three blobs, each with its length in front (big-endian).
    fn save(&self) -> Result<Zeroizing<Vec<u8>>> {
        self.call(|channel| {
            let mut state = Zeroizing::new(Vec::new());
            for blob in BLOBS {
                let bytes = channel.get_blob(blob)?;
                state.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                state.extend_from_slice(&bytes);
            }
            Ok(state)
        })
    }

    fn load(&self, state: Zeroizing<Vec<u8>>) -> Result<()> {
        self.call(move |channel| {
            channel.ask(Control::Stop, &[], &mut [])?;
            let mut rest = state.as_slice();
            for blob in BLOBS {
                let (bytes, behind) = split_blob(rest)?;
                if !bytes.is_empty() {
                    channel.set_blob(blob, bytes)?;
                }
                rest = behind;
            }
            if !rest.is_empty() {
                return Err(Error::Tpm("the saved state has bytes behind its end".into()));
            }
            channel.ask(Control::Init, &DELETE_VOLATILE.to_be_bytes(), &mut [])
        })
    }

    fn shutdown(&self) {
        if let Err(cause) = self.call(|channel| channel.ask(Control::Shutdown, &[], &mut [])) {
            warn!(%cause, "the TPM daemon does not shut down");
        }
    }
}

/// The first blob of a saved state, and what follows.
fn split_blob(state: &[u8]) -> Result<(&[u8], &[u8])> {
    let cut = || Error::Tpm("the saved state is cut off".into());
    let (length, rest) = state.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = u32::from_be_bytes(*length) as usize;
    rest.split_at_checked(length).ok_or_else(cut)
}

fn serve_control(mut channel: Channel, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(&mut channel);
    }
}

fn serve_commands(mut data: UnixStream, queue: &Receiver<Command>, control: &Sender<Job>) {
    let mut current = 0;
    while let Ok(Command { locality, bytes, reply }) = queue.recv() {
        let switched = if locality == current {
            Ok(())
        } else {
            call(control, move |channel| {
                channel.ask(Control::SetLocality, &[locality, 0, 0, 0], &mut [])
            })
        };
        let response = switched.and_then(|()| {
            current = locality;
            exchange(&mut data, &bytes).map_err(Error::host("talk to the TPM daemon"))
        });
        reply(response.unwrap_or_else(|cause| {
            warn!(%cause, "no response of the TPM daemon");
            FAILURE.to_vec()
        }));
    }
}

/// Sends a command and receives the response that its header announces.
fn exchange(data: &mut UnixStream, command: &[u8]) -> std::io::Result<Vec<u8>> {
    data.write_all(command)?;
    let mut response = vec![0; HEADER];
    data.read_exact(&mut response)?;
    let length = response.get(2..6).and_then(|field| <[u8; 4]>::try_from(field).ok());
    let length = u32::from_be_bytes(length.unwrap_or_default()) as usize;
    if !(HEADER..=MAX_RESPONSE).contains(&length) {
        let what = format!("its response claims to have {length} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    response.resize(length, 0);
    data.read_exact(response.get_mut(HEADER..).unwrap_or_default())?;
    Ok(response)
}

/// The control channel.
struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// Sends a command, takes its result, and fills `answer` with what follows.
    fn ask(&mut self, control: Control, payload: &[u8], answer: &mut [u8]) -> Result<()> {
        let request = Zeroizing::new([&(control as u32).to_be_bytes(), payload].concat());
        self.stream.write_all(&request).map_err(Error::host("write to the TPM daemon"))?;
        self.take_result(control)?;
        self.take(answer)
    }

    fn take(&mut self, into: &mut [u8]) -> Result<()> {
        self.stream.read_exact(into).map_err(Error::host("hear from the TPM daemon"))
    }

    fn take_word(&mut self) -> Result<u32> {
        let mut word = [0; 4];
        self.take(&mut word)?;
        Ok(u32::from_be_bytes(word))
    }

    fn take_result(&mut self, control: Control) -> Result<()> {
        match self.take_word()? {
            0 => Ok(()),
            code => Err(Error::Tpm(format!("the daemon refuses {control:?} with {code:#x}"))),
        }
    }

    fn give_data(&mut self, theirs: &UnixStream) -> Result<()> {
        let request = (Control::SetDataFd as u32).to_be_bytes();
        self.stream.send_with_fd(request.as_slice(), theirs.as_raw_fd()).map_err(|cause| {
            Error::Host { action: "give the daemon a socket", source: cause.into() }
        })?;
        self.take_result(Control::SetDataFd)
    }

    fn get_blob(&mut self, blob: u32) -> Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(Vec::new());
        loop {
            let offset = bytes.len() as u32;
            let request = [DECRYPTED, blob, offset].map(u32::to_be_bytes).concat();
            let mut head = [0; 12];
            self.ask(Control::GetStateBlob, &request, &mut head)?;
            let word = |at: usize| {
                let field = head.get(at..).and_then(|rest| rest.first_chunk::<4>());
                u32::from_be_bytes(field.copied().unwrap_or_default()) as usize
            };
            let (total, here) = (word(4), word(8));
            if total > MAX_BLOB || here > total.saturating_sub(bytes.len()) {
                let sizes = format!("{here} of {total} bytes");
                return Err(Error::Tpm(format!(
                    "the daemon's state has an impossible size: {sizes}"
                )));
            }
            let start = bytes.len();
            bytes.resize(start + here, 0);
            self.take(bytes.get_mut(start..).unwrap_or_default())?;
            if bytes.len() == total {
                return Ok(bytes);
            }
            if here == 0 {
                return Err(Error::Tpm("the daemon's state ends before its end".into()));
            }
        }
    }

    fn set_blob(&mut self, blob: u32, bytes: &[u8]) -> Result<()> {
        if bytes.len() > MAX_BLOB {
            return Err(Error::Tpm("the saved state is too large for a daemon".into()));
        }
        let head = [0, blob, bytes.len() as u32].map(u32::to_be_bytes).concat();
        let payload = Zeroizing::new([head.as_slice(), bytes].concat());
        self.ask(Control::SetStateBlob, &payload, &mut [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_is_split_where_its_lengths_say() {
        let state = [0, 0, 0, 2, 7, 8, 0, 0, 0, 0];
        let (first, rest) = split_blob(&state).unwrap();
        assert_eq!(first, [7, 8]);
        let (second, rest) = split_blob(rest).unwrap();
        assert!(second.is_empty() && rest.is_empty());
        assert!(split_blob(&state[..5]).is_err());
        assert!(split_blob(&state[..3]).is_err());
    }

    #[test]
    fn a_response_with_an_impossible_length_is_refused() {
        for length in [9u32, 0x0001_0001, u32::MAX] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            let header = [&[0x80, 1], length.to_be_bytes().as_slice(), &[0; 4]].concat();
            theirs.write_all(&header).unwrap();
            assert!(exchange(&mut ours, &[0; 10]).is_err(), "{length}");
        }
    }
}
