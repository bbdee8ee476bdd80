//! What the tests of policy commands share.

use crate::crypto::hash::{HashAlg, hash};
use crate::test_util::{Client, CommandBuilder, command};
use crate::wire::{Cc, EncryptedSecret, Handle, Marshal, Nonce, Se, SymDef};

/// A digest of zeros: a policy's start.
pub(crate) const ZEROS: [u8; 32] = [0; 32];

/// Starts a SHA-256 session.
pub(crate) fn session(client: &mut Client, kind: Se) -> Handle {
    session_with_nonce(client, kind).0
}

/// Starts a SHA-256 session and gives the TPM's nonce too.
pub(crate) fn session_with_nonce(client: &mut Client, kind: Se) -> (Handle, Nonce) {
    let reply = client.run(&start(kind)).unwrap();
    (reply.handle.unwrap(), Nonce::from_slice(&reply.parameters[2..]))
}

/// `TPM2_StartAuthSession`, neither bound nor salted.
pub(crate) fn start(kind: Se) -> CommandBuilder {
    command(Cc::START_AUTH_SESSION)
        .handle(Handle::NULL)
        .handle(Handle::NULL)
        .put(Nonce::from_slice(&[1; 32]))
        .put(EncryptedSecret::empty())
        .put(kind)
        .put(SymDef::Null)
        .put(HashAlg::Sha256)
}

/// A started TPM with a session.
pub(crate) fn started(kind: Se) -> (Client, Handle) {
    let mut client = Client::started();
    let session = session(&mut client, kind);
    (client, session)
}

/// A command whose one handle is the session.
pub(crate) fn on(code: Cc, session: Handle) -> CommandBuilder {
    command(code).handle(session)
}

/// The policy so far.
pub(crate) fn digest(client: &mut Client, session: Handle) -> Vec<u8> {
    let reply = client.run(&on(Cc::POLICY_GET_DIGEST, session)).unwrap();
    assert_eq!(reply.parameters[..2], [0, 32]);
    reply.parameters[2..].to_vec()
}

/// The policy after a command with these arguments.
pub(crate) fn extended(earlier: &[u8], code: Cc, arguments: &[&[u8]]) -> Vec<u8> {
    hash(HashAlg::Sha256, &[earlier, &code.to_bytes(), &arguments.concat()]).to_vec()
}

/// The policy after an assertion.
pub(crate) fn asserted(earlier: &[u8], code: Cc, name: &[u8], policy_ref: &[u8]) -> Vec<u8> {
    let first = extended(earlier, code, &[name]);
    hash(HashAlg::Sha256, &[&first, policy_ref]).to_vec()
}

/// Bytes from hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}
