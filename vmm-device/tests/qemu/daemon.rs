//! A real TPM behind both: QEMU's device with our daemon, and our model with another instance of
//! it. The same driver sends the same commands through the registers of each.

use std::{
    env,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vmm_device::{crb, tis};

use crate::{
    machine::Machine,
    ours::{Ours, Renew},
    qemu::Qemu,
    script::Device,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Commands whose responses do not depend on the instance or on chance, with their locality.
const COMMANDS: [(u8, &str, &str); 16] = [
    (0, "PCR_Read before Startup", "8001000000140000017e00000001000b03000100"),
    (0, "Startup(CLEAR)", "80010000000c000001440000"),
    (0, "SelfTest(full)", "80010000000b0000014301"),
    (0, "GetCapability of algorithms", "8001000000160000017a000000000000000100000100"),
    (0, "GetCapability of all commands", "8001000000160000017a000000020000000000000200"),
    (
        0,
        "PCR_Extend 16",
        concat!(
            "80020000004100000182",
            "00000010",
            "00000009400000090000000000",
            "00000001000b",
            "0101010101010101010101010101010101010101010101010101010101010101",
        ),
    ),
    (0, "PCR_Read 16", "8001000000140000017e00000001000b03000001"),
    (
        0,
        "PCR_Extend 20, not from locality 0",
        concat!(
            "80020000004100000182",
            "00000014",
            "00000009400000090000000000",
            "00000001000b",
            "0202020202020202020202020202020202020202020202020202020202020202",
        ),
    ),
    (
        2,
        "PCR_Extend 20 from locality 2",
        concat!(
            "80020000004100000182",
            "00000014",
            "00000009400000090000000000",
            "00000001000b",
            "0202020202020202020202020202020202020202020202020202020202020202",
        ),
    ),
    (3, "PCR_Reset 20 from locality 3", "80020000001b0000013d0000001400000009400000090000000000"),
    (0, "PCR_Read 20", "8001000000140000017e00000001000b03000010"),
    (0, "a command of another length", "80010000000d00000144000000"),
    (0, "a command without a code", "80010000000a7fffffff"),
    (0, "a tag that does not exist", "12340000000a0000017b"),
    (0, "GetRandom of nothing", "80010000000c0000017b0000"),
    (0, "Shutdown(STATE)", "80010000000c000001450001"),
];

fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// `TPM2_Hash` of `size` bytes: a long command.
fn hash(size: usize) -> Vec<u8> {
    let length = (18 + size) as u32;
    let head = [&[0x80, 1][..], &length.to_be_bytes(), &[0, 0, 1, 0x7D]].concat();
    let data = vec![0x61; size];
    [&head[..], &(size as u16).to_be_bytes(), &data, &[0, 0x0B, 0x40, 0, 0, 7]].concat()
}

/// The daemon, killed when dropped.
struct Daemon {
    process: Child,
    folder: TempDir,
}

impl Daemon {
    /// A daemon with a data socket of its own, or one that waits for QEMU to bring one.
    fn start(with_data: bool) -> Self {
        let program = env::var("VTPMD").expect("VTPMD names the daemon; the stage sets it");
        let folder = tempfile::tempdir().expect("a folder for the daemon");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new(program);
        command.args(["--unencrypted", "socket", "--tpm2", "--tpmstate"]);
        command.arg(format!("dir={}", folder.path().display()));
        command.args(["--ctrl", &format!("type=unixio,path={}", path("control"))]);
        if with_data {
            command.args(["--server", &format!("type=unixio,path={}", path("data"))]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("the daemon starts");
        Self { process, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let begun = Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < PATIENCE, "the daemon has no socket");
            thread::sleep(Duration::from_millis(5));
        }
        path
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Our model with the daemon as its TPM.
struct Stack<M> {
    machine: Ours<M>,
    control: UnixStream,
    data: UnixStream,
}

impl<M: Renew> Stack<M> {
    fn new(daemon: &Daemon) -> Self {
        let connect = |name| UnixStream::connect(daemon.path(name)).expect("the daemon listens");
        let mut stack =
            Self { machine: Ours::new(), control: connect("control"), data: connect("data") };
        stack.control(&[0, 0, 0, 2, 0, 0, 0, 0]);
        stack
    }

    fn control(&mut self, command: &[u8]) {
        self.control.write_all(command).expect("the daemon listens");
        let mut result = [0xFF; 4];
        self.control.read_exact(&mut result).expect("the daemon answers");
        assert_eq!(result, [0; 4], "control command {command:02x?}");
    }
}

/// A device, and what has to be done while a driver waits.
trait Driven {
    fn machine(&mut self) -> &mut dyn Machine;

    fn work(&mut self);

    fn register(&mut self, offset: u64) -> u64 {
        self.machine().read(4, offset)
    }

    fn wait(&mut self, offset: u64, mask: u64, value: u64) {
        let begun = Instant::now();
        while self.register(offset) & mask != value {
            self.work();
            assert!(begun.elapsed() < PATIENCE, "{offset:#x} & {mask:#x} is not {value:#x}");
        }
    }
}

impl<M: Renew> Driven for Stack<M> {
    fn machine(&mut self) -> &mut dyn Machine {
        &mut self.machine
    }

    fn work(&mut self) {
        let Some((locality, command)) = self.machine.taken(false) else {
            return;
        };
        self.control(&[0, 0, 0, 5, locality, 0, 0, 0]);
        self.data.write_all(&command).expect("the daemon listens");
        let mut response = vec![0; 4096];
        let length = self.data.read(&mut response).expect("the daemon answers");
        self.machine.answer(&response[..length]).expect("a command runs");
    }
}

impl Driven for Qemu {
    fn machine(&mut self) -> &mut dyn Machine {
        self
    }

    fn work(&mut self) {
        thread::sleep(Duration::from_micros(200));
    }
}

/// As a driver sends a command through TIS.
fn through_tis(device: &mut dyn Driven, locality: u8, command: &[u8]) -> Vec<u8> {
    let at = |register: u64| u64::from(locality) << 12 | register;
    device.machine().write(1, at(tis::spec::ACCESS), tis::spec::ACCESS_REQUEST.into());
    device.wait(at(tis::spec::ACCESS), 0xA0, 0xA0);
    device.machine().write(4, at(tis::spec::STS), tis::spec::STS_COMMAND_READY.into());
    device.wait(at(tis::spec::STS), 0x40, 0x40);
    for byte in command {
        device.machine().write(1, at(tis::spec::DATA_FIFO), (*byte).into());
    }
    device.wait(at(tis::spec::STS), 0x88, 0x80);
    device.machine().write(4, at(tis::spec::STS), tis::spec::STS_GO.into());
    device.wait(at(tis::spec::STS), 0x90, 0x90);
    let mut response = Vec::new();
    while device.register(at(tis::spec::STS)) & 0x10 != 0 {
        response.push(device.machine().read(1, at(tis::spec::DATA_FIFO)) as u8);
    }
    device.machine().write(4, at(tis::spec::STS), tis::spec::STS_COMMAND_READY.into());
    device.machine().write(1, at(tis::spec::ACCESS), tis::spec::ACCESS_ACTIVE.into());
    response
}

/// As a driver sends a command through CRB.
fn through_crb(device: &mut dyn Driven, _locality: u8, command: &[u8]) -> Vec<u8> {
    use crb::spec;
    device.machine().write(4, spec::LOC_CTRL, spec::LOC_CTRL_REQUEST.into());
    device.wait(spec::LOC_STATE, 0x82, 0x82);
    device.machine().write(4, spec::CTRL_REQ, spec::CTRL_REQ_READY.into());
    device.wait(spec::CTRL_REQ, 0x1, 0);
    for (at, byte) in (spec::DATA_BUFFER..).zip(command) {
        device.machine().write(1, at, (*byte).into());
    }
    device.machine().write(4, spec::CTRL_START, 1);
    device.wait(spec::CTRL_START, 1, 0);
    assert_eq!(device.register(spec::CTRL_STS) & 1, 0, "the TPM is broken");
    let length = (device.register(spec::DATA_BUFFER + 2) as u32).swap_bytes();
    let place = spec::DATA_BUFFER..spec::DATA_BUFFER + u64::from(length);
    let response = place.map(|at| device.machine().read(1, at) as u8).collect();
    device.machine().write(4, spec::CTRL_REQ, spec::CTRL_REQ_IDLE.into());
    device.machine().write(4, spec::LOC_CTRL, spec::LOC_CTRL_RELINQUISH.into());
    response
}

type Way = fn(&mut dyn Driven, u8, &[u8]) -> Vec<u8>;

/// The same commands through both; the responses have to be equal.
fn compare(way: Way, ours: &mut dyn Driven, qemu: &mut dyn Driven) {
    let long = [1, 1024, 2000].map(|size| (0, "Hash", hash(size)));
    let written = COMMANDS.map(|(locality, name, text)| (locality, name, bytes(text)));
    for (locality, name, command) in written.into_iter().chain(long) {
        let response = way(ours, locality, &command);
        assert_eq!(response, way(qemu, locality, &command), "{name}");
        let announced = response.get(2..6).and_then(|size| size.first_chunk());
        let length = announced.map(|size| u32::from_be_bytes(*size) as usize);
        assert_eq!(length, Some(response.len()), "{name}: {response:02x?}");
    }
}

#[test]
#[ignore = "needs QEMU and vtpmd; scripts/stages/85-qtest runs it"]
fn our_daemon_answers_the_same_behind_qemu_s_tis_and_behind_ours() {
    let (first, second) = (Daemon::start(true), Daemon::start(false));
    let mut ours = Stack::<tis::Tis<crate::ours::Wire>>::new(&first);
    let mut qemu = Qemu::with_tpm(Device::Tis, &second.path("control"));
    compare(through_tis, &mut ours, &mut qemu);
}

#[test]
#[ignore = "needs QEMU and vtpmd; scripts/stages/85-qtest runs it"]
fn our_daemon_answers_the_same_behind_qemu_s_crb_and_behind_ours() {
    let (first, second) = (Daemon::start(true), Daemon::start(false));
    let mut ours = Stack::<crb::Crb<crb::InMemoryBuffer, crate::ours::Wire>>::new(&first);
    let mut qemu = Qemu::with_tpm(Device::Crb, &second.path("control"));
    compare(through_crb, &mut ours, &mut qemu);
}
