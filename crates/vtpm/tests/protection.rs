//! What protects a vTPM at rest: its chip, the host's state, and what the chip remembers.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::Host;
use vtpm_anchor::testing::{Fault, TestChip};
use vtpm_credential::certificate::SoftwareSigner;

/// A copy of a directory.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_copied_host_directory_does_not_open_on_another_chip() {
    let (host, other) = (Host::new(), Host::bare(TestChip::start()));
    let id = host.create();
    copy(&host.at("host"), &other.at("host"));
    let said = other.refused(&["start", &id, "--socket", &other.path("s")]);
    assert!(said.contains("is not the one that this host was set up with"), "{said}");
    assert!(said.contains("vtpm host recreate"), "{said}");

    // The state file alone, on a host with an identity of its own.
    let other = Host::new();
    other.create();
    std::fs::copy(host.state_file(&id), other.state_file(&id)).unwrap();
    let said = other.refused(&["start", &id, "--socket", &other.path("s")]);
    assert!(said.contains("was sealed by another TPM"), "{said}");
    host.start(&id, &[]).stop();
}

#[test]
fn after_the_chip_was_cleared_nothing_opens_until_a_backup_is_brought_back() {
    let host = Host::new();
    let id = host.create();
    let key = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
        .output()
        .unwrap();
    std::fs::write(host.at("recovery.key"), &key.stdout).unwrap();
    let public = Command::new("openssl")
        .args(["ec", "-pubout", "-in"])
        .arg(host.at("recovery.key"))
        .output()
        .unwrap();
    std::fs::write(host.at("recovery.pub"), &public.stdout).unwrap();
    let (backup, key) = (host.path("backup"), host.path("recovery.key"));
    host.ok(&["export", &id, "--to", &host.path("recovery.pub"), "--out", &backup]);

    host.chip.clear();
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("was cleared since"), "{said}");
    host.ok(&["host", "recreate", "--reason", "the board was repaired"]);
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("was sealed by another TPM"), "{said}");
    host.ok(&["destroy", &id, "--yes"]);
    let import = ["import", &id, "--from", &backup, "--key", &key, "--reason", "board repaired"];
    host.ok(&import);
    host.start(&id, &[]).stop();
    let said = host.ok(&["inspect", &id]);
    assert!(said.contains("imported from a backup") && said.contains("board repaired"), "{said}");
}

#[test]
fn under_other_pcrs_nothing_opens_unless_the_operator_approved_them() {
    let host = Host::bare(TestChip::start());
    let operator = SoftwareSigner::generate().unwrap();
    std::fs::write(host.at("policy.key"), operator.to_pem().unwrap()).unwrap();
    std::fs::write(host.at("policy.pub"), operator.public_pem().unwrap()).unwrap();
    let key = host.path("policy.key");
    let public = host.path("policy.pub");
    host.ok(&["host", "init", "--pcrs", "sha256:4,7", "--policy-key", &public]);
    host.ok(&["host", "bless", "--key", &key, "--note", "first boot"]);
    let id = host.create();
    host.start(&id, &[]).stop();

    // The next kernel's state is approved before it is booted.
    let next = vtpm_credential::tpm::HashAlg::Sha256.digest(&[&[0; 32], &[3; 32]]);
    let values = format!(
        "{{\"sha256\": {{\"4\": \"{}\", \"7\": \"{}\"}}}}",
        hex::encode(next),
        "0".repeat(64)
    );
    std::fs::write(host.at("next.json"), values).unwrap();
    let (next, approval) = (host.path("next.json"), host.path("approval.json"));
    let sign = ["host", "bless", "--key", &key, "--pcrs", "sha256:4,7", "--values", &next];
    host.ok(&[sign.as_slice(), &["--out", &approval]].concat());
    host.chip.extend(4, [3; 32]);
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("has not approved") && said.contains("vtpm host bless"), "{said}");
    host.ok(&["host", "bless", "--install", &approval]);
    host.start(&id, &[]).stop();
    host.chip.extend(7, [1; 32]);
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("has not approved"), "{said}");
}

#[test]
fn an_older_state_file_is_refused_and_accepting_it_leaves_a_record() {
    let host = Host::new();
    let id = host.create();
    let file = host.state_file(&id);
    let older = std::fs::read(&file).unwrap();
    let running = host.start(&id, &[]);
    running.change_state(1);
    running.stop();
    std::fs::write(&file, &older).unwrap();
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("older") || said.contains("generation"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), older, "a refused file is not changed");
    host.ok(&["recover", &id, "--reason", "the disk was restored on Sunday"]);
    let said = host.ok(&["inspect", &id]);
    assert!(said.contains("older state accepted"), "{said}");
    assert!(said.contains("the disk was restored on Sunday"), "{said}");
    host.start(&id, &[]).stop();

    // The table of generations, put back together with the file.
    let table = host.at("host/generations");
    let (old_file, old_table) = (std::fs::read(&file).unwrap(), std::fs::read(&table).unwrap());
    let running = host.start(&id, &[]);
    running.change_state(2);
    running.stop();
    std::fs::write(&file, old_file).unwrap();
    std::fs::write(&table, old_table).unwrap();
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("not the one that the TPM remembers"), "{said}");
    host.ok(&["recover", "--all", "--reason", "restored from tape"]);
    assert!(host.ok(&["host", "show"]).contains("restored from tape"));
    host.start(&id, &[]).stop();
}

#[test]
fn rekey_reseal_and_destroy_do_what_they_say() {
    let host = Host::new();
    let id = host.create();
    let before = std::fs::read(host.state_file(&id)).unwrap();
    host.ok(&["rekey", &id]);
    host.ok(&["reseal", &id]);
    host.start(&id, &[]).stop();
    assert!(host.ok(&["list"]).contains(&id));
    host.refused(&["destroy", &id]);
    host.ok(&["destroy", &id, "--yes"]);
    assert!(!host.state_file(&id).exists());
    std::fs::write(host.state_file(&id), before).unwrap();
    let said = host.refused(&["start", &id, "--socket", &host.path("s")]);
    assert!(said.contains("generation"), "a destroyed vTPM that is put back: {said}");
}

#[test]
fn a_slow_chip_delays_no_guest_command_and_a_commit_asks_nothing_of_it() {
    let host = Host::new();
    let id = host.create();
    let running = host.start(&id, &["--remember-every", "1"]);
    std::thread::sleep(Duration::from_millis(300));
    let before = host.chip.commands().len();
    running.change_state(1);
    assert_eq!(host.chip.commands().len(), before, "a commit sends nothing");
    host.chip.plan(0, Fault::Slow(Duration::from_secs(1)), u64::MAX);
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    let mut number = 2;
    while begun.elapsed() < Duration::from_secs(4) {
        let one = Instant::now();
        running.change_state(number);
        longest = longest.max(one.elapsed());
        number += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(host.chip.commands().len() > before, "the timer had the chip remember");
    assert!(longest < Duration::from_millis(900), "a guest waited {longest:?}");
    host.chip.heal();
    running.stop();
    host.start(&id, &[]).stop();
}

#[test]
fn a_chip_that_goes_away_while_a_vtpm_runs_costs_nothing() {
    let host = Host::new();
    let id = host.create();
    let running = host.start(&id, &["--remember-every", "1"]);
    host.chip.go_away();
    for number in 1..6 {
        running.change_state(number);
        std::thread::sleep(Duration::from_millis(300));
    }
    host.chip.heal();
    running.stop();
    let running = host.start(&id, &[]);
    // Index 5 is there: defining it again is TPM_RC_NV_DEFINED.
    let mut command = vec![0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x69, 0x01, 0x80, 0, 5];
    assert_eq!(running.send(&command)[6..10], [0; 4]);
    command[13] = 99;
    assert_ne!(running.send(&command)[6..10], [0; 4]);
    running.stop();
}

#[test]
fn a_chip_that_fails_at_any_command_of_a_start_loses_nothing_and_says_so() {
    let host = Host::new();
    let id = host.create();
    let before = host.chip.commands().len();
    host.start(&id, &[]).stop();
    let commands = (host.chip.commands().len() - before) as u64;
    for at in 0..commands {
        // TPM_RC_FAILURE for good from this command on: a broken chip.
        host.chip.plan(at, Fault::Answer(0x101), u64::MAX);
        let socket = host.path("broken");
        let mut child = host
            .command(&["start", &id, "--socket", &socket])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut first = [0; 1];
        if out.read(&mut first).unwrap() == 1 {
            // It runs; the chip fails at its stop.
            assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        host.chip.heal();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || said.contains("0x101"), "at {at}: {said}");
    }
    host.start(&id, &[]).stop();
}

#[test]
fn operations_are_counted_and_told() {
    let host = Host::new();
    let told = |arguments: &[&str]| {
        let output = host.run(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = told(&["--operations", "create"]);
    assert!(said.contains("create: ") && said.contains("TPM commands"), "{said}");
    println!("{said}");
    let id = host.ok(&["list"]).split_whitespace().next().unwrap().to_owned();
    let running = host.start(&id, &["--operations", "-v"]);
    running.change_state(1);
    let said = running.stop();
    assert!(said.contains("start: ") && said.contains("stop: "), "{said}");
    println!("{said}");
}
