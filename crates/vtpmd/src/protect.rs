//! How the state is protected at rest: what the command line says, else the environment, else the
//! configuration file. Nothing is ever kept unencrypted because nobody said anything.
//!
//! ```toml
//! # /etc/vtpm/vtpmd.toml, or $XDG_CONFIG_HOME/vtpm/vtpmd.toml, or what VTPMD_CONFIG names
//! [state]
//! protection = "key-file"      # or "passphrase-file", "unencrypted"
//! file = "/etc/vtpm/state.key" # not with "unencrypted"
//! ```
//!
//! The environment variable `VTPMD_STATE` says the same in one word: `unencrypted`,
//! `key-file:PATH`, `passphrase-file:PATH`.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use vtpm_store::Key;
use vtpm_store::source::{Cost, KeyFile, Passphrase, Plain};
use zeroize::Zeroizing;

use crate::options::pairs::Pairs;
use crate::options::sink::descriptor_path;
use crate::tpm::Source;

const SYSTEM_CONFIG: &str = "/etc/vtpm/vtpmd.toml";
/// Longest key or passphrase file, in bytes.
const KEY_MAX: u64 = 4096;

/// How the state is protected at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Asked for by name: not at all.
    Unencrypted,
    /// By a key or a passphrase.
    Keys(Keys),
}

/// A key or a passphrase, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A key: 256 bits, or 128 as swtpm takes them.
    Key { path: PathBuf, remove: bool },
    /// A passphrase.
    Passphrase { path: PathBuf, remove: bool },
}

impl Protection {
    /// What was said on the command line, or else is configured.
    pub(crate) fn choose(keys: Option<Keys>, unencrypted: bool) -> Result<Self> {
        match (keys, unencrypted) {
            (Some(_), true) => bail!("a key and --unencrypted contradict each other"),
            (Some(keys), false) => Ok(Self::Keys(keys)),
            (None, true) => Ok(Self::Unencrypted),
            (None, false) => Self::configured(),
        }
    }

    fn configured() -> Result<Self> {
        if let Some(word) = std::env::var_os("VTPMD_STATE") {
            let word = word.to_str().context("VTPMD_STATE is not text")?;
            return Self::of_word(word).context("VTPMD_STATE");
        }
        for path in config_paths() {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    return Self::of_config(&text)
                        .with_context(|| format!("the configuration {}", path.display()));
                }
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => {
                    return Err(cause).with_context(|| format!("cannot read {}", path.display()));
                }
            }
        }
        bail!(
            "say how the state is to be protected: --key file=PATH or --key pwdfile=PATH, or \
             --unencrypted before the command; where a caller such as libvirt or QEMU chooses the \
             command line, say it in {SYSTEM_CONFIG} ([state] protection = \"key-file\", file = \
             \"PATH\", or protection = \"unencrypted\"), or in VTPMD_STATE"
        );
    }

    fn of_word(word: &str) -> Result<Self> {
        let (name, path) = word.split_once(':').map_or((word, None), |(a, b)| (a, Some(b)));
        Self::named(name, path.map(PathBuf::from))
    }

    fn of_config(text: &str) -> Result<Self> {
        let Config { state } = toml::from_str(text)?;
        Self::named(&state.protection, state.file)
    }

    fn named(name: &str, path: Option<PathBuf>) -> Result<Self> {
        match (name, path) {
            ("unencrypted", None) => Ok(Self::Unencrypted),
            ("key-file", Some(path)) => Ok(Self::Keys(Keys::Key { path, remove: false })),
            ("passphrase-file", Some(path)) => {
                Ok(Self::Keys(Keys::Passphrase { path, remove: false }))
            }
            ("unencrypted", Some(_)) => bail!("\"unencrypted\" goes with no file"),
            ("key-file" | "passphrase-file", None) => bail!("\"{name}\" needs a file"),
            _ => bail!("\"{name}\" is not known; use key-file, passphrase-file or unencrypted"),
        }
    }

    /// Whether anything protects the state.
    pub(crate) fn encrypts(&self) -> bool {
        *self != Self::Unencrypted
    }

    /// Reads what is needed; files of keys are not looked at again.
    pub(crate) fn source(&self) -> Result<Source> {
        match self {
            Self::Unencrypted => Ok(Box::new(Plain::unencrypted())),
            Self::Keys(keys) => keys.source(),
        }
    }
}

impl Keys {
    /// `--key` and `--migration-key`.
    pub(crate) fn of_pairs(option: &str, pairs: &Pairs) -> Result<Self> {
        let known = ["file", "fd", "pwdfile", "pwdfd", "mode", "format", "kdf", "remove"];
        pairs.only(option, &known)?;
        let modes = ["aes-cbc", "aes-128-cbc", "aes-256-cbc"];
        if let Some(mode) = pairs.get("mode") {
            ensure!(modes.contains(&mode), "--{option}: mode={mode} is not known");
        }
        let remove = matches!(pairs.get("remove"), Some("true" | "1" | "yes" | ""));
        let descriptor = |name| -> Result<Option<PathBuf>> {
            Ok(pairs.number(option, name)?.map(descriptor_path))
        };
        let named = |name| pairs.get(name).map(PathBuf::from);
        let keys = [named("file"), descriptor("fd")?];
        let phrases = [named("pwdfile"), descriptor("pwdfd")?];
        match (keys, phrases) {
            ([Some(path), None] | [None, Some(path)], [None, None]) => {
                Ok(Self::Key { path, remove })
            }
            ([None, None], [Some(path), None] | [None, Some(path)]) => {
                Ok(Self::Passphrase { path, remove })
            }
            _ => bail!("--{option} needs one of file=, fd=, pwdfile= and pwdfd="),
        }
    }

    fn source(&self) -> Result<Source> {
        let (source, path, remove): (Source, _, _) = match self {
            Self::Key { path, remove } => (key_source(&read_secret(path)?, path)?, path, remove),
            Self::Passphrase { path, remove } => {
                let mut phrase = read_secret(path)?;
                trim_line_end(&mut phrase);
                (Box::new(Passphrase::new(phrase)?), path, remove)
            }
        };
        if *remove {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(source)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    state: StateConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateConfig {
    protection: String,
    file: Option<PathBuf>,
}

/// Where a configuration may be, in the order in which it is looked for.
fn config_paths() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("VTPMD_CONFIG") {
        return vec![path.into()];
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let user = user.map(|directory| directory.join("vtpm/vtpmd.toml"));
    user.into_iter().chain([PathBuf::from(SYSTEM_CONFIG)]).collect()
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let failed = || format!("cannot read the key in {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let metadata = file.metadata().with_context(failed)?;
    // Whoever hands a descriptor over has seen to it.
    let inherited = path.starts_with("/proc/self/fd");
    ensure!(
        inherited || !metadata.is_file() || metadata.mode() & 0o077 == 0,
        "the key in {} is open to others than its owner; make it private (chmod 600), and replace \
         it if others may have read it",
        path.display()
    );
    // Enough for all of it, so that no copy is left behind by growth.
    let mut secret = Zeroizing::new(Vec::with_capacity(KEY_MAX as usize + 1));
    file.take(KEY_MAX).read_to_end(&mut secret).with_context(failed)?;
    Ok(secret)
}

fn trim_line_end(secret: &mut Vec<u8>) {
    let end = secret.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n' | 0));
    secret.truncate(end.map_or(0, |last| last.saturating_add(1)));
}

/// The source for a key as it lies in a file: raw, or hexadecimal digits.
fn key_source(secret: &Zeroizing<Vec<u8>>, path: &Path) -> Result<Source> {
    let mut text = secret.clone();
    trim_line_end(&mut text);
    let key = match hexadecimal(text.strip_prefix(b"0x").unwrap_or(&text)) {
        Some(key) => key,
        None => secret.clone(),
    };
    if let Ok(mut key) = <[u8; 32]>::try_from(key.as_slice()) {
        return Ok(Box::new(KeyFile::from_key(Key::take(&mut key))));
    }
    ensure!(
        key.len() == 16,
        "{} does not hold a key: it must be 64 hexadecimal digits or 32 raw bytes; 128 bits are \
         taken, too",
        path.display()
    );
    // Nothing to stretch: as random as it is short.
    let cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };
    Ok(Box::new(Passphrase::with_cost(key, cost)?))
}

fn hexadecimal(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_the_protection() {
        let plain = Protection::of_config("[state]\nprotection = \"unencrypted\"").unwrap();
        assert_eq!(plain, Protection::Unencrypted);
        let text = "[state]\nprotection = \"key-file\"\nfile = \"/k\"";
        let keys = Keys::Key { path: "/k".into(), remove: false };
        assert_eq!(Protection::of_config(text).unwrap(), Protection::Keys(keys.clone()));
        assert_eq!(Protection::of_word("key-file:/k").unwrap(), Protection::Keys(keys));
        for wrong in [
            "",
            "[state]",
            "[state]\nprotection = \"none\"",
            "[state]\nprotection = \"key-file\"",
            "[state]\nprotection = \"unencrypted\"\nfile = \"/k\"",
            "[state]\nprotection = \"unencrypted\"\ncolour = 3",
        ] {
            assert!(Protection::of_config(wrong).is_err(), "{wrong}");
        }
        assert!(Protection::of_word("plain").is_err());
    }

    #[test]
    fn a_key_is_hexadecimal_or_raw_of_128_or_256_bits() {
        let kind = |text: &[u8]| {
            let source = key_source(&Zeroizing::new(text.to_vec()), Path::new("/k"));
            source.map(|source| source.kind().to_owned()).ok()
        };
        assert_eq!(kind(&[b'a'; 64]).as_deref(), Some("key-file"));
        assert_eq!(kind(&[b"0x", &[b'F'; 64][..], b"\n"].concat()).as_deref(), Some("key-file"));
        assert_eq!(kind(&[0xff; 32]).as_deref(), Some("key-file"));
        assert_eq!(kind(&[b'1'; 32]).as_deref(), Some("passphrase"), "128 bits");
        assert_eq!(kind(&[0xff; 16]).as_deref(), Some("passphrase"));
        assert_eq!(kind(&[b'a'; 63]), None);
        assert_eq!(kind(b""), None);
    }
}
