//! The same register accesses to our models and to QEMU's devices.
//!
//! The scripts of `scripts/` hold every value that a read has to find. They run on our models in
//! every test run, once more with the model saved and restored before each access, and on QEMU in
//! the tests that are ignored here, because they need `qemu-system-x86_64`:
//!
//!     cargo test -p vmm-device --test qemu -- --ignored

mod daemon;
mod machine;
mod ours;
mod qemu;
mod random;
mod script;
mod tpm;

use std::{collections::BTreeSet, fs, path::PathBuf};

use vmm_device::{
    crb::{Crb, InMemoryBuffer},
    tis::Tis,
};

use crate::{
    machine::Machine,
    ours::{Ours, Wire},
    qemu::Qemu,
    script::{Device, Script},
};

fn scripts(device: Device) -> Vec<(String, Script)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/qemu/scripts");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).unwrap();
        let script = script::parse(&text).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        (name, script)
    };
    files.into_iter().map(read).filter(|(_, script)| script.device == device).collect()
}

fn run(device: Device, machine: &mut dyn Machine) {
    let mut failures = Vec::new();
    for (name, script) in scripts(device) {
        let found = machine::run(&script, machine);
        failures.extend(found.into_iter().map(|failure| format!("{name}, {failure}")));
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_readme_lists_the_differences_that_the_scripts_show_and_no_others() {
    let all = [scripts(Device::Tis), scripts(Device::Crb)].concat();
    let lines = all.iter().flat_map(|(_, script)| &script.cases).flat_map(|case| &case.lines);
    let shown: BTreeSet<String> = lines.filter_map(|line| line.difference.clone()).collect();
    let readme = include_str!("../../README.md");
    let table = readme.lines().skip_while(|line| !line.starts_with("| row |")).skip(2);
    let rows = table.map_while(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    assert_eq!(shown, listed);
}

#[test]
fn our_tis_does_what_the_scripts_say() {
    run(Device::Tis, &mut Ours::<Tis<Wire>>::new());
}

#[test]
fn our_crb_does_what_the_scripts_say() {
    run(Device::Crb, &mut Ours::<Crb<InMemoryBuffer, Wire>>::new());
}

#[test]
fn our_tis_does_it_with_a_snapshot_before_each_access_too() {
    run(Device::Tis, &mut Ours::<Tis<Wire>>::restless());
}

#[test]
fn our_crb_does_it_with_a_snapshot_before_each_access_too() {
    run(Device::Crb, &mut Ours::<Crb<InMemoryBuffer, Wire>>::restless());
}

#[test]
#[ignore = "needs QEMU; scripts/stages/85-qtest runs it"]
fn qemu_s_tis_does_what_the_scripts_say() {
    run(Device::Tis, &mut Qemu::start(Device::Tis));
}

#[test]
#[ignore = "needs QEMU; scripts/stages/85-qtest runs it"]
fn qemu_s_crb_does_what_the_scripts_say() {
    run(Device::Crb, &mut Qemu::start(Device::Crb));
}
