//! The control channel: each command in each state of the TPM. The expected answers are those of
//! swtpm, where it has the command.

mod common;

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{Control, Data, Home, PATIENCE, RSA_4096, code, create_primary, startup, words};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

const OK: &[u8] = &[0; 4];
const BAD_PARAMETER: &[u8] = &[0, 0, 0, 3];
const BAD_ORDINAL: &[u8] = &[0, 0, 0, 0x0a];
const BAD_LOCALITY: &[u8] = &[0, 0, 0, 0x3d];

type Case = (&'static [u32], &'static [u8], &'static [u8]);

fn check(control: &mut Control, cases: &[Case]) {
    for (head, data, expected) in cases {
        assert_eq!(control.ask(head, data), *expected, "{head:x?} {data:x?}");
    }
}

#[test]
fn each_command_is_answered_before_init_as_by_swtpm() {
    let home = Home::new();
    let _daemon = home.start(&[]);
    check(
        &mut home.control(),
        &[
            (&[0x01], b"", &[0, 0, 0, 0, 0, 1, 0xff, 0xff]),
            (&[0x02, 0, 0], b"", BAD_PARAMETER),
            (&[0x03, 0], b"", BAD_PARAMETER),
            (&[0x04], b"", BAD_ORDINAL),
            (&[0x04, 0], b"", BAD_ORDINAL),
            (&[0x05], &[1], OK),
            (&[0x05], &[5, 0, 0, 0], BAD_LOCALITY),
            (&[0x06], b"", BAD_ORDINAL),
            (&[0x07, 3], b"abc", BAD_ORDINAL),
            (&[0x08], b"", BAD_ORDINAL),
            (&[0x09], b"", BAD_ORDINAL),
            (&[0x0a], b"", BAD_ORDINAL),
            (&[0x0b], &[3, 0, 0, 0], BAD_ORDINAL),
            (&[0x0c, 1, 1, 0], b"", BAD_ORDINAL),
            (&[0x0d, 0, 9, 0], b"", BAD_PARAMETER),
            (&[0x0d, 0, 1, 3], b"abc", BAD_PARAMETER),
            (&[0x0d, 2, 1, 3], b"abc", BAD_PARAMETER),
            (&[0x0d, 0, 3, 0], b"", OK),
            (&[0x0e], b"", OK),
            (&[0x0e, 0], b"", BAD_PARAMETER),
            (&[0x0f], b"", &[0; 8]),
            (&[0x10], b"", &[0, 0, 0, 0x1f]),
            (&[0x13, 300], b"", OK),
            (&[0x14], b"", BAD_ORDINAL),
            (&[0x20], b"", BAD_ORDINAL),
            (&[0], b"", BAD_ORDINAL),
        ],
    );
}

#[test]
fn each_command_is_answered_while_the_tpm_runs_as_by_swtpm() {
    let home = Home::new();
    let _daemon = home.start_initialized();
    check(
        &mut home.control(),
        &[
            (&[0x04], b"", &[0; 8]),
            (&[0x04, 0], b"", BAD_PARAMETER),
            (&[0x05], &[4, 0, 0, 0], OK),
            (&[0x09], b"", OK),
            (&[0x0b], &[0], BAD_LOCALITY),
            (&[0x0b], &[3], OK),
            (&[0x0b], &[4, 0, 0, 0], OK),
            (&[0x0b], &[5], BAD_LOCALITY),
            (&[0x0c, 1, 9, 0], b"", &[0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (&[0x0c, 1, 3, 0], b"", &[0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (&[0x0c, 1, 1, 0x10_0000], b"", &[0; 16]),
            (&[0x0d, 0, 1, 3], b"abc", BAD_ORDINAL),
            (&[0x08], b"", OK),
            (&[0x06], b"", OK),
            (&[0x07, 3], b"abc", OK),
            (&[0x07, 2], b"abc", BAD_PARAMETER),
            (&[0x08], b"", OK),
            (&[0x04], b"", &[0, 0, 0, 0, 1, 0, 0, 0]),
            (&[0x0a], b"", OK),
            (&[0x11, 4096], b"", BAD_ORDINAL),
            (&[0x0e], b"", OK),
            (&[0x0e], b"", OK),
            (&[0x04], b"", BAD_ORDINAL),
            (&[0x02, 0], b"", OK),
            (&[0x02, 1], b"", OK),
        ],
    );
}

#[test]
fn the_buffer_size_is_set_as_near_as_can_be_and_holds() {
    let home = Home::new();
    let _daemon = home.start(&[]);
    let mut control = home.control();
    let mut size = |wanted: u32, head: &[u32]| {
        let answer = control.ask(&[0x11, wanted], b"");
        assert_eq!(answer, words(&[&[0], head].concat()), "{wanted}");
    };
    size(0, &[4096, 0xaf8, 4096]);
    size(100, &[0xaf8, 0xaf8, 4096]);
    size(u32::MAX, &[4096, 0xaf8, 4096]);
    size(3968, &[3968, 0xaf8, 4096]);
    assert_eq!(control.ask(&[0x02, 0], b""), OK);
    assert_eq!(control.ask(&[0x11, 0], b""), words(&[0, 3968, 0xaf8, 4096]));
    let mut data = home.data();
    data.start_up();
    let mut large = vec![0; 3969];
    large[..6].copy_from_slice(&[0x80, 1, 0, 0, 0x0f, 0x81]);
    assert_eq!(data.run(&large), 0x142);
}

#[test]
fn an_info_is_json_and_can_be_had_in_pieces() {
    let home = Home::new();
    let _daemon = home.start(&[]);
    let mut control = home.control();
    let mut info = |flags, offset| control.ask(&[0x12, 0, flags, offset, 0], b"");
    assert_eq!(info(0, 0), [&words(&[0, 3, 3])[..], b"{}\0"].concat());
    let whole = info(7, 0);
    assert!(whole[12..].starts_with(br#"{"TPMSpecification":{"family":"2.0""#));
    assert!(whole.ends_with(b"}}\0"));
    assert_eq!(info(7, 20)[12..], whole[32..]);
    assert_eq!(info(7, 100_000), BAD_PARAMETER);
}

#[test]
fn a_state_blob_can_be_had_from_an_offset() {
    let home = Home::new();
    let _daemon = home.start_initialized();
    let mut control = home.control();
    let whole = control.blob(1, 0);
    assert_eq!(control.blob(1, 16), whole[16..]);
    assert_eq!(control.blob(1, whole.len() as u32), b"");
}

#[test]
fn messages_in_pieces_are_put_together() {
    let home = Home::new();
    let _daemon = home.start(&[]);
    let mut control = home.control();
    for byte in words(&[0x02, 0]) {
        control.0.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(control.read_some(), OK);
}

fn give(control: &mut Control, stream: &UnixStream) -> Vec<u8> {
    let descriptors = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let message = words(&[0x10]);
    let slices = [IoSlice::new(&message)];
    sendmsg(&control.0, &slices, &mut ancillary, SendFlags::empty()).unwrap();
    control.read_some()
}

#[test]
fn the_data_channel_can_be_a_descriptor_one_at_a_time() {
    let home = Home::new();
    let path = format!("type=unixio,path={}", home.control_path().display());
    let mut daemon = common::Daemon(home.command(&["--ctrl", &path]).spawn().unwrap());
    daemon.wait_for(&home.control_path());
    let mut control = home.control();
    assert_eq!(control.ask(&[0x10], b""), BAD_PARAMETER);
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert_eq!(give(&mut control, &theirs), OK);
    drop(theirs);
    let mut data = Data(ours);
    // Before INIT there is an answer, by which QEMU sees that this is a TPM 2.
    assert_eq!(data.send(&startup(0)), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1]);
    assert_eq!(control.ask(&[0x02, 0], b""), OK);
    data.start_up();
    let (other, theirs) = UnixStream::pair().unwrap();
    assert_eq!(give(&mut control, &theirs), [0, 0, 0, 0x1f]);
    drop((data, other));
    let begun = Instant::now();
    while give(&mut control, &theirs) != OK {
        assert!(begun.elapsed() < PATIENCE, "the data channel is not free again");
    }
}

#[test]
fn the_making_of_a_key_is_canceled_and_the_control_channel_answers_meanwhile() {
    let home = Home::new();
    let _daemon = home.start_up();
    let mut control = home.control();
    // Now and then a key is ready before it can be canceled.
    for _ in 0..50 {
        let mut data = home.data();
        data.0.write_all(&create_primary(RSA_4096)).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let begun = Instant::now();
        assert_eq!(control.ask(&[0x04], b""), [0; 8]);
        assert_eq!(control.ask(&[0x01], b"").len(), 8);
        assert!(begun.elapsed() < Duration::from_secs(2), "the control channel waits");
        assert_eq!(control.ask(&[0x09], b""), OK);
        let response = data.read_response().unwrap();
        match code(&response) {
            0x909 => return,
            0 => assert_eq!(data.run(&common::plain(0x165, &response[10..14])), 0),
            other => panic!("{other:x}"),
        }
        // A canceled primary key's seed search starts elsewhere only for another template, so
        // the next round is as long as this one.
    }
    panic!("no command was canceled");
}

#[test]
fn cancel_without_a_command_has_no_effect_on_the_next_one() {
    let home = Home::new();
    let _daemon = home.start_up();
    assert_eq!(home.control().ask(&[0x09], b""), OK);
    assert_eq!(home.data().run(&create_primary(RSA_4096)), 0);
}
