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

/// Steps of eight bytes: what, length, offset (2), value (4). The model `stays`; a copy of it
/// `moves` through snapshots, and nothing that can be seen may tell the two apart.
fn drive<M: RegisterModel>(new: impl Fn() -> M, steps: &[u8], renew: impl Fn(&M) -> M) {
    let (mut stays, mut moves) = (new(), new());
    for step in steps.chunks_exact(8) {
        let busy = stays.is_busy();
        let length = usize::from(step[1] % 9);
        let offset = u64::from(u16::from_le_bytes([step[2], step[3]]) % 0x5100);
        let value = [&step[4..], &step[4..]].concat();
        match step[0] % 16 {
            0..=8 => {
                let action = stays.write(offset, &value[..length]);
                match action {
                    Action::Execute { .. } => assert!(!busy),
                    Action::Cancel => assert!(busy),
                    _ => {}
                }
                assert_eq!(moves.write(offset, &value[..length]), action);
            }
            9..=12 => {
                let (mut data, mut other) = ([0; 8], [0; 8]);
                stays.read(offset, &mut data[..length]);
                moves.read(offset, &mut other[..length]);
                assert_eq!(data, other);
            }
            13 => {
                let response = vec![step[4]; usize::from(step[5])];
                assert_eq!(stays.complete(&response).is_ok(), busy);
                assert_eq!(moves.complete(&response).is_ok(), busy);
            }
            14 => moves = renew(&moves),
            _ => assert_eq!(stays.reset(), moves.reset()),
        }
        assert_eq!(stays.resume(), moves.resume());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, steps)) = data.split_first() else { return };
    if which % 2 == 0 {
        drive(
            || Tis::new(tis_config(), Polled),
            steps,
            |tis| {
                let state = TisState::from_bytes(&tis.save().to_bytes()).expect("what was written");
                Tis::restore(tis_config(), Polled, NoEvents, &state).expect("a state that exists")
            },
        );
    } else {
        let new = || Crb::new(crb_config(), InMemoryBuffer::default(), Polled);
        drive(new, steps, |crb| {
            let bytes = crb.save().expect("memory is there").to_bytes();
            let state = CrbState::from_bytes(&bytes).expect("what was written");
            let buffer = InMemoryBuffer::default();
            Crb::restore(crb_config(), buffer, Polled, NoEvents, &state)
                .expect("a state that exists")
        });
    }
});
