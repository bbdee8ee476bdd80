//! The TPM behind QEMU's device: an endpoint of the swtpm protocol that holds each command until
//! the test answers it, so that "while a command runs" is as long as the test wants.

use std::{
    io::{IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::machine::FAILURE;

/// Bytes of the longest command: what swtpm says to QEMU.
const BUFFER_SIZE: u32 = 4096;
/// All of swtpm's capabilities.
const CAPABILITIES: u32 = 0x1_FFFF;

/// How long a command may take from the register to here.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for a command that should not come.
const MOMENT: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Shared {
    locality: u8,
    cancels: usize,
    established: bool,
    /// After INIT: commands are the guest's. Before, they are QEMU's own probes.
    running: bool,
    data: Option<UnixStream>,
}

/// The TPM as the test sees it.
pub(crate) struct HeldTpm {
    shared: Arc<Mutex<Shared>>,
    commands: Receiver<(u8, Vec<u8>)>,
}

impl HeldTpm {
    /// A TPM whose control socket is at `path`.
    pub(crate) fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket for the TPM");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (sender, commands) = channel();
        let state = shared.clone();
        thread::spawn(move || {
            if let Ok((control, _)) = listener.accept() {
                serve(&control, &state, &sender);
            }
        });
        Self { shared, commands }
    }

    pub(crate) fn taken(&self, expected: bool) -> Option<(u8, Vec<u8>)> {
        self.commands.recv_timeout(if expected { PATIENCE } else { MOMENT }).ok()
    }

    pub(crate) fn answer(&self, response: &[u8]) {
        let shared = self.shared.lock().expect("no thread panicked");
        shared.data.as_ref().expect("a data channel").write_all(response).expect("QEMU reads it");
    }

    pub(crate) fn cancels(&self) -> usize {
        std::mem::take(&mut self.shared.lock().expect("no thread panicked").cancels)
    }
}

/// The control channel. QEMU sends each command with its parameters in one write.
fn serve(control: &UnixStream, state: &Arc<Mutex<Shared>>, commands: &Sender<(u8, Vec<u8>)>) {
    let mut message = [0; 4096];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut message)];
        let received = recvmsg(control, &mut parts, &mut ancillary, RecvFlags::empty());
        let Ok(length) = received.map(|received| received.bytes) else { return };
        let files = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let data: Vec<UnixStream> = files.flatten().map(UnixStream::from).collect();
        let mut shared = state.lock().expect("no thread panicked");
        for stream in data {
            shared.data = stream.try_clone().ok();
            let (state, commands) = (state.clone(), commands.clone());
            thread::spawn(move || receive(stream, &state, &commands));
        }
        let word = |at: usize| -> Option<u32> {
            let bytes = message.get(..length)?.get(at..)?.first_chunk()?;
            Some(u32::from_be_bytes(*bytes))
        };
        let Some(code) = word(0) else { return };
        let reply = control_command(&mut shared, code, word(4).unwrap_or(0));
        let mut writer = control;
        if writer.write_all(&reply).is_err() {
            return;
        }
    }
}

/// Does the control command `code` and gives its reply.
fn control_command(shared: &mut Shared, code: u32, parameter: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
    match code {
        0x01 => return words(&[0, CAPABILITIES]),
        0x02 => shared.running = true,
        0x04 => return words(&[0, u32::from(shared.established) << 24]),
        // The locality is the parameter's first byte.
        0x05 => shared.locality = (parameter >> 24) as u8,
        0x09 => shared.cancels += 1,
        0x0B => shared.established = false,
        0x0E => shared.running = false,
        0x11 => return words(&[0, BUFFER_SIZE, BUFFER_SIZE, BUFFER_SIZE]),
        0x03 | 0x10 => {}
        _ => return words(&[0x0A]),
    }
    words(&[0])
}

/// The data channel. QEMU sends each command in one write, also one that is too short to be one.
fn receive(mut stream: UnixStream, state: &Mutex<Shared>, commands: &Sender<(u8, Vec<u8>)>) {
    let mut command = [0; BUFFER_SIZE as usize];
    while let Ok(length @ 1..) = stream.read(&mut command) {
        let shared = state.lock().expect("no thread panicked");
        let sent = if shared.running {
            commands.send((shared.locality, command[..length].to_vec())).is_ok()
        } else {
            stream.write_all(&FAILURE).is_ok()
        };
        if !sent {
            return;
        }
    }
}
