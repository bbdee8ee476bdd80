//! QEMU's devices as a machine, through its qtest socket.

use std::{
    env,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vmm_device::{TPM_BASE, crb, tis};

use crate::{
    machine::Machine,
    script::{Device, Side},
    tpm::HeldTpm,
};

/// How long QEMU may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The interrupt of QEMU's TIS device.
const TIS_IRQ: &str = "5";

/// QEMU with one TPM device and no processor that runs.
pub(crate) struct Qemu {
    device: Device,
    process: Child,
    qtest: BufReader<UnixStream>,
    monitor: BufReader<UnixStream>,
    irq: bool,
    /// The TPM that the test answers for.
    tpm: Option<HeldTpm>,
    /// One message for each response that the device has taken (TIS).
    responses: Receiver<()>,
    _folder: TempDir,
}

impl Qemu {
    /// QEMU with `device`, started, and a TPM that the test answers for.
    pub(crate) fn start(device: Device) -> Self {
        let folder = tempfile::tempdir().expect("a folder for sockets");
        let socket = folder.path().join("tpm");
        let tpm = HeldTpm::listen(&socket);
        Self::launch(device, folder, &socket, Some(tpm))
    }

    /// QEMU with `device`, started, and the TPM whose control socket is at `socket`.
    pub(crate) fn with_tpm(device: Device, socket: &Path) -> Self {
        Self::launch(device, tempfile::tempdir().expect("a folder for sockets"), socket, None)
    }

    fn launch(device: Device, folder: TempDir, socket: &Path, tpm: Option<HeldTpm>) -> Self {
        let at = |name: &str| folder.path().join(name);
        let qtest = UnixListener::bind(at("qtest")).expect("a socket for qtest");
        let monitor = UnixListener::bind(at("monitor")).expect("a socket for the monitor");
        let mut process = command(device, folder.path(), socket).spawn().unwrap_or_else(|cause| {
            panic!("qemu-system-x86_64 cannot be started: {cause}; install qemu-system-x86")
        });
        let errors = process.stderr.take().expect("it is piped");
        let (sender, responses) = channel();
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if line.contains("From TPM") {
                    let _ = sender.send(());
                } else if !line.contains("To TPM") && line.contains("qemu") {
                    eprintln!("{line}");
                }
            }
        });
        let qtest = BufReader::new(accept(&qtest, &mut process));
        let monitor = BufReader::new(accept(&monitor, &mut process));
        let mut qemu =
            Self { device, process, qtest, monitor, irq: false, tpm, responses, _folder: folder };
        qemu.monitor(r#"{"execute": "qmp_capabilities"}"#, "\"return\"");
        if device == Device::Tis {
            qemu.ask("irq_intercept_in ioapic");
        }
        qemu
    }

    /// A command of the qtest protocol and its answer. Interrupts are reported before it.
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.qtest.get_mut(), "{command}").expect("QEMU runs");
        loop {
            let mut line = String::new();
            self.qtest.read_line(&mut line).expect("QEMU answers");
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["IRQ", change, TIS_IRQ] => self.irq = *change == "raise",
                ["IRQ", ..] => {}
                ["OK"] => return String::new(),
                ["OK", answer] => return (*answer).to_owned(),
                _ => panic!("QEMU answers {line:?} to {command:?}"),
            }
        }
    }

    fn held(&self) -> &HeldTpm {
        self.tpm.as_ref().expect("the test answers for this TPM")
    }

    /// A command of the monitor, and the message that shows that it was done.
    fn monitor(&mut self, command: &str, done: &str) {
        writeln!(self.monitor.get_mut(), "{command}").expect("QEMU runs");
        let mut line = String::new();
        while !line.contains(done) {
            line.clear();
            let length = self.monitor.read_line(&mut line).expect("QEMU answers");
            assert_ne!(length, 0, "QEMU ended");
            assert!(!line.contains("\"error\""), "{line}");
        }
    }
}

impl Machine for Qemu {
    fn side(&self) -> Side {
        Side::Qemu
    }

    fn device(&self) -> Device {
        self.device
    }

    fn read(&mut self, size: usize, offset: u64) -> u64 {
        let answer = self.ask(&format!("read{} {:#x}", letter(size), TPM_BASE + offset));
        let digits = answer.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).expect("a number")
    }

    fn write(&mut self, size: usize, offset: u64, value: u64) {
        self.ask(&format!("write{} {:#x} {value:#x}", letter(size), TPM_BASE + offset));
    }

    fn irq(&mut self) -> bool {
        // Whatever changed by now is reported before the answer.
        self.ask("endianness");
        self.irq
    }

    fn taken(&mut self, expected: bool) -> Option<(u8, Vec<u8>)> {
        self.held().taken(expected)
    }

    fn answer(&mut self, response: &[u8]) -> Result<(), String> {
        self.held().answer(response);
        let taken = match self.device {
            Device::Tis => self.responses.recv_timeout(PATIENCE).is_ok(),
            Device::Crb => {
                let begun = Instant::now();
                while self.read(4, crb::spec::CTRL_START) != 0 && begun.elapsed() < PATIENCE {
                    thread::sleep(Duration::from_micros(100));
                }
                begun.elapsed() < PATIENCE
            }
        };
        if taken {
            return Ok(());
        }
        *self = Self::start(self.device);
        Err("QEMU does not take the response; it was started again".into())
    }

    fn cancels(&mut self) -> usize {
        self.held().cancels()
    }

    fn reset(&mut self) {
        self.monitor(r#"{"execute": "system_reset"}"#, "\"RESET\"");
    }

    fn renew(&mut self) {
        self.reset();
        if self.device == Device::Tis && self.irq() {
            // A reset forgets the causes and leaves the line up; it goes down with the next cause.
            self.write(1, tis::spec::ACCESS, tis::spec::ACCESS_REQUEST.into());
            let enable = tis::spec::INT_GLOBAL | tis::spec::INT_COMMAND_READY;
            self.write(4, tis::spec::INT_ENABLE, enable.into());
            self.write(4, tis::spec::STS, tis::spec::STS_COMMAND_READY.into());
            self.write(4, tis::spec::INT_STATUS, tis::spec::INT_COMMAND_READY.into());
            self.reset();
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(device: Device, folder: &Path, tpm: &Path) -> Command {
    let at = |name: &str| folder.join(name).display().to_string();
    let program = env::var("QEMU").unwrap_or("qemu-system-x86_64".into());
    let mut command = Command::new(program);
    // Debian leaves the accelerator "qtest" out; a processor that is never let go does as well.
    command.args(["-machine", "q35", "-accel", "tcg", "-S", "-m", "64"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.arg("-qtest").arg(format!("unix:{}", at("qtest")));
    command.arg("-qmp").arg(format!("unix:{}", at("monitor")));
    command.arg("-chardev").arg(format!("socket,id=control,path={}", tpm.display()));
    command.args(["-tpmdev", "emulator,id=tpm,chardev=control", "-device"]);
    command.arg(match device {
        Device::Tis => "tpm-tis,tpmdev=tpm",
        Device::Crb => "tpm-crb,tpmdev=tpm",
    });
    // The one sign that a response has reached the device which does not depend on its registers.
    command.args(["-trace", "tpm_util_show_buffer"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// QEMU's connection to `listener`.
fn accept(listener: &UnixListener, process: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).expect("a socket");
    let begun = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("a socket");
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                return stream;
            }
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => {
                assert!(begun.elapsed() < PATIENCE, "QEMU does not connect");
                assert!(process.try_wait().expect("a process").is_none(), "QEMU ended");
                thread::sleep(Duration::from_millis(5));
            }
            Err(cause) => panic!("QEMU cannot connect: {cause}"),
        }
    }
}

fn letter(size: usize) -> char {
    match size {
        1 => 'b',
        2 => 'w',
        4 => 'l',
        _ => 'q',
    }
}
