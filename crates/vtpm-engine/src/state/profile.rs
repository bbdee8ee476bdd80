//! Saved profile: what the TPM offers, fixed at manufacture.

use super::record::{Kind, Reader, Writer};
use crate::Error;
use crate::profile::{Algorithms, Identity, Limits, Profile};

const PROFILE: Kind = Kind::first("PROF");

const WHAT: &str = "profile";

/// `TPM_RH_ACT_0` to `TPM_RH_ACT_F`.
const MAX_ACTS: u8 = 16;

/// Writes a profile.
pub(super) fn save_profile(writer: &mut Writer, profile: &Profile) {
    let Profile { algorithms, limits, identity } = profile;
    let Algorithms { algs, rsa, aes, curves, active_banks } = algorithms;
    let Limits {
        loaded_objects,
        loaded_sessions,
        active_sessions,
        persistent_objects,
        nv_bytes,
        acts,
    } = limits;
    let Identity { manufacturer, vendor, vendor_type, firmware_version } = identity;
    writer.record(PROFILE, |writer| {
        writer.raw(&algs.to_be_bytes());
        writer.put(*rsa);
        writer.put(*aes);
        writer.put(*curves);
        writer.raw(&active_banks.to_be_bytes());
        writer.put(*loaded_objects);
        writer.put(*loaded_sessions);
        writer.put(*active_sessions);
        writer.put(*persistent_objects);
        writer.put(*nv_bytes);
        writer.put(*acts);
        writer.raw(manufacturer);
        writer.raw(vendor);
        writer.put(*vendor_type);
        writer.put(*firmware_version);
    });
}

/// Reads a profile whose algorithms this release all has.
pub(super) fn restore_profile(reader: &mut Reader<'_>) -> Result<Profile, Error> {
    reader.record(PROFILE, |reader, _| {
        let algorithms = Algorithms {
            algs: u128::from_be_bytes(*reader.secret()?),
            rsa: reader.get(WHAT)?,
            aes: reader.get(WHAT)?,
            curves: reader.get(WHAT)?,
            active_banks: u128::from_be_bytes(*reader.secret()?),
        };
        let limits = Limits {
            loaded_objects: reader.get(WHAT)?,
            loaded_sessions: reader.get(WHAT)?,
            active_sessions: reader.get(WHAT)?,
            persistent_objects: reader.get(WHAT)?,
            nv_bytes: reader.get(WHAT)?,
            acts: reader.get(WHAT)?,
        };
        let identity = Identity {
            manufacturer: *reader.secret()?,
            vendor: *reader.secret()?,
            vendor_type: reader.get(WHAT)?,
            firmware_version: reader.get(WHAT)?,
        };
        let all = Algorithms::default();
        let unknown = algorithms.algs & !all.algs != 0
            || algorithms.rsa & !all.rsa != 0
            || algorithms.aes & !all.aes != 0
            || algorithms.curves & !all.curves != 0;
        if unknown {
            return Err(Error::Unsupported("an algorithm, key size or curve"));
        }
        if limits.acts > MAX_ACTS {
            return Err(Error::Damaged(WHAT));
        }
        Ok(Profile { algorithms, limits, identity })
    })
}
