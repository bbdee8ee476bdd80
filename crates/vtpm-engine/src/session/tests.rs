//! Sessions from the caller's side.

use super::test_client::{
    AUDIT, CONTINUE, Call, ClientSession, DECRYPT, ENCRYPT, Start, Use, call,
};
use crate::commands::nv::test_util::{INDEX, ORDINARY, define, write};
use crate::crypto::hash::{HashAlg, hash};
use crate::test_util::{Client, command};
use crate::wire::{
    Aes, Auth, Cc, Handle, Marshal, NvAttributes, Rc, Scheme, Se, SessionAttributes, SymDef,
};

const AES: SymDef = SymDef::Aes(Aes::cfb(128));
const AES_256: SymDef = SymDef::Aes(Aes::cfb(256));
const XOR: SymDef = SymDef::Xor(HashAlg::Sha256);
const NV: Handle = Handle(INDEX);

fn owner_with_auth(auth: &[u8]) -> Client {
    let mut client = Client::started();
    let change = change_auth(Handle::OWNER, auth);
    let request = command(change.code).handle(Handle::OWNER).password(b"");
    client.run(&request.bytes(&change.parameters)).unwrap();
    client
}

fn change_auth(handle: Handle, auth: &[u8]) -> Call {
    call(Cc::HIERARCHY_CHANGE_AUTH, &[handle], &Auth::from_slice(auth).to_bytes())
}

fn get_random() -> Call {
    call(Cc::GET_RANDOM, &[], &16u16.to_bytes())
}

/// A TPM with an index that holds `contents` and has the authorization value "index".
fn with_index(attributes: NvAttributes, contents: &[u8]) -> Client {
    let mut client = Client::started();
    client.run(&define(INDEX, attributes, contents.len() as u16)).unwrap();
    client.run(&write(INDEX, contents, 0)).unwrap();
    client
}

fn read_index(size: u16) -> Call {
    call(Cc::NV_READ, &[NV, NV], &[size.to_bytes(), 0u16.to_bytes()].concat())
}

#[test]
fn an_unbound_session_authorizes_with_the_value_in_its_hmac_again_and_again() {
    let mut client = owner_with_auth(b"one");
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let request = call(Cc::SET_PRIMARY_POLICY, &[Handle::OWNER], &[0, 0, 0, 0x10]);
    for _ in 0..3 {
        request.run(&mut client, &mut [Use::authorize(&mut session, b"one")]).unwrap();
        let uses = &mut [Use::authorize(&mut session, b"two")];
        assert_eq!(request.run(&mut client, uses).unwrap_err(), Rc::BAD_AUTH.session(1));
    }
}

#[test]
fn a_changed_value_authorizes_the_response_already() {
    let mut client = owner_with_auth(b"one");
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let mut uses = Use::authorize(&mut session, b"one");
    uses.response_auth = b"two";
    change_auth(Handle::OWNER, b"two").run(&mut client, &mut [uses]).unwrap();
}

#[test]
fn a_session_ends_with_the_command_that_does_not_continue_it() {
    let mut client = Client::started();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let uses = Use::authorize(&mut session, b"").with(SessionAttributes::NONE);
    call(Cc::CLEAR_CONTROL, &[Handle::LOCKOUT], &[1]).run(&mut client, &mut [uses]).unwrap();
    let uses = Use::authorize(&mut session, b"");
    let request = call(Cc::CLEAR_CONTROL, &[Handle::LOCKOUT], &[1]);
    assert_eq!(request.run(&mut client, &mut [uses]).unwrap_err(), Rc::reference_session(0));
}

#[test]
fn a_session_bound_to_the_entity_leaves_its_value_out_of_the_hmac() {
    let mut client = with_index(ORDINARY, b"contents");
    let start = Start { bind: Some((NV, b"index")), ..Start::plain(Se::HMAC) };
    let mut session = ClientSession::start(&mut client, &start);
    let uses = Use::authorize(&mut session, b"index").without_auth();
    let reply = read_index(8).run(&mut client, &mut [uses]).unwrap();
    assert_eq!(reply.parameters, b"\0\x08contents");
}

#[test]
fn a_bound_session_includes_the_value_of_another_entity() {
    let mut client = with_index(ORDINARY, b"contents");
    let start = Start { bind: Some((Handle::OWNER, b"")), ..Start::plain(Se::HMAC) };
    let mut session = ClientSession::start(&mut client, &start);
    read_index(8).run(&mut client, &mut [Use::authorize(&mut session, b"index")]).unwrap();
    let uses = Use::authorize(&mut session, b"index").without_auth();
    assert_eq!(read_index(8).run(&mut client, &mut [uses]).unwrap_err(), Rc::BAD_AUTH.session(1));
}

#[test]
fn a_binding_ends_when_the_value_changes() {
    let mut client = owner_with_auth(b"old");
    let start = Start { bind: Some((Handle::OWNER, b"old")), ..Start::plain(Se::HMAC) };
    let mut session = ClientSession::start(&mut client, &start);
    let request = command(Cc::HIERARCHY_CHANGE_AUTH).handle(Handle::OWNER).password(b"old");
    client.run(&request.put(Auth::from_slice(b"new"))).unwrap();
    let uses = Use::authorize(&mut session, b"new").without_auth();
    let request = call(Cc::SET_PRIMARY_POLICY, &[Handle::OWNER], &[0, 0, 0, 0x10]);
    assert_eq!(request.run(&mut client, &mut [uses]).unwrap_err(), Rc::BAD_AUTH.session(1));
    request.run(&mut client, &mut [Use::authorize(&mut session, b"new")]).unwrap();
}

#[test]
fn failures_of_a_session_bound_to_a_protected_entity_count_wherever_it_is_used() {
    let mut client = with_index(ORDINARY.without(NvAttributes::NO_DA), b"contents");
    let start = Start { bind: Some((NV, b"index")), ..Start::plain(Se::HMAC) };
    let mut session = ClientSession::start(&mut client, &start);
    session.key[0] ^= 1;
    let tries = client.tpm.permanent.lockout.max_tries;
    for _ in 0..tries {
        let uses = Use::extra(&mut session, AUDIT);
        let rc = get_random().run(&mut client, &mut [uses]).unwrap_err();
        assert_eq!(rc, Rc::AUTH_FAIL.session(1));
    }
    session.key[0] ^= 1;
    let uses = Use::extra(&mut session, AUDIT);
    assert_eq!(get_random().run(&mut client, &mut [uses]).unwrap_err(), Rc::LOCKOUT);
}

#[test]
fn a_salted_session_has_a_key_that_only_the_keys_holder_knows() {
    use crate::crypto::ecc::Curve;
    use crate::sign::test_keys;
    for key in [test_keys::ecc(Curve::P256, Scheme::Null), test_keys::rsa(Scheme::Null)] {
        let key = test_keys::with(key, crate::wire::ObjectAttributes::DECRYPT);
        let mut client = Client::started();
        let handle = client.load(key);
        let key = client.tpm.object(handle).unwrap();
        let (salt, encrypted) = client.tpm.encrypt_secret(&key, b"SECRET").unwrap();
        let start = Start { salt: Some((handle, encrypted, &salt)), ..Start::plain(Se::HMAC) };
        let mut session = ClientSession::start(&mut client, &start);
        get_random().run(&mut client, &mut [Use::extra(&mut session, AUDIT)]).unwrap();
        session.key[0] ^= 1;
        let uses = Use::extra(&mut session, AUDIT);
        let rc = get_random().run(&mut client, &mut [uses]).unwrap_err();
        assert_eq!(rc, Rc::BAD_AUTH.session(1));
    }
}

#[test]
fn parameters_are_encrypted_in_both_directions_by_every_cipher() {
    for symmetric in [AES, AES_256, XOR, SymDef::Xor(HashAlg::Sha1)] {
        for hash in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha512] {
            let mut client = with_index(ORDINARY, b"contents");
            let bind = Some((Handle::OWNER, &b""[..]));
            let start = Start { hash, symmetric, bind, ..Start::plain(Se::HMAC) };
            let mut session = ClientSession::start(&mut client, &start);
            let both = DECRYPT.with(SessionAttributes::ENCRYPT);
            let data = b"\0\x08replaced\0\0";
            let uses = Use::authorize(&mut session, b"index").with(DECRYPT);
            call(Cc::NV_WRITE, &[NV, NV], data).run(&mut client, &mut [uses]).unwrap();
            assert_eq!(client.tpm.nv.index(NV).unwrap().data, b"replaced");
            let uses = Use::authorize(&mut session, b"index").with(ENCRYPT);
            let reply = read_index(8).run(&mut client, &mut [uses]).unwrap();
            assert_eq!(reply.parameters, data[..10]);
            let parameters = b"\0\x03abc\x00\x0b\x40\x00\x00\x01";
            let uses = Use::extra(&mut session, both);
            let reply = call(Cc::HASH, &[], parameters).run(&mut client, &mut [uses]).unwrap();
            let expected = crate::crypto::hash::hash(HashAlg::Sha256, &[b"abc"]);
            assert_eq!(reply.parameters[2..34], expected[..]);
        }
    }
}

#[test]
fn a_parameter_does_not_travel_in_the_clear() {
    let mut client = with_index(ORDINARY, &[0x77; 64]);
    let start = Start { symmetric: AES, ..Start::plain(Se::HMAC) };
    let session = ClientSession::start(&mut client, &start);
    let attributes = ENCRYPT.0;
    let read = command(Cc::NV_READ)
        .handle(NV)
        .handle(NV)
        .password(b"index")
        .session(session.handle, &[1; 16], attributes, b"")
        .put(64u16)
        .put(0u16);
    let reply = client.run(&read).unwrap();
    assert_eq!(reply.parameters.len(), 66);
    assert!(!reply.parameters.windows(8).any(|window| window == [0x77; 8]));
}

#[test]
fn separate_sessions_authorize_decrypt_and_encrypt() {
    let mut client = owner_with_auth(b"one");
    let start = Start { symmetric: AES, ..Start::plain(Se::HMAC) };
    let mut first = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let mut second = ClientSession::start(&mut client, &start);
    let bind = Some((Handle::OWNER, &b"one"[..]));
    let start = Start { symmetric: XOR, bind, ..Start::plain(Se::HMAC) };
    let mut third = ClientSession::start(&mut client, &start);
    let uses = &mut [
        Use::authorize(&mut first, b"one"),
        Use::extra(&mut second, DECRYPT),
        Use::extra(&mut third, AUDIT),
    ];
    let request = change_auth(Handle::ENDORSEMENT, b"new");
    assert_eq!(request.run(&mut client, uses).unwrap_err(), Rc::BAD_AUTH.session(1));
    let request = call(Cc::SET_PRIMARY_POLICY, &[Handle::OWNER], &[0, 0, 0, 0x10]);
    request.run(&mut client, uses).unwrap();
    let uses = &mut [Use::extra(&mut second, ENCRYPT), Use::extra(&mut third, DECRYPT)];
    let parameters = b"\0\x03abc\x00\x0b\x40\x00\x00\x01";
    let reply = call(Cc::HASH, &[], parameters).run(&mut client, uses).unwrap();
    assert_eq!(reply.parameters[2..34], hash(HashAlg::Sha256, &[b"abc"])[..]);
    // A session encrypts once in a command, and the first one's HMAC has the others' nonces.
    let uses = &mut [Use::extra(&mut second, ENCRYPT), Use::extra(&mut third, ENCRYPT)];
    let rc = get_random().run(&mut client, uses).unwrap_err();
    assert_eq!(rc, Rc::ATTRIBUTES.session(2));
}

/// CVE-2023-1018: a size without anything behind it made the reference code read beyond the
/// command.
#[test]
fn an_encrypted_parameter_without_room_for_its_size_is_refused() {
    for size in [0, 1] {
        let mut client = owner_with_auth(b"");
        let start = Start { symmetric: AES, ..Start::plain(Se::HMAC) };
        let mut session = ClientSession::start(&mut client, &start);
        let mut request = change_auth(Handle::OWNER, b"abc");
        request.mangle = if size == 0 { |p| p.truncate(0) } else { |p| p.truncate(1) };
        let uses = Use::authorize(&mut session, b"").with(DECRYPT);
        let rc = request.run(&mut client, &mut [uses]).unwrap_err();
        assert_eq!(rc, Rc::INSUFFICIENT.session(1));
    }
}

/// CVE-2023-1017: a size one or two larger than what follows made the reference code write beyond
/// the command.
#[test]
fn an_encrypted_parameter_larger_than_the_command_is_refused() {
    for symmetric in [AES, XOR] {
        for size in [4u16, 5, 6, 7, 0x7fff, 0xffff] {
            let mut client = owner_with_auth(b"");
            let start = Start { symmetric, ..Start::plain(Se::HMAC) };
            let mut session = ClientSession::start(&mut client, &start);
            let parameters = [&size.to_bytes()[..], b"abc"].concat();
            let request = call(Cc::HIERARCHY_CHANGE_AUTH, &[Handle::OWNER], &parameters);
            let uses = Use::authorize(&mut session, b"").with(DECRYPT);
            let rc = request.run(&mut client, &mut [uses]).unwrap_err();
            assert_eq!(rc, Rc::SIZE.session(1), "{size}");
            assert!(client.tpm.auth_value(Handle::OWNER).is_empty());
        }
    }
}

#[test]
fn a_session_without_a_cipher_or_a_command_without_a_sized_parameter_encrypts_nothing() {
    let mut client = Client::started();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let uses = &mut [Use::extra(&mut session, ENCRYPT)];
    assert_eq!(get_random().run(&mut client, uses).unwrap_err(), Rc::SYMMETRIC.session(1));
    let start = Start { symmetric: AES, ..Start::plain(Se::HMAC) };
    let mut session = ClientSession::start(&mut client, &start);
    let uses = &mut [Use::extra(&mut session, DECRYPT)];
    assert_eq!(get_random().run(&mut client, uses).unwrap_err(), Rc::ATTRIBUTES.session(1));
}

#[test]
fn an_audit_session_digests_commands_and_responses() {
    let mut client = Client::started();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let mut expected = vec![0; 32];
    for _ in 0..2 {
        let uses = &mut [Use::extra(&mut session, AUDIT)];
        let reply = get_random().run(&mut client, uses).unwrap();
        assert!(session.attributes.has(SessionAttributes::AUDIT_EXCLUSIVE));
        let code = Cc::GET_RANDOM.to_bytes();
        let cp_hash = hash(HashAlg::Sha256, &[&code, &16u16.to_bytes()]);
        let rp_hash = hash(HashAlg::Sha256, &[&[0; 4], &code, &reply.parameters]);
        expected = hash(HashAlg::Sha256, &[&expected, &cp_hash, &rp_hash]).to_vec();
    }
    let audit = client.tpm.sessions.get(session.handle).unwrap().audit.clone();
    assert_eq!(audit.unwrap()[..], expected);
}

#[test]
fn exclusivity_is_lost_by_a_command_outside_the_session_and_regained_by_a_reset() {
    let mut client = Client::started();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    get_random().run(&mut client, &mut [Use::extra(&mut session, AUDIT)]).unwrap();
    client.run(&command(Cc::GET_RANDOM).put(1u16)).unwrap();
    let exclusive = AUDIT.with(SessionAttributes::AUDIT_EXCLUSIVE);
    let uses = &mut [Use::extra(&mut session, exclusive)];
    assert_eq!(get_random().run(&mut client, uses).unwrap_err(), Rc::EXCLUSIVE);
    get_random().run(&mut client, &mut [Use::extra(&mut session, AUDIT)]).unwrap();
    assert!(!session.attributes.has(SessionAttributes::AUDIT_EXCLUSIVE));
    let reset = AUDIT.with(SessionAttributes::AUDIT_RESET);
    get_random().run(&mut client, &mut [Use::extra(&mut session, reset)]).unwrap();
    assert!(session.attributes.has(SessionAttributes::AUDIT_EXCLUSIVE));
}

#[test]
fn a_handle_that_no_session_can_have_is_refused_as_such() {
    let mut client = Client::started();
    let beyond = client.tpm.sessions.slots.len() as u32;
    let with = |handle| command(Cc::GET_RANDOM).session(handle, &[1; 16], 0x81, b"").put(1u16);
    let handle = Handle(0x0200_0000 + beyond);
    assert_eq!(client.rc(&with(handle)), Rc::VALUE.session(1));
    let handle = Handle(0x0200_0000 + beyond - 1);
    assert_eq!(client.rc(&with(handle)), Rc::reference_session(0));
    let digest = command(Cc::POLICY_GET_DIGEST).handle(Handle(0x0300_0000 + beyond));
    assert_eq!(client.rc(&digest), Rc::VALUE.handle(1));
}

#[test]
fn a_session_that_neither_authorizes_nor_does_anything_else_is_refused() {
    let mut client = Client::started();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let uses = &mut [Use::extra(&mut session, CONTINUE)];
    assert_eq!(get_random().run(&mut client, uses).unwrap_err(), Rc::ATTRIBUTES.session(1));
}

#[test]
fn a_trial_session_stands_in_no_command() {
    let mut client = Client::started();
    let start = Start { symmetric: AES, ..Start::plain(Se::TRIAL) };
    let mut session = ClientSession::start(&mut client, &start);
    let uses = &mut [Use::extra(&mut session, ENCRYPT)];
    assert_eq!(get_random().run(&mut client, uses).unwrap_err(), Rc::ATTRIBUTES.session(1));
}

#[test]
fn a_policy_with_authorization_value_needs_it_in_the_hmac_and_one_with_password_in_the_clear() {
    let mut client = owner_with_auth(b"value");
    let policy = hash(HashAlg::Sha256, &[&[0; 32], &Cc::POLICY_AUTH_VALUE.to_bytes()]);
    let request = command(Cc::SET_PRIMARY_POLICY)
        .handle(Handle::OWNER)
        .password(b"value")
        .put(crate::wire::Digest::from_slice(&policy))
        .put(HashAlg::Sha256);
    client.run(&request).unwrap();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::POLICY));
    let request = change_auth(Handle::OWNER, b"value");
    client.run(&command(Cc::POLICY_AUTH_VALUE).handle(session.handle)).unwrap();
    let uses = &mut [Use::authorize(&mut session, b"wrong")];
    assert_eq!(request.run(&mut client, uses).unwrap_err(), Rc::BAD_AUTH.session(1));
    request.run(&mut client, &mut [Use::authorize(&mut session, b"value")]).unwrap();
    // The nonce has rolled: the policy starts anew.
    let uses = &mut [Use::authorize(&mut session, b"value")];
    assert_eq!(request.run(&mut client, uses).unwrap_err(), Rc::POLICY_FAIL.session(1));
    client.run(&command(Cc::POLICY_PASSWORD).handle(session.handle)).unwrap();
    let mut password = Use::authorize(&mut session, b"value");
    password.password = Some(b"wrong");
    let uses = &mut [password];
    assert_eq!(request.run(&mut client, uses).unwrap_err(), Rc::BAD_AUTH.session(1));
    uses[0].password = Some(b"value");
    request.run(&mut client, uses).unwrap();
}

#[test]
fn a_sequence_that_its_last_command_ends_still_authorizes_the_response() {
    let mut client = Client::started();
    let start = command(Cc::HASH_SEQUENCE_START).put(Auth::from_slice(b"seq")).put(HashAlg::Sha256);
    let sequence = client.run(&start).unwrap().handle.unwrap();
    let mut session = ClientSession::start(&mut client, &Start::plain(Se::HMAC));
    let request = call(Cc::SEQUENCE_COMPLETE, &[sequence], b"\0\x03abc\x40\0\0\x01");
    let uses = &mut [Use::authorize(&mut session, b"seq")];
    let reply = request.run(&mut client, uses).unwrap();
    assert_eq!(reply.parameters[2..34], hash(HashAlg::Sha256, &[b"abc"])[..]);
}
