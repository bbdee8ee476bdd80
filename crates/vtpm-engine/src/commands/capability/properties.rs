//! `TPM_PT` and `TPM_PT_PCR` properties: Part 2, clauses 6.13 and 6.14.

use crate::clock::UPDATE_INTERVAL_MS;
use crate::commands::table;
use crate::crypto::hash::HashAlg;
use crate::dispatch::MAX_COMMAND_SIZE;
use crate::nv::MAX_ORDERLY_COUNT;
use crate::object::commit::WINDOW;
use crate::pcr::attributes;
use crate::session::authorize::CONTEXT_GAP_MAX;
use crate::tpm::Tpm;
use crate::wire::{
    Alg, LocalityAttributes, MAX_BUFFER, MAX_DIGEST, MAX_NV_BUFFER, MAX_NV_INDEX_SIZE, NvType,
    PCR_COUNT, PCR_SELECT_SIZE, PcrSelection, PermanentAttributes, StartupClearAttributes,
};

const FIXED: u32 = 0x100;
const VARIABLE: u32 = 0x200;
/// The number after the last property of the group in which a list starts: a list does not go on
/// from the fixed properties to the variable ones.
pub(crate) const fn end_of_group(first: u32) -> u32 {
    if first < VARIABLE { VARIABLE } else { VARIABLE + 0x15 }
}

/// Most bytes of a saved object context: header, integrity value, and the largest object.
pub(crate) const MAX_OBJECT_CONTEXT: u32 = 2 * 1024 + 512;
/// Most bytes of a saved session context.
pub(crate) const MAX_SESSION_CONTEXT: u32 = 1024;

fn text(bytes: &[u8], word: u32) -> u32 {
    let start = (word as usize).saturating_mul(4);
    let word = bytes.get(start..).and_then(|tail| tail.first_chunk::<4>());
    word.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A property; absent when this TPM does not have it.
pub(crate) fn property(tpm: &Tpm, property: u32) -> Option<u32> {
    if property >= VARIABLE { variable(tpm, property) } else { fixed(tpm, property) }
}

fn fixed(tpm: &Tpm, property: u32) -> Option<u32> {
    let limits = &tpm.profile.limits;
    let identity = &tpm.profile.identity;
    let commands = table::ROWS.len() as u32;
    Some(match property.checked_sub(FIXED)? {
        // Family, level, revision, day and year of the library specification.
        0 | 35 => u32::from_be_bytes(*b"2.0\0"),
        1 | 36 => 0,
        2 | 37 => 164,
        3 | 38 => 75,
        4 | 39 => 2021,
        5 => u32::from_be_bytes(identity.manufacturer),
        word @ 6..=9 => text(&identity.vendor, word.saturating_sub(6)),
        10 => identity.vendor_type,
        11 => (identity.firmware_version >> 32) as u32,
        12 => identity.firmware_version as u32,
        13 => MAX_BUFFER as u32,
        14 => u32::from(limits.loaded_objects),
        15 => u32::from(limits.persistent_objects),
        16 => u32::from(limits.loaded_sessions),
        17 => u32::from(limits.active_sessions),
        18 => PCR_COUNT,
        19 => PCR_SELECT_SIZE as u32,
        20 => CONTEXT_GAP_MAX,
        22 => 0,
        23 => u32::from(MAX_NV_INDEX_SIZE),
        // Indices share memory with persistent objects; objects are copied to RAM.
        24 => 6,
        25 => UPDATE_INTERVAL_MS as u32,
        26 => u32::from(tpm.context_integrity_hash().id()),
        27 => u32::from(Alg::AES.0),
        28 => 256,
        29 => MAX_ORDERLY_COUNT as u32,
        30 | 31 => MAX_COMMAND_SIZE as u32,
        32 => MAX_DIGEST as u32,
        33 => MAX_OBJECT_CONTEXT,
        34 => MAX_SESSION_CONTEXT,
        40 => u32::from(WINDOW),
        41 | 42 => commands,
        43 => 0,
        44 => MAX_NV_BUFFER as u32,
        45 => 0,
        46 => MAX_BUFFER as u32,
        _ => return None,
    })
}

fn variable(tpm: &Tpm, property: u32) -> Option<u32> {
    let limits = &tpm.profile.limits;
    let lockout = &tpm.permanent.lockout;
    let loaded = tpm.sessions.loaded() as u32;
    let active = tpm.sessions.active() as u32;
    let counters = tpm.nv.indices.values().filter(|index| index.kind() == NvType::Counter).count();
    let free_slots = tpm.objects.slots().iter().filter(|slot| slot.is_none()).count();
    let persistent = tpm.nv.objects.len() as u32;
    Some(match property.checked_sub(VARIABLE)? {
        0 => permanent_attributes(tpm).0,
        1 => startup_clear_attributes(tpm).0,
        2 => tpm.nv.indices.len() as u32,
        3 => loaded,
        4 => u32::from(limits.loaded_sessions).saturating_sub(loaded),
        5 => active,
        6 => u32::from(limits.active_sessions).saturating_sub(active),
        7 => free_slots as u32,
        8 => persistent,
        9 => tpm.persistent_available(),
        10 => counters as u32,
        11 => tpm.counters_available(),
        12 => tpm.permanent.algorithm_set,
        13 => tpm.profile.algorithms.curves().count() as u32,
        14 => lockout.failed_tries,
        15 => lockout.max_tries,
        16 => lockout.recovery_time,
        17 => lockout.lockout_recovery,
        18 => 0,
        19 => (tpm.permanent.audit.counter >> 32) as u32,
        20 => tpm.permanent.audit.counter as u32,
        _ => return None,
    })
}

fn permanent_attributes(tpm: &Tpm) -> PermanentAttributes {
    let hierarchies = &tpm.permanent.hierarchies;
    let lockout = &tpm.permanent.lockout;
    let flags = [
        (!hierarchies.owner_auth.auth.is_empty(), PermanentAttributes::OWNER_AUTH_SET),
        (!hierarchies.endorsement_auth.auth.is_empty(), PermanentAttributes::ENDORSEMENT_AUTH_SET),
        (!hierarchies.lockout_auth.auth.is_empty(), PermanentAttributes::LOCKOUT_AUTH_SET),
        (tpm.permanent.disable_clear, PermanentAttributes::DISABLE_CLEAR),
        (lockout.failed_tries >= lockout.max_tries, PermanentAttributes::IN_LOCKOUT),
        (hierarchies.tpm_generated_eps, PermanentAttributes::TPM_GENERATED_EPS),
    ];
    let set = flags.iter().filter(|(on, _)| *on);
    set.fold(PermanentAttributes::NONE, |all, (_, flag)| all.with(*flag))
}

fn startup_clear_attributes(tpm: &Tpm) -> StartupClearAttributes {
    let flags = [
        (tpm.platform_enabled, StartupClearAttributes::PH_ENABLE),
        (tpm.clear.storage_enabled, StartupClearAttributes::SH_ENABLE),
        (tpm.clear.endorsement_enabled, StartupClearAttributes::EH_ENABLE),
        (tpm.clear.platform_nv_enabled, StartupClearAttributes::PH_ENABLE_NV),
        (tpm.clear.read_only, StartupClearAttributes::READ_ONLY),
        (tpm.started_orderly, StartupClearAttributes::ORDERLY),
    ];
    let set = flags.iter().filter(|(on, _)| *on);
    set.fold(StartupClearAttributes::NONE, |all, (_, flag)| all.with(*flag))
}

/// The number after the last PCR property.
pub(crate) const PCR_END: u32 = 0x15;

/// The PCR that have a property; absent when there is no such property.
pub(crate) fn pcr_property(property: u32) -> Option<PcrSelection> {
    let mut selection = PcrSelection::none(HashAlg::Sha256);
    for pcr in 0..PCR_COUNT {
        let a = attributes(pcr);
        let has = match property {
            0 => a.save_state,
            // Extend and reset by locality 0, 1, 2, 3, 4 alternate.
            1..=10 => {
                let locality = LocalityAttributes::of((property.saturating_sub(1) / 2) as u8);
                if property % 2 == 1 { a.extend.any(locality) } else { a.reset.any(locality) }
            }
            0x11 => a.no_increment,
            0x12 => a.drtm,
            0x13 => a.policy_group != 0,
            0x14 => a.auth_group != 0,
            _ => return None,
        };
        if has {
            selection.set(pcr);
        }
    }
    Some(selection)
}
