//! The life of the process and of the state: power cycles, crashes, moves, signals.

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Control, Daemon, Data, Home, PATIENCE, pcr_extend, pcr_read, startup};
use rustix::process::Signal;

#[test]
fn a_power_cycle_keeps_nv_and_loses_loaded_objects() {
    let home = Home::new();
    let _daemon = home.start_up();
    let (mut control, mut data) = (home.control(), home.data());
    data.define_index(8);
    data.write_index(b"keep me!");
    let key = data.create_key();
    assert_eq!(data.read_public(key), 0);
    for init in [0, 1] {
        assert_eq!(control.result(&[0x0e], b""), 0);
        assert_eq!(data.run(&startup(0)), 0x101);
        assert_eq!(control.result(&[0x02, init], b""), 0);
        data.start_up();
        assert_eq!(data.read_index(8), b"keep me!");
        assert_ne!(data.read_public(key), 0);
    }
}

#[test]
fn init_while_running_is_a_power_cycle_too() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut data = home.data();
    let key = data.create_key();
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    data.start_up();
    assert_ne!(data.read_public(key), 0);
}

#[test]
fn another_process_finds_the_state_of_the_last() {
    let home = Home::new();
    let daemon = home.start_up();
    home.data().define_index(4);
    home.data().write_index(b"here");
    assert_eq!(home.control().result(&[0x03], b""), 0);
    assert!(daemon.end().success());
    let _daemon = home.start_up();
    assert_eq!(home.data().read_index(4), b"here");
}

#[test]
fn two_processes_do_not_share_a_state() {
    let home = Home::new();
    let _daemon = home.start_up();
    let output = home.command(&["-p", "1"]).stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("in use"), "{message}");
}

#[test]
fn a_running_tpm_moves_to_another_process() {
    let (here, there) = (Home::new(), Home::new());
    let _source = here.start_up();
    let mut data = here.data();
    data.define_index(4);
    data.write_index(b"move");
    assert_eq!(data.run(&pcr_extend(16, &[7; 32])), 0);
    let (key, pcr) = (data.create_key(), data.send(&pcr_read(16)));
    let mut control = here.control();
    let (permanent, running) = (control.blob(1, 0), control.blob(2, 0));

    let _destination = there.start(&[]);
    let mut control = there.control();
    assert_eq!(control.result(&[0x0e], b""), 0);
    assert_eq!(control.set_blob(1, &permanent), 0);
    assert_eq!(control.set_blob(2, &running), 0);
    assert_eq!(control.result(&[0x02, 1], b""), 0);
    let mut moved = there.data();
    assert_eq!(moved.run(&startup(0)), 0x100, "it runs already");
    assert_eq!(moved.read_index(4), b"move");
    assert_eq!(moved.read_public(key), 0);
    assert_eq!(moved.send(&pcr_read(16)), pcr);
    // The move may fail on the way, so the source goes on.
    assert_eq!(here.control().result(&[0x13, 300], b""), 0);
    assert_eq!(data.read_index(4), b"move");
}

#[test]
fn a_state_that_was_moved_is_durable_there() {
    let (here, there) = (Home::new(), Home::new());
    let _source = here.start_up();
    here.data().define_index(4);
    here.data().write_index(b"move");
    let permanent = here.control().blob(1, 0);
    let destination = there.start_up();
    let mut control = there.control();
    assert_eq!(control.set_blob(1, &permanent), 0x0a, "it runs");
    assert_eq!(control.result(&[0x0e], b""), 0);
    assert_eq!(control.set_blob(1, &permanent[..permanent.len() - 1]), 3);
    assert_eq!(control.set_blob(1, &permanent), 0);
    assert_eq!(control.result(&[0x02, 0], b""), 0);
    destination.crash();
    let _destination = there.start_up();
    assert_eq!(there.data().read_index(4), b"move");
}

#[test]
fn a_stored_running_state_is_used_by_the_next_process() {
    let home = Home::new();
    let daemon = home.start_up();
    let key = home.data().create_key();
    assert_eq!(home.control().result(&[0x0a], b""), 0);
    daemon.crash();
    let _daemon = home.start_initialized();
    assert_eq!(home.data().read_public(key), 0);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    assert_ne!(home.data().read_public(key), 0, "it was used once");
}

#[test]
fn a_stored_running_state_is_forgotten_when_the_tpm_goes_on() {
    let home = Home::new();
    let daemon = home.start_up();
    home.data().define_index(4);
    home.data().write_index(b"old!");
    assert_eq!(home.control().result(&[0x0a], b""), 0);
    home.data().write_index(b"new!");
    daemon.crash();
    let _daemon = home.start_up();
    assert_eq!(home.data().read_index(4), b"new!");
}

#[test]
fn a_signal_ends_the_process_cleanly_and_leaves_no_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let pid = home.0.path().join("pid");
        let daemon = home.start(&["--pid", &format!("file={}", pid.display())]);
        // Written once the sockets are there.
        let (wanted, begun) = (format!("{}\n", daemon.0.id()), Instant::now());
        while fs::read_to_string(&pid).is_ok_and(|text| text != wanted) || !pid.exists() {
            assert!(begun.elapsed() < PATIENCE, "no process id");
            std::thread::sleep(Duration::from_millis(2));
        }
        daemon.signal(signal);
        let status = daemon.end();
        assert!(status.success(), "{status:?}, signal {:?}", status.signal());
        assert!(!home.control_path().exists() && !home.data_path().exists() && !pid.exists());
    }
}

#[test]
fn a_socket_that_a_crash_left_is_replaced() {
    let home = Home::new();
    home.start_up().crash();
    assert!(home.control_path().exists());
    let _daemon = home.start_up();
}

#[test]
fn terminate_ends_the_process_with_its_last_data_connection() {
    let home = Home::new();
    let path = format!("type=unixio,path={}", home.data_path().display());
    let command = ["--terminate", "--server", &path];
    let mut daemon = Daemon(home.command(&command).spawn().unwrap());
    let begun = Instant::now();
    let first = loop {
        if let Ok(stream) = UnixStream::connect(home.data_path()) {
            break stream;
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut first = Data(first);
    first.start_up();
    assert_eq!(daemon.0.try_wait().unwrap(), None);
    drop(first);
    assert!(daemon.end().success());
}

#[test]
fn terminate_does_not_count_control_connections() {
    let home = Home::new();
    let control = format!("type=unixio,path={}", home.control_path().display());
    let mut daemon = Daemon(home.command(&["--terminate", "--ctrl", &control]).spawn().unwrap());
    daemon.wait_for(&home.control_path());
    drop(home.control());
    assert_eq!(home.control().result(&[0x0e], b""), 0);
    assert_eq!(home.control().result(&[0x03], b""), 0);
    assert!(daemon.end().success());
}

#[test]
fn the_log_goes_to_a_file() {
    let home = Home::new();
    let log = home.0.path().join("log");
    fs::write(&log, "earlier\n").unwrap();
    let daemon = home.start(&["--log", &format!("file={}", log.display())]);
    daemon.signal(Signal::TERM);
    assert!(daemon.end().success());
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.starts_with("earlier\n") && text.contains("ready") && text.contains("ending"),
        "{text}"
    );
    let daemon = home.start(&["--log", &format!("file={},truncate", log.display())]);
    drop(daemon);
    assert!(!fs::read_to_string(&log).unwrap().contains("earlier"));
}

#[test]
fn flags_start_the_tpm_up() {
    let home = Home::new();
    let _daemon = home.start(&["--flags", "not-need-init,startup-clear"]);
    assert_eq!(home.data().run(&common::get_random(8)), 0);
    assert_eq!(home.data().run(&startup(0)), 0x100);
}

#[test]
fn the_profile_of_a_new_tpm_is_chosen_and_then_kept() {
    // TPM_CAP_PCRS: the number of banks, then each with the PCR that it has.
    let banks = |home: &Home| {
        home.data().send(&common::plain(0x17a, &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8]))
    };
    let sha_1 = [0, 4, 3, 0xff, 0xff, 0xff];
    let has = |response: &[u8], what: &[u8]| response.windows(what.len()).any(|part| part == what);
    let (swtpm, full) = (Home::new(), Home::new());
    let _daemon = swtpm.start(&["--flags", "startup-clear"]);
    assert!(has(&banks(&swtpm), &sha_1));
    let daemon = full.start(&["--flags", "startup-clear", "--profile", "full"]);
    let response = banks(&full);
    assert!(!has(&response, &sha_1), "{response:x?}");
    assert!(has(&response, &[0, 0x0b, 3, 0xff, 0xff, 0xff]));
    daemon.crash();
    let _daemon = full.start(&["--flags", "startup-clear"]);
    assert_eq!(banks(&full), response);
}

#[test]
fn capabilities_are_printed_without_a_state() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vtpmd"))
        .args(["socket", "--print-capabilities"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(r#"{ "type": "swtpm", "features": [ "tpm-2.0""#), "{text}");
    assert!(text.contains(r#""cmdarg-pwd-fd""#) && text.ends_with("}\n"), "{text}");
}

#[test]
fn connections_and_listening_sockets_can_be_inherited() {
    let home = Home::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = home.command(&["--fd", "0", "--terminate"]);
    let daemon = Daemon(command.stdin(OwnedFd::from(theirs)).spawn().unwrap());
    drop(command);
    let mut data = Data(ours);
    data.start_up();
    drop(data);
    assert!(daemon.end().success());

    let listener = UnixListener::bind(home.control_path()).unwrap();
    let mut command = home.command(&["--ctrl", "type=unixio,fd=0"]);
    let daemon = Daemon(command.stdin(OwnedFd::from(listener)).spawn().unwrap());
    drop(command);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    drop(daemon);

    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = home.command(&["--ctrl", "type=unixio,clientfd=0"]);
    let daemon = Daemon(command.stdin(OwnedFd::from(theirs)).spawn().unwrap());
    drop(command);
    let mut control = Control(ours);
    assert_eq!(control.result(&[0x03], b""), 0);
    assert!(daemon.end().success());
}

#[test]
fn an_encrypted_state_opens_with_its_passphrase_only() {
    let home = Home::new();
    let phrase = home.0.path().join("phrase");
    let start = |text: &str| {
        fs::write(&phrase, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vtpmd"));
        command.args(["socket", "--key", "pwdfd=0,mode=aes-256-cbc"]);
        command.arg("--tpmstate").arg(format!("dir={}", home.0.path().display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", home.control_path().display()));
        command.stdin(fs::File::open(&phrase).unwrap()).stderr(Stdio::null());
        Daemon(command.spawn().unwrap())
    };
    let mut daemon = start("secret\n");
    daemon.wait_for(&home.control_path());
    assert_eq!(home.control().ask(&[0x0f], b""), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    assert_eq!(home.control().result(&[0x03], b""), 0);
    assert!(daemon.end().success());
    assert!(!start("wrong\n").end().success());
    let mut daemon = start("secret");
    daemon.wait_for(&home.control_path());
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
}
