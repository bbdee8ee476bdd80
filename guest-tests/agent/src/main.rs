//! Runs inside a guest: uses its TPM, memory and disk without a pause, and proves on request that
//! nothing was lost, done twice or changed while the machine moved.
//!
//! ```text
//! guest-agent [--tpm /dev/tpm0] [--memory MIB] [--disk FILE] [--pause MS]
//! ```
//!
//! Each turn of its work is a PCR extension, an increment of an NV counter, a random number in an
//! HMAC session and a signature by a loaded key, each checked; a change to every page of its memory
//! and a block on its disk. It prints `agent: turn N` now and then. A line on its standard input
//! asks for more: `check` prints `agent: passed ...` or `agent: FAILED ...`, `quit` ends it.
//!
//! What it keeps in the TPM is not kept anywhere else: loaded keys, an HMAC session with rolling
//! nonces, a policy session that was satisfied once, a secret sealed to the measured boot.

mod load;
mod tpm;
mod wire;

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use p256::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier};
use sha2::{Digest, Sha256};

use crate::load::{Disk, Memory};
use crate::tpm::{Clock, Point, Session, Tpm};
use crate::wire::{Fault, Result};

const COUNTER: u32 = 0x0150_0017;

struct Options {
    tpm: String,
    memory_mib: usize,
    disk: Option<String>,
    pause: Duration,
}

fn options() -> Result<Options> {
    let mut options = Options {
        tpm: "/dev/tpm0".into(),
        memory_mib: 8,
        disk: None,
        pause: Duration::from_millis(20),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| Fault(format!("{option} needs a value")));
        let number =
            |text: String| text.parse().map_err(|_| Fault(format!("{text} is not a number")));
        match option.as_str() {
            "--tpm" => options.tpm = value()?,
            "--memory" => options.memory_mib = number(value()?)?,
            "--disk" => options.disk = Some(value()?),
            "--pause" => options.pause = Duration::from_millis(number(value()?)? as u64),
            other => return Err(Fault(format!("option {other} is not known"))),
        }
    }
    Ok(options)
}

/// What the agent keeps in the TPM, and what it knows of it.
struct Agent {
    tpm: Tpm,
    signing_key: u32,
    public: VerifyingKey,
    sealed: u32,
    secret: Vec<u8>,
    session: Session,
    policy: Session,
    /// What the scratch register must be.
    register: [u8; 32],
    /// What the counter must be.
    counter: u64,
    clock: Clock,
    turns: u64,
    memory: Memory,
    disk: Option<Disk>,
}

impl Agent {
    fn start(options: &Options) -> Result<Self> {
        let mut tpm = Tpm::open(&options.tpm)?;
        let parent = tpm.create_primary()?;
        let (signing_key, point) = tpm.create_signing_key(parent)?;
        let trial = tpm.start_session(3)?;
        tpm.policy_pcr(&trial)?;
        let digest = tpm.policy_digest(&trial)?;
        tpm.flush(trial.handle())?;
        let mut session = tpm.start_session(0)?;
        let secret = tpm.random_in(&mut session)?;
        let sealed = tpm.seal(parent, &digest, &secret)?;
        tpm.flush(parent)?;
        let policy = tpm.start_session(1)?;
        tpm.policy_pcr(&policy)?;
        tpm.define_counter(COUNTER)?;
        tpm.increment(COUNTER)?;
        let (counter, clock) = (tpm.read_counter(COUNTER)?, tpm.read_clock()?);
        let register = tpm.read_scratch()?;
        let register =
            register.try_into().map_err(|_| Fault("a register is not 32 bytes".into()))?;
        Ok(Self {
            tpm,
            signing_key,
            public: verifying_key(&point)?,
            sealed,
            secret,
            session,
            policy,
            register,
            counter,
            clock,
            turns: 0,
            memory: Memory::new(options.memory_mib),
            disk: options.disk.as_deref().map(Disk::open).transpose()?,
        })
    }

    fn turn(&mut self) -> Result<()> {
        self.turns += 1;
        let digest: [u8; 32] = Sha256::digest(self.turns.to_be_bytes()).into();
        self.tpm.extend(&digest)?;
        self.register =
            Sha256::new().chain_update(self.register).chain_update(digest).finalize().into();
        self.tpm.increment(COUNTER)?;
        self.counter += 1;
        self.tpm.random_in(&mut self.session)?;
        let signature = self.tpm.sign(self.signing_key, &digest)?;
        self.verify(&digest, &signature)?;
        self.memory.turn()?;
        self.disk.as_mut().map_or(Ok(()), |disk| disk.turn(self.turns))
    }

    fn verify(&self, digest: &[u8], (r, s): &Point) -> Result<()> {
        let wrong = |_| Fault("the loaded key's signature does not verify".into());
        let (r, s) = (scalar(r)?, scalar(s)?);
        let signature = Signature::from_scalars(r, s).map_err(wrong)?;
        self.public.verify_prehash(digest, &signature).map_err(wrong)
    }

    /// Compares everything with what it must be.
    fn check(&mut self) -> Result<String> {
        let register = self.tpm.read_scratch()?;
        must("the register is not what was extended", register == self.register)?;
        let counter = self.tpm.read_counter(COUNTER)?;
        must("the counter is not what was counted", counter == self.counter)?;
        let secret = self.tpm.unseal(self.sealed, self.policy.handle())?;
        must("the unsealed secret is another", secret == self.secret)?;
        // Using a policy session resets it.
        self.tpm.policy_pcr(&self.policy)?;
        let clock = self.tpm.read_clock()?;
        must("the TPM's clock went back", clock.clock >= self.clock.clock)?;
        must("the TPM's time went back", clock.time >= self.clock.time)?;
        let starts = (clock.resets, clock.restarts);
        must("the TPM was restarted", starts == (self.clock.resets, self.clock.restarts))?;
        self.clock = clock;
        self.memory.check()?;
        if let Some(disk) = &mut self.disk {
            disk.check()?;
        }
        Ok(format!(
            "{} turns; register, counter {counter}, open sessions, loaded key, sealed secret, \
             clock {} ms, memory{} as they must be",
            self.turns,
            clock.clock,
            if self.disk.is_some() { ", disk" } else { "" },
        ))
    }
}

fn must(otherwise: &str, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Fault(otherwise.into())) }
}

fn scalar(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut padded = [0; 32];
    let start = padded.len().checked_sub(bytes.len());
    let place = start.and_then(|start| padded.get_mut(start..));
    place.ok_or_else(|| Fault("a number is too long for P-256".into()))?.copy_from_slice(bytes);
    Ok(padded)
}

fn verifying_key((x, y): &Point) -> Result<VerifyingKey> {
    let mut encoded = vec![4];
    encoded.extend_from_slice(&scalar(x)?);
    encoded.extend_from_slice(&scalar(y)?);
    VerifyingKey::from_sec1_bytes(&encoded)
        .map_err(|_| Fault("the public key is not on its curve".into()))
}

/// Lines that somebody types on the console.
fn typed() -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if sender.send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

fn work(options: &Options) -> Result<()> {
    let mut agent = Agent::start(options)?;
    println!("agent: started");
    let lines = typed();
    loop {
        agent.turn()?;
        if agent.turns.is_multiple_of(50) {
            println!("agent: turn {}", agent.turns);
        }
        match lines.try_recv().as_deref() {
            Ok("check") => println!("agent: passed: {}", agent.check()?),
            Ok("quit") => return Ok(()),
            Ok("") | Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            Ok(other) => println!("agent: does not know '{other}'; say check or quit"),
        }
        thread::sleep(options.pause);
    }
}

fn main() -> ExitCode {
    match options().and_then(|options| work(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            println!("agent: FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}
