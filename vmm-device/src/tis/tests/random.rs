//! Whatever a guest does.

use proptest::prelude::*;

use super::*;

/// What a guest and a VMM can do to a device.
#[derive(Clone, Debug)]
enum Step {
    Read { offset: u64, length: usize },
    Write { offset: u64, data: Vec<u8> },
    Complete(Vec<u8>),
    Fail,
    SaveAndRestore,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let registers = prop::sample::select(vec![
        ACCESS,
        INT_ENABLE,
        INT_STATUS,
        STS,
        STS,
        STS,
        STS + 3,
        HASH_END,
        DATA_FIFO,
        DATA_FIFO,
        HASH_START,
        INTERFACE_ID,
        XDATA_FIFO,
        0xBC,
    ]);
    let offset = (0u64..5, registers).prop_map(|(locality, register)| locality << 12 | register);
    let offset = prop_oneof![9 => offset, 1 => any::<u64>(), 1 => 0u64..0x5010];
    let bit = (0u32..32).prop_map(|bit| (1u32 << bit).to_le_bytes().to_vec());
    let data = prop_oneof![
        3 => bit,
        1 => Just(COMMAND.to_vec()),
        1 => Just(COMMAND[..8].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    let step = prop_oneof![
        4 => (offset.clone(), 0usize..9).prop_map(|(offset, length)| Step::Read { offset, length }),
        20 => (offset, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        3 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Complete),
        1 => Just(Step::Fail),
        1 => Just(Step::SaveAndRestore),
        1 => prop::bool::weighted(0.1)
            .prop_map(|reset| if reset { Step::Reset } else { Step::SaveAndRestore }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn no_sequence_of_accesses_panics_or_reaches_an_impossible_state(steps in steps()) {
        let mut guest = guest();
        for step in steps {
            let busy = guest.0.is_busy();
            match step {
                Step::Read { offset, length } => guest.0.read(offset, &mut vec![0; length]),
                Step::Write { offset, data } => match guest.0.write(offset, &data) {
                    Action::Execute { .. } => prop_assert!(!busy, "two commands at once"),
                    Action::Cancel => prop_assert!(busy, "nothing to cancel"),
                    _ => {}
                },
                Step::Complete(response) => {
                    prop_assert_eq!(guest.0.complete(&response).is_ok(), busy);
                }
                Step::Fail => prop_assert_eq!(guest.0.fail().is_ok(), busy),
                Step::SaveAndRestore => guest = restore(&guest),
                Step::Reset => prop_assert_eq!(guest.0.reset() == Action::Cancel, busy),
            }
            prop_assert_eq!(guest.0.check(), Ok(()));
            let active = (0..5).filter(|l| guest.access(*l) & ACCESS_ACTIVE != 0).count();
            prop_assert!(active <= 1, "{} active localities", active);
        }
    }
}
