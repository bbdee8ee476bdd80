//! A guest that writes anything anywhere, and an engine that answers anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_device::{
    Action, NoEvents, Polled, RegisterModel,
    crb::{Crb, CrbConfig, CrbState, InMemoryBuffer},
    tis::{LocalityFour, Tis, TisConfig, TisState},
};

fn tis_config() -> TisConfig {
    TisConfig { locality_four: LocalityFour::Open, ..Default::default() }
}

fn crb_config() -> CrbConfig {
    CrbConfig { interrupts: true, ..Default::default() }
}

/// Steps of eight bytes: what, length, offset (2), value (4).
fn drive<M: RegisterModel>(mut model: M, steps: &[u8], renew: impl Fn(&M) -> M) {
    for step in steps.chunks_exact(8) {
        let busy = model.is_busy();
        let length = usize::from(step[1] % 9);
        let offset = u64::from(u16::from_le_bytes([step[2], step[3]]) % 0x5100);
        let value = [&step[4..], &step[4..]].concat();
        match step[0] % 16 {
            0..=8 => match model.write(offset, &value[..length]) {
                Action::Execute { .. } => assert!(!busy),
                Action::Cancel => assert!(busy),
                _ => {}
            },
            9..=12 => model.read(offset, &mut [0; 8][..length]),
            13 => assert_eq!(model.complete(&vec![step[4]; usize::from(step[5])]).is_ok(), busy),
            14 => model = renew(&model),
            _ => {
                let _ = model.reset();
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, steps)) = data.split_first() else { return };
    if which % 2 == 0 {
        drive(Tis::new(tis_config(), Polled), steps, |tis| {
            let state = TisState::from_bytes(&tis.save().to_bytes()).expect("what was written");
            Tis::restore(tis_config(), Polled, NoEvents, &state).expect("a state that exists")
        });
    } else {
        let buffer = InMemoryBuffer::default();
        drive(Crb::new(crb_config(), buffer, Polled), steps, |crb| {
            let bytes = crb.save().expect("memory is there").to_bytes();
            let state = CrbState::from_bytes(&bytes).expect("what was written");
            let buffer = InMemoryBuffer::default();
            Crb::restore(crb_config(), buffer, Polled, NoEvents, &state)
                .expect("a state that exists")
        });
    }
});
