//! Saved permanent state: hierarchies, lockout, settings, and what `TPM2_Shutdown(STATE)` kept.

use super::record::{Kind, Reader, Writer};
use super::session::{restore_sessions, save_sessions};
use super::volatile::{
    restore_clear, restore_pcrs, restore_reset, save_clear, save_pcrs, save_reset,
};
use crate::Error;
use crate::audit::AuditSettings;
use crate::hierarchy::{Hierarchies, HierarchyAuth, Root};
use crate::lockout::Lockout;
use crate::pcr::POLICY_GROUPS;
use crate::profile::Profile;
use crate::startup::PreStartup;
use crate::tpm::{Permanent, Policy, Preserved};
use crate::wire::{Cc, Digest, MAX_BANKS, PcrSelection, Su};

const PERMANENT: Kind = Kind::first("PERM");
const HIERARCHIES: Kind = Kind::first("HIER");
const LOCKOUT: Kind = Kind::first("LOCK");
/// Version 2: how the TPM was started.
const PRESERVED: Kind = Kind { tag: "KEPT", version: 2, minimum: 1 };

const WHAT: &str = "permanent state";
/// More command codes than there are.
const MAX_COMMANDS: usize = 1024;
/// As many groups as there are PCR.
const MAX_GROUPS: usize = 24;

/// Writes a policy that may be absent.
pub(super) fn save_policy(writer: &mut Writer, policy: Option<&Policy>) {
    writer.option(policy, |writer, Policy { alg, digest }| {
        writer.put(*alg);
        writer.put(digest);
    });
}

/// Reads a policy that may be absent.
pub(super) fn restore_policy(reader: &mut Reader<'_>) -> Result<Option<Policy>, Error> {
    reader.option("policy", |reader| {
        let alg: crate::crypto::hash::HashAlg = reader.get("policy")?;
        let digest: Digest = reader.get("policy")?;
        if digest.len() == alg.digest_size() {
            Ok(Policy { alg, digest })
        } else {
            Err(Error::Damaged("policy"))
        }
    })
}

/// Writes the permanent state.
pub(super) fn save_permanent(writer: &mut Writer, permanent: &Permanent) {
    let Permanent {
        hierarchies,
        lockout,
        disable_clear,
        pcr_allocation,
        pcr_policies,
        pp_commands,
        audit,
        total_reset_count,
        reset_count,
        algorithm_set,
        orderly,
        established,
        preserved,
    } = permanent;
    let AuditSettings { alg, counter, commands } = audit;
    writer.record(PERMANENT, |writer| {
        save_hierarchies(writer, hierarchies);
        save_lockout(writer, lockout);
        writer.put(*disable_clear);
        writer.list(pcr_allocation, |writer, selection| writer.put(selection));
        writer.list(pcr_policies, |writer, policy| save_policy(writer, policy.as_ref()));
        writer.list(pp_commands, |writer, code| writer.put(*code));
        writer.put(*alg);
        writer.put(*counter);
        writer.list(commands, |writer, code| writer.put(*code));
        writer.put(*total_reset_count);
        writer.put(*reset_count);
        writer.put(*algorithm_set);
        writer.option(*orderly, Writer::put);
        writer.put(*established);
        writer.option(preserved.as_deref(), save_preserved);
    });
}

/// Reads the permanent state.
pub(super) fn restore_permanent(
    reader: &mut Reader<'_>,
    profile: &Profile,
) -> Result<Permanent, Error> {
    reader.record(PERMANENT, |reader, _| {
        Ok(Permanent {
            hierarchies: restore_hierarchies(reader)?,
            lockout: restore_lockout(reader)?,
            disable_clear: reader.get(WHAT)?,
            pcr_allocation: restore_allocation(reader)?,
            pcr_policies: {
                let mut policies = reader.list(MAX_GROUPS, WHAT, restore_policy)?;
                policies.resize(POLICY_GROUPS, None);
                policies
            },
            pp_commands: restore_commands(reader)?,
            audit: AuditSettings {
                alg: reader.get(WHAT)?,
                counter: reader.get(WHAT)?,
                commands: restore_commands(reader)?,
            },
            total_reset_count: reader.get(WHAT)?,
            reset_count: reader.get(WHAT)?,
            algorithm_set: reader.get(WHAT)?,
            orderly: reader.option(WHAT, |reader| match reader.get(WHAT)? {
                kind @ (Su::CLEAR | Su::STATE) => Ok(kind),
                _ => Err(Error::Damaged(WHAT)),
            })?,
            established: reader.get(WHAT)?,
            preserved: reader
                .option(WHAT, |reader| restore_preserved(reader, profile).map(Box::new))?,
        })
    })
}

/// Command codes; those that are searched must be in order.
fn restore_commands(reader: &mut Reader<'_>) -> Result<Vec<Cc>, Error> {
    let mut commands: Vec<Cc> = reader.list(MAX_COMMANDS, WHAT, |reader| reader.get(WHAT))?;
    commands.sort_unstable();
    commands.dedup();
    Ok(commands)
}

fn restore_allocation(reader: &mut Reader<'_>) -> Result<Vec<PcrSelection>, Error> {
    let allocation: Vec<PcrSelection> =
        reader.list(MAX_BANKS, "PCR allocation", |reader| reader.get("PCR allocation"))?;
    let mut hashes: Vec<_> = allocation.iter().map(|selection| selection.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() == allocation.len() {
        Ok(allocation)
    } else {
        Err(Error::Damaged("PCR allocation"))
    }
}

fn save_hierarchies(writer: &mut Writer, hierarchies: &Hierarchies) {
    let Hierarchies {
        platform,
        owner,
        endorsement,
        owner_auth,
        endorsement_auth,
        lockout_auth,
        tpm_generated_eps,
    } = hierarchies;
    writer.record(HIERARCHIES, |writer| {
        for Root { seed, proof } in [platform, owner, endorsement] {
            writer.raw(seed.as_ref());
            writer.raw(proof.as_ref());
        }
        for HierarchyAuth { auth, policy } in [owner_auth, endorsement_auth, lockout_auth] {
            writer.put(auth);
            save_policy(writer, policy.as_ref());
        }
        writer.put(*tpm_generated_eps);
    });
}

fn restore_hierarchies(reader: &mut Reader<'_>) -> Result<Hierarchies, Error> {
    const WHAT: &str = "hierarchies";
    reader.record(HIERARCHIES, |reader, _| {
        let root = |reader: &mut Reader<'_>| -> Result<Root, Error> {
            Ok(Root { seed: reader.secret()?, proof: reader.secret()? })
        };
        let auth = |reader: &mut Reader<'_>| -> Result<HierarchyAuth, Error> {
            Ok(HierarchyAuth { auth: reader.get(WHAT)?, policy: restore_policy(reader)? })
        };
        Ok(Hierarchies {
            platform: root(reader)?,
            owner: root(reader)?,
            endorsement: root(reader)?,
            owner_auth: auth(reader)?,
            endorsement_auth: auth(reader)?,
            lockout_auth: auth(reader)?,
            tpm_generated_eps: reader.get(WHAT)?,
        })
    })
}

fn save_lockout(writer: &mut Writer, lockout: &Lockout) {
    let Lockout {
        failed_tries,
        max_tries,
        recovery_time,
        lockout_recovery,
        lockout_auth_enabled,
        used,
        self_heal_timer,
        lockout_timer,
    } = lockout;
    writer.record(LOCKOUT, |writer| {
        writer.put(*failed_tries);
        writer.put(*max_tries);
        writer.put(*recovery_time);
        writer.put(*lockout_recovery);
        writer.put(*lockout_auth_enabled);
        writer.put(*used);
        writer.put(*self_heal_timer);
        writer.put(*lockout_timer);
    });
}

fn restore_lockout(reader: &mut Reader<'_>) -> Result<Lockout, Error> {
    const WHAT: &str = "lockout";
    reader.record(LOCKOUT, |reader, _| {
        Ok(Lockout {
            failed_tries: reader.get(WHAT)?,
            max_tries: reader.get(WHAT)?,
            recovery_time: reader.get(WHAT)?,
            lockout_recovery: reader.get(WHAT)?,
            lockout_auth_enabled: reader.get(WHAT)?,
            used: reader.get(WHAT)?,
            self_heal_timer: reader.get(WHAT)?,
            lockout_timer: reader.get(WHAT)?,
        })
    })
}

fn save_preserved(writer: &mut Writer, preserved: &Preserved) {
    let Preserved { reset, clear, pcrs, sessions, pre_startup } = preserved;
    let PreStartup { hcrtm, locality_3 } = *pre_startup;
    writer.record(PRESERVED, |writer| {
        save_reset(writer, reset);
        save_clear(writer, clear);
        save_pcrs(writer, pcrs);
        save_sessions(writer, sessions);
        writer.put(hcrtm);
        writer.put(locality_3);
    });
}

fn restore_preserved(reader: &mut Reader<'_>, profile: &Profile) -> Result<Preserved, Error> {
    let limits = &profile.limits;
    reader.record(PRESERVED, |reader, version| {
        Ok(Preserved {
            reset: restore_reset(reader)?,
            clear: restore_clear(reader, profile)?,
            pcrs: restore_pcrs(reader)?,
            sessions: restore_sessions(reader, limits.active_sessions, limits.loaded_sessions)?,
            pre_startup: if version < 2 {
                PreStartup::default()
            } else {
                PreStartup { hcrtm: reader.get(WHAT)?, locality_3: reader.get(WHAT)? }
            },
        })
    })
}
