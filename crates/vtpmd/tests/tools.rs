//! The other names of the program, what protects the state, and what the process gives up.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Daemon, Home};

/// The program under another name, with no configuration but what a test gives it.
fn called(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vtpmd"));
    command.arg0(format!("/usr/bin/{name}")).args(arguments);
    command.env("VTPMD_CONFIG", "/nonexistent/vtpmd.toml").env_remove("VTPMD_STATE");
    command.stdin(Stdio::null());
    command
}

fn run(name: &str, arguments: &[&str]) -> Output {
    called(name, arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Asks the daemon of `home`; gives what is printed.
fn ioctl(home: &Home, arguments: &[&str]) -> (bool, String) {
    let path = home.control_path();
    let at = ["--unix", path.to_str().unwrap()];
    let output = run("swtpm_ioctl", &[&at[..], arguments].concat());
    (output.status.success(), text(&output))
}

fn setup(directory: &Path, arguments: &[&str]) -> Output {
    let at = ["--tpm2", "--tpm-state", directory.to_str().unwrap()];
    let mut command = called("swtpm_setup", &[&at[..], arguments].concat());
    command.env("VTPMD_STATE", "unencrypted").output().unwrap()
}

#[test]
fn swtpm_ioctl_says_what_swtpm_ioctl_says() {
    let home = Home::new();
    let daemon = home.start(&[]);
    let yes = |arguments: &[&str], printed: &str| {
        assert_eq!(ioctl(&home, arguments), (true, printed.to_owned()), "{arguments:?}");
    };
    yes(&["-c"], "ptm capability is 0x1ffff\n");
    yes(&["-b", "3000"], "TPM buffersize: 3000\nminimum size  : 2808\nmaximum size  : 4096\n");
    yes(&["-i"], "");
    yes(&["-e"], "tpmEstablished is 0\n");
    yes(&["-h", "data"], "");
    yes(&["-e"], "tpmEstablished is 1\n");
    yes(&["-r", "3"], "");
    yes(&["-e"], "tpmEstablished is 0\n");
    yes(&["-g"], "ptm configuration flags: 0x0\n");
    yes(&["-l", "3"], "");
    yes(&["-C"], "");
    yes(&["-v"], "");
    yes(&["--lock-storage", "3"], "");
    let (_, info) = ioctl(&home, &["--info", "7"]);
    assert!(info.starts_with(r#"{"TPMSpecification":{"family":"2.0""#), "{info}");
    let no = |arguments: &[&str], said: &str| {
        let (success, printed) = ioctl(&home, arguments);
        assert!(!success && printed.contains(said), "{arguments:?}: {printed}");
    };
    no(&["-b", "3000"], "PTM_SET_BUFFERSIZE: 0xa");
    no(&["-l", "9"], "localities 0 to 4");
    no(&[], "required");
    no(&["-c", "-g"], "cannot be used");
    yes(&["--stop"], "");
    no(&["-e"], "PTM_GET_TPMESTABLISHED: 0xa");
    yes(&["-s"], "");
    assert!(daemon.end().success());
}

#[test]
fn swtpm_ioctl_saves_and_loads_states() {
    let home = Home::new();
    let _daemon = home.start_up();
    home.data().define_index(4);
    home.data().write_index(b"kept");
    let file = |name: &str| home.0.path().join(name).to_str().unwrap().to_owned();
    for kind in ["permanent", "volatile", "savestate"] {
        assert!(ioctl(&home, &["--save", kind, &file(kind)]).0, "{kind}");
        let mode = fs::metadata(file(kind)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    home.data().write_index(b"lost");
    assert!(!ioctl(&home, &["--load", "permanent", &file("permanent")]).0, "it runs");
    assert!(ioctl(&home, &["--stop"]).0);
    for kind in ["permanent", "volatile", "savestate"] {
        assert!(ioctl(&home, &["--load", kind, &file(kind)]).0, "{kind}");
    }
    assert!(ioctl(&home, &["-i"]).0);
    assert_eq!(home.data().read_index(4), b"kept");
}

#[test]
fn a_tpm_that_was_set_up_has_its_keys_and_banks() {
    let home = Home::new();
    let made = setup(
        home.0.path(),
        &["--createek", "--create-spk", "--ecc", "--pcr-banks", "sha256,sha384", "--decryption"],
    );
    assert!(made.status.success(), "{}", text(&made));
    let daemon = home.start_up();
    for handle in [0x8101_0001, 0x8101_0016, 0x8100_0001] {
        assert_eq!(home.data().read_public(handle), 0, "{handle:#x}");
    }
    assert_eq!(banks(&home), [0x0b, 0x0c]);
    drop(daemon);

    let again = setup(home.0.path(), &["--createek"]);
    assert!(!again.status.success() && text(&again).contains("--overwrite"), "{}", text(&again));
    assert!(setup(home.0.path(), &["--createek", "--not-overwrite"]).status.success());
    let changed = setup(home.0.path(), &["--reconfigure", "--pcr-banks", "sha512"]);
    assert!(changed.status.success(), "{}", text(&changed));
    let daemon = home.start_up();
    assert_eq!(banks(&home), [0x0d]);
    assert_eq!(home.data().read_public(0x8101_0001), 0, "the keys are kept");
    drop(daemon);

    assert!(setup(home.0.path(), &["--overwrite"]).status.success());
    let _daemon = home.start_up();
    assert_ne!(home.data().read_public(0x8101_0001), 0, "it is another one");
}

/// The PCR banks that have PCR.
fn banks(home: &Home) -> Vec<u8> {
    // TPM_CAP_PCRS: behind the header, more, capability and count each bank with its PCR.
    let command = common::plain(0x17a, &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 8]);
    let response = home.data().send(&command);
    let active = response[19..].chunks(6).filter(|bank| bank[3] == 0xff);
    active.map(|bank| bank[1]).collect()
}

#[test]
fn a_machine_gives_its_name_to_its_tpm() {
    let home = Home::new();
    let vmid = "my:vm:0123abcd-4567-89ab-cdef-0123456789ab";
    let made = setup(home.0.path(), &["--vmid", vmid]);
    assert!(made.status.success() && text(&made).contains(&vmid[6..]), "{}", text(&made));
}

#[test]
fn capabilities_and_states_are_json_as_libvirt_reads_it() {
    let output = text(&run("swtpm_setup", &["--print-capabilities"]));
    assert!(output.starts_with(r#"{ "type": "swtpm_setup", "features": [ "tpm-2.0""#), "{output}");
    assert!(output.contains(r#""cmdarg-reconfigure-pcr-banks""#));
    let output = text(&run("swtpm", &["socket", "--print-capabilities"]));
    assert!(output.contains(r#""cmdarg-migration""#), "{output}");
    let home = Home::new();
    let state = format!("dir={}", home.0.path().display());
    let states =
        || text(&run("swtpm", &["socket", "--tpm2", "--tpmstate", &state, "--print-states"]));
    assert_eq!(states(), "{ \"type\": \"swtpm\", \"states\": [  ] }\n");
    assert!(setup(home.0.path(), &[]).status.success());
    assert!(states().contains(r#"{"name": "permall", "size": 65536}"#), "{}", states());
}

#[test]
fn nothing_is_unencrypted_because_nobody_said_anything() {
    let home = Home::new();
    let state = format!("dir={}", home.0.path().display());
    let arguments = ["socket", "--tpm2", "--tpmstate", &state, "-p", "1"];
    let output = run("swtpm", &arguments);
    let said = text(&output);
    assert!(!output.status.success());
    assert!(said.contains("--unencrypted") && said.contains("/etc/vtpm/vtpmd.toml"), "{said}");
    assert!(fs::read_dir(home.0.path()).unwrap().next().is_none(), "nothing was made");
}

#[test]
fn a_configuration_with_a_key_is_made_and_then_used() {
    let home = Home::new();
    let config = home.0.path().join("vtpm/vtpmd.toml");
    let create = || {
        let mut command = called("swtpm_setup", &["--create-config-files", "skip-if-exist"]);
        command.env("XDG_CONFIG_HOME", home.0.path()).output().unwrap()
    };
    if rustix::process::geteuid().is_root() {
        let said = text(&create());
        assert!(said.contains("--create-config-files root"), "{said}");
        let key = home.0.path().join("vtpm/state.key");
        fs::create_dir(home.0.path().join("vtpm")).unwrap();
        fs::write(&key, "5".repeat(64)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let line = format!("[state]\nprotection = \"key-file\"\nfile = {key:?}\n");
        fs::write(&config, line).unwrap();
    } else {
        assert!(create().status.success());
        assert!(create().status.success());
    }
    let state = home.0.path().join("state");
    fs::create_dir(&state).unwrap();
    let made = called("swtpm_setup", &["--tpm2", "--tpm-state", state.to_str().unwrap()])
        .env("VTPMD_CONFIG", &config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let file = fs::read(state.join("tpm2.vtpm")).unwrap();
    assert!(file.windows(8).any(|part| part == b"key-file"));
}

#[test]
fn a_damaged_or_empty_state_is_refused_with_what_to_do() {
    for (content, said) in [
        (&b""[..], "restore a backup"),
        (&[0; 8192], "restore a backup"),
        (&[7; 8192], "is not a vTPM state file"),
    ] {
        let home = Home::new();
        fs::write(home.0.path().join("tpm2.vtpm"), content).unwrap();
        let output = home.command(&["-p", "1"]).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(said), "{}", text(&output));
        assert_eq!(fs::read(home.0.path().join("tpm2.vtpm")).unwrap(), content, "untouched");
    }
}

#[test]
fn keys_come_as_files_and_descriptors_and_can_be_removed() {
    let home = Home::new();
    let key = home.0.path().join("key");
    let start = |option: &str| {
        fs::write(&key, "c".repeat(32)).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let state = format!("dir={}", home.0.path().display());
        let control = format!("type=unixio,path={}", home.control_path().display());
        let arguments = ["socket", "--tpmstate", &state, "--ctrl", &control, "--key", option];
        let mut command = called("swtpm", &arguments);
        command.stdin(fs::File::open(&key).unwrap()).stderr(Stdio::null());
        let mut daemon = Daemon(command.spawn().unwrap());
        daemon.wait_for(&home.control_path());
        assert_eq!(home.control().ask(&[0x0f], b"")[4..], [0, 0, 0, 1]);
        assert_eq!(home.control().result(&[0x02, 0], b""), 0);
        assert_eq!(home.control().result(&[0x03], b""), 0);
        assert!(daemon.end().success());
    };
    start("fd=0,format=hex,mode=aes-cbc");
    start(&format!("file={},format=hex", key.display()));
    assert!(key.exists());
    start(&format!("file={},remove=true", key.display()));
    assert!(!key.exists());
}

#[test]
fn a_daemon_is_ready_when_its_starter_returns() {
    let home = Home::new();
    let pid = home.0.path().join("pid");
    let pid_option = format!("file={}", pid.display());
    let control = format!("type=unixio,path={}", home.control_path().display());
    let start = || {
        let mut command = home.command(&["--daemon", "--pid", &pid_option, "--ctrl", &control]);
        command.stdout(Stdio::null()).status().unwrap()
    };
    assert!(start().success());
    let number: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    assert!(!start().success(), "the state is in use, and the starter says so");
    assert_eq!(home.control().result(&[0x03], b""), 0);
    let begun = std::time::Instant::now();
    while Path::new(&format!("/proc/{number}")).exists() {
        assert!(begun.elapsed() < common::PATIENCE, "it does not end");
        // An orphan of a container without an init stays a zombie.
        let status = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        if status.contains(") Z ") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn the_process_gives_up_what_it_does_not_need() {
    let home = Home::new();
    let daemon = home.start_initialized();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(value("NoNewPrivs"), "1");
    assert_eq!(value("Seccomp"), "2", "a filter");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn the_service_manager_hears_when_all_is_ready() {
    let home = Home::new();
    let path = home.0.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let control = format!("type=unixio,path={}", home.control_path().display());
    let mut command = home.command(&["--ctrl", &control]);
    let _daemon = Daemon(command.env("NOTIFY_SOCKET", &path).spawn().unwrap());
    let mut said = [0; 64];
    let size = manager.recv(&mut said).unwrap();
    assert_eq!(&said[..size], b"READY=1");
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
}

#[test]
fn metrics_count_commands_and_commits() {
    use std::io::{Read as _, Write as _};
    let home = Home::new();
    let path = home.0.path().join("metrics");
    let _daemon = home.start(&["--metrics", path.to_str().unwrap()]);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    home.data().define_index(4);
    let mut stream = common::connect(&path);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let counted = r#"vtpm_commands_total{command="0x12a",success="true"} 1"#;
    assert!(answer.contains(counted), "{answer}");
    assert!(answer.contains("vtpm_commit_seconds_count 2"), "{answer}");
    assert!(answer.contains("vtpm_generation 3"), "{answer}");
}

/// `TPM_PT_STARTUP_CLEAR`, whose highest bit says that the shutdown before was orderly.
fn was_orderly(home: &Home) -> bool {
    let command = common::plain(0x17a, &[0, 0, 0, 6, 0, 0, 2, 1, 0, 0, 0, 1]);
    let response = home.data().send(&command);
    response[response.len() - 4] & 0x80 != 0
}

#[test]
fn a_machine_that_is_just_switched_off_does_not_look_like_an_attack() {
    let home = Home::new();
    let daemon = home.start_up();
    assert_eq!(home.data().run(&common::get_random(8)), 0);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    assert!(was_orderly(&home), "a reset");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.end().success());
    let daemon = home.start_up();
    assert!(was_orderly(&home), "the end of the process");
    drop(daemon);
    let _daemon = home.start(&["--flags", "disable-auto-shutdown"]);
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    assert!(!was_orderly(&home), "a crash is a crash");
    assert_eq!(home.control().result(&[0x02, 0], b""), 0);
    home.data().start_up();
    assert!(!was_orderly(&home), "and so is a reset, if that was asked for");
}
