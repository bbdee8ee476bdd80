//! What the tests of NV share.

use crate::crypto::hash::HashAlg;
use crate::session::{PolicyState, Session, SessionKey, SessionKind};
use crate::test_util::{Client, CommandBuilder, command};
use crate::wire::{
    Auth, Cc, Digest, Handle, HandleInterface, Marshal, MaxNvBuffer, Nonce, NvAttributes,
    NvDataSize, NvPublic, Rc, RhNvIndex, Sized2b, SymDef,
};

/// An index that tests define.
pub(crate) const INDEX: u32 = 0x0100_0001;

/// Attributes of an index that the owner and its own authorization value read and write.
pub(crate) const ORDINARY: NvAttributes = NvAttributes::OWNER_READ
    .with(NvAttributes::OWNER_WRITE)
    .with(NvAttributes::AUTH_READ)
    .with(NvAttributes::AUTH_WRITE)
    .with(NvAttributes::NO_DA);

/// ORDINARY, but readable and writable by the owner only and of another kind.
pub(crate) const fn of_kind(kind: u32) -> NvAttributes {
    NvAttributes(ORDINARY.0 | kind << 4).without(NvAttributes::AUTH_WRITE)
}

/// A public area.
pub(crate) fn public(index: u32, attributes: NvAttributes, size: u16) -> NvPublic {
    NvPublic {
        index: RhNvIndex::check(Handle(index)).unwrap(),
        name_alg: HashAlg::Sha256,
        attributes,
        auth_policy: Digest::empty(),
        data_size: NvDataSize(size),
    }
}

/// `TPM2_NV_DefineSpace` of any public area with authorization value "index".
pub(crate) fn define_as(creator: Handle, public: NvPublic) -> CommandBuilder {
    command(Cc::NV_DEFINE_SPACE)
        .handle(creator)
        .password(b"")
        .put(Auth::from_slice(b"index"))
        .put(Sized2b(public))
}

/// `TPM2_NV_DefineSpace` by the owner, or by the platform if the attributes say so.
pub(crate) fn define(index: u32, attributes: NvAttributes, size: u16) -> CommandBuilder {
    let platform = attributes.has(NvAttributes::PLATFORM_CREATE);
    let creator = if platform { Handle::PLATFORM } else { Handle::OWNER };
    define_as(creator, public(index, attributes, size))
}

/// `TPM2_NV_UndefineSpace` by the owner.
pub(crate) fn undefine(index: u32) -> CommandBuilder {
    command(Cc::NV_UNDEFINE_SPACE).handle(Handle::OWNER).handle(Handle(index)).password(b"")
}

/// A command whose handles are who authorizes it, with its authorization value, and an index.
pub(crate) fn on(code: Cc, auth: Handle, password: &[u8], index: u32) -> CommandBuilder {
    command(code).handle(auth).handle(Handle(index)).password(password)
}

/// `TPM2_NV_Write` by the owner.
pub(crate) fn write(index: u32, data: &[u8], offset: u16) -> CommandBuilder {
    on(Cc::NV_WRITE, Handle::OWNER, b"", index).put(MaxNvBuffer::from_slice(data)).put(offset)
}

/// `TPM2_NV_Read` by the owner.
pub(crate) fn read(index: u32, size: u16, offset: u16) -> CommandBuilder {
    on(Cc::NV_READ, Handle::OWNER, b"", index).put(size).put(offset)
}

/// The first bytes of an index, read by the owner.
pub(crate) fn contents(client: &mut Client, index: u32, size: u16) -> Result<Vec<u8>, Rc> {
    client.run(&read(index, size, 0)).map(|reply| {
        assert_eq!(reply.parameters[..2], size.to_bytes());
        reply.parameters[2..].to_vec()
    })
}

/// `TPM2_Startup(CLEAR)`.
pub(crate) fn start(client: &mut Client) {
    client.run(&command(Cc::STARTUP).put(0u16)).unwrap();
}

/// A started TPM with one index.
pub(crate) fn with_index(attributes: NvAttributes, size: u16) -> Client {
    let mut client = Client::started();
    client.run(&define(INDEX, attributes, size)).unwrap();
    client
}

/// A policy session that authorizes one command, and its policy digest.
pub(crate) fn policy_for(client: &mut Client, code: Cc) -> (Handle, Digest) {
    let tpm = &mut client.tpm;
    let mut policy = PolicyState::new(HashAlg::Sha256, tpm.clock.time, tpm.clock.epoch);
    policy.command = Some(code);
    policy.digest = Digest::from_slice(&[7; 32]);
    let digest = policy.digest.clone();
    let session = Session {
        kind: SessionKind::Policy,
        hash: HashAlg::Sha256,
        symmetric: SymDef::Null,
        nonce_tpm: Nonce::from_slice(&[1; 32]),
        key: SessionKey::empty(),
        bound: None,
        bound_da: false,
        bound_lockout: false,
        audit: None,
        policy,
    };
    (tpm.sessions.insert(session).unwrap(), digest)
}
