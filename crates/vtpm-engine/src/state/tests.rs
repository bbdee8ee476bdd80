//! Tests of whole states: that they come back, and that no bytes do harm.

use super::{CHECKSUM_SIZE, HEADER_SIZE};
use crate::commands::context::test_util::{
    create, create_command, flush, load, name, save, save_context, start_policy, start_session,
};
use crate::commands::nv::test_util::{self as nv, INDEX, ORDINARY};
use crate::crypto::cmac::Cmac;
use crate::crypto::hash::{HashAlg, Hasher, hash};
use crate::crypto::hmac::Hmac;
use crate::object::Slot;
use crate::object::sequence::{Sequence, SequenceState};
use crate::pcr::EventHashes;
use crate::test_util::{Client, CommandBuilder, command};
use crate::wire::{
    Auth, Cc, Handle, MaxBuffer, NvAttributes, ObjectAttributes, PcrSelection, PcrSelections, Rc,
    SymKey,
};
use crate::{Error, Outcome, Platform, Tpm};

const COUNTER: NvAttributes = NvAttributes(ORDINARY.0 | 0x10);
const PERSISTENT: Handle = Handle(0x8100_0001);

fn extend(pcr: u32, byte: u8) -> CommandBuilder {
    let digest = [byte; 32];
    command(Cc::PCR_EXTEND)
        .handle(Handle(pcr))
        .password(b"")
        .put(1u32)
        .put(HashAlg::Sha256)
        .bytes(&digest)
}

fn read_pcrs() -> CommandBuilder {
    let mut selection = PcrSelection::none(HashAlg::Sha256);
    [0, 7, 16, 17].into_iter().for_each(|pcr| selection.set(pcr));
    let selections: PcrSelections = crate::wire::List(vec![selection]);
    command(Cc::PCR_READ).put(selections)
}

fn increment(index: u32) -> CommandBuilder {
    nv::on(Cc::NV_INCREMENT, Handle::OWNER, b"", index)
}

fn evict(object: Handle, persistent: Handle) -> CommandBuilder {
    command(Cc::EVICT_CONTROL).handle(Handle::OWNER).handle(object).password(b"").put(persistent)
}

fn handles(first: u32) -> CommandBuilder {
    command(Cc::GET_CAPABILITY).put(1u32).put(first).put(100u32)
}

fn insert_sequence(client: &mut Client, state: SequenceState) -> Handle {
    let sequence = Sequence { auth: Auth::from_slice(b"sequence"), state };
    client.tpm.objects.insert(Slot::Sequence(Box::new(sequence))).unwrap()
}

/// A TPM in the middle of its life, with something of everything.
fn busy() -> Client {
    let mut profile = crate::Profile::few_slots();
    profile.limits.loaded_objects = 6;
    profile.limits.loaded_sessions = 4;
    profile.limits.active_sessions = 8;
    let mut client = Client::with_profile(profile);
    client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
    client.run(&nv::define(INDEX, ORDINARY, 16)).unwrap();
    client.run(&nv::write(INDEX, b"sixteen bytes ..", 0)).unwrap();
    client.run(&nv::define(INDEX + 1, COUNTER, 8)).unwrap();
    client.run(&increment(INDEX + 1)).unwrap();
    client.run(&nv::define(INDEX + 2, COUNTER.with(NvAttributes::ORDERLY), 8)).unwrap();
    client.run(&increment(INDEX + 2)).unwrap();
    let object = create(&mut client, Handle::OWNER, ObjectAttributes::NONE);
    client.run(&evict(object, PERSISTENT)).unwrap();
    let session = start_session(&mut client);
    client.run(&save(session)).unwrap();
    start_session(&mut client);
    start_policy(&mut client);
    client.run(&extend(7, 7)).unwrap();
    client.run(&extend(16, 16)).unwrap();
    let mut hasher = Hasher::new(HashAlg::Sha384);
    hasher.update(b"some data");
    insert_sequence(&mut client, SequenceState::Hash { hasher, ticket_safe: Some(true) });
    let mut event = EventHashes::new(&client.tpm.pcrs);
    event.update(b"event");
    insert_sequence(&mut client, SequenceState::Event(event));
    insert_sequence(&mut client, SequenceState::Hmac(Hmac::new(HashAlg::Sha256, b"key")));
    let (key, cmac) = (SymKey::from_slice(&[1; 16]), Cmac::new(&[1; 16]).unwrap());
    insert_sequence(&mut client, SequenceState::Cmac { key, cmac });
    client.sleep_ms(1234);
    client.run(&command(Cc::READ_CLOCK)).unwrap();
    client
}

fn restored(client: &Client, state: &[u8]) -> Client {
    let tpm = Tpm::restore(state, client.new_platform()).unwrap();
    Client {
        tpm,
        controls: client.controls.clone(),
        locality: client.locality,
        outcome: Outcome::default(),
    }
}

fn restore_error(state: &[u8]) -> Option<Error> {
    Tpm::restore(state, Client::initialized().new_platform()).err()
}

/// The state with its length and checksum made right again.
fn mend(state: &[u8]) -> Vec<u8> {
    let mut record = state[..state.len() - CHECKSUM_SIZE].to_vec();
    let size = (record.len() - HEADER_SIZE) as u32;
    record[8..HEADER_SIZE].copy_from_slice(&size.to_be_bytes());
    let checksum = hash(HashAlg::Sha256, &[&record]);
    record.extend_from_slice(&checksum);
    record
}

/// Cheap commands that touch everything that a state has.
fn touch_everything(tpm: Tpm, client: &Client) {
    let mut client =
        Client { tpm, controls: client.controls.clone(), locality: 0, outcome: Outcome::default() };
    let commands = [
        handles(0x0100_0000),
        handles(0x0200_0000),
        handles(0x0300_0000),
        handles(0x8000_0000),
        handles(0x8100_0000),
        command(Cc::READ_CLOCK),
        read_pcrs(),
        extend(0, 1),
        nv::read(INDEX, 16, 0),
        increment(INDEX + 1),
        increment(INDEX + 2),
        name(PERSISTENT),
        name(Handle(0x8000_0000)),
        save(Handle(0x8000_0000)),
        save(Handle(0x8000_0001)),
        save(Handle(0x8000_0003)),
        save(Handle(0x0200_0001)),
        command(Cc::GET_RANDOM).put(8u16),
        command(Cc::SHUTDOWN).put(1u16),
    ];
    for command in &commands {
        client.raw(&command.build());
    }
    client.tpm.init();
    client.raw(&command(Cc::STARTUP).put(1u16).build());
    client.raw(&command(Cc::STARTUP).put(0u16).build());
    client.raw(&increment(INDEX + 2).build());
    client.tpm.save_running();
}

#[test]
fn a_restored_state_saves_to_the_same_bytes() {
    let client = busy();
    let permanent = client.tpm.save_permanent();
    assert_eq!(restored(&client, &permanent).tpm.save_permanent(), permanent);
    let running = client.tpm.save_running();
    let mut copy = restored(&client, &running);
    // All but the generator, which was reseeded, and the secrets of commitments.
    assert_ne!(copy.tpm.save_running(), running);
    copy.tpm.drbg = client.tpm.drbg.clone();
    copy.tpm.reset.commit = client.tpm.reset.commit.clone();
    assert_eq!(copy.tpm.save_running(), running);
}

#[test]
fn no_two_copies_of_a_state_sign_with_the_same_commitment() {
    let mut client = busy();
    let counter = client.tpm.begin_commit();
    client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
    let running = restored(&client, &client.tpm.save_running());
    let mut resumed = restored(&client, &client.tpm.save_permanent());
    resumed.run(&command(Cc::STARTUP).put(1u16)).unwrap();
    let secret = |client: &Client, curve| client.tpm.next_commit_secret(curve, b"key");
    let curve = crate::crypto::ecc::Curve::P256;
    for copy in [&running, &resumed] {
        assert_eq!(copy.tpm.commit_secret(curve, counter), Err(Rc::VALUE));
        let mut again = client.tpm.reset.commit.clone();
        again.counter = copy.tpm.reset.commit.counter;
        client.tpm.reset.commit = again;
        assert_ne!(secret(copy, curve), secret(&client, curve));
    }
}

#[test]
fn what_an_older_release_kept_at_shutdown_is_resumed() {
    let mut client = busy();
    client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
    let mut state = client.tpm.save_permanent().to_vec();
    let at = |tag: &[u8; 4]| state.windows(4).position(|bytes| bytes == tag).unwrap();
    let (outer, inner) = (at(b"PERM"), at(b"KEPT"));
    let end = |start: usize| {
        let length = state[start + 8..start + 12].try_into().unwrap();
        start + HEADER_SIZE + u32::from_be_bytes(length) as usize
    };
    // Version 1 ends before the two flags of how the TPM was started.
    let end = end(inner);
    state.drain(end - 2..end);
    state[inner + 4..inner + 6].copy_from_slice(&[0, 1]);
    for start in [0, outer, inner] {
        let field = &mut state[start + 8..start + 12];
        let length = u32::from_be_bytes(field.try_into().unwrap()) - 2;
        field.copy_from_slice(&length.to_be_bytes());
    }
    let whole = state.len() - CHECKSUM_SIZE;
    let checksum = hash(HashAlg::Sha256, &[&state[..whole]]);
    state[whole..].copy_from_slice(&checksum);
    restored(&client, &state).run(&command(Cc::STARTUP).put(1u16)).unwrap();
}

#[test]
fn after_a_restore_the_random_numbers_are_others() {
    let mut client = busy();
    for state in [client.tpm.save_running(), client.tpm.save_permanent()] {
        let copy = restored(&client, &state).tpm.random(32);
        assert_ne!(copy, client.tpm.random(32));
    }
}

#[test]
fn a_permanent_state_restores_to_a_tpm_that_waits_for_startup() {
    let mut client = busy();
    client
        .run(
            &command(Cc::HIERARCHY_CHANGE_AUTH)
                .handle(Handle::LOCKOUT)
                .password(b"")
                .put(Auth::from_slice(b"lock")),
        )
        .unwrap();
    let clock = client.tpm.clock.clock;
    let before = client.run(&name(PERSISTENT)).unwrap().parameters;
    let mut copy = restored(&client, &client.tpm.save_permanent());
    assert_eq!(copy.rc(&command(Cc::READ_CLOCK)), Rc::INITIALIZE);
    nv::start(&mut copy);
    assert_eq!((copy.tpm.clock.time, copy.tpm.clock.clock, copy.tpm.clock.safe), (0, clock, false));
    assert_eq!(nv::contents(&mut copy, INDEX, 16).unwrap(), b"sixteen bytes ..");
    assert_eq!(nv::contents(&mut copy, INDEX + 1, 8).unwrap(), 1u64.to_be_bytes());
    // Not shut down: the orderly counter skips what may have been counted.
    assert_eq!(nv::contents(&mut copy, INDEX + 2, 8).unwrap(), 0xffu64.to_be_bytes());
    assert_eq!(copy.run(&name(PERSISTENT)).unwrap().parameters, before);
    assert_eq!(copy.tpm.auth_value(Handle::LOCKOUT), Auth::from_slice(b"lock"));
    assert_eq!(copy.tpm.sessions.active(), 0);
    assert_eq!(copy.rc(&name(Handle(0x8000_0000))), Rc::reference_handle(0));
}

#[test]
fn what_shutdown_state_kept_resumes_from_a_permanent_state() {
    let mut client = busy();
    let session = start_session(&mut client);
    let context = save_context(&mut client, session);
    client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
    assert!(client.outcome.durable);
    let mut copy = restored(&client, &client.tpm.save_permanent());
    copy.run(&command(Cc::STARTUP).put(1u16)).unwrap();
    let value =
        |client: &Client| client.tpm.pcrs.bank(HashAlg::Sha256).unwrap().value(7).unwrap().to_vec();
    assert_eq!(value(&copy), value(&client));
    copy.run(&load(&context)).unwrap();
    assert_eq!(nv::contents(&mut copy, INDEX + 2, 8).unwrap(), 1u64.to_be_bytes());
}

#[test]
fn time_goes_on_from_where_it_was_whatever_the_platform_shows() {
    let client = busy();
    let state = client.tpm.save_running();
    let (time, clock) = (client.tpm.clock.time, client.tpm.clock.clock);
    let elsewhere = Client::initialized();
    elsewhere.sleep_ms(9_999_999);
    let mut copy = restored(&elsewhere, &state);
    copy.sleep_ms(5);
    copy.run(&command(Cc::READ_CLOCK)).unwrap();
    assert_eq!((copy.tpm.clock.time, copy.tpm.clock.clock), (time + 5, clock + 5));
}

#[test]
fn a_drtm_sequence_goes_on_after_a_restore() {
    let mut client = busy();
    client.tpm.hash_start();
    client.tpm.hash_data(b"first");
    let mut copy = restored(&client, &client.tpm.save_running());
    for tpm in [&mut client.tpm, &mut copy.tpm] {
        tpm.hash_data(b"second");
        tpm.hash_end();
    }
    let pcrs = client.run(&read_pcrs()).unwrap().parameters;
    assert_eq!(copy.run(&read_pcrs()).unwrap().parameters, pcrs);
    assert!(copy.tpm.established());
}

#[test]
fn a_failed_tpm_stays_failed_and_says_why() {
    let mut client = busy();
    client.tpm.fail("AES");
    let mut copy = restored(&client, &client.tpm.save_running());
    assert_eq!(copy.rc(&command(Cc::READ_CLOCK)), Rc::FAILURE);
    let reply = copy.run(&command(Cc::GET_TEST_RESULT)).unwrap();
    assert_eq!(reply.parameters[..5], *b"\0\x03AES");
}

/// Commands whose answers do not depend on random numbers, chosen by `number`.
fn some_command(number: u32) -> CommandBuilder {
    let low = number >> 8;
    match number % 16 {
        0 => extend(low % 24, low as u8),
        1 => read_pcrs(),
        2 => nv::write(INDEX, &low.to_be_bytes(), (low % 14) as u16),
        3 => nv::read(INDEX, 16, 0),
        4 => increment(INDEX + 1 + low % 2),
        5 => nv::read(INDEX + 1 + low % 2, 8, 0),
        6 => create_command(Handle::ENDORSEMENT, ObjectAttributes::NONE),
        7 => flush(Handle(0x8000_0000 + low % 6)),
        8 => save(Handle(0x8000_0000 + low % 6)),
        9 => name(Handle(0x8000_0000 + low % 6)),
        10 => handles(0x8000_0000),
        11 => save(Handle(0x0200_0000 + low % 4)),
        12 => evict(Handle(0x8000_0000 + low % 6), Handle(PERSISTENT.0 + low % 3)),
        13 => command(Cc::HASH)
            .put(MaxBuffer::from_slice(&low.to_be_bytes()))
            .put(HashAlg::Sha256)
            .put(Handle::OWNER),
        14 => nv::define(INDEX + 3 + low % 3, ORDINARY, 8),
        _ => command(Cc::READ_CLOCK),
    }
}

#[test]
fn after_a_restore_every_answer_is_as_if_nothing_had_happened() {
    for seed in 1..=6u32 {
        let mut client = busy();
        let mut random = seed;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random
        };
        for _ in 0..60 {
            client.raw(&some_command(next()).build());
        }
        let mut copy = restored(&client, &client.tpm.save_running());
        for step in 0..150 {
            let bytes = some_command(next()).build();
            client.sleep_ms(u64::from(next() % 50));
            assert_eq!(
                client.raw(&bytes),
                copy.raw(&bytes),
                "seed {seed}, step {step}: {bytes:x?}"
            );
            assert_eq!(client.outcome, copy.outcome);
            if next() % 20 == 0 {
                for client in [&mut client, &mut copy] {
                    client.run(&command(Cc::SHUTDOWN).put(1u16)).unwrap();
                    client.tpm.init();
                    client.run(&command(Cc::STARTUP).put(1u16)).unwrap();
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_state_is_said_not_to_be_one() {
    assert_eq!(restore_error(b""), Some(Error::NotState));
    assert_eq!(restore_error(b"{\"version\": 2}"), Some(Error::NotState));
    assert_eq!(restore_error(b"vTP"), Some(Error::Truncated));
    assert_eq!(restore_error(b"vTPM"), Some(Error::Truncated));
}

#[test]
fn every_truncation_is_recognized() {
    let client = busy();
    for state in [client.tpm.save_permanent(), client.tpm.save_running()] {
        for size in 1..state.len() {
            assert_eq!(restore_error(&state[..size]), Some(Error::Truncated), "{size}");
        }
        // Also when someone mends the length and the checksum.
        for size in (HEADER_SIZE + CHECKSUM_SIZE..state.len()).step_by(7) {
            assert!(restore_error(&mend(&state[..size])).is_some(), "{size}");
        }
    }
}

#[test]
fn every_damaged_byte_is_recognized() {
    let client = busy();
    let state = client.tpm.save_permanent();
    for position in (0..state.len()).step_by(3) {
        let mut damaged = state.to_vec();
        damaged[position] ^= 0x10;
        assert!(restore_error(&damaged).is_some(), "{position}");
    }
    let mut longer = state.to_vec();
    longer.push(0);
    assert_eq!(restore_error(&longer), Some(Error::Damaged("checksum")));
}

/// CVE-2021-3623: libtpms took sizes out of its state without checking them against its buffers.
#[test]
fn cve_2021_3623_no_forged_byte_makes_a_restored_tpm_panic() {
    let client = busy();
    let mut survivors = 0;
    for state in [client.tpm.save_permanent(), client.tpm.save_running()] {
        for position in 0..state.len() - CHECKSUM_SIZE {
            let masks: &[u8] = match position % 3 {
                0 => &[0x01],
                1 => &[0x80],
                _ => &[0xff],
            };
            for mask in masks {
                let mut forged = state.to_vec();
                forged[position] ^= mask;
                if let Ok(tpm) = Tpm::restore(&mend(&forged), client.new_platform()) {
                    survivors += 1;
                    // Most lie in secrets; to run commands after each would take minutes.
                    if position % 16 == 0 {
                        touch_everything(tpm, &client);
                    }
                }
            }
        }
    }
    assert!(survivors > 100);
}

/// CVE-2021-3623, with the sizes that libtpms did not check: those of an NV index, of a nonce and
/// of a symmetric key.
#[test]
fn cve_2021_3623_sizes_that_contradict_each_other_are_refused() {
    let mut client = busy();
    let handle = client
        .tpm
        .sessions
        .slots
        .iter()
        .position(|slot| matches!(slot, crate::session::SessionSlot::Loaded(_)));
    let handle = Handle(0x0200_0000 + handle.unwrap() as u32);
    client.tpm.sessions.get_mut(handle).unwrap().nonce_tpm =
        crate::wire::Nonce::from_slice(&[1; 64]);
    assert_eq!(restore_error(&client.tpm.save_running()), Some(Error::Damaged("session")));

    let mut client = busy();
    client.tpm.nv.indices.get_mut(&INDEX).unwrap().data.push(0);
    assert_eq!(restore_error(&client.tpm.save_running()), Some(Error::Damaged("NV")));

    let mut client = busy();
    client.tpm.pcrs.banks[0].values.pop();
    assert_eq!(restore_error(&client.tpm.save_running()), Some(Error::Damaged("PCR")));
}

/// CVE-2021-3746: a command with an illegal size left that size behind in a buffer of libtpms, and
/// saving the state then read beyond it.
#[test]
fn cve_2021_3746_refused_sizes_leave_nothing_behind_in_sessions_or_state() {
    let mut client = busy();
    let before = client.tpm.save_running();
    let oversized = [
        command(Cc::START_AUTH_SESSION)
            .handle(Handle::NULL)
            .handle(Handle::NULL)
            .put(u16::MAX)
            .bytes(&[0; 100]),
        command(Cc::CONTEXT_LOAD).put(4u64).put(0x0200_0000u32).put(Handle::NULL).put(u16::MAX),
        command(Cc::NV_WRITE)
            .handle(Handle::OWNER)
            .handle(Handle(INDEX))
            .password(b"")
            .put(u16::MAX)
            .bytes(&[0; 100]),
        command(Cc::PCR_EVENT).handle(Handle(0)).password(b"").put(0x0401u16).bytes(&[0; 0x401]),
        command(Cc::POLICY_RESTART).handle(Handle(0x0300_0002)).put(u16::MAX),
    ];
    for command in &oversized {
        client.rc(command);
        let state = client.tpm.save_running();
        assert_eq!(state, before, "{:?}", command.code);
        restored(&client, &state);
    }
}

#[test]
fn a_state_of_a_later_release_restores_unless_it_forbids_that() {
    let client = busy();
    let state = client.tpm.save_permanent();
    let mut later = state[..state.len() - CHECKSUM_SIZE].to_vec();
    later[4..6].copy_from_slice(&2u16.to_be_bytes());
    later.extend_from_slice(b"a field that this release does not know");
    later.extend_from_slice(&[0; CHECKSUM_SIZE]);
    let mut copy = restored(&client, &mend(&later));
    nv::start(&mut copy);
    later[6..8].copy_from_slice(&2u16.to_be_bytes());
    let newer = Error::Newer { record: "vTPM", minimum: 2, supported: 1 };
    assert_eq!(restore_error(&mend(&later)), Some(newer));
}

#[test]
fn a_profile_with_unknown_algorithms_is_not_supported() {
    let mut client = busy();
    client.tpm.profile.algorithms.algs |= 1 << 0x13;
    let expected = Error::Unsupported("an algorithm, key size or curve");
    assert_eq!(restore_error(&client.tpm.save_permanent()), Some(expected));
}

#[test]
fn without_entropy_nothing_is_restored() {
    struct Dry;
    impl Platform for Dry {
        fn now_ms(&mut self) -> u64 {
            0
        }
        fn entropy(&mut self, _: &mut [u8]) -> bool {
            false
        }
    }
    let client = busy();
    for state in [client.tpm.save_permanent(), client.tpm.save_running()] {
        assert_eq!(Tpm::restore(&state, Box::new(Dry)).err(), Some(Error::Entropy));
    }
}

const GOLDEN: [(&str, bool); 2] = [("permanent-v1.hex", false), ("running-v1.hex", true)];

fn golden_path(file: &str) -> std::path::PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", file].iter().collect()
}

#[test]
fn the_golden_states_of_version_1_restore() {
    for (file, running) in GOLDEN {
        let text = std::fs::read_to_string(golden_path(file)).unwrap();
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16);
        let state: Vec<u8> = digits.chunks(2).map(|pair| byte(pair).unwrap()).collect();
        let mut copy = restored(&Client::initialized(), &state);
        if running {
            assert_eq!(copy.tpm.clock.time, 1234);
            assert_eq!((copy.tpm.sessions.loaded(), copy.tpm.sessions.active()), (2, 3));
            copy.run(&name(Handle(0x8000_0000))).unwrap();
            for sequence in 1..=4 {
                copy.run(&save(Handle(0x8000_0000 + sequence))).unwrap();
            }
        } else {
            nv::start(&mut copy);
        }
        assert_eq!(nv::contents(&mut copy, INDEX, 16).unwrap(), b"sixteen bytes ..");
        assert_eq!(nv::contents(&mut copy, INDEX + 1, 8).unwrap(), 1u64.to_be_bytes());
        // The seeds are the same, so the same template gives the object that is persistent.
        let kept = copy.run(&name(PERSISTENT)).unwrap().parameters;
        let again = create(&mut copy, Handle::OWNER, ObjectAttributes::NONE);
        assert_eq!(copy.run(&name(again)).unwrap().parameters, kept);
    }
}

#[test]
#[ignore = "writes the golden states of a new version; those of released versions never change"]
fn golden_states_are_written() {
    let client = busy();
    for (file, running) in GOLDEN {
        let state = if running { client.tpm.save_running() } else { client.tpm.save_permanent() };
        let lines = state
            .chunks(48)
            .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n");
        std::fs::write(golden_path(file), lines.collect::<String>()).unwrap();
    }
}
