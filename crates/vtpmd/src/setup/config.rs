//! A configuration, and the key that it names, for who has none yet.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use vtpm_store::source::KeyFile;

/// Makes `vtpmd.toml` and `state.key`. A key that is there is kept, always: states depend on it.
pub(crate) fn create(words: &[String]) -> Result<()> {
    let mut root = false;
    let mut skip = false;
    for word in words.iter().filter(|word| !word.is_empty()) {
        match word.as_str() {
            "root" => root = true,
            "skip-if-exist" => skip = true,
            "overwrite" => bail!("a configuration is not overwritten; remove it first"),
            other => bail!("--create-config-files: {other} is none of root, skip-if-exist"),
        }
    }
    let directory = directory(root)?;
    let (config, key) = (directory.join("vtpmd.toml"), directory.join("state.key"));
    if config.exists() {
        if skip {
            return Ok(());
        }
        bail!("{} is there already; remove it first, or add skip-if-exist", config.display());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    if !key.exists() {
        KeyFile::generate(&key)?;
        println!("made {}: keep a copy of it in a safe place", key.display());
    }
    write(&config, &key)?;
    println!("made {}", config.display());
    Ok(())
}

fn directory(root: bool) -> Result<PathBuf> {
    if root || nix::unistd::geteuid().is_root() {
        if !root {
            bail!("as root, say --create-config-files root: it makes /etc/vtpm");
        }
        return Ok("/etc/vtpm".into());
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    Ok(user.context("there is no HOME to put a configuration into")?.join("vtpm"))
}

fn write(config: &Path, key: &Path) -> Result<()> {
    let mut document = toml::Table::new();
    let mut state = toml::Table::new();
    state.insert("protection".into(), "key-file".into());
    state.insert("file".into(), key.display().to_string().into());
    document.insert("state".into(), state.into());
    let text = format!("# How vtpmd protects the state of TPMs at rest.\n{document}");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(config)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        // Somebody was faster.
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result.with_context(|| format!("cannot write {}", config.display())),
    }
}
