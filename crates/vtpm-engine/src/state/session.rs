//! Saved sessions: in contexts, and in the state of a running TPM.

use super::record::{Kind, Reader, Writer};
use crate::Error;
use crate::session::{PolicyBinding, PolicyState, Session, SessionKind, SessionSlot, Sessions};
use crate::wire::{Aes, Digest, Handle, SymDef, SymMode};

const SESSION: Kind = Kind::first("SESS");
const SESSIONS: Kind = Kind::first("SSNS");

const WHAT: &str = "session";

/// Writes a session.
pub(crate) fn save_session(writer: &mut Writer, session: &Session) {
    let Session {
        kind,
        hash,
        symmetric,
        nonce_tpm,
        key,
        bound,
        bound_da,
        bound_lockout,
        audit,
        policy,
    } = session;
    writer.record(SESSION, |writer| {
        writer.put(match kind {
            SessionKind::Hmac => 0u8,
            SessionKind::Policy => 1,
            SessionKind::Trial => 2,
        });
        writer.put(*hash);
        writer.put(symmetric);
        writer.put(nonce_tpm);
        writer.put(key);
        writer.option(bound.as_ref(), Writer::put);
        writer.put(*bound_da);
        writer.put(*bound_lockout);
        writer.option(audit.as_ref(), Writer::put);
        save_policy(writer, policy);
    });
}

/// Reads a session.
pub(crate) fn restore_session(reader: &mut Reader<'_>) -> Result<Session, Error> {
    reader.record(SESSION, |reader, _| {
        let session = Session {
            kind: match reader.get::<u8>(WHAT)? {
                0 => SessionKind::Hmac,
                1 => SessionKind::Policy,
                2 => SessionKind::Trial,
                _ => return Err(Error::Damaged(WHAT)),
            },
            hash: reader.get(WHAT)?,
            symmetric: reader.get(WHAT)?,
            nonce_tpm: reader.get(WHAT)?,
            key: reader.get(WHAT)?,
            bound: reader.option(WHAT, |reader| reader.get(WHAT))?,
            bound_da: reader.get(WHAT)?,
            bound_lockout: reader.get(WHAT)?,
            audit: reader.option(WHAT, |reader| reader.get(WHAT))?,
            policy: restore_policy(reader)?,
        };
        if is_consistent(&session) { Ok(session) } else { Err(Error::Damaged(WHAT)) }
    })
}

/// Whether digests have the size of the session's hash, and the cipher the one mode of sessions.
fn is_consistent(session: &Session) -> bool {
    let size = session.hash.digest_size();
    let key = session.key.len();
    let cipher_fits = match session.symmetric {
        SymDef::Aes(Aes { mode, .. }) => mode == Some(SymMode::Cfb),
        SymDef::Null | SymDef::Xor(_) => true,
    };
    cipher_fits
        && (16..=size).contains(&session.nonce_tpm.len())
        && (key == 0 || key == size)
        && session.audit.as_ref().is_none_or(|digest| digest.len() == size)
        && session.policy.digest.len() == size
}

fn save_policy(writer: &mut Writer, policy: &PolicyState) {
    let PolicyState {
        digest,
        command,
        binding,
        locality,
        pcr_counter,
        timeout,
        start_time,
        epoch,
        auth_value_needed,
        password_needed,
        presence_needed,
        nv_written,
    } = policy;
    writer.put(digest);
    writer.option(*command, Writer::put);
    let (kind, bound) = match binding {
        PolicyBinding::None => (0u8, None),
        PolicyBinding::CpHash(digest) => (1, Some(digest)),
        PolicyBinding::NameHash(digest) => (2, Some(digest)),
        PolicyBinding::Template(digest) => (3, Some(digest)),
        PolicyBinding::Parameters(digest) => (4, Some(digest)),
    };
    writer.put(kind);
    if let Some(bound) = bound {
        writer.put(bound);
    }
    // Not as a structure: a reader of another revision may reserve other bits.
    writer.put(locality.0);
    writer.option(*pcr_counter, Writer::put);
    writer.put(*timeout);
    writer.put(*start_time);
    writer.put(*epoch);
    writer.put(*auth_value_needed);
    writer.put(*password_needed);
    writer.put(*presence_needed);
    writer.option(*nv_written, Writer::put);
}

fn restore_policy(reader: &mut Reader<'_>) -> Result<PolicyState, Error> {
    Ok(PolicyState {
        digest: reader.get(WHAT)?,
        command: reader.option(WHAT, |reader| reader.get(WHAT))?,
        binding: restore_binding(reader)?,
        locality: crate::wire::LocalityAttributes(reader.get(WHAT)?),
        pcr_counter: reader.option(WHAT, |reader| reader.get(WHAT))?,
        timeout: reader.get(WHAT)?,
        start_time: reader.get(WHAT)?,
        epoch: reader.get(WHAT)?,
        auth_value_needed: reader.get(WHAT)?,
        password_needed: reader.get(WHAT)?,
        presence_needed: reader.get(WHAT)?,
        nv_written: reader.option(WHAT, |reader| reader.get(WHAT))?,
    })
}

fn restore_binding(reader: &mut Reader<'_>) -> Result<PolicyBinding, Error> {
    let kind = reader.get::<u8>(WHAT)?;
    if kind == 0 {
        return Ok(PolicyBinding::None);
    }
    let digest: Digest = reader.get(WHAT)?;
    Ok(match kind {
        1 => PolicyBinding::CpHash(digest),
        2 => PolicyBinding::NameHash(digest),
        3 => PolicyBinding::Template(digest),
        4 => PolicyBinding::Parameters(digest),
        _ => return Err(Error::Damaged(WHAT)),
    })
}

/// Writes the table of sessions.
pub(super) fn save_sessions(writer: &mut Writer, sessions: &Sessions) {
    // How many can be loaded is the profile's matter.
    let Sessions { slots, loaded_max: _, context_counter, exclusive } = sessions;
    writer.record(SESSIONS, |writer| {
        writer.list(slots, |writer, slot| match slot {
            SessionSlot::Free => writer.put(0u8),
            SessionSlot::Loaded(session) => {
                writer.put(1u8);
                save_session(writer, session);
            }
            SessionSlot::Saved { sequence, policy } => {
                writer.put(2u8);
                writer.put(*sequence);
                writer.put(*policy);
            }
        });
        writer.put(*context_counter);
        writer.option(*exclusive, Writer::put);
    });
}

/// Reads the table of sessions of a TPM with room for so many.
pub(super) fn restore_sessions(
    reader: &mut Reader<'_>,
    active_max: u16,
    loaded_max: u16,
) -> Result<Sessions, Error> {
    reader.record(SESSIONS, |reader, _| {
        let slots = reader.list(usize::from(active_max), WHAT, |reader| {
            Ok(match reader.get::<u8>(WHAT)? {
                0 => SessionSlot::Free,
                1 => SessionSlot::Loaded(Box::new(restore_session(reader)?)),
                2 => SessionSlot::Saved { sequence: reader.get(WHAT)?, policy: reader.get(WHAT)? },
                _ => return Err(Error::Damaged(WHAT)),
            })
        })?;
        let context_counter: u64 = reader.get(WHAT)?;
        let exclusive: Option<Handle> = reader.option(WHAT, |reader| reader.get(WHAT))?;
        let sessions = Sessions { slots, loaded_max, context_counter, exclusive };
        if are_consistent(&sessions, active_max) { Ok(sessions) } else { Err(Error::Damaged(WHAT)) }
    })
}

fn are_consistent(sessions: &Sessions, active_max: u16) -> bool {
    let sequences: Vec<u64> = (sessions.slots.iter())
        .filter_map(|slot| match slot {
            SessionSlot::Saved { sequence, .. } => Some(*sequence),
            SessionSlot::Free | SessionSlot::Loaded(_) => None,
        })
        .collect();
    sessions.slots.len() == usize::from(active_max)
        && sessions.loaded() <= usize::from(sessions.loaded_max)
        && sequences.iter().all(|sequence| *sequence <= sessions.context_counter)
        && sessions.exclusive.is_none_or(Handle::is_session)
}
