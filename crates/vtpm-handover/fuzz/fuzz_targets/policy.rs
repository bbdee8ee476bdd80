//! Arbitrary text as a trust policy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtpm_handover::HostId;
use vtpm_handover::pcr::{PcrSelection, PcrValue};
use vtpm_handover::policy::TrustPolicy;

fuzz_target!(|text: &str| {
    let Ok(policy) = TrustPolicy::parse(text, |file| Ok(file.as_bytes().to_vec())) else { return };
    let wanted = policy.wanted();
    assert_eq!(PcrSelection::from_tpml(&wanted.to_tpml()), Some(wanted.clone()));
    let values: Vec<_> =
        wanted.iter().map(|(bank, index)| PcrValue { bank, index, digest: vec![0; 32] }).collect();
    for host in policy.hosts.iter().map(|host| host.ek).chain([HostId([0; 32])]) {
        let _ = policy.of(&host).pcrs.check(&values);
    }
});
