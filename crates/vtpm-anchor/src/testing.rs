//! A chip for tests: swtpm behind a proxy that fails on demand.
//!
//! The proxy listens where a `swtpm:` TCTI expects data and control channel, and hands one command
//! at a time to swtpm. Like a resource manager it takes several callers and flushes what they leave
//! behind when their connection is cut; unlike one it does not keep their handles apart, so that
//! only one may work at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot set up its chip has failed"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not run; the answer is this response code.
    Answer(u32),
    /// It is not run, and the connection is cut.
    CutBefore,
    /// It is run, and the connection is cut before the answer.
    CutAfter,
    /// It is run after so long.
    Slow(Duration),
    /// It is not run, and no answer comes for so long; then the connection is cut.
    Hang(Duration),
}

/// Which commands a fault happens to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// So many commands go well first.
    skip: u64,
    fault: Fault,
    /// Then so many do not.
    times: u64,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    commands: Vec<u32>,
}

/// A swtpm with a proxy before it. Ends with this value.
pub struct TestChip {
    directory: PathBuf,
    _owned: Option<tempfile::TempDir>,
    swtpm: Option<Child>,
    port: u16,
    state: Arc<Mutex<State>>,
    down: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl TestChip {
    /// A new chip without certificates.
    #[must_use]
    pub fn start() -> Self {
        let owned = tempfile::tempdir().expect("a temporary directory");
        Self::in_directory(owned.path().to_path_buf(), Some(owned))
    }

    /// A new chip with EK and platform certificates, as `swtpm_setup` makes them. The issuer is in
    /// [`ca_certificates`](Self::ca_certificates).
    #[must_use]
    pub fn with_certificates() -> Self {
        let owned = tempfile::tempdir().expect("a temporary directory");
        manufacture(owned.path());
        Self::in_directory(owned.path().to_path_buf(), Some(owned))
    }

    /// The chip whose state is in a directory.
    #[must_use]
    pub fn in_directory(directory: PathBuf, owned: Option<tempfile::TempDir>) -> Self {
        let (data, control, port) = two_ports();
        let state = Arc::new(Mutex::new(State::default()));
        let (down, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut chip = Self { directory, _owned: owned, swtpm: None, port, state, down, ended };
        chip.power_on();
        chip.serve_data(data);
        chip.serve_control(control);
        chip
    }

    /// The TCTI by which it is reached.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The certificates of the issuer of the EK certificates, PEM.
    #[must_use]
    pub fn ca_certificates(&self) -> String {
        ["issuercert.pem", "swtpm-localca-rootca-cert.pem"]
            .iter()
            .map(|name| std::fs::read_to_string(self.directory.join("ca").join(name)).unwrap())
            .collect()
    }

    /// After `skip` more commands, `fault` happens to the next `times`.
    pub fn plan(&self, skip: u64, fault: Fault, times: u64) {
        self.locked().plan = Some(Plan { skip, fault, times });
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.locked().plan = None;
        self.down.store(false, Ordering::Release);
    }

    /// From now on nothing gets through, as when a resource manager is stopped.
    pub fn go_away(&self) {
        self.down.store(true, Ordering::Release);
    }

    /// The codes of all commands so far.
    #[must_use]
    pub fn commands(&self) -> Vec<u32> {
        self.locked().commands.clone()
    }

    /// Loss of power, and `TPM2_Startup(CLEAR)`: PCRs begin anew, loaded objects are gone.
    pub fn reset(&mut self) {
        self.power_off();
        self.power_on();
    }

    /// `TPM2_Clear`: a new storage seed.
    pub fn clear(&self) {
        let answer = self.raw(&[
            0x80, 0x02, 0, 0, 0, 27, 0, 0, 0x01, 0x26, 0x40, 0, 0, 0x0a, 0, 0, 0, 9, 0x40, 0, 0, 9,
            0, 0, 0, 0, 0,
        ]);
        assert_eq!(answer[6..10], [0; 4], "TPM2_Clear");
    }

    /// `TPM2_PCR_Extend` of a SHA-256 PCR.
    pub fn extend(&self, pcr: u8, digest: [u8; 32]) {
        let mut command = vec![0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, 0, 0, 0, pcr];
        command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend_from_slice(&[0, 0, 0, 1, 0, 0x0b]);
        command.extend_from_slice(&digest);
        assert_eq!(self.raw(&command)[6..10], [0; 4], "TPM2_PCR_Extend");
    }

    /// How many transient objects and sessions are in it.
    #[must_use]
    pub fn occupied(&self) -> usize {
        [0x80_00_00_00_u32, 0x02_00_00_00, 0x03_00_00_00]
            .into_iter()
            .map(|first| {
                let mut command = vec![0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 1];
                command.extend_from_slice(&first.to_be_bytes());
                command.extend_from_slice(&[0, 0, 0, 64]);
                let answer = self.raw(&command);
                u32::from_be_bytes(answer[15..19].try_into().unwrap()) as usize
            })
            .sum()
    }

    /// A command past the plan, uncounted.
    #[must_use]
    pub fn raw(&self, command: &[u8]) -> Vec<u8> {
        let _turn = self.locked();
        forward(&self.directory.join("data"), command).expect("swtpm answers")
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn power_on(&mut self) {
        let at = |name: &str| self.directory.join(name);
        for socket in ["data", "control"] {
            let _ = std::fs::remove_file(at(socket));
        }
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.directory.display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", at("data").display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", at("control").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm starts (package swtpm)");
        self.swtpm = Some(child);
        let begun = Instant::now();
        while UnixStream::connect(at("control")).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "swtpm does not come up");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn power_off(&mut self) {
        if let Some(mut child) = self.swtpm.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn serve_data(&self, listener: TcpListener) {
        let (state, down, ended) = (self.state.clone(), self.down.clone(), self.ended.clone());
        let path = self.directory.join("data");
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let (state, down, path) = (state.clone(), down.clone(), path.clone());
                thread::spawn(move || {
                    let mut stream = stream;
                    // Flushed before the caller learns that its connection is gone.
                    if serve_caller(&mut stream, &state, &down, &path) == Ended::Cut {
                        let _turn = state.lock().unwrap_or_else(PoisonError::into_inner);
                        flush_all(&path);
                    }
                });
            }
        });
    }

    fn serve_control(&self, listener: TcpListener) {
        let (down, ended) = (self.down.clone(), self.ended.clone());
        let path = self.directory.join("control");
        thread::spawn(move || {
            while let Ok((caller, _)) = listener.accept() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                if down.load(Ordering::Acquire) {
                    continue;
                }
                let Ok(chip) = UnixStream::connect(&path) else { continue };
                thread::spawn(move || copy_both_ways(&caller, &chip));
            }
        });
    }
}

impl Drop for TestChip {
    fn drop(&mut self) {
        self.power_off();
        self.ended.store(true, Ordering::Release);
        for port in [self.port, self.port + 1] {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByCaller,
    Cut,
}

fn serve_caller(
    caller: &mut TcpStream,
    state: &Mutex<State>,
    down: &AtomicBool,
    path: &Path,
) -> Ended {
    let mut ended = Ended::ByCaller;
    while let Some(command) = read_message(caller) {
        if down.load(Ordering::Acquire) {
            return Ended::Cut;
        }
        let fault = next_fault(state, &command);
        if fault.is_some() && lasts(state) {
            // Its flushes fail too.
            ended = Ended::Cut;
        }
        let turn = state.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match fault {
            None => forward(path, &command),
            Some(Fault::Slow(time)) => {
                thread::sleep(time);
                forward(path, &command)
            }
            Some(Fault::Answer(code)) => {
                Some([&[0x80, 0x01, 0, 0, 0, 10], code.to_be_bytes().as_slice()].concat())
            }
            Some(Fault::CutBefore) => None,
            Some(Fault::CutAfter) => forward(path, &command).and(None),
            Some(Fault::Hang(time)) => {
                drop(turn);
                thread::sleep(time);
                return Ended::Cut;
            }
        };
        let Some(answer) = answer else { return Ended::Cut };
        if caller.write_all(&answer).is_err() {
            return Ended::Cut;
        }
    }
    ended
}

/// Whether faults go on, so that a caller cannot clean up after itself.
fn lasts(state: &Mutex<State>) -> bool {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.plan.is_some_and(|plan| plan.times > 1000)
}

/// Flushes what a caller has left, as a resource manager does.
fn flush_all(path: &Path) {
    for kind in [0x8000_0000_u32, 0x0200_0000, 0x0300_0000] {
        for handle in kind..kind + 3 {
            let mut command = vec![0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65];
            command.extend_from_slice(&handle.to_be_bytes());
            // A handle that is not there is an error that means nothing.
            let _ = forward(path, &command);
        }
    }
}

fn next_fault(state: &Mutex<State>, command: &[u8]) -> Option<Fault> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.commands.push(u32::from_be_bytes(command[6..10].try_into().ok()?));
    let plan = state.plan.as_mut()?;
    if plan.skip > 0 {
        plan.skip -= 1;
        return None;
    }
    if plan.times == 0 {
        return None;
    }
    plan.times -= 1;
    Some(plan.fault)
}

/// One command to swtpm, over a connection of its own.
fn forward(path: &Path, command: &[u8]) -> Option<Vec<u8>> {
    let begun = Instant::now();
    loop {
        if let Ok(mut chip) = UnixStream::connect(path) {
            chip.write_all(command).ok()?;
            return read_message(&mut chip);
        }
        if begun.elapsed() > Duration::from_secs(5) {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn read_message(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = vec![0; 10];
    from.read_exact(&mut message).ok()?;
    let size = u32::from_be_bytes(message[2..6].try_into().ok()?) as usize;
    if !(10..=8192).contains(&size) {
        return None;
    }
    message.resize(size, 0);
    from.read_exact(&mut message[10..]).ok()?;
    Some(message)
}

fn copy_both_ways(caller: &TcpStream, chip: &UnixStream) {
    let (Ok(mut from), Ok(mut to)) = (caller.try_clone(), chip.try_clone()) else { return };
    let forth = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (chip, caller);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = caller.shutdown(Shutdown::Both);
    let _ = forth.join();
}

/// Two free ports, one after the other, as the TCTI wants them.
fn two_ports() -> (TcpListener, TcpListener, u16) {
    for _ in 0..200 {
        let data = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = data.local_addr().expect("an address").port();
        let Some(next) = port.checked_add(1) else { continue };
        if let Ok(control) = TcpListener::bind(("127.0.0.1", next)) {
            return (data, control, port);
        }
    }
    panic!("no two free ports");
}

/// Has `swtpm_setup` make a chip's state with certificates by an issuer of its own.
fn manufacture(directory: &Path) {
    let ca = directory.join("ca");
    std::fs::create_dir(&ca).expect("a directory");
    let write = |name: &str, text: String| {
        let path = ca.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let localca = write(
        "localca.conf",
        format!(
            "statedir = {0}\nsigningkey = {0}/signkey.pem\nissuercert = {0}/issuercert.pem\n\
             certserial = {0}/certserial\n",
            ca.display()
        ),
    );
    let options = write(
        "localca.options",
        "--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n".into(),
    );
    let tool = ["/usr/bin/swtpm_localca", "/usr/share/swtpm/swtpm-localca"];
    let tool = tool.iter().find(|path| Path::new(path).exists()).expect("package swtpm-tools");
    let config = write(
        "setup.conf",
        format!(
            "create_certs_tool = {tool}\ncreate_certs_tool_config = {}\n\
             create_certs_tool_options = {}\n",
            localca.display(),
            options.display()
        ),
    );
    let output = Command::new("swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--create-platform-cert", "--overwrite"])
        .arg("--tpmstate")
        .arg(directory)
        .arg("--config")
        .arg(&config)
        .output()
        .expect("swtpm_setup starts (package swtpm-tools)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "swtpm_setup: {said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
