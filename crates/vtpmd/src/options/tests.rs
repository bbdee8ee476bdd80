use std::path::Path;

use super::*;
use crate::channel::Ownership;

fn resolve(arguments: &[&str]) -> Result<Serve> {
    let base = ["vtpmd", "socket", "--tpm2", "--tpmstate", "dir=/d"];
    let options = Options::try_parse_from(base.iter().chain(arguments))?;
    let Command::Socket(socket) = &options.command else { panic!("not socket") };
    socket.resolve(options.unencrypted, options.profile.profile())
}

fn unencrypted(arguments: &[&str]) -> Result<Serve> {
    let all: Vec<_> = arguments.iter().chain(&["--unencrypted"]).copied().collect();
    resolve(&all)
}

fn refusal(arguments: &[&str]) -> String {
    unencrypted(arguments).unwrap_err().to_string()
}

#[test]
fn the_command_line_of_libvirt_is_understood() {
    let serve = resolve(&[
        "--ctrl",
        "type=unixio,path=/run/s,mode=0600",
        "--log",
        "file=/var/log/l",
        "--terminate",
        "--key",
        "pwdfd=30,mode=aes-256-cbc",
        "--migration-key",
        "pwdfd=31,mode=aes-256-cbc",
        "--migration",
        "release-lock-outgoing,incoming",
    ])
    .unwrap();
    let owner = Ownership::default();
    let expected = Endpoint::Unix { path: "/run/s".into(), mode: Some(0o600), owner };
    assert_eq!(serve.control, Some(expected));
    let keys = |number: u32| {
        Protection::Keys(Keys::Passphrase {
            path: format!("/proc/self/fd/{number}").into(),
            remove: false,
        })
    };
    assert_eq!(serve.protection, keys(30));
    assert_eq!(serve.migration_key, Some(keys(31)));
    assert!(serve.incoming && serve.release_outgoing);
    assert!(serve.terminate && !serve.starts_by_itself());
}

#[test]
fn channels_are_ports_paths_and_descriptors() {
    let data = |arguments: &[&str]| unencrypted(arguments).unwrap().data;
    let tcp = Endpoint::Tcp { address: "127.0.0.1".into(), port: 2321 };
    assert_eq!(data(&["--server", "type=tcp,port=2321,disconnect"]), Some(tcp.clone()));
    assert_eq!(data(&["-p", "2321"]), Some(tcp));
    assert_eq!(data(&["--server", "type=unixio,fd=7"]), Some(Endpoint::Connected(7)));
    assert_eq!(data(&["--fd", "7"]), Some(Endpoint::Connected(7)));
    let serve = unencrypted(&["--ctrl", "type=unixio,fd=5"]).unwrap();
    assert_eq!(serve.control, Some(Endpoint::Listening(5)));
    let serve = unencrypted(&["--ctrl", "type=unixio,path=/s,uid=3,gid=4"]).unwrap();
    let owner = Ownership { uid: Some(3), gid: Some(4) };
    assert_eq!(serve.control, Some(Endpoint::Unix { path: "/s".into(), mode: None, owner }));
}

#[test]
fn a_state_is_in_a_directory_or_in_a_file_of_its_own() {
    let file = |state: &str| {
        let base = ["vtpmd", "--unencrypted", "socket", "--tpmstate", state];
        let options = Options::try_parse_from(base).unwrap();
        let Command::Socket(socket) = &options.command else { panic!("not socket") };
        socket.state_file()
    };
    assert_eq!(file("dir=/d").unwrap(), Path::new("/d/tpm2.vtpm"));
    assert_eq!(file("backend-uri=dir:///d,lock").unwrap(), Path::new("/d/tpm2.vtpm"));
    assert_eq!(file("backend-uri=file:///d/my.state").unwrap(), Path::new("/d/my.state"));
    assert!(file("backend-uri=http://d").is_err());
    assert!(file("backend-uri=file://").is_err());
}

#[test]
fn what_is_not_known_is_refused_rather_than_ignored() {
    assert!(refusal(&["--ctrl", "type=unixio,path=/s,colour=3"]).contains("colour"));
    assert!(refusal(&["--ctrl", "type=vsock,port=3"]).contains("vsock"));
    assert!(refusal(&["--pid", "nowhere"]).contains("nowhere"));
    assert!(refusal(&["--seccomp", "action=whine"]).contains("whine"));
    assert!(refusal(&["--key", "file=/k"]).contains("contradict"));
    assert!(refusal(&["--migration", "outgoing"]).contains("outgoing"));
}

#[test]
fn without_a_control_channel_the_tpm_starts_by_itself() {
    let starts = |arguments: &[&str]| unencrypted(arguments).unwrap().starts_by_itself();
    assert!(starts(&["-p", "2321"]));
    assert!(!starts(&["--ctrl", "type=tcp,port=1"]));
    assert!(!starts(&["--ctrl", "type=tcp,port=1", "--flags", "disable-auto-shutdown"]));
    assert!(starts(&["--ctrl", "type=tcp,port=1", "--flags", "not-need-init"]));
    assert!(starts(&["--ctrl", "type=tcp,port=1", "--flags", "startup-clear"]));
}
