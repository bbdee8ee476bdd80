//! Commands to the control channel from the command line, as `swtpm_ioctl` has them.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the documentation of options is their help, whose brackets are no links"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use zeroize::Zeroizing;

use crate::protocol::{MAX_BLOB, SUCCESS};

/// A TPM that makes a key may keep the control channel waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of D-RTM data in one message.
const HASH_CHUNK: usize = 4096;

/// Options of `swtpm_ioctl`. Exactly one command is sent.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Ioctl {
    /// The control channel is a Unix socket.
    #[arg(long, value_name = "PATH", conflicts_with = "tcp")]
    unix: Option<PathBuf>,
    /// The control channel is at [HOST]:[PORT]; 127.0.0.1 and 6545 where nothing is said.
    #[arg(long, value_name = "[HOST]:[PORT]")]
    tcp: Option<String>,
    #[command(flatten)]
    what: What,
    /// Show this.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Show what the TPM's control channel can.
    #[arg(short = 'c')]
    capabilities: bool,
    /// Switch the TPM on, or reset it.
    #[arg(short = 'i')]
    init: bool,
    /// Switch the TPM off; the daemon goes on.
    #[arg(long)]
    stop: bool,
    /// Switch the TPM off and end the daemon.
    #[arg(short = 's')]
    shutdown: bool,
    /// Show the established bit.
    #[arg(short = 'e')]
    established: bool,
    /// Reset the established bit, from this locality.
    #[arg(short = 'r', value_name = "LOCALITY")]
    reset_established: Option<u8>,
    /// Store the running state, for the next start.
    #[arg(short = 'v')]
    store_volatile: bool,
    /// Give up the command that runs.
    #[arg(short = 'C')]
    cancel: bool,
    /// Set the locality of the commands to come, 0 to 4.
    #[arg(short = 'l', value_name = "LOCALITY")]
    locality: Option<u8>,
    /// Measure data as a dynamic launch does; - reads them from standard input.
    #[arg(short = 'h', value_name = "DATA")]
    hash: Option<String>,
    /// Write a state (volatile, permanent, savestate) to a file.
    #[arg(long, num_args = 2, value_names = ["KIND", "FILE"])]
    save: Option<Vec<String>>,
    /// Set a state (volatile, permanent, savestate) from a file.
    #[arg(long, num_args = 2, value_names = ["KIND", "FILE"])]
    load: Option<Vec<String>>,
    /// Show which keys are in use.
    #[arg(short = 'g')]
    config: bool,
    /// Set the largest size of a command; 0 asks only.
    #[arg(short = 'b', value_name = "BYTES")]
    buffer_size: Option<u32>,
    /// Show what the TPM is: 1 specification, 2 attributes, 4 features, and their sums.
    #[arg(long, value_name = "FLAGS")]
    info: Option<String>,
    /// Lock the state, trying so often.
    #[arg(long, value_name = "RETRIES")]
    lock_storage: Option<u32>,
}

impl Ioctl {
    /// Sends the command and prints what it answers.
    pub(crate) fn run(&self) -> Result<()> {
        let what = &self.what;
        if let Some(locality) = what.locality.or(what.reset_established) {
            ensure!(locality <= 4, "there are localities 0 to 4");
        }
        let mut link = self.connect()?;
        if let Some(data) = &what.hash {
            return link.hash(data);
        }
        if let Some([kind, file]) = what.save.as_deref() {
            return link.save(kind_of(kind)?, Path::new(file));
        }
        if let Some([kind, file]) = what.load.as_deref() {
            return link.load(kind_of(kind)?, Path::new(file));
        }
        if let Some(flags) = &what.info {
            return link.info(flags_of(flags)?);
        }
        self.simple(&mut link)
    }

    fn simple(&self, link: &mut Link) -> Result<()> {
        let what = &self.what;
        let simple = [
            (what.stop, 0x0e, "PTM_STOP"),
            (what.shutdown, 0x03, "PTM_SHUTDOWN"),
            (what.store_volatile, 0x0a, "PTM_STORE_VOLATILE"),
            (what.cancel, 0x09, "PTM_CANCEL_TPM_CMD"),
        ];
        if let Some((_, command, name)) = simple.iter().find(|(asked, ..)| *asked) {
            return link.ask(name, &[*command], 0).map(drop);
        }
        if what.init {
            return link.ask("PTM_INIT", &[0x02, 0], 0).map(drop);
        }
        if let Some(locality) = what.reset_established {
            let word = u32::from(locality) << 24;
            return link.ask("PTM_RESET_TPMESTABLISHED", &[0x0b, word], 0).map(drop);
        }
        if let Some(locality) = what.locality {
            let word = u32::from(locality) << 24;
            return link.ask("PTM_SET_LOCALITY", &[0x05, word], 0).map(drop);
        }
        if let Some(retries) = what.lock_storage {
            return link.ask("PTM_LOCK_STORAGE", &[0x13, retries], 0).map(drop);
        }
        if what.capabilities {
            let answer = link.ask("PTM_GET_CAPABILITY", &[0x01], 4)?;
            println!("ptm capability is {:#x}", word(&answer, 0)?);
        } else if what.established {
            let answer = link.ask("PTM_GET_TPMESTABLISHED", &[0x04], 4)?;
            println!("tpmEstablished is {}", word(&answer, 0)? >> 24);
        } else if what.config {
            let answer = link.ask("PTM_GET_CONFIG", &[0x0f], 4)?;
            println!("ptm configuration flags: {:#x}", word(&answer, 0)?);
        } else if let Some(size) = what.buffer_size {
            let answer = link.ask("PTM_SET_BUFFERSIZE", &[0x11, size], 12)?;
            println!("TPM buffersize: {}", word(&answer, 0)?);
            println!("minimum size  : {}", word(&answer, 4)?);
            println!("maximum size  : {}", word(&answer, 8)?);
        }
        Ok(())
    }

    fn connect(&self) -> Result<Link> {
        if let Some(path) = &self.unix {
            let stream = UnixStream::connect(path)
                .with_context(|| format!("cannot connect to {}", path.display()))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            return Ok(Link(Box::new(stream)));
        }
        let Some(address) = &self.tcp else { bail!("say where: --unix PATH or --tcp HOST:PORT") };
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let port = if port.is_empty() { "6545" } else { port };
        let port: u16 = port.parse().with_context(|| format!("{port} is no port"))?;
        let stream = TcpStream::connect((host, port))
            .with_context(|| format!("cannot connect to {host}:{port}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Link(Box::new(stream)))
    }
}

/// `TCP` port, and everything else that can be read and written.
trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// A connection to the control channel.
struct Link(Box<dyn Duplex>);

impl Link {
    /// Sends words; gives the `size` bytes that follow the result of success.
    fn ask(&mut self, name: &str, words: &[u32], size: usize) -> Result<Vec<u8>> {
        self.send(words, &[])?;
        self.result(name)?;
        self.receive(size)
    }

    fn send(&mut self, words: &[u32], data: &[u8]) -> Result<()> {
        let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(data);
        let message = Zeroizing::new(message);
        self.0.write_all(&message).context("the daemon went away")
    }

    fn receive(&mut self, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.0.read_exact(&mut bytes).context("no answer")?;
        Ok(bytes)
    }

    fn result(&mut self, name: &str) -> Result<()> {
        let result = word(&self.receive(4)?, 0)?;
        ensure!(result == SUCCESS, "TPM result from {name}: {result:#x}");
        Ok(())
    }

    fn hash(&mut self, data: &str) -> Result<()> {
        self.ask("PTM_HASH_START", &[0x06], 0)?;
        let mut input: Box<dyn Read> = match data {
            "-" => Box::new(std::io::stdin()),
            text => Box::new(text.as_bytes()),
        };
        let mut chunk = vec![0; HASH_CHUNK];
        loop {
            let size = input.read(&mut chunk).context("cannot read the data")?;
            let Some(part) = chunk.get(..size).filter(|part| !part.is_empty()) else { break };
            self.send(&[0x07, u32::try_from(size)?], part)?;
            self.result("PTM_HASH_DATA")?;
        }
        self.ask("PTM_HASH_END", &[0x08], 0).map(drop)
    }

    fn save(&mut self, kind: u32, file: &Path) -> Result<()> {
        self.send(&[0x0c, 1, kind, 0], &[])?;
        let head = self.receive(16)?;
        let result = word(&head, 0)?;
        // There never is a savestate of a TPM 2: an empty file, as swtpm writes it.
        let none = kind == KINDS.len() as u32 && result != SUCCESS;
        ensure!(none || result == SUCCESS, "TPM result from PTM_GET_STATEBLOB: {result:#x}");
        let size = word(&head, 12)? as usize;
        ensure!(size <= MAX_BLOB, "a state of {size} bytes is not believed");
        let blob = Zeroizing::new(if none { Vec::new() } else { self.receive(size)? });
        write_private(file, &blob).with_context(|| format!("cannot write {}", file.display()))
    }

    fn load(&mut self, kind: u32, file: &Path) -> Result<()> {
        let blob =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let blob = Zeroizing::new(blob);
        ensure!(blob.len() <= MAX_BLOB, "{} is too large for a state", file.display());
        // Ours and encrypted, or not: a file of the store says what it is.
        let flags = if blob.starts_with(b"VTPMSLOT") { 2 } else { 0 };
        self.send(&[0x0d, flags, kind, u32::try_from(blob.len())?], &blob)?;
        self.result("PTM_SET_STATEBLOB")
    }

    fn info(&mut self, flags: u64) -> Result<()> {
        let mut text = Vec::new();
        loop {
            let offset = u32::try_from(text.len())?;
            self.send(&[0x12, (flags >> 32) as u32, flags as u32, offset, 0], &[])?;
            self.result("PTM_GET_INFO")?;
            let head = self.receive(8)?;
            let (total, length) = (word(&head, 0)? as usize, word(&head, 4)? as usize);
            ensure!(length > 0 && total <= MAX_BLOB && length <= total, "an odd answer");
            text.extend(self.receive(length)?);
            if text.len() >= total {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text);
        println!("{}", text.trim_end_matches('\0'));
        Ok(())
    }
}

const KINDS: [&str; 3] = ["permanent", "volatile", "savestate"];

fn kind_of(name: &str) -> Result<u32> {
    let known = KINDS.iter().position(|kind| *kind == name);
    let known = known.with_context(|| format!("{name} is none of {}", KINDS.join(", ")))?;
    Ok(u32::try_from(known)?.saturating_add(1))
}

fn flags_of(text: &str) -> Result<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("--info: {text} is not a number"))
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    word.map(|word| u32::from_be_bytes(*word)).context("an answer that is too short")
}

fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(bytes)
}
