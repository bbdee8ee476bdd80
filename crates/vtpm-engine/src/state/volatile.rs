//! Saved state that a start makes anew: what a TPM Reset or Restart ends, PCR, and time.

use super::object::{
    restore_event, restore_object, restore_sequence, save_event, save_object, save_sequence,
};
use super::permanent::{restore_policy, save_policy};
use super::record::{Kind, Reader, Writer};
use super::session::{restore_sessions, save_sessions};
use crate::Error;
use crate::act::Act;
use crate::clock::Clock;
use crate::crypto::drbg::Drbg;
use crate::object::commit::Commits;
use crate::object::{Objects, Slot};
use crate::pcr::{AUTH_GROUPS, Bank, EventHashes, Pcrs};
use crate::profile::Profile;
use crate::self_test::SelfTest;
use crate::session::Sessions;
use crate::startup::PreStartup;
use crate::tpm::{ClearState, Power, ResetState};
use crate::wire::{Auth, Handle, HandleType, MAX_BANKS, PCR_COUNT, PcrSelection};

const RESET: Kind = Kind::first("RSET");
const CLEAR: Kind = Kind::first("CLEA");
const PCRS: Kind = Kind::first("PCRS");
const CLOCK: Kind = Kind::first("CLCK");
const OBJECTS: Kind = Kind::first("OBJS");
const RUNNING: Kind = Kind::first("RUN ");

const WHAT: &str = "volatile state";
/// As many groups as there are PCR.
const MAX_GROUPS: usize = 24;
/// The longest description of a failed self-test.
const MAX_FAILURE: usize = 256;

/// What a running TPM has besides its permanent state and NV.
pub(super) struct Running {
    pub(super) drbg: Drbg,
    pub(super) power: Power,
    pub(super) reset: ResetState,
    pub(super) clear: ClearState,
    pub(super) platform_enabled: bool,
    pub(super) started_orderly: bool,
    pub(super) clock: Clock,
    pub(super) pcrs: Pcrs,
    pub(super) objects: Objects,
    pub(super) sessions: Sessions,
    pub(super) drtm: Option<EventHashes>,
    pub(super) pre_startup: PreStartup,
    pub(super) self_test: SelfTest,
    pub(super) durable: bool,
}

/// Writes what a running TPM has; `tpm` is taken apart by the caller, so that nothing is forgotten.
pub(super) struct RunningRef<'a> {
    pub(super) drbg: &'a Drbg,
    pub(super) power: Power,
    pub(super) reset: &'a ResetState,
    pub(super) clear: &'a ClearState,
    pub(super) platform_enabled: bool,
    pub(super) started_orderly: bool,
    pub(super) clock: &'a Clock,
    pub(super) pcrs: &'a Pcrs,
    pub(super) objects: &'a Objects,
    pub(super) sessions: &'a Sessions,
    pub(super) drtm: Option<&'a EventHashes>,
    pub(super) pre_startup: PreStartup,
    pub(super) self_test: &'a SelfTest,
    pub(super) durable: bool,
}

impl RunningRef<'_> {
    /// Writes it.
    pub(super) fn save(self, writer: &mut Writer) {
        let PreStartup { hcrtm, locality_3 } = self.pre_startup;
        let SelfTest { done, failure } = self.self_test;
        writer.record(RUNNING, |writer| {
            writer.sized(&self.drbg.save());
            writer.put(match self.power {
                Power::Initialized => 0u8,
                Power::Started => 1,
                Power::Failed => 2,
            });
            save_reset(writer, self.reset);
            save_clear(writer, self.clear);
            writer.put(self.platform_enabled);
            writer.put(self.started_orderly);
            save_clock(writer, self.clock);
            save_pcrs(writer, self.pcrs);
            save_objects(writer, self.objects);
            save_sessions(writer, self.sessions);
            writer.option(self.drtm, save_event);
            writer.put(hcrtm);
            writer.put(locality_3);
            writer.put(*done);
            writer.option(failure.as_deref(), |writer, text| {
                writer.sized(text.get(..MAX_FAILURE).unwrap_or(text).as_bytes());
            });
            writer.put(self.durable);
        });
    }
}

/// Reads what a running TPM has. `platform_ms` is the platform's time now.
pub(super) fn restore_running(
    reader: &mut Reader<'_>,
    profile: &Profile,
    platform_ms: u64,
) -> Result<Running, Error> {
    let limits = &profile.limits;
    reader.record(RUNNING, |reader, _| {
        let drbg = Drbg::restore(reader.sized(256, "DRBG")?).ok_or(Error::Damaged("DRBG"))?;
        Ok(Running {
            drbg,
            power: match reader.get::<u8>(WHAT)? {
                0 => Power::Initialized,
                1 => Power::Started,
                2 => Power::Failed,
                _ => return Err(Error::Damaged(WHAT)),
            },
            reset: restore_reset(reader)?,
            clear: restore_clear(reader, profile)?,
            platform_enabled: reader.get(WHAT)?,
            started_orderly: reader.get(WHAT)?,
            clock: restore_clock(reader, platform_ms)?,
            pcrs: restore_pcrs(reader)?,
            objects: restore_objects(reader, limits.loaded_objects)?,
            sessions: restore_sessions(reader, limits.active_sessions, limits.loaded_sessions)?,
            drtm: reader.option(WHAT, restore_event)?,
            pre_startup: PreStartup { hcrtm: reader.get(WHAT)?, locality_3: reader.get(WHAT)? },
            self_test: SelfTest {
                done: reader.get(WHAT)?,
                failure: reader.option(WHAT, |reader| {
                    let text = reader.sized(MAX_FAILURE, WHAT)?;
                    Ok(String::from_utf8_lossy(text).into_owned().into())
                })?,
            },
            durable: reader.get(WHAT)?,
        })
    })
}

/// Writes what a TPM Reset makes anew.
pub(super) fn save_reset(writer: &mut Writer, reset: &ResetState) {
    let ResetState {
        null_seed,
        null_proof,
        clear_count,
        restart_count,
        object_context_id,
        command_audit_digest,
        pcr_counter,
        commit,
    } = reset;
    let Commits { nonce, counter, open } = commit;
    writer.record(RESET, |writer| {
        writer.raw(null_seed.as_ref());
        writer.raw(null_proof.as_ref());
        writer.put(*clear_count);
        writer.put(*restart_count);
        writer.put(*object_context_id);
        writer.put(command_audit_digest);
        writer.put(*pcr_counter);
        writer.raw(nonce.as_ref());
        writer.put(*counter);
        writer.raw(&open.to_be_bytes());
    });
}

/// Reads what a TPM Reset makes anew.
pub(super) fn restore_reset(reader: &mut Reader<'_>) -> Result<ResetState, Error> {
    reader.record(RESET, |reader, _| {
        Ok(ResetState {
            null_seed: reader.secret()?,
            null_proof: reader.secret()?,
            clear_count: reader.get(WHAT)?,
            restart_count: reader.get(WHAT)?,
            object_context_id: reader.get(WHAT)?,
            command_audit_digest: reader.get(WHAT)?,
            pcr_counter: reader.get(WHAT)?,
            commit: Commits {
                nonce: reader.secret()?,
                counter: reader.get(WHAT)?,
                open: u128::from_be_bytes(*reader.secret()?),
            },
        })
    })
}

/// Writes what a TPM Restart makes anew.
pub(super) fn save_clear(writer: &mut Writer, clear: &ClearState) {
    let ClearState {
        storage_enabled,
        endorsement_enabled,
        platform_nv_enabled,
        platform_auth,
        platform_policy,
        pcr_auths,
        read_only,
        acts,
    } = clear;
    writer.record(CLEAR, |writer| {
        writer.put(*storage_enabled);
        writer.put(*endorsement_enabled);
        writer.put(*platform_nv_enabled);
        writer.put(platform_auth);
        save_policy(writer, platform_policy.as_ref());
        writer.list(pcr_auths, |writer, auth| writer.put(auth));
        writer.put(*read_only);
        writer.list(acts, save_act);
    });
}

/// Reads what a TPM Restart makes anew.
pub(super) fn restore_clear(
    reader: &mut Reader<'_>,
    profile: &Profile,
) -> Result<ClearState, Error> {
    let acts = usize::from(profile.limits.acts);
    reader.record(CLEAR, |reader, _| {
        let clear = ClearState {
            storage_enabled: reader.get(WHAT)?,
            endorsement_enabled: reader.get(WHAT)?,
            platform_nv_enabled: reader.get(WHAT)?,
            platform_auth: reader.get(WHAT)?,
            platform_policy: restore_policy(reader)?,
            pcr_auths: {
                let mut auths = reader.list(MAX_GROUPS, WHAT, |reader| reader.get(WHAT))?;
                auths.resize(AUTH_GROUPS, Auth::empty());
                auths
            },
            read_only: reader.get(WHAT)?,
            acts: reader.list(acts, WHAT, restore_act)?,
        };
        if clear.acts.len() == acts { Ok(clear) } else { Err(Error::Damaged(WHAT)) }
    })
}

fn save_act(writer: &mut Writer, act: &Act) {
    let Act { remaining, passed_ms, signaled, preserve_signaled, policy, last_time } = act;
    writer.put(*remaining);
    writer.put(*passed_ms);
    writer.put(*signaled);
    writer.put(*preserve_signaled);
    save_policy(writer, policy.as_ref());
    writer.put(*last_time);
}

fn restore_act(reader: &mut Reader<'_>) -> Result<Act, Error> {
    Ok(Act {
        remaining: reader.get(WHAT)?,
        passed_ms: reader.get(WHAT)?,
        signaled: reader.get(WHAT)?,
        preserve_signaled: reader.get(WHAT)?,
        policy: restore_policy(reader)?,
        last_time: reader.get(WHAT)?,
    })
}

/// Writes the values of all PCR.
pub(super) fn save_pcrs(writer: &mut Writer, pcrs: &Pcrs) {
    let Pcrs { banks } = pcrs;
    writer.record(PCRS, |writer| {
        writer.list(banks, |writer, Bank { alg: _, allocated, values }| {
            writer.put(allocated);
            writer.sized(values);
        });
    });
}

/// Reads the values of all PCR.
pub(super) fn restore_pcrs(reader: &mut Reader<'_>) -> Result<Pcrs, Error> {
    const WHAT: &str = "PCR";
    reader.record(PCRS, |reader, _| {
        let banks = reader.list(MAX_BANKS, WHAT, |reader| {
            let allocated: PcrSelection = reader.get(WHAT)?;
            let alg = allocated.hash;
            let size = alg.digest_size().saturating_mul(PCR_COUNT as usize);
            let values = reader.sized(size, WHAT)?.to_vec();
            if values.len() == size {
                Ok(Bank { alg, allocated, values })
            } else {
                Err(Error::Damaged(WHAT))
            }
        })?;
        Ok(Pcrs { banks })
    })
}

fn save_clock(writer: &mut Writer, clock: &Clock) {
    // The platform of another process or host counts from another moment.
    let Clock { platform_ms: _, time, clock, safe, epoch, rate_ppm, remainder } = clock;
    writer.record(CLOCK, |writer| {
        writer.put(*time);
        writer.put(*clock);
        writer.put(*safe);
        writer.put(*epoch);
        writer.put(*rate_ppm);
        writer.put(*remainder);
    });
}

fn restore_clock(reader: &mut Reader<'_>, platform_ms: u64) -> Result<Clock, Error> {
    const WHAT: &str = "clock";
    reader.record(CLOCK, |reader, _| {
        let clock = Clock {
            platform_ms,
            time: reader.get(WHAT)?,
            clock: reader.get(WHAT)?,
            safe: reader.get(WHAT)?,
            epoch: reader.get(WHAT)?,
            rate_ppm: reader.get(WHAT)?,
            remainder: reader.get(WHAT)?,
        };
        let plausible = (-150_000..=150_000).contains(&clock.rate_ppm)
            && (0..1_000_000).contains(&clock.remainder);
        if plausible { Ok(clock) } else { Err(Error::Damaged(WHAT)) }
    })
}

fn save_objects(writer: &mut Writer, objects: &Objects) {
    writer.record(OBJECTS, |writer| {
        writer.list(objects.slots(), |writer, slot| match slot {
            None => writer.put(0u8),
            Some(Slot::Object(object)) => {
                writer.put(1u8);
                save_object(writer, object);
            }
            Some(Slot::Sequence(sequence)) => {
                writer.put(2u8);
                save_sequence(writer, sequence);
            }
        });
    });
}

fn restore_objects(reader: &mut Reader<'_>, count: u16) -> Result<Objects, Error> {
    const WHAT: &str = "loaded objects";
    reader.record(OBJECTS, |reader, _| {
        let slots = reader.list(usize::from(count), WHAT, |reader| {
            Ok(match reader.get::<u8>(WHAT)? {
                0 => None,
                1 => Some(Slot::Object(restore_object(reader)?.into())),
                2 => Some(Slot::Sequence(Box::new(restore_sequence(reader)?))),
                _ => return Err(Error::Damaged(WHAT)),
            })
        })?;
        if slots.len() != usize::from(count) {
            return Err(Error::Damaged(WHAT));
        }
        let mut objects = Objects::new(count);
        let first = HandleType::Transient.first().0;
        for (position, slot) in (0..u32::from(count)).zip(slots) {
            let place = objects.slot_mut(Handle(first | position)).ok_or(Error::Damaged(WHAT))?;
            *place = slot;
        }
        Ok(objects)
    })
}
