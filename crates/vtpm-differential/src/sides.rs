//! The TPMs under comparison: two swtpm processes and the engine in this process.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use vtpm_engine::crypto::hash::HashAlg;
use vtpm_engine::wire::Alg;
use vtpm_engine::{Identity, Platform, Profile, Tpm};

/// The response code that stands for a panic of the engine: no TPM answers with it.
pub(crate) const PANIC: u32 = 0xdead_0001;

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what a panic says, and where it was: for the finding.
pub(crate) fn note_panic(text: &str) {
    LAST_PANIC.with_borrow_mut(|last| *last = Some(text.replace('\n', " ")));
}

/// The response code that stands for the end of a swtpm process.
pub(crate) const DIED: u32 = 0xdead_0002;

/// A part of a D-RTM sequence.
#[derive(Clone, Debug)]
pub(crate) enum HashOp {
    Start,
    Data(Vec<u8>),
    End,
}

/// A TPM that commands can be sent to.
pub(crate) trait Side {
    /// Sends a command. Each is followed by [`Side::collect`]; in between others may work.
    fn submit(&mut self, locality: u8, command: &[u8]) -> Result<()>;
    /// The response to what was sent.
    fn collect(&mut self) -> Result<Vec<u8>>;
    /// Runs a command.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        self.submit(locality, command)?;
        self.collect()
    }
    /// What the last panic said, and where.
    fn panic(&self) -> Option<String> {
        None
    }
    /// `_TPM_Init`.
    fn init(&mut self) -> Result<()>;
    /// A newly manufactured TPM that waits for `TPM2_Startup`.
    fn fresh(&mut self) -> Result<()>;
    fn hash(&mut self, op: &HashOp) -> Result<()>;
    fn reset_established(&mut self, locality: u8) -> Result<()>;
    fn established(&mut self) -> Result<bool>;
}

/// A running swtpm; its process ends with this value.
pub(crate) struct Swtpm {
    process: Child,
    state: TempDir,
    data: UnixStream,
    control: UnixStream,
    locality: u8,
}

const CMD_INIT: u32 = 2;
const CMD_GET_ESTABLISHED: u32 = 4;
const CMD_SET_LOCALITY: u32 = 5;
const CMD_HASH_START: u32 = 6;
const CMD_HASH_DATA: u32 = 7;
const CMD_HASH_END: u32 = 8;
const CMD_RESET_ESTABLISHED: u32 = 11;
const CMD_STOP: u32 = 14;

pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                return Ok(stream);
            }
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error).with_context(|| format!("swtpm's {}", path.display())),
        }
    }
}

/// Reads one response from a stream without framing of its own.
pub(crate) fn read_response(stream: &mut UnixStream) -> Result<Vec<u8>> {
    let mut response = vec![0; 10];
    stream.read_exact(&mut response)?;
    let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]]) as usize;
    ensure!((10..=4096).contains(&size), "a response of {size} bytes");
    response.resize(size, 0);
    stream.read_exact(&mut response[10..])?;
    Ok(response)
}

impl Swtpm {
    pub(crate) fn start() -> Result<Self> {
        let state = tempfile::Builder::new().prefix("vtpm-differential").tempdir()?;
        let path = |name: &str| state.path().join(name);
        let mut process = Process::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init", "--tpmstate"])
            .arg(format!("dir={}", state.path().display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", path("data").display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", path("control").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("swtpm cannot be started; Debian's package is swtpm")?;
        let streams = connect(&path("control"))
            .and_then(|control| connect(&path("data")).map(|data| (control, data)));
        match streams {
            Ok((control, data)) => Ok(Self { process, state, data, control, locality: 0 }),
            Err(error) => {
                drop(process.kill());
                drop(process.wait());
                Err(error)
            }
        }
    }

    fn control(&mut self, command: u32, arguments: &[u8]) -> Result<()> {
        let mut request = command.to_be_bytes().to_vec();
        request.extend_from_slice(arguments);
        self.control.write_all(&request)?;
        let mut result = [0; 4];
        self.control.read_exact(&mut result)?;
        let result = u32::from_be_bytes(result);
        ensure!(result == 0, "swtpm's control command {command} answered {result:#x}");
        Ok(())
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Side for Swtpm {
    fn submit(&mut self, locality: u8, command: &[u8]) -> Result<()> {
        if locality != self.locality {
            self.control(CMD_SET_LOCALITY, &[locality])?;
            self.locality = locality;
        }
        self.data.write_all(command).context("a command to swtpm")
    }

    fn collect(&mut self) -> Result<Vec<u8>> {
        read_response(&mut self.data).context("swtpm's answer")
    }

    fn init(&mut self) -> Result<()> {
        self.control(CMD_INIT, &[0; 4])
    }

    fn fresh(&mut self) -> Result<()> {
        self.control(CMD_STOP, &[])?;
        for entry in std::fs::read_dir(self.state.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "permall" || e == "volatilestate") {
                std::fs::remove_file(path)?;
            }
        }
        self.init()?;
        // The flag lives in the process, not in the state.
        self.reset_established(4)?;
        if self.established()? {
            *self = Swtpm::start()?;
            self.init()?;
        }
        Ok(())
    }

    fn hash(&mut self, op: &HashOp) -> Result<()> {
        match op {
            HashOp::Start => self.control(CMD_HASH_START, &[]),
            HashOp::Data(data) => {
                let mut arguments = (data.len() as u32).to_be_bytes().to_vec();
                arguments.extend_from_slice(data);
                self.control(CMD_HASH_DATA, &arguments)
            }
            HashOp::End => self.control(CMD_HASH_END, &[]),
        }
    }

    fn reset_established(&mut self, locality: u8) -> Result<()> {
        // A refusal shows in the flag.
        drop(self.control(CMD_RESET_ESTABLISHED, &[locality]));
        Ok(())
    }

    fn established(&mut self) -> Result<bool> {
        self.control(CMD_GET_ESTABLISHED, &[])?;
        let mut rest = [0; 4];
        self.control.read_exact(&mut rest)?;
        Ok(rest[0] != 0)
    }
}

struct Host {
    start: Instant,
}

impl Platform for Host {
    fn now_ms(&mut self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn entropy(&mut self, out: &mut [u8]) -> bool {
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(out)).is_ok()
    }
}

/// The engine, with as many slots as swtpm has.
pub(crate) struct Engine {
    tpm: Tpm,
    response: Vec<u8>,
    panic: Option<String>,
}

/// A new engine with a profile.
pub(crate) fn manufacture(profile: Profile) -> Result<Tpm> {
    Ok(Tpm::manufacture(profile, Box::new(Host { start: Instant::now() }))?)
}

/// The profile that comes nearest to swtpm's: its slots, its name, none of the algorithms and
/// timers that it lacks.
pub(crate) fn swtpm_like() -> Profile {
    const BANKS: [HashAlg; 4] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
    let mut profile = Profile::few_slots();
    for alg in [Alg::SHA3_256, Alg::SHA3_384, Alg::SHA3_512] {
        profile.algorithms = profile.algorithms.without(alg);
    }
    profile.algorithms = profile.algorithms.without_rsa(4096);
    profile.algorithms = profile.algorithms.with_active_banks(&BANKS);
    profile.limits.acts = 0;
    profile.identity = Identity {
        manufacturer: *b"IBM\0",
        vendor: *b"SW   TPM\0\0\0\0\0\0\0\0",
        vendor_type: 1,
        firmware_version: 0x2019_1023_0016_3636,
    };
    profile
}

impl Engine {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { tpm: manufacture(swtpm_like())?, response: Vec::new(), panic: None })
    }

    fn guarded<T>(&mut self, run: impl FnOnce(&mut Tpm) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| run(&mut self.tpm))) {
            Ok(value) => Some(value),
            Err(_) => {
                self.panic = LAST_PANIC.with_borrow_mut(Option::take);
                None
            }
        }
    }
}

impl Side for Engine {
    fn submit(&mut self, locality: u8, command: &[u8]) -> Result<()> {
        let mut response = Vec::new();
        let ran = self.guarded(|tpm| {
            tpm.execute(locality, command, &mut response);
        });
        if ran.is_none() {
            response = [0x80, 0x01, 0, 0, 0, 10].to_vec();
            response.extend_from_slice(&PANIC.to_be_bytes());
        }
        self.response = response;
        Ok(())
    }

    fn collect(&mut self) -> Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.response))
    }

    fn panic(&self) -> Option<String> {
        self.panic.clone()
    }

    fn init(&mut self) -> Result<()> {
        self.guarded(Tpm::init);
        Ok(())
    }

    fn fresh(&mut self) -> Result<()> {
        self.panic = None;
        self.tpm = manufacture(swtpm_like())?;
        Ok(())
    }

    fn hash(&mut self, op: &HashOp) -> Result<()> {
        self.guarded(|tpm| match op {
            HashOp::Start => tpm.hash_start(),
            HashOp::Data(data) => tpm.hash_data(data),
            HashOp::End => drop(tpm.hash_end()),
        });
        Ok(())
    }

    fn reset_established(&mut self, locality: u8) -> Result<()> {
        self.guarded(|tpm| {
            let _ = tpm.reset_established(locality);
        });
        Ok(())
    }

    fn established(&mut self) -> Result<bool> {
        Ok(self.tpm.established())
    }
}
