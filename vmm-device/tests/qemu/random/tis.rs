//! Random accesses to TIS.

use proptest::{prelude::*, sample::select};
use vmm_device::tis::{Tis, spec};

use super::{Pair, check};
use crate::{
    machine::Machine,
    ours::{Ours, Wire},
    qemu::Qemu,
    script::Device,
};

/// Something that a guest may do; how it is done depends on the state.
#[derive(Clone, Debug)]
enum Pick {
    Read {
        locality: u64,
        register: u64,
        add: u64,
        size: usize,
    },
    Access {
        locality: u64,
        value: u64,
    },
    Status {
        locality: u64,
        value: u64,
    },
    /// The next bytes of a command that is to be as long as this.
    Push {
        locality: Option<u64>,
        wide: bool,
        size: usize,
        length: u8,
    },
    Pull {
        wide: bool,
        size: usize,
    },
    Enable {
        locality: u64,
        value: u64,
    },
    Clear {
        locality: u64,
        value: u64,
    },
    Other {
        locality: u64,
        register: u64,
        size: usize,
        value: u64,
    },
    Answer(usize),
    /// What a driver would do next; bytes by accesses of this size.
    Advance {
        size: usize,
        length: u8,
    },
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let locality = prop_oneof![4 => Just(0u64), 3 => Just(1u64), 2 => 2u64..5];
    let size = select(vec![1usize, 2, 4, 8]);
    let registers = select(vec![
        spec::ACCESS,
        spec::ACCESS,
        spec::INT_ENABLE,
        spec::INT_VECTOR,
        spec::INT_STATUS,
        spec::INTF_CAPABILITY,
        spec::STS,
        spec::STS,
        spec::STS,
        spec::HASH_END,
        spec::INTERFACE_ID,
        spec::DID_VID,
        spec::RID,
        0xF90,
    ]);
    let access = select(vec![0x02, 0x02, 0x02, 0x20, 0x20, 0x08, 0x08, 0x10, 0x22, 0x2A, 0x12]);
    let status = select(vec![
        0x40u64,
        0x40,
        0x40,
        0x20,
        0x20,
        0x20,
        0x02,
        0x0100_0000,
        0x0200_0000,
        0x60,
        0x42,
        0x00,
        0x9C,
    ]);
    let causes = (any::<[bool; 3]>(), any::<bool>()).prop_map(|([data, change, ready], all)| {
        u64::from(data) | u64::from(change) << 2 | u64::from(ready) << 7 | u64::from(all) << 31
    });
    let others =
        select(vec![spec::INT_VECTOR, spec::INTF_CAPABILITY, spec::INTERFACE_ID, spec::RID, 0xF90]);
    let pick = prop_oneof![
        6 => (locality.clone(), registers, 0u64..4, size.clone())
            .prop_map(|(locality, register, add, size)| {
                Pick::Read { locality, register, add, size }
            }),
        4 => (locality.clone(), access)
            .prop_map(|(locality, value)| Pick::Access { locality, value }),
        6 => (locality.clone(), status)
            .prop_map(|(locality, value)| Pick::Status { locality, value }),
        12 => (prop::option::weighted(0.1, locality.clone()), any::<bool>(), size.clone(), 14u8..40)
            .prop_map(|(locality, wide, size, length)| Pick::Push { locality, wide, size, length }),
        5 => (any::<bool>(), size.clone()).prop_map(|(wide, size)| Pick::Pull { wide, size }),
        1 => (locality.clone(), causes.clone())
            .prop_map(|(locality, value)| Pick::Enable { locality, value }),
        2 => (locality.clone(), causes)
            .prop_map(|(locality, value)| Pick::Clear { locality, value: value & 0xFF }),
        1 => (locality, others, size.clone(), any::<u64>())
            .prop_map(|(locality, register, size, value)| {
                Pick::Other { locality, register, size, value }
            }),
        2 => (10usize..60).prop_map(Pick::Answer),
        30 => (size, 14u8..40).prop_map(|(size, length)| Pick::Advance { size, length }),
    ];
    prop::collection::vec(pick, 1..300)
}

const READY: u8 = 1;
const RECEPTION: u8 = 2;
const WHOLE: u8 = 3;
const EXECUTION: u8 = 4;
const COMPLETION: u8 = 5;

/// The state that our model is in, from its snapshot: see `tests/golden/README.md`.
struct View {
    states: [u8; 5],
    enabled: [u32; 5],
    active: Option<usize>,
    next: bool,
    aborting: bool,
    fifo: Vec<u8>,
}

impl View {
    fn of(model: &Tis<Wire>) -> Self {
        let bytes = model.save().to_bytes();
        let port = |l: usize| 12 + 10 * l;
        Self {
            states: std::array::from_fn(|l| bytes[port(l)]),
            enabled: std::array::from_fn(|l| {
                u32::from_le_bytes(*bytes[port(l) + 1..].first_chunk().expect("four bytes"))
            }),
            active: Some(bytes[62].into()).filter(|l| *l < 5),
            next: bytes[63] != 0xFF,
            aborting: bytes[64] != 0,
            fifo: bytes[79..].to_vec(),
        }
    }

    fn runner(&self) -> Option<usize> {
        self.states.iter().position(|state| *state == EXECUTION)
    }

    /// Whether the end of the running command interrupts.
    fn tells_of_data(&self) -> bool {
        self.runner().is_some_and(|l| self.enabled[l] & spec::INT_GLOBAL != 0)
    }
}

/// A run: both machines, and what QEMU remembers that our model does not.
struct Run<'a> {
    pair: Pair<'a, Ours<Tis<Wire>>>,
    /// Localities that lost the TPM with a command or a response in the FIFO.
    stale: [bool; 5],
}

impl Run<'_> {
    fn take(&mut self, pick: &Pick) -> Result<(), String> {
        let before = View::of(&self.pair.ours.model);
        match *pick {
            Pick::Read { locality, register, add, size } => {
                self.read(locality << 12 | register, add, size)
            }
            Pick::Access { locality, value } if self.may_switch(&before, locality, value) => {
                self.pair.write(1, locality << 12 | spec::ACCESS, value)?;
                self.after_switch(&before)
            }
            Pick::Status { locality, value } => {
                // no-data: the end of an aborted command must not interrupt. seize-stays: nor may
                // an abort meet a seize.
                let aborts = before.runner().is_some() && value == 0x40;
                if aborts && (before.next || before.tells_of_data()) {
                    return Ok(());
                }
                self.pair.write(4, locality << 12 | spec::STS, value)
            }
            Pick::Push { locality, wide, size, length } => {
                self.push(&before, locality, wide, size, length)
            }
            Pick::Pull { wide, size } => {
                let page = (before.active.unwrap_or(0) as u64) << 12;
                let register = if wide { spec::XDATA_FIFO } else { spec::DATA_FIFO };
                self.pair.read(size, page | register, u64::MAX)
            }
            Pick::Enable { locality, value } => {
                // no-data: not while a command runs whose response may be dropped. sts-valid,
                // enabled-causes: that cause is never enabled.
                if before.aborting || before.next {
                    return Ok(());
                }
                self.pair.write(4, locality << 12 | spec::INT_ENABLE, value)
            }
            Pick::Clear { locality, value } => {
                // enabled-causes: QEMU may show "status valid" too.
                let value = value | u64::from(spec::INT_STS_VALID);
                self.pair.write(4, locality << 12 | spec::INT_STATUS, value)
            }
            Pick::Other { locality, register, size, value } => {
                // Eight bytes reach the next register, which has a pick of its own.
                self.pair.write(size.min(4), locality << 12 | register, value)
            }
            Pick::Answer(length) if self.pair.running => {
                let mut response: Vec<u8> = (0..length as u8).collect();
                response[..6].copy_from_slice(&[0x80, 1, 0, 0, 0, length as u8]);
                self.pair.answer(&response)?;
                self.after_switch(&before)
            }
            Pick::Advance { size, length } => self.take(&advance(&before, size, length)),
            Pick::Access { .. } | Pick::Answer(_) => Ok(()),
        }
    }

    fn read(&mut self, offset: u64, add: u64, size: usize) -> Result<(), String> {
        let register = offset & 0xFFF;
        if register == spec::INT_STATUS {
            // enabled-causes
            let mask = !u64::from(spec::INT_STS_VALID);
            return self.pair.read(4, offset, mask & 0xFFFF_FFFF);
        }
        let (offset, size) = (offset + add, size as u64);
        let reaches_status =
            (offset & 0xFFF) < spec::INT_STATUS + 4 && (offset & 0xFFF) + size > spec::INT_STATUS;
        // The FIFO's bytes count: only `Pull` reads them.
        let reaches_fifo =
            (offset & 0xFFF) < spec::DATA_FIFO + 4 && (offset & 0xFFF) + size > spec::DATA_FIFO;
        if reaches_status || reaches_fifo {
            return Ok(());
        }
        self.pair.read(size as usize, offset, u64::MAX)
    }

    /// Whether a write to ACCESS keeps out of the differences.
    fn may_switch(&self, view: &View, locality: u64, value: u64) -> bool {
        let locality = locality as usize;
        let seizes = value & 0x08 != 0;
        let Some(runner) = view.runner() else {
            // seize-resumes
            return !seizes || view.active.is_some() || view.states[locality.min(4)] < RECEPTION;
        };
        let releases = !seizes && value & 0x20 != 0 && view.active == Some(locality);
        let requests = !seizes && !releases && value & 0x02 != 0;
        if seizes {
            // no-data, and seize-stays for an abort that came first.
            return !view.tells_of_data() && !view.aborting;
        }
        if releases {
            // seize-stays, left-is-left, no-data.
            return !view.next && !view.aborting && !view.tells_of_data();
        }
        // request-waits
        !requests || view.active.is_some() || (locality == runner && !view.next)
    }

    /// After another locality became active: loser-idle. QEMU's losers keep their state, and the
    /// fill level of the FIFO stays; both end with "command ready", once for the state and once
    /// for the level.
    fn after_switch(&mut self, before: &View) -> Result<(), String> {
        let now = View::of(&self.pair.ours.model);
        let Some(active) = now.active else {
            return Ok(());
        };
        if before.active == now.active {
            return Ok(());
        }
        for locality in 0..5 {
            let owned = before.states[locality] >= RECEPTION;
            self.stale[locality] |= owned && locality != active;
        }
        let resumes = before.states[active] >= RECEPTION && !self.stale[active];
        if resumes || (before.fifo.is_empty() && !self.stale.contains(&true)) {
            return Ok(());
        }
        self.stale[active] = false;
        let status = (active as u64) << 12 | spec::STS;
        self.pair.write(1, status, 0x40)?;
        self.pair.write(1, status, 0x40)
    }

    /// Bytes of a command into the FIFO, so that it becomes a whole one some day.
    fn push(
        &mut self,
        view: &View,
        locality: Option<u64>,
        wide: bool,
        size: usize,
        length: u8,
    ) -> Result<(), String> {
        let active = view.active.unwrap_or(0);
        let page = locality.unwrap_or(active as u64) << 12;
        let register = if wide { spec::XDATA_FIFO } else { spec::DATA_FIFO };
        let filled = view.fifo.len();
        let takes = matches!(view.states[active], READY | RECEPTION);
        let (filled, length) = match view.fifo.get(5) {
            _ if !takes || view.states[active] == READY => (0, length),
            Some(announced) => (filled, *announced),
            None => (filled, length),
        };
        // announced-length: no access reaches past the command.
        let left = usize::from(length).saturating_sub(filled);
        let size = [8, 4, 2, 1].into_iter().find(|fit| *fit <= left.min(size)).unwrap_or(1);
        let mut bytes = [0x5A; 8];
        for (at, byte) in (filled..).zip(&mut bytes) {
            *byte = match at {
                0 => 0x80,
                1 => 1,
                2..=4 => 0,
                5 => length,
                at => at as u8,
            };
        }
        self.pair.write(size, page | register, u64::from_le_bytes(bytes))
    }
}

/// The next step of a driver at the active locality.
fn advance(view: &View, size: usize, length: u8) -> Pick {
    let Some(active) = view.active else {
        return Pick::Access { locality: u64::from(length) % 4, value: 0x02 };
    };
    let locality = active as u64;
    match view.states[active] {
        READY | RECEPTION => Pick::Push { locality: None, wide: size == 8, size, length },
        WHOLE => Pick::Status { locality, value: 0x20 },
        EXECUTION => Pick::Answer(length.into()),
        COMPLETION => Pick::Pull { wide: size == 8, size },
        _ => Pick::Status { locality, value: 0x40 },
    }
}

#[test]
#[ignore = "needs QEMU; scripts/stages/85-qtest runs it"]
fn random_accesses_to_tis_find_the_same_as_on_qemu() {
    let mut ours = Ours::<Tis<Wire>>::new();
    let mut qemu = Qemu::start(Device::Tis);
    check(&picks(), |picks| {
        let pair = Pair::new(&mut ours, &mut qemu as &mut dyn Machine);
        let mut run = Run { pair, stale: [false; 5] };
        let outcome = picks.iter().try_for_each(|pick| run.take(pick));
        run.pair.finish(outcome)
    });
}
