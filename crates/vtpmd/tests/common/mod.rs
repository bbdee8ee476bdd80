//! Starts the daemon and speaks with it as its callers do.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const INDEX: u32 = 0x0150_0001;

/// A directory with a state and the daemon's sockets.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn control_path(&self) -> PathBuf {
        self.0.path().join("ctrl")
    }

    pub(crate) fn data_path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// The daemon's command line with a state, but without sockets.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vtpmd"));
        command.args(["--unencrypted", "socket", "--tpm2", "--tpmstate"]);
        command.arg(format!("dir={}", self.0.path().display())).args(more);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The daemon's command line without a state and without sockets.
    pub(crate) fn command_without_state(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vtpmd"));
        command.args(["--unencrypted", "socket", "--tpm2"]).args(more);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The daemon with a control and a data socket; the TPM does not run yet.
    pub(crate) fn start(&self, more: &[&str]) -> Daemon {
        let mut command = self.command(more);
        let (control, data) = (self.control_path(), self.data_path());
        command.arg("--ctrl").arg(format!("type=unixio,path={},mode=0600", control.display()));
        command.arg("--server").arg(format!("type=unixio,path={}", data.display()));
        let mut daemon = Daemon(command.spawn().unwrap());
        daemon.wait_for(&control);
        daemon.wait_for(&data);
        daemon
    }

    /// The daemon with a TPM that runs, but was not started up.
    pub(crate) fn start_initialized(&self) -> Daemon {
        let daemon = self.start(&[]);
        assert_eq!(self.control().ask(&[0x02, 0], b""), 0u32.to_be_bytes());
        daemon
    }

    /// The daemon with a TPM that was started up.
    pub(crate) fn start_up(&self) -> Daemon {
        let daemon = self.start_initialized();
        self.data().start_up();
        daemon
    }

    pub(crate) fn control(&self) -> Control {
        Control(connect(&self.control_path()))
    }

    pub(crate) fn data(&self) -> Data {
        Data(connect(&self.data_path()))
    }
}

pub(crate) fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A running daemon, killed when dropped.
pub(crate) struct Daemon(pub(crate) Child);

impl Daemon {
    pub(crate) fn wait_for(&mut self, path: &Path) {
        let begun = Instant::now();
        while UnixStream::connect(path).is_err() {
            assert_eq!(self.0.try_wait().unwrap(), None, "the daemon ended");
            assert!(begun.elapsed() < PATIENCE, "no socket at {}", path.display());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How the daemon ended by itself.
    pub(crate) fn end(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it as a crash of the host would.
    pub(crate) fn crash(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A control connection.
pub(crate) struct Control(pub(crate) UnixStream);

impl Control {
    /// Sends words and data in one write and takes what one read gives.
    pub(crate) fn ask(&mut self, head: &[u32], data: &[u8]) -> Vec<u8> {
        self.0.write_all(&[&words(head), data].concat()).unwrap();
        self.read_some()
    }

    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 64 * 1024];
        let size = self.0.read(&mut buffer).unwrap();
        buffer.truncate(size);
        buffer
    }

    pub(crate) fn result(&mut self, head: &[u32], data: &[u8]) -> u32 {
        let answer = self.ask(head, data);
        u32::from_be_bytes(answer[..4].try_into().unwrap())
    }

    /// A state blob: 1 is the permanent one, 2 the running one.
    pub(crate) fn blob(&mut self, kind: u32, offset: u32) -> Vec<u8> {
        self.0.write_all(&words(&[0x0c, 1, kind, offset])).unwrap();
        let mut head = [0; 16];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[..8], [0; 8], "result and flags");
        assert_eq!(head[8..12], head[12..], "both lengths");
        let length = u32::from_be_bytes(head[12..].try_into().unwrap());
        let mut blob = vec![0; length as usize];
        self.0.read_exact(&mut blob).unwrap();
        blob
    }

    /// Sets a state blob as QEMU does: header and body in two writes.
    pub(crate) fn set_blob(&mut self, kind: u32, blob: &[u8]) -> u32 {
        self.0.write_all(&words(&[0x0d, 0, kind, blob.len() as u32])).unwrap();
        self.0.write_all(blob).unwrap();
        u32::from_be_bytes(self.read_some().try_into().unwrap())
    }
}

/// A data connection.
pub(crate) struct Data(pub(crate) UnixStream);

impl Data {
    pub(crate) fn send(&mut self, command: &[u8]) -> Vec<u8> {
        self.try_send(command).unwrap()
    }

    pub(crate) fn try_send(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        self.read_response()
    }

    pub(crate) fn read_response(&mut self) -> std::io::Result<Vec<u8>> {
        let mut response = vec![0; 10];
        self.0.read_exact(&mut response)?;
        let size = u32::from_be_bytes(response[2..6].try_into().unwrap()) as usize;
        response.resize(size, 0);
        self.0.read_exact(&mut response[10..])?;
        Ok(response)
    }

    /// The response code of a command.
    pub(crate) fn run(&mut self, command: &[u8]) -> u32 {
        code(&self.send(command))
    }

    pub(crate) fn start_up(&mut self) {
        assert_eq!(self.run(&startup(0)), 0);
    }

    pub(crate) fn define_index(&mut self, size: u16) {
        assert_eq!(self.run(&define_index(size)), 0);
    }

    pub(crate) fn write_index(&mut self, data: &[u8]) {
        assert_eq!(self.run(&write_index(data)), 0);
    }

    pub(crate) fn read_index(&mut self, size: u16) -> Vec<u8> {
        let tail = [size.to_be_bytes(), [0; 2]].concat();
        let response = self.send(&authorized(0x14e, &[OWNER, INDEX], &tail));
        assert_eq!(code(&response), 0);
        response[16..16 + usize::from(size)].to_vec()
    }

    /// Makes an ECC storage key and says what its handle is.
    pub(crate) fn create_key(&mut self) -> u32 {
        let response = self.send(&create_primary(ECC));
        assert_eq!(code(&response), 0);
        u32::from_be_bytes(response[10..14].try_into().unwrap())
    }

    pub(crate) fn read_public(&mut self, handle: u32) -> u32 {
        self.run(&plain(0x173, &handle.to_be_bytes()))
    }
}

pub(crate) fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

/// A command without sessions.
pub(crate) fn plain(code: u32, parameters: &[u8]) -> Vec<u8> {
    let size = 10 + parameters.len() as u32;
    [&[0x80, 0x01], &words(&[size, code])[..], parameters].concat()
}

/// A command whose handles are authorized by one empty password.
pub(crate) fn authorized(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let auth = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let size = (10 + 4 * handles.len() + auth.len() + parameters.len()) as u32;
    let head = words(&[size, code]);
    [&[0x80, 0x02], &head[..], &words(handles), &auth, parameters].concat()
}

pub(crate) fn startup(kind: u8) -> Vec<u8> {
    plain(0x144, &[0, kind])
}

pub(crate) fn get_random(size: u8) -> Vec<u8> {
    plain(0x17b, &[0, size])
}

pub(crate) fn pcr_extend(pcr: u32, digest: &[u8; 32]) -> Vec<u8> {
    authorized(0x182, &[pcr], &[&[0, 0, 0, 1, 0, 0x0b], &digest[..]].concat())
}

/// The value of a PCR of the SHA-256 bank, with what comes before it.
pub(crate) fn pcr_read(pcr: u8) -> Vec<u8> {
    let mut select = [0; 3];
    select[usize::from(pcr / 8)] = 1 << (pcr % 8);
    plain(0x17e, &[&[0, 0, 0, 1, 0, 0x0b, 3], &select[..]].concat())
}

fn define_index(size: u16) -> Vec<u8> {
    let public = [
        &INDEX.to_be_bytes()[..],
        &[0, 0x0b],
        &0x0206_0006u32.to_be_bytes(),
        &[0, 0],
        &size.to_be_bytes(),
    ];
    authorized(0x12a, &[OWNER], &[&[0, 0, 0, 14], &public.concat()[..]].concat())
}

pub(crate) fn write_index(data: &[u8]) -> Vec<u8> {
    let parameters = [&(data.len() as u16).to_be_bytes()[..], data, &[0, 0]].concat();
    authorized(0x137, &[OWNER, INDEX], &parameters)
}

/// Key parameters of a storage key: type, name algorithm, attributes, policy, AES-128-CFB, scheme,
/// and what the type needs.
pub(crate) const ECC: &[u8] = &[
    0, 0x23, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0,
    0,
];
/// RSA of 4096 bits.
pub(crate) const RSA_4096: &[u8] = &[
    0, 1, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0x10, 0, 0, 0, 0, 0, 0, 0,
];

pub(crate) fn create_primary(public: &[u8]) -> Vec<u8> {
    let size = (public.len() as u16).to_be_bytes();
    let tail = [&[0, 4, 0, 0, 0, 0][..], &size, public, &[0, 0, 0, 0, 0, 0]];
    authorized(0x131, &[OWNER], &tail.concat())
}

/// Whether the other side closed the connection.
pub(crate) fn is_closed(stream: &mut UnixStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(size) => size == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}
