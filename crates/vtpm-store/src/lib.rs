//! The sealed state of one vTPM, at rest in one file.
//!
//! A [`Store`] is the open, locked file of one instance. It keeps an opaque state (it cannot
//! parse a TPM) encrypted under a key of that instance, which a [`KeySource`] seals: a physical
//! TPM, or, asked for by name, one of [`source`].
//!
//! ```
//! use vtpm_store::{Birth, Expect, InstanceId, Place, SealedKey, Store, source::KeyFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let place = Place::at(dir.path().join("guest.vtpm"));
//! let id = InstanceId(*b"\x6f\x1c\x9a\x52\x7d\x0e\x4b\x33\x8a\x41\xc5\x90\x2f\xe7\x16\xbd");
//! let source = KeyFile::generate(&dir.path().join("key"))?;
//!
//! let key = SealedKey::new(&source, &id)?;
//! let mut store = Store::create(&place, Birth::active(id, 0), key, b"first state", &[])?;
//! store.commit(b"second state")?; // durable when it returns
//! drop(store);
//!
//! let opened = Store::open(&place, &source, &Expect::instance(id))?;
//! assert_eq!(&opened.state[..], b"second state");
//! assert_eq!(opened.store.generation(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - A commit is one write to the slot that does not hold the newest record, and one `fdatasync`.
//!   A crash at any byte of it leaves the newest acknowledged record whole; the interrupted one is
//!   there as a whole or not at all.
//! - What does not authenticate is never returned. Damage is told from forgery: a record that
//!   fails its checksum is passed over for the older one (and [`Opened::recovered`] says so), a
//!   record that is whole but not authentic refuses the file.
//! - A file that is refused is not changed, and the [`Error`] says what to do next.
//! - An older file than the host's anchor remembers is refused ([`Error::RolledBack`]). Within
//!   what the anchor remembers, the file cannot protect itself: damage to the newest slot on
//!   purpose brings back the record before it.
//! - What was sealed by a source of one kind is never opened by one of another, so that a file
//!   that somebody sealed with a key of their own is not taken for one of the physical TPM's.
//! - After [`Store::rekey`], [`Store::reseal`] and [`Store::entomb`] return, the old seal is
//!   nowhere in the file. What a disk keeps of overwritten blocks is out of reach of any file;
//!   the generation that the anchor remembers is what makes it useless.
//! - Architecture invariant: nothing here knows a TPM, a socket, a thread or a clock.
//!
//! # The file, version 1
//!
//! Two slots of equal size, a multiple of 4096 bytes; the file is exactly two slots long, written
//! in full when it is made. Each slot holds a *record* from its first byte, or zeros. The newest
//! whole record counts; the next one goes to the other slot. What follows a record in its slot
//! means nothing. Integers are little-endian.
//!
//! ```text
//! offset     length  field
//! 0               8  magic "VTPMSLOT"
//! 8               2  format version, 1
//! 10              2  minimum version: the oldest version whose readers may open the file and
//!                    write to it, 1
//! 12              4  header length H, 48 to 65536, both digests at its end included
//! 16              4  slot size in bytes
//! 20              1  slot, 0 or 1
//! 21              1  role: 1 active, 2 outgoing, 3 prepared, 4 tombstone
//! 22              2  reserved, zero
//! 24              8  generation: 1 for a new file, larger by at least 1 in each record
//! 32             16  instance id
//! 48              8  epoch: how often the instance has moved
//! 56             16  transfer id of the handover; zeros if active
//! 72              8  the generation at which this seal replaced an earlier one; 0 if it did not,
//!                    or if the file was replaced since
//! 80              8  records under this key, this one included
//! 88             12  nonce: 8 random bytes, and the low 4 bytes of the field before
//! 100             4  payload length P, the tag included
//! 104             2  length k of the kind of key source, 1 to 32
//! 106             2  number of audit entries, 0 to 16
//! 108             4  length s of the sealed key, up to 8192
//! 112             k  kind of key source, printable ASCII
//! 112+k           s  sealed key: the source's own format
//! 112+k+s            audit entries, one after the other:
//!                      0   1  event: 1 rollback accepted, 2 imported from a backup
//!                      1   1  reserved, zero
//!                      2   2  length r of the reason, up to 128
//!                      4   4  sequence number, from 1
//!                      8   8  time, seconds since 1970
//!                     16   8  generation accepted
//!                     24   8  generation remembered
//!                     32   r  the operator's reason, UTF-8
//! H-64           32  SHA-256 of the payload
//! H-32           32  SHA-256 of bytes 0 to H-33
//! H               P  payload: ciphertext, then the 16-byte tag
//! ```
//!
//! Magic, both versions, the header length and the last digest of the header are at these places
//! in every version, so that any release can tell a newer file from a damaged one. A reader takes
//! no header longer than 65536 bytes, and no slot larger than its limit calls for.
//!
//! The payload is AES-256-GCM under the data key; the associated data is bytes 0 to H-65 of the
//! header: instance, version, generation, slot, role and everything else. Its plaintext is the
//! length of the handover note (4 bytes, note up to 16384), the note, and the state.
//!
//! The digests find torn writes before a slow key source is asked; the tag is what is trusted.
//!
//! ## Nonces
//!
//! Under one key no two records may share a nonce. The counter in a nonce steps with each
//! generation and never comes back under a key: it stops at 2^32 - 1 ([`Error::Exhausted`]), and
//! [`Store::rekey_is_due`] says so from 2^28 on. The 64 random bits cover the one case in which a
//! generation is written twice: a commit that was torn by a crash, or a copy of the file that was
//! put back. Someone would have to put it back some 2^32 times to see one nonce again.
//!
//! ## Growth
//!
//! A record that outgrows its slot is written to `<path>.new`, a file with slots twice as large
//! or more. It is synced, renamed over the old file, and the directory synced; then the blocks of
//! the old file are overwritten. A crash leaves the old file or the new one; a left-over
//! `<path>.new` is erased by the next open.
//!
//! ## Backups
//!
//! The format of [`Store::export`] is in [`backup`].
//!
//! ## The lock
//!
//! `<path>.lock` is locked (`flock`) as long as a [`Store`] lives, and holds the process id and
//! host name of the holder, for the message that others get. [`Store::release`] and
//! [`Released::acquire`] hand it over.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod audit;
pub mod backup;
mod bytes;
mod cipher;
mod error;
mod handover;
mod id;
mod key;
pub mod medium;
mod open;
mod place;
mod record;
mod role;
mod slots;
pub mod source;
mod store;

pub use audit::{AuditEntry, AuditEvent, ENTRIES_MAX, Override, REASON_MAX};
pub use backup::{BackupError, Fingerprint, RecoveryPublicKey, RecoverySecretKey, Restore};
pub use error::{Error, Result, SlotFault};
pub use id::{InstanceId, MinimumGeneration, TransferId};
pub use key::{KIND_MAX, Key, KeySource, SEALED_KEY_MAX, SealedKey, SourceError};
pub use open::{Expect, Opened, Secret, Summary};
pub use place::{Place, STATE_LIMIT, STATE_LIMIT_MAX};
pub use record::NOTE_MAX;
pub use role::Role;
pub use store::{Birth, Released, Store};
