//! Live migration: a running machine moves to another host, and its TPM with it.
//!
//! ```text
//!   source                                                     destination
//!   ------                                                     -----------
//!   attestation of both hosts, transfer key wrapped to the destination's chip   (vtpm-handover)
//!   description --------------------------------------------->  can it run here?
//!               <---------------------------------------------  answer
//!   pages, in rounds, while the guest runs ------------------>  into its memory
//!   | pause, freeze the TPM                                  |
//!   | the last pages, processors and devices --------------->|  a machine, paused
//!   | the TPM in its envelope                      deliver ->|  prepare: sealed here, journalled
//!   | entomb: the point of no return                commit ->|  activate
//!   '-------------------------- blackout --------------------'  run
//! ```
//!
//! All of it goes through one TLS session, which the attestation is bound to. Before the commit a
//! failure on either side leaves the guest running at the source; after it the guest can only run
//! at the destination. What the handover promises of the TPM is in [`vtpm_handover`].
//!
//! A machine without a TPM has nothing that a chip vouches for: it moves encrypted, but to whoever
//! listens, and only if the operator says so.

mod incoming;
mod memory;
mod mover;
mod outgoing;
mod pages;
mod party;
mod precopy;
mod record;

use std::{net::TcpStream, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    incoming::{Arrival, Arrived, Home, receive, wait},
    memory::GuestPages,
    mover::{Identity, MigrationState, MigrationStatus, Mover, Outcome},
    outgoing::{Gone, Ready, Stayed, begin},
    party::Party,
    precopy::{Limits, Progress},
};
use crate::{
    config::{Hardware, Virtio},
    error::{Error, Result},
};

/// How long a peer may be silent: a chip of the other host may take seconds for each of its steps.
const SILENCE: Duration = Duration::from_secs(120);

/// What a source says of its machine before it sends any of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// What the guest sees.
    hardware: Hardware,
    /// What the processors there can do.
    features: Vec<Feature>,
}

/// Feature bits of one leaf of CPUID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    leaf: u32,
    sub_leaf: u32,
    /// EAX to EDX, those that hold features; zero for the others.
    bits: [u32; 4],
}

/// What a destination says to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// Why it cannot run here; none if it can.
    refused: Option<String>,
}

/// The leaves that hold features, and which of their registers do.
const FEATURE_LEAVES: [(u32, u32, [bool; 4]); 4] = [
    (1, 0, [false, false, true, true]),
    (7, 0, [false, true, true, true]),
    (0xd, 1, [true, false, false, false]),
    (0x8000_0001, 0, [false, false, true, true]),
];

/// What processors can do, by what KVM shows of them.
fn features(cpuid: &kvm_bindings::CpuId) -> Vec<Feature> {
    let find = |leaf, sub_leaf| {
        let mut entries = cpuid.as_slice().iter();
        entries.find(|entry| (entry.function, entry.index) == (leaf, sub_leaf))
    };
    let feature = |(leaf, sub_leaf, holds): &(u32, u32, [bool; 4])| {
        let entry = find(*leaf, *sub_leaf)?;
        let all = [entry.eax, entry.ebx, entry.ecx, entry.edx];
        let [a, b, c, d] = *holds;
        let keep = |bits: u32, holds: bool| if holds { bits } else { 0 };
        let [eax, ebx, ecx, edx] = all;
        let bits = [keep(eax, a), keep(ebx, b), keep(ecx, c), keep(edx, d)];
        Some(Feature { leaf: *leaf, sub_leaf: *sub_leaf, bits })
    };
    FEATURE_LEAVES.iter().filter_map(feature).collect()
}

/// Says what the guest of a source may rely on and this host's processors lack.
fn missing(theirs: &[Feature], ours: &[Feature]) -> Option<String> {
    theirs.iter().find_map(|theirs| {
        let same = |ours: &&Feature| (ours.leaf, ours.sub_leaf) == (theirs.leaf, theirs.sub_leaf);
        let here = ours.iter().find(same).map_or([0; 4], |ours| ours.bits);
        let lacking = theirs.bits.iter().zip(here).map(|(theirs, here)| theirs & !here);
        let lacking: Vec<u32> = lacking.collect();
        lacking.iter().any(|bits| *bits != 0).then(|| {
            format!(
                "the processors here lack features of leaf {:#x}: {lacking:08x?}; move to a host \
                 of the same kind",
                theirs.leaf
            )
        })
    })
}

/// Whether a guest cannot tell two machines apart. Where a disk's file is, and which tap a card
/// is on, is each host's own matter.
fn alike(one: &Hardware, other: &Hardware) -> bool {
    let shape = |hardware: &Hardware| Hardware { virtio: Vec::new(), ..hardware.clone() };
    shape(one) == shape(other)
        && one.virtio.len() == other.virtio.len()
        && one.virtio.iter().zip(&other.virtio).all(|pair| match pair {
            (Virtio::Disk { read_only: a, .. }, Virtio::Disk { read_only: b, .. }) => a == b,
            (Virtio::Net { mac: a, .. }, Virtio::Net { mac: b, .. }) => a == b,
            (Virtio::Rng, Virtio::Rng) => true,
            _ => false,
        })
}

/// Sets how long a stream may be silent, and sends small messages at once.
fn prepare_stream(stream: &TcpStream) -> Result<()> {
    let action = "prepare the connection";
    stream.set_nodelay(true).map_err(Error::host(action))?;
    stream.set_read_timeout(Some(SILENCE)).map_err(Error::host(action))?;
    stream.set_write_timeout(Some(SILENCE)).map_err(Error::host(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(leaf: u32, bits: [u32; 4]) -> Feature {
        Feature { leaf, sub_leaf: 0, bits }
    }

    #[test]
    fn a_host_with_more_features_can_take_a_guest_and_one_with_fewer_cannot() {
        let less = [feature(1, [0, 0, 0b0110, 1])];
        let more = [feature(1, [0, 0, 0b1110, 1]), feature(7, [0, 1, 0, 0])];
        assert_eq!(missing(&less, &more), None);
        let lacking = missing(&more, &less).unwrap();
        assert!(lacking.contains("leaf 0x1") && lacking.contains("00000008"), "{lacking}");
        assert!(missing(&[feature(7, [0, 1, 0, 0])], &less).unwrap().contains("leaf 0x7"));
    }

    #[test]
    fn machines_differ_by_what_the_guest_sees_and_not_by_where_a_disk_lies() {
        let disk = |path: &str, read_only| Virtio::Disk { path: path.into(), read_only };
        let machine = |virtio| Hardware {
            memory_mib: 128,
            cpus: 1,
            tpm: None,
            tpm_interrupts: false,
            virtio,
        };
        let one = machine(vec![disk("/a", false)]);
        assert!(alike(&one, &machine(vec![disk("/b", false)])));
        assert!(!alike(&one, &machine(vec![disk("/a", true)])));
        assert!(!alike(&one, &machine(vec![Virtio::Rng])));
        assert!(!alike(&one, &machine(Vec::new())));
        assert!(!alike(&one, &Hardware { cpus: 2, ..one.clone() }));
    }
}
