//! Two hosts with a chip each, and a vTPM that moves between them: by the program, and by the
//! libraries while it runs.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;

use support::Host;
use vtpm_anchor::testing::TestChip;
use vtpm_anchor::{Access, Anchor, Making, TrustJudge};
use vtpm_engine::Profile;
use vtpm_handover::driver::{Accepted, Options, OsEntropy, Receiver, Sender};
use vtpm_handover::policy::TrustPolicy;
use vtpm_handover::{Departure, DestinationHost, HostId, Local, Outcome, RequestId, SourceHost};
use vtpm_host::{Arriving, Handle, Instance, Leaving};
use vtpm_store::{InstanceId, Place};

/// A policy that pins one host.
fn pin(at: &Host, name: &str, ek: &str, more: &str) -> String {
    let text = format!("version = 1\n{more}\n[[host]]\nname = '{name}'\nek = '{ek}'\n");
    std::fs::write(at.at("trust.toml"), text).unwrap();
    at.path("trust.toml")
}

fn identity(host: &Host) -> String {
    host.ok(&["handover", "identity"]).trim().to_owned()
}

/// Two hosts that trust each other.
fn pair() -> (Host, Host) {
    let (a, b) = (Host::new(), Host::new());
    pin(&a, "b", &identity(&b), "");
    pin(&b, "a", &identity(&a), "");
    (a, b)
}

/// A host that waits for connections.
struct Receiving {
    child: Child,
    address: String,
}

impl Receiving {
    fn start(host: &Host, count: u32) -> Self {
        let count = count.to_string();
        let policy = host.path("trust.toml");
        let arguments = [
            "handover",
            "receive",
            "--listen",
            "127.0.0.1:0",
            "--policy",
            &policy,
            "--count",
            &count,
        ];
        let mut child = host.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // One byte at a time: what follows is for `finish`.
        let mut reader = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
        reader.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, address }
    }

    fn finish(mut self) -> String {
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send<'a>(policy: &'a str, id: &'a str, to: &'a str) -> [&'a str; 7] {
    ["handover", "send", id, "--to", to, "--policy", policy]
}

#[test]
fn a_vtpm_moves_and_the_host_it_left_refuses_it_even_from_a_copy() {
    let (a, b) = pair();
    let id = a.create();
    let copy = std::fs::read(a.state_file(&id)).unwrap();
    let policy = a.path("trust.toml");

    let receiving = Receiving::start(&b, 2);
    let tried = ["handover", "prepare", &id, "--to", &receiving.address, "--policy", &policy];
    assert!(a.ok(&tried).contains("would take it"));
    a.start(&id, &[]); // it is here as before
    let said = a.ok(&send(&policy, &id, &receiving.address));
    assert!(said.contains("handed over"), "{said}");
    let received = receiving.finish();
    assert!(received.contains(&format!("{id}: received")), "{received}");

    b.start(&id, &[]);
    assert!(b.ok(&["handover", "status", &id]).contains("active at epoch 1"));
    assert!(a.ok(&["handover", "status", &id]).contains("gone at epoch 0"));
    let refused = a.refused(&["start", &id, "--socket", &a.path("s")]);
    assert!(refused.contains("gone at epoch 0"), "{refused}");
    // Somebody puts the live file back: the chip remembers that it is older.
    std::fs::write(a.state_file(&id), copy).unwrap();
    let refused = a.refused(&["start", &id, "--socket", &a.path("s")]);
    assert!(refused.contains("an older copy"), "{refused}");
    // And without the chip that it went to, the destination's disk is of no use.
    let thief = Host::bare(TestChip::start());
    thief.ok(&["host", "init"]);
    std::fs::create_dir_all(thief.at("host").join("instances")).unwrap();
    std::fs::copy(b.state_file(&id), thief.state_file(&id)).unwrap();
    thief.refused(&["start", &id, "--socket", &thief.path("s")]);
    let log = std::fs::read_to_string(a.at("host").join("handovers.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"outcome\":\"moved\""), "{log}");
}

#[test]
fn a_host_that_is_not_trusted_is_refused_before_the_vtpm_leaves() {
    let (a, b) = pair();
    let id = a.create();
    let (ek_a, ek_b) = (identity(&a), identity(&b));
    let zeros = "0".repeat(64);
    let never = format!("[host.pcrs.sha256]\n7 = ['{}']", "11".repeat(32));
    let pcrs = |ek: &str| format!("[[host]]\nname = 'peer'\nek = '{ek}'\n{never}");
    let other = "ee".repeat(32);
    for (what, of_a, of_b) in [
        ("not trusted", format!("[[host]]\nname = 'x'\nek = '{zeros}'"), None),
        ("register 7", pcrs(&ek_b), None),
        ("does not trust", String::new(), Some(format!("[[host]]\nname = 'x'\nek = '{other}'"))),
        ("does not trust", String::new(), Some(pcrs(&ek_a))),
        (
            "does not trust",
            String::new(),
            Some(format!("[[host]]\nname = 'a'\nek = '{ek_a}'\nroles = ['receive']")),
        ),
    ] {
        let of_a =
            if of_a.is_empty() { format!("[[host]]\nname = 'b'\nek = '{ek_b}'") } else { of_a };
        let of_b = of_b.unwrap_or_else(|| format!("[[host]]\nname = 'a'\nek = '{ek_a}'"));
        std::fs::write(a.at("trust.toml"), format!("version = 1\n{of_a}\n")).unwrap();
        std::fs::write(b.at("trust.toml"), format!("version = 1\n{of_b}\n")).unwrap();
        let receiving = Receiving::start(&b, 1);
        let output = a.run(&send(&a.path("trust.toml"), &id, &receiving.address));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(what), "{what}: {said}");
        drop(receiving.finish());
        assert!(!b.state_file(&id).exists(), "{what}");
        assert!(a.ok(&["handover", "status", &id]).contains("active at epoch 0"), "{what}");
    }
}

#[test]
fn a_chip_is_trusted_by_its_manufacturers_root_and_by_no_other() {
    let hosts =
        [Host::bare(TestChip::with_certificates()), Host::bare(TestChip::with_certificates())];
    for host in &hosts {
        host.ok(&["host", "init"]);
    }
    let [a, b] = &hosts;
    let id = a.create();
    let policy = |at: &Host, root: String| {
        std::fs::write(at.at("root.pem"), root).unwrap();
        let text = "version = 1\n[[root]]\nname = 'maker'\nfile = 'root.pem'\n";
        std::fs::write(at.at("trust.toml"), text).unwrap();
    };
    policy(a, a.chip.ca_certificates());
    policy(b, a.chip.ca_certificates());
    let receiving = Receiving::start(b, 1);
    let refused = a.run(&send(&a.path("trust.toml"), &id, &receiving.address));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("endorsement key is not trusted"), "{said}");
    drop(receiving.finish());

    policy(a, b.chip.ca_certificates());
    let receiving = Receiving::start(b, 1);
    a.ok(&send(&a.path("trust.toml"), &id, &receiving.address));
    drop(receiving.finish());
    b.start(&id, &[]);
}

#[test]
fn a_factory_fills_an_order_once_however_often_it_is_repeated() {
    let (factory, target) = pair();
    factory.ok(&["provision", "stock", "--count", "2", "--without-certificates"]);
    let policy = factory.path("trust.toml");
    let request = "ab".repeat(16);
    let receiving = Receiving::start(&target, 1);
    let address = receiving.address.clone();
    let deliver =
        ["provision", "deliver", "--request", &request, "--to", &address, "--policy", &policy];
    factory.ok(&deliver);
    let received = receiving.finish();
    // Nobody listens any more, and nobody needs to.
    let again = factory.ok(&deliver);
    let id = again.split(':').next().unwrap().to_owned();
    assert!(received.contains(&format!("{id}: received")), "{received}");
    assert_eq!(factory.ok(&["provision", "books"]).lines().count(), 1);
    target.start(&id, &[]);
}

/// An anchor of its own on a chip of its own.
struct Side {
    _chip: TestChip,
    directory: tempfile::TempDir,
    anchor: Anchor,
}

impl Side {
    fn new() -> Self {
        let chip = TestChip::start();
        let directory = tempfile::tempdir().unwrap();
        let (making, access) = (Making::default(), Access::default());
        let anchor = Anchor::init(directory.path(), &chip.tcti(), &making, &access).unwrap();
        Self { _chip: chip, directory, anchor }
    }

    fn host(&self) -> HostId {
        HostId::of(&self.anchor.endorsement()[0].public)
    }

    fn place(&self) -> Place {
        Place::at(self.directory.path().join("guest.vtpm"))
    }
}

fn trusting(peer: &Side) -> TrustJudge {
    let text = format!("version = 1\n[[host]]\nname = 'peer'\nek = '{}'\n", peer.host());
    TrustJudge::new(TrustPolicy::parse(&text, |_| Ok(Vec::new())).unwrap()).unwrap()
}

/// Runs a command that must succeed; answers what follows its header.
fn tpm(handle: &Handle, command: &[u8]) -> Vec<u8> {
    let mut command = command.to_vec();
    let size = u32::try_from(command.len()).unwrap().to_be_bytes();
    command[2..6].copy_from_slice(&size);
    let response = handle.execute(0, command);
    assert_eq!(response[6..10], [0; 4], "{:02x?}", &response[6..10]);
    response[10..].to_vec()
}

const EMPTY_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

fn with_password(code: u8, handle: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let head = [0x80, 2, 0, 0, 0, 0, 0, 0, 1, code];
    [&head[..], &handle, &EMPTY_PASSWORD, parameters].concat()
}

fn pcr_16(handle: &Handle) -> Vec<u8> {
    let read = [0x80, 1, 0, 0, 0, 0, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 1];
    let answer = tpm(handle, &read);
    answer[answer.len() - 32..].to_vec()
}

const SECRET: &[u8; 24] = b"sealed on the first host";

/// What a guest has in its TPM while it runs: a register, a sealed object, an open session.
struct Guest {
    register: Vec<u8>,
    object: [u8; 4],
    session: [u8; 4],
}

impl Guest {
    fn at_work(handle: &Handle) -> Self {
        let digest = [&[0, 0, 0, 1, 0, 0x0b][..], &[0x5a; 32]].concat();
        tpm(handle, &with_password(0x82, [0, 0, 0, 16], &digest));
        let sealed = [
            &[0, 4 + 24, 0, 0, 0, 24][..],
            SECRET,
            &[0, 14, 0, 8, 0, 0x0b, 0, 0, 0, 0x52, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let object = tpm(handle, &with_password(0x31, [0x40, 0, 0, 1], &sealed));
        let object: [u8; 4] = object[..4].try_into().unwrap();
        let session = [
            &[0x80, 1, 0, 0, 0, 0, 0, 0, 1, 0x76, 0x40, 0, 0, 7, 0x40, 0, 0, 7, 0, 16][..],
            &[7; 16],
            &[0, 0, 0, 0, 0x10, 0, 0x0b],
        ]
        .concat();
        let session: [u8; 4] = tpm(handle, &session)[..4].try_into().unwrap();
        let register = pcr_16(handle);
        assert_ne!(register, [0; 32]);
        Self { register, object, session }
    }

    fn goes_on(&self, there: &Handle) {
        assert_eq!(pcr_16(there), self.register);
        let unsealed = tpm(there, &with_password(0x5e, self.object, &[]));
        assert!(unsealed.windows(SECRET.len()).any(|window| window == SECRET));
        let flush = [&[0x80, 1, 0, 0, 0, 0, 0, 0, 1, 0x65][..], &self.session].concat();
        tpm(there, &flush);
    }
}

#[test]
fn a_running_vtpm_goes_on_on_the_other_host_with_its_registers_objects_and_sessions() {
    let (a, b) = (Side::new(), Side::new());
    let id = InstanceId([0x42; 16]);
    let handle = Instance::create(&a.place(), &a.anchor.key_source(), id, Profile::default())
        .unwrap()
        .start()
        .unwrap();
    handle.init().unwrap();
    tpm(&handle, &[0x80, 1, 0, 0, 0, 0, 0, 0, 1, 0x44, 0, 0]);
    let guest = Guest::at_work(&handle);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut judge_of_b = trusting(&a);
    let (anchor_of_b, place_of_b) = (b.anchor.clone(), b.place());
    let destination = thread::spawn(move || {
        let source = Box::new(anchor_of_b.key_source());
        let mut journal = Arriving::new(Box::new(place_of_b), source);
        let (mut chip, mut entropy) = (anchor_of_b, OsEntropy);
        let local = Local { chip: &mut chip, judge: &mut judge_of_b, entropy: &mut entropy };
        let mut host = DestinationHost { local, journal: &mut journal };
        let stream = listener.accept().unwrap().0;
        let Accepted::Offer(mut receiver, _) =
            Receiver::accept(stream, Options::default(), &mut host)
        else {
            panic!("refused")
        };
        receiver.prepare(&mut host).unwrap();
        let ending = receiver.finish(&mut host);
        assert_eq!(ending.outcome, Outcome::LivesHere, "{ending}");
        journal.take().unwrap().start().unwrap()
    });

    let mut journal = Leaving::new(handle.clone(), Box::new(a.anchor.key_source()));
    let (mut chip, mut judge, mut entropy) = (a.anchor.clone(), trusting(&b), OsEntropy);
    let departure = Departure {
        instance: vtpm_handover::InstanceId(id.0),
        request: RequestId::NONE,
        state_limit: 1 << 20,
    };
    let local = Local { chip: &mut chip, judge: &mut judge, entropy: &mut entropy };
    let mut host = SourceHost { local, journal: &mut journal };
    let stream = TcpStream::connect(address).unwrap();
    let mut sender = Sender::connect(stream, departure, Options::default(), &mut host).unwrap();
    let chips_before = (a.anchor.operations().total(), b.anchor.operations().total());
    let blackout = std::time::Instant::now();
    let state = journal.freeze().unwrap();
    let local = Local { chip: &mut chip, judge: &mut judge, entropy: &mut entropy };
    let mut host = SourceHost { local, journal: &mut journal };
    sender.deliver(&mut host, &state).unwrap();
    let ending = sender.commit(&mut host);
    println!("blackout of the vTPM: {:?}", blackout.elapsed());
    assert_eq!(ending.outcome, Outcome::Moved, "{ending}");
    let chips_after = (a.anchor.operations().total(), b.anchor.operations().total());
    assert_eq!(chips_before, chips_after, "no chip is asked in the blackout");

    let there = destination.join().unwrap();
    guest.goes_on(&there);
    // Nothing of it answers on the first host, whoever still has a handle.
    let answer = handle.execute(0, vec![0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]);
    assert_ne!(answer[6..10], [0; 4]);
    there.shutdown();
}
