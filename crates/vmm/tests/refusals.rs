//! What cannot boot is refused with a reason and exit status 1, and leaves nothing behind. None of
//! this needs KVM: it is found before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Offsets in a bzImage.
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const SETUP_SECTORS: usize = 0x1f1;
const LOAD_FLAGS: usize = 0x211;
const CODE32_START: usize = 0x214;
const XLOAD_FLAGS: usize = 0x236;
const PREFERRED: usize = 0x258;
const INIT_SIZE: usize = 0x260;

/// An image with the header of a bzImage that boots; what follows is not looked at.
fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 16 * 512];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(SETUP_SECTORS, &[4]);
    put(MAGIC, b"HdrS");
    put(VERSION, &0x020fu16.to_le_bytes());
    put(LOAD_FLAGS, &[1]);
    put(CODE32_START, &0x10_0000u32.to_le_bytes());
    put(XLOAD_FLAGS, &1u16.to_le_bytes());
    put(PREFERRED, &0x100_0000u64.to_le_bytes());
    put(INIT_SIZE, &0x10_0000u32.to_le_bytes());
    image
}

struct Case {
    folder: TempDir,
    kernel: PathBuf,
}

impl Case {
    fn new(image: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        fs::write(&kernel, image).unwrap();
        Self { folder, kernel }
    }

    fn run(&self, more: &[&str]) -> Output {
        let state = self.folder.path().join("tpm");
        let key = self.folder.path().join("key");
        Command::new(env!("CARGO_BIN_EXE_vmm"))
            .args(["run", "--serial", "none", "--kernel"])
            .arg(&self.kernel)
            .args(["--tpm-state".as_ref(), state.as_os_str()])
            .args(["--tpm-key".as_ref(), key.as_os_str()])
            .args(if more.contains(&"--memory") { [].as_slice() } else { &["--memory", "64"] })
            .args(more)
            .output()
            .unwrap()
    }

    /// What it says about `more`; nothing may be left beside the kernel and `files`.
    fn refused(&self, more: &[&str], files: &[&Path]) -> String {
        let output = self.run(more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("vmm: "), "{said}");
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let known = path == self.kernel || files.contains(&path.as_path());
            assert!(known, "{} was left behind", path.display());
        }
        said
    }
}

fn refused(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut image = bzimage();
    change(&mut image);
    Case::new(&image).refused(&[], &[])
}

#[test]
fn files_that_are_no_kernels_are_refused() {
    for image in [b"".as_slice(), b"#!/bin/sh\n", &[0; 4096], b"\x7fELF", b"\x7fELF\x02\x01\x01"] {
        Case::new(image).refused(&[], &[]);
    }
    assert!(refused(|image| image[MAGIC] = 0).contains("neither a bzImage nor an ELF file"));
}

#[test]
fn an_elf_file_with_a_wild_program_header_is_refused() {
    let mut image = vec![0; 64 + 56];
    image[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    image[16..20].copy_from_slice(&[2, 0, 62, 0]);
    image[24..32].copy_from_slice(&0x100_0000u64.to_le_bytes());
    image[32..40].copy_from_slice(&64u64.to_le_bytes());
    image[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
    image[64..72].copy_from_slice(&[1, 0, 0, 0, 7, 0, 0, 0]);
    assert!(Case::new(&image).refused(&[], &[]).contains("nothing to load"));
    image[88..96].copy_from_slice(&0x100_0000u64.to_le_bytes());
    image[96..104].copy_from_slice(&8u64.to_le_bytes());
    for at in [72, 88, 96] {
        let mut wild = image.clone();
        wild[at..at + 8].fill(0xff);
        Case::new(&wild).refused(&[], &[]);
    }
}

#[test]
fn a_kernel_without_a_64_bit_entry_is_refused() {
    assert!(refused(|image| image[XLOAD_FLAGS] = 0).contains("64-bit"));
}

#[test]
fn a_kernel_that_is_cut_off_is_refused() {
    refused(|image| image.truncate(0x240));
    refused(|image| image.truncate(1024));
    refused(|image| image[SETUP_SECTORS] = 0xff);
}

#[test]
fn a_kernel_that_needs_more_memory_is_refused_with_how_much() {
    let said = refused(|image| image[INIT_SIZE..INIT_SIZE + 4].fill(0xff));
    assert!(said.contains("MiB") && said.contains("--memory"), "{said}");
    refused(|image| image[PREFERRED..PREFERRED + 8].fill(0xff));
    refused(|image| image[CODE32_START..CODE32_START + 4].fill(0xff));
    refused(|image| image[CODE32_START..CODE32_START + 4].fill(0));
}

#[test]
fn initrds_that_are_missing_empty_or_too_large_are_refused() {
    let case = Case::new(&bzimage());
    let missing = case.folder.path().join("missing");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let said = case.refused(&["--initrd", &path(&missing)], &[]);
    assert!(said.contains("missing"), "{said}");
    let empty = case.folder.path().join("empty");
    fs::write(&empty, b"").unwrap();
    case.refused(&["--initrd", &path(&empty)], &[&empty]);
    let large = case.folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    let said = case.refused(&["--initrd", &path(&large)], &[&empty, &large]);
    assert!(said.contains("--memory"), "{said}");
}

#[test]
fn command_lines_that_are_too_long_or_no_text_are_refused() {
    let case = Case::new(&bzimage());
    assert!(case.refused(&["--cmdline", &"x".repeat(70_000)], &[]).contains("longer"));
    assert!(case.refused(&["--cmdline", &"x".repeat(3000)], &[]).contains("longer"));
    assert!(case.refused(&["--cmdline", "a\nb"], &[]).contains("printable"));
    assert!(case.refused(&["--cmdline", "\u{e9}"], &[]).contains("printable"));
}

#[test]
fn hardware_that_cannot_be_is_refused() {
    let case = Case::new(&bzimage());
    assert!(case.refused(&["--cpus", "0"], &[]).contains("--cpus"));
    assert!(case.refused(&["--cpus", "255"], &[]).contains("--cpus"));
    let mut many = Vec::new();
    for _ in 0..14 {
        many.extend(["--disk", "image"]);
    }
    assert!(case.refused(&many, &[]).contains("--disk"));
}

#[test]
fn wrong_usage_has_status_2() {
    let case = Case::new(&bzimage());
    for more in [
        ["--tpm", "1.2"].as_slice(),
        &["--serial", "somewhere"],
        &["--disk", ""],
        &["--net", "tap0,12:34"],
        &["--memory", "much"],
        &["--tpm-socket", "/nowhere"],
    ] {
        assert_eq!(case.run(more).status.code(), Some(2), "{more:?}");
    }
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let case = Case::new(b"not a snapshot, but long enough to have a header");
    let output = Command::new(env!("CARGO_BIN_EXE_vmm"))
        .args(["restore", "--serial", "none", "--from"])
        .arg(&case.kernel)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no snapshot"), "{said}");
}
