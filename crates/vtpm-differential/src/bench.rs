//! Latencies of the engine and of swtpm, side by side, and the memory of an idle instance.
//!
//! Every command goes to all targets in turn, so that what else the machine does meets all alike.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vtpm_engine::{Profile, Tpm};

use crate::cc;
use crate::crypto::Hash;
use crate::sides::{Side, Swtpm, connect, manufacture, read_response};
use crate::step::{Command, cmd};
use crate::templates::*;

/// Runs a command and gives its response.
type Run = dyn FnMut(&[u8]) -> Result<Vec<u8>>;

/// A TPM whose commands are timed.
struct Target {
    name: String,
    run: Box<Run>,
}

const INDEX: u32 = 0x0180_0100;

/// An idle instance may take no more memory.
const MAX_IDLE_BYTES: u64 = 256 * 1024;

/// Bytes of a command that needs nothing of earlier ones.
fn bytes(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    let literal = |pieces: &[crate::step::Piece], out: &mut Vec<u8>| {
        for piece in pieces {
            if let crate::step::Piece::Lit(bytes) = piece {
                out.extend_from_slice(bytes);
            }
        }
    };
    let tag: u16 = if command.auths.is_empty() { 0x8001 } else { 0x8002 };
    out.extend(tag.to_be_bytes());
    out.extend([0; 4]);
    out.extend(command.code.to_be_bytes());
    command.handles.iter().for_each(|handle| literal(handle, &mut out));
    if !command.auths.is_empty() {
        out.extend((9 * command.auths.len() as u32).to_be_bytes());
        command.auths.iter().for_each(|_| out.extend([0x40, 0, 0, 9, 0, 0, 1, 0, 0]));
    }
    literal(&command.params, &mut out);
    let size = (out.len() as u32).to_be_bytes();
    out[2..6].copy_from_slice(&size);
    out
}

/// What is prepared: ECC attestation key 80000000, P-256 80000001, RSA-2048 80000002, and NV.
fn preparation() -> Vec<Command> {
    let restricted = FIXED_TPM | FIXED_PARENT | ORIGIN | USER_WITH_AUTH | NO_DA | SIGN | RESTRICTED;
    let ecdsa = scheme(ECDSA, Hash::Sha256);
    vec![
        cmd(cc::STARTUP).u16(0),
        primary(OWNER, b"", &ecc(restricted, NONE, &ecdsa)),
        p256_key(USER_WITH_AUTH | SIGN, &ecdsa, b""),
        rsa_key(USER_WITH_AUTH | SIGN, &scheme(RSASSA, Hash::Sha256), b""),
        cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([]).b2(nv(INDEX, 0x0202_0002, 256)),
        cmd(cc::NV_WRITE).h(OWNER).h(INDEX).pw().b2([7; 256]).u16(0),
        cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2([]).b2(nv(INDEX + 1, 0x0202_0012, 8)),
    ]
}

fn nv(index: u32, attributes: u32, size: u16) -> Vec<u8> {
    let head = [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0]].concat();
    [&head[..], &size.to_be_bytes()].concat()
}

/// Name, command, and whether a transient object must be flushed afterwards.
fn operations() -> Vec<(&'static str, Command, bool)> {
    let sign = |handle: u32| {
        let no_ticket = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
        cmd(cc::SIGN).h(handle).pw().b2([1; 32]).b(NONE).b(no_ticket)
    };
    let quote = cmd(cc::QUOTE).h(0x8000_0000).pw().b2(b"nonce").b(NONE);
    vec![
        ("GetRandom 32", cmd(cc::GET_RANDOM).u16(32), false),
        ("PCR_Read 8", cmd(cc::PCR_READ).b(pcrs(Hash::Sha256, [0xff, 0, 0])), false),
        ("PCR_Extend", cmd(cc::PCR_EXTEND).h(16).pw().u32(1).u16(0xb).b([3; 32]), false),
        ("Hash 1 KiB", cmd(cc::HASH).b2([5; 1024]).u16(0xb).u32(NULL), false),
        ("NV_Read 256", cmd(cc::NV_READ).h(OWNER).h(INDEX).pw().u16(256).u16(0), false),
        ("NV_Increment", cmd(cc::NV_INCREMENT).h(OWNER).h(INDEX + 1).pw(), false),
        ("Sign ECDSA P-256", sign(0x8000_0001), false),
        ("Quote ECC P-256", quote.b(pcrs(Hash::Sha256, [0xff, 0, 0])), false),
        ("Sign RSA-2048", sign(0x8000_0002), false),
        ("CreatePrimary ECC", primary(OWNER, b"", &ecc(STORAGE, AES128, NONE)), true),
    ]
}

fn execute(target: &mut Target, command: &[u8]) -> Result<Vec<u8>> {
    for _ in 0..50 {
        let response = (target.run)(command)?;
        match response.get(6..10) {
            Some([0, 0, 0, 0]) => return Ok(response),
            // swtpm tests the algorithm first.
            Some([0, 0, 9, 0x22 | 0x0a]) => {}
            code => anyhow::bail!("{} answers {code:02x?} to {command:02x?}", target.name),
        }
    }
    anyhow::bail!("{} never answers", target.name)
}

fn over_stream(name: &str, mut stream: UnixStream) -> Target {
    let run = move |command: &[u8]| {
        stream.write_all(command)?;
        read_response(&mut stream)
    };
    Target { name: name.to_owned(), run: Box::new(run) }
}

/// The engine behind a socket with swtpm's framing, in a thread that ends with its client.
fn serve(folder: &Path) -> Result<UnixStream> {
    let path = folder.join("engine");
    let listener = UnixListener::bind(&path)?;
    let mut tpm = manufacture(Profile::default())?;
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut response = Vec::new();
        let mut command = [0; 4096];
        let mut filled = 0;
        // One read takes a whole command, as swtpm's does.
        while let Ok(count @ 1..) = stream.read(&mut command[filled..]) {
            filled += count;
            let [_, _, size @ ..] = command;
            let size = size.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
            if filled < size.clamp(10, 4096) {
                continue;
            }
            filled = 0;
            tpm.execute(0, &command[..size.clamp(10, 4096)], &mut response);
            if stream.write_all(&response).is_err() {
                return;
            }
        }
    });
    connect(&path)
}

fn in_process() -> Result<Target> {
    let mut tpm = manufacture(Profile::default())?;
    let run = move |command: &[u8]| {
        let mut response = Vec::new();
        tpm.execute(0, command, &mut response);
        Ok(response)
    };
    Ok(Target { name: "engine, in process".to_owned(), run: Box::new(run) })
}

/// Measures; `daemon` is the socket of one more server with the same framing, already initialized.
pub(crate) fn latency(rounds: usize, daemon: Option<&Path>) -> Result<()> {
    ensure!(rounds > 0, "at least one round");
    let folder = tempfile::tempdir()?;
    let mut swtpm = Swtpm::start()?;
    swtpm.init()?;
    let run = move |command: &[u8]| swtpm.execute(0, command);
    let mut targets = vec![
        Target { name: "swtpm".to_owned(), run: Box::new(run) },
        over_stream("engine, socket", serve(folder.path())?),
        in_process()?,
    ];
    if let Some(path) = daemon {
        let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        targets.push(over_stream("daemon", stream));
    }
    for target in &mut targets {
        for command in preparation() {
            if command.code == cc::STARTUP {
                // A daemon may have started already.
                (target.run)(&bytes(&command))?;
                continue;
            }
            execute(target, &bytes(&command))?;
        }
        // Room for what the benchmark itself creates.
        let flush = bytes(&cmd(cc::FLUSH_CONTEXT).u32(0x8000_0002));
        for (_, command, creates) in operations() {
            if creates {
                execute(target, &flush)?;
            }
            execute(target, &bytes(&command))?;
            if creates {
                execute(target, &flush)?;
                let key = rsa_key(USER_WITH_AUTH | SIGN, &scheme(RSASSA, Hash::Sha256), b"");
                execute(target, &bytes(&key))?;
            }
        }
    }
    print!("{:20}", "median");
    targets.iter().for_each(|target| print!("{:>24}", target.name));
    println!("{:>16}", "swtpm/engine");
    for (name, command, creates) in operations() {
        let medians = measure(&mut targets, &bytes(&command), creates, rounds)?;
        print!("{name:20}");
        medians.iter().for_each(|median| print!("{:>21.1} us", median.as_secs_f64() * 1e6));
        println!("{:>16.1}", medians[0].as_secs_f64() / medians[1].as_secs_f64());
    }
    Ok(())
}

fn measure(
    targets: &mut [Target],
    command: &[u8],
    creates: bool,
    rounds: usize,
) -> Result<Vec<Duration>> {
    let flush = bytes(&cmd(cc::FLUSH_CONTEXT).u32(0x8000_0002));
    let mut times = vec![Vec::with_capacity(rounds); targets.len()];
    if creates {
        for target in &mut *targets {
            execute(target, &flush)?;
        }
    }
    for _ in 0..rounds {
        for (target, times) in targets.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            let response = (target.run)(command)?;
            times.push(begun.elapsed());
            ensure!(response.get(6..10) == Some(&[0; 4]), "{} fails", target.name);
            if creates {
                execute(target, &flush)?;
            }
        }
    }
    if creates {
        let key = rsa_key(USER_WITH_AUTH | SIGN, &scheme(RSASSA, Hash::Sha256), b"");
        for target in &mut *targets {
            execute(target, &bytes(&key))?;
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        })
        .collect())
}

/// The resident memory of `count` idle instances that were started.
pub(crate) fn memory(count: usize) -> Result<()> {
    ensure!(count > 0, "at least one instance");
    let resident = || -> Result<u64> {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let pages = statm.split_whitespace().nth(1).context("the second number of statm")?;
        Ok(pages.parse::<u64>()? * 4096)
    };
    let startup = bytes(&cmd(cc::STARTUP).u16(0));
    let start = || -> Result<Tpm> {
        let mut tpm = manufacture(Profile::default())?;
        tpm.execute(0, &startup, &mut Vec::new());
        Ok(tpm)
    };
    // What is allocated once for all is not counted.
    let first = start()?;
    let before = resident()?;
    let begun = Instant::now();
    let instances = (0..count).map(|_| start()).collect::<Result<Vec<Tpm>>>()?;
    let elapsed = begun.elapsed();
    let bytes = resident()?.saturating_sub(before) / count as u64;
    println!(
        "{count} idle instances: {bytes} bytes each, {:?} to start one",
        elapsed / count as u32
    );
    drop((first, instances));
    ensure!(bytes < MAX_IDLE_BYTES, "that is more than the {MAX_IDLE_BYTES} bytes allowed");
    Ok(())
}
