//! Saved state: what a TPM is made of, as bytes.
//!
//! ```text
//!   state = record "vTPM" (kind, PROF, PERM, NV, then OFF or RUN) | SHA-256 of the record (32)
//! ```
//!
//! There are two kinds of state. A *permanent* one is what survives the loss of power: restored,
//! the TPM waits for `TPM2_Startup` as after `_TPM_Init`. A *running* one is everything: restored,
//! the TPM goes on in the middle of what its guest does. [`Tpm::restore`] takes either.
//!
//! [`record`] has the codec and the rules by which releases understand each other's states. The
//! checksum tells damage from change of format; it protects from nobody. Whoever keeps a state
//! encrypts and authenticates it: it holds all the secrets of the TPM.
//!
//! Restoring checks whatever the engine relies on, so that a forged state is refused or makes a TPM
//! that works, but never one that panics.

pub(crate) mod context;
mod nv;
pub(crate) mod object;
mod permanent;
mod profile;
pub(crate) mod record;
pub(crate) mod session;
#[cfg(test)]
mod tests;
mod volatile;

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::crypto::hash::{HashAlg, hash};
use crate::object::commit::Commits;
use crate::platform::Platform;
use crate::profile::{Algorithms, Profile};
use crate::startup::{PoweredOff, instantiate_drbg, start_clock};
use crate::tpm::{Permanent, Tpm};
use crate::{Error, nv::Nv};
use record::{Kind, Reader, Writer};
use volatile::{Running, RunningRef};

const STATE: Kind = Kind::first("vTPM");
const OFF: Kind = Kind::first("OFF ");

const PERMANENT: u8 = 1;
const RUNNING: u8 = 2;

/// Bytes of a record before its fields.
const HEADER_SIZE: usize = 12;
const CHECKSUM_SIZE: usize = 32;
/// Bytes of entropy that reseed a restored generator.
const RESEED_SIZE: usize = 64;

impl Tpm {
    /// What survives the loss of power: seeds, authorizations, settings, NV, Clock, and what
    /// `TPM2_Shutdown` kept.
    ///
    /// When [`Outcome::durable`](crate::Outcome::durable) says so, this must be durable before the
    /// response is released. The bytes hold secrets in the clear.
    pub fn save_permanent(&self) -> Zeroizing<Vec<u8>> {
        self.save(false)
    }

    /// Everything, for moving a TPM while its machine runs: besides what
    /// [`Tpm::save_permanent`] saves, sessions, loaded objects, sequences, PCR, time, and the
    /// random number generator.
    ///
    /// To be called between commands, or between the calls of a D-RTM sequence. The bytes hold
    /// secrets in the clear.
    pub fn save_running(&self) -> Zeroizing<Vec<u8>> {
        self.save(true)
    }

    /// A TPM from what [`Tpm::save_permanent`] or [`Tpm::save_running`] saved, with this release or
    /// an older one; from a newer one, if that did not forbid it.
    ///
    /// A permanent state gives a TPM as after `_TPM_Init`, with a fresh random number generator.
    /// A running state gives the TPM as it was, except that its generator is reseeded and that
    /// commitments for anonymous signatures are void: neither may be used twice by two copies. Time
    /// goes on from where it was, whatever the platform's clock shows.
    ///
    /// # Errors
    /// [`Error::NotState`], [`Error::Truncated`], [`Error::Damaged`], [`Error::Newer`] and
    /// [`Error::Unsupported`] when the bytes are not such a state; [`Error::Entropy`] when the
    /// platform has no entropy.
    pub fn restore(state: &[u8], mut platform: Box<dyn Platform>) -> Result<Tpm, Error> {
        let record = check_envelope(state)?;
        let mut reader = Reader::new(record, Algorithms::default());
        let now_ms = platform.now_ms();
        let parts = reader.record(STATE, |reader, _| {
            let kind = reader.get::<u8>("kind of state")?;
            let profile = profile::restore_profile(reader)?;
            reader.set_algorithms(profile.algorithms);
            let permanent = permanent::restore_permanent(reader, &profile)?;
            let nv = nv::restore_nv(reader, profile.limits.persistent_objects)?;
            let rest = match kind {
                PERMANENT => Rest::Off(restore_off(reader)?),
                RUNNING => {
                    let running = volatile::restore_running(reader, &profile, now_ms)?;
                    Rest::Running(Box::new(running))
                }
                _ => return Err(Error::Damaged("kind of state")),
            };
            Ok((profile, permanent, nv, rest))
        })?;
        let (profile, permanent, nv, rest) = parts;
        match rest {
            Rest::Off(Off { clock, safe }) => {
                let mut drbg = instantiate_drbg(platform.as_mut())?;
                let mut permanent = permanent;
                if let Some(preserved) = &mut permanent.preserved {
                    preserved.reset.commit = Commits::new(&mut drbg);
                }
                let clock = start_clock(&mut drbg, now_ms, clock, safe);
                Ok(PoweredOff { platform, drbg, profile, permanent, nv, clock }.into_tpm())
            }
            Rest::Running(running) => running_again(platform, profile, permanent, nv, *running),
        }
    }

    fn save(&self, everything: bool) -> Zeroizing<Vec<u8>> {
        let Tpm {
            platform: _,
            profile,
            drbg,
            power,
            // Of the last command only.
            locality: _,
            permanent,
            reset,
            clear,
            platform_enabled,
            started_orderly,
            clock,
            pcrs,
            nv,
            objects,
            sessions,
            drtm,
            pre_startup,
            self_test,
            durable,
        } = self;
        let mut writer = Writer::new();
        writer.record(STATE, |writer| {
            writer.put(if everything { RUNNING } else { PERMANENT });
            profile::save_profile(writer, profile);
            permanent::save_permanent(writer, permanent);
            nv::save_nv(writer, nv);
            if !everything {
                save_off(writer, clock);
                return;
            }
            let running = RunningRef {
                drbg,
                power: *power,
                reset,
                clear,
                platform_enabled: *platform_enabled,
                started_orderly: *started_orderly,
                clock,
                pcrs,
                objects,
                sessions,
                drtm: drtm.as_ref(),
                pre_startup: *pre_startup,
                self_test,
                durable: *durable,
            };
            running.save(writer);
        });
        let checksum = hash(HashAlg::Sha256, &[writer.written()]);
        writer.raw(&checksum);
        writer.finish()
    }
}

enum Rest {
    Off(Off),
    Running(Box<Running>),
}

/// What of time survives the loss of power.
struct Off {
    clock: u64,
    safe: bool,
}

fn save_off(writer: &mut Writer, clock: &Clock) {
    writer.record(OFF, |writer| {
        writer.put(clock.clock);
        writer.put(clock.safe);
    });
}

fn restore_off(reader: &mut Reader<'_>) -> Result<Off, Error> {
    reader.record(OFF, |reader, _| {
        Ok(Off { clock: reader.get("clock")?, safe: reader.get("clock")? })
    })
}

/// The record in a state that is whole.
fn check_envelope(state: &[u8]) -> Result<&[u8], Error> {
    let magic = STATE.tag.as_bytes();
    if !state.starts_with(magic) {
        // A state that is cut off within the first bytes is one, too.
        let beginning = !state.is_empty() && magic.starts_with(state);
        return Err(if beginning { Error::Truncated } else { Error::NotState });
    }
    let size = state.get(8..HEADER_SIZE).and_then(|size| size.first_chunk::<4>());
    let size = u32::from_be_bytes(*size.ok_or(Error::Truncated)?) as usize;
    let whole = size.saturating_add(HEADER_SIZE);
    let (record, checksum) = state.split_at_checked(whole).ok_or(Error::Truncated)?;
    if checksum.len() < CHECKSUM_SIZE {
        return Err(Error::Truncated);
    }
    if *checksum != hash(HashAlg::Sha256, &[record])[..] {
        return Err(Error::Damaged("checksum"));
    }
    Ok(record)
}

/// A TPM that goes on.
fn running_again(
    mut platform: Box<dyn Platform>,
    profile: Profile,
    mut permanent: Permanent,
    nv: Nv,
    running: Running,
) -> Result<Tpm, Error> {
    let Running {
        mut drbg,
        power,
        mut reset,
        clear,
        platform_enabled,
        started_orderly,
        clock,
        pcrs,
        objects,
        sessions,
        drtm,
        pre_startup,
        self_test,
        durable,
    } = running;
    // A copy of the state must not give the same random numbers as the original.
    let mut entropy = Zeroizing::new([0; RESEED_SIZE]);
    if !platform.entropy(entropy.as_mut()) {
        return Err(Error::Entropy);
    }
    drbg.reseed(entropy.as_ref(), b"restore");
    reset.commit = Commits::new(&mut drbg);
    if let Some(preserved) = &mut permanent.preserved {
        preserved.reset.commit = Commits::new(&mut drbg);
    }
    Ok(Tpm {
        platform,
        profile,
        drbg,
        power,
        locality: 0,
        permanent,
        reset,
        clear,
        platform_enabled,
        started_orderly,
        clock,
        pcrs,
        nv,
        objects,
        sessions,
        drtm,
        pre_startup,
        self_test,
        durable,
    })
}
