//! Saved objects and sequences: in contexts, in NV, and in the state of a running TPM.

use std::sync::OnceLock;

use super::record::{Kind, Reader, Writer};
use crate::Error;
use crate::crypto::cmac::Cmac;
use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::hierarchy::Hierarchy;
use crate::object::Object;
use crate::object::sequence::{Sequence, SequenceState};
use crate::pcr::EventHashes;
use crate::wire::{
    Auth, Handle, MAX_DIGEST, Public, PublicId, PublicParms, Sensitive, Sized2b, SymKey,
    Tpm2bPublicPlus,
};

const OBJECT: Kind = Kind::first("OBJ ");
const SEQUENCE: Kind = Kind::first("SEQ ");

/// The largest saved state of a hash, or of an HMAC with its two.
const MAX_HASH_STATE: usize = 1024;
/// The largest saved state of a CMAC.
const MAX_CMAC_STATE: usize = 64;

/// Writes a hierarchy.
pub(super) fn save_hierarchy(writer: &mut Writer, hierarchy: Hierarchy) {
    writer.put(hierarchy.handle());
}

/// Reads a hierarchy.
pub(super) fn restore_hierarchy(reader: &mut Reader<'_>) -> Result<Hierarchy, Error> {
    Hierarchy::of(reader.get::<Handle>("hierarchy")?).ok_or(Error::Damaged("hierarchy"))
}

/// Writes an object. Its name follows from the public area, the prepared key from both areas.
pub(crate) fn save_object(writer: &mut Writer, object: &Object) {
    let Object {
        public,
        sensitive,
        name: _,
        qualified_name,
        hierarchy,
        primary,
        external,
        st_clear,
        prepared: _,
    } = object;
    writer.record(OBJECT, |writer| {
        writer.put(Sized2b(public));
        writer.option(sensitive.as_ref(), Writer::put);
        writer.put(qualified_name);
        save_hierarchy(writer, *hierarchy);
        writer.put(*primary);
        writer.put(*external);
        writer.put(*st_clear);
    });
}

/// Reads an object whose parts belong together.
pub(crate) fn restore_object(reader: &mut Reader<'_>) -> Result<Object, Error> {
    reader.record(OBJECT, |reader, _| {
        let public = reader.get::<Tpm2bPublicPlus>("public area")?.0;
        let sensitive = reader.option("sensitive area", |reader| reader.get("sensitive area"))?;
        if !is_consistent(&public, sensitive.as_ref()) {
            return Err(Error::Damaged("object"));
        }
        Ok(Object {
            name: public.name(),
            public,
            sensitive,
            qualified_name: reader.get("qualified name")?,
            hierarchy: restore_hierarchy(reader)?,
            primary: reader.get("primary")?,
            external: reader.get("external")?,
            st_clear: reader.get("stClear")?,
            prepared: OnceLock::new(),
        })
    })
}

/// Whether sizes are those of the type, so that no operation ever works on the wrong number of
/// bytes. That a private key fits its public key is checked where it is prepared.
fn is_consistent(public: &Public, sensitive: Option<&Sensitive>) -> bool {
    let policy = public.auth_policy.len();
    let digest_size = public.name_alg.map_or(MAX_DIGEST, HashAlg::digest_size);
    if policy != 0 && policy != digest_size {
        return false;
    }
    let unique_fits = match (&public.parms, &public.unique) {
        (PublicParms::Rsa(parms), PublicId::Rsa(modulus)) => {
            modulus.len() == parms.key_bits.bytes()
        }
        (PublicParms::Ecc(parms), PublicId::Ecc(point)) => {
            let size = parms.curve.bytes();
            point.x.len() <= size && point.y.len() <= size
        }
        (PublicParms::KeyedHash(_) | PublicParms::SymCipher(_), PublicId::Digest(_)) => true,
        _ => false,
    };
    unique_fits && sensitive.is_none_or(|sensitive| is_sensitive_consistent(public, sensitive))
}

fn is_sensitive_consistent(public: &Public, sensitive: &Sensitive) -> bool {
    let size = sensitive.composite.len();
    let size_fits = match &public.parms {
        PublicParms::Rsa(parms) => size >= parms.key_bits.bytes() / 2,
        PublicParms::Ecc(parms) => (1..=parms.curve.bytes()).contains(&size),
        PublicParms::SymCipher(aes) => size == aes.key_bytes(),
        // Any secret that fits into the structure.
        PublicParms::KeyedHash(_) => true,
    };
    size_fits && sensitive.alg == public.parms.alg()
}

/// Writes a running hash.
pub(super) fn save_hasher(writer: &mut Writer, hasher: &Hasher) {
    writer.put(hasher.alg());
    writer.sized(&zeroize::Zeroizing::new(hasher.save()));
}

/// Reads a running hash.
pub(super) fn restore_hasher(reader: &mut Reader<'_>) -> Result<Hasher, Error> {
    let alg = reader.get("hash algorithm")?;
    let state = reader.sized(MAX_HASH_STATE, "hash state")?;
    Hasher::restore(alg, state).ok_or(Error::Damaged("hash state"))
}

/// Writes the hashes of an event.
pub(super) fn save_event(writer: &mut Writer, hashes: &EventHashes) {
    let EventHashes(hashers) = hashes;
    writer.list(hashers, save_hasher);
}

/// Reads the hashes of an event.
pub(super) fn restore_event(reader: &mut Reader<'_>) -> Result<EventHashes, Error> {
    reader.list(HashAlg::ALL.len(), "event hashes", restore_hasher).map(EventHashes)
}

/// Writes a sequence.
pub(crate) fn save_sequence(writer: &mut Writer, sequence: &Sequence) {
    let Sequence { auth, state } = sequence;
    writer.record(SEQUENCE, |writer| {
        writer.put(auth);
        match state {
            SequenceState::Hash { hasher, ticket_safe } => {
                writer.put(1u8);
                save_hasher(writer, hasher);
                writer.option(*ticket_safe, Writer::put);
            }
            SequenceState::Event(hashes) => {
                writer.put(2u8);
                save_event(writer, hashes);
            }
            SequenceState::Hmac(hmac) => {
                writer.put(3u8);
                writer.put(hmac.alg());
                writer.sized(&hmac.save());
            }
            SequenceState::Cmac { key, cmac } => {
                writer.put(4u8);
                writer.put(key);
                writer.sized(&cmac.save());
            }
        }
    });
}

/// Reads a sequence.
pub(crate) fn restore_sequence(reader: &mut Reader<'_>) -> Result<Sequence, Error> {
    const WHAT: &str = "sequence";
    reader.record(SEQUENCE, |reader, _| {
        let auth = reader.get::<Auth>(WHAT)?;
        let state = match reader.get::<u8>(WHAT)? {
            1 => SequenceState::Hash {
                hasher: restore_hasher(reader)?,
                ticket_safe: reader.option(WHAT, |reader| reader.get(WHAT))?,
            },
            2 => SequenceState::Event(restore_event(reader)?),
            3 => {
                let alg = reader.get(WHAT)?;
                let state = reader.sized(MAX_HASH_STATE, WHAT)?;
                SequenceState::Hmac(Hmac::restore(alg, state).ok_or(Error::Damaged(WHAT))?)
            }
            4 => {
                let key: SymKey = reader.get(WHAT)?;
                let state = reader.sized(MAX_CMAC_STATE, WHAT)?;
                let cmac = Cmac::restore(&key, state).ok_or(Error::Damaged(WHAT))?;
                SequenceState::Cmac { key, cmac }
            }
            _ => return Err(Error::Damaged(WHAT)),
        };
        Ok(Sequence { auth, state })
    })
}
