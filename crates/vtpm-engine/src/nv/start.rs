//! NV at `TPM2_Startup` and `TPM2_Shutdown` (Part 1, clauses 37.5 to 37.7).

use super::NvIndex;
use crate::tpm::Tpm;
use crate::wire::{NvAttributes, NvType, Su};

/// `TPM_PT_ORDERLY_COUNT`: how far an orderly counter can be ahead of what NV has. A non-orderly
/// start sets these bits, so that no value comes twice.
pub(crate) const MAX_ORDERLY_COUNT: u64 = 0xff;

impl Tpm {
    /// Brings NV to the state of a start. A resume changes nothing; a restart and a reset end
    /// locks and forget volatile contents. Must run before the last shutdown is forgotten.
    pub(crate) fn start_nv(&mut self, orderly: bool, resume: bool) {
        if resume {
            return;
        }
        let restart = self.permanent.orderly == Some(Su::STATE);
        self.nv.indices.values_mut().for_each(|index| index.start(orderly, restart));
    }

    /// Keeps the contents of orderly indices.
    pub(crate) fn store_orderly_nv(&mut self) {
        for index in self.nv.indices.values_mut() {
            if index.has(NvAttributes::ORDERLY) {
                index.stored = index.has(NvAttributes::WRITTEN).then(|| index.data.clone());
            }
        }
    }
}

impl NvIndex {
    /// A reset or restart.
    fn start(&mut self, orderly: bool, restart: bool) {
        let in_ram = self.has(NvAttributes::ORDERLY);
        if self.kind() == NvType::Counter {
            if in_ram && !orderly {
                self.recover_counter();
            }
        } else if self.has(NvAttributes::CLEAR_ST_CLEAR) || in_ram && !restart {
            self.forget();
        }
        let mut ended = NvAttributes::READ_LOCKED;
        if !self.has(NvAttributes::WRITTEN.with(NvAttributes::WRITE_DEFINE)) {
            ended = ended.with(NvAttributes::WRITE_LOCKED);
        }
        self.public.attributes = self.public.attributes.without(ended);
    }

    /// Sets an orderly counter to the highest value that it can have had.
    fn recover_counter(&mut self) {
        match self.stored.take() {
            Some(stored) => {
                self.data = stored;
                self.set_number(self.number() | MAX_ORDERLY_COUNT);
                self.stored = Some(self.data.clone());
            }
            None => self.forget(),
        }
    }

    /// Makes the index one that was not written.
    fn forget(&mut self) {
        self.public.attributes = self.public.attributes.without(NvAttributes::WRITTEN);
        self.data.fill(NvIndex::erased(&self.public));
        self.stored = None;
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{self, INDEX, ORDINARY};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Cc, Handle, NvAttributes, Rc};

    const COUNTER: NvAttributes = NvAttributes(ORDINARY.0 | 0x10);

    #[derive(Copy, Clone, Debug, PartialEq)]
    enum Cycle {
        /// Power lost without a shutdown.
        Crash,
        Reset,
        Restart,
        Resume,
    }

    const CYCLES: [Cycle; 4] = [Cycle::Crash, Cycle::Reset, Cycle::Restart, Cycle::Resume];

    fn cycle(client: &mut Client, cycle: Cycle) {
        let (shutdown, startup) = match cycle {
            Cycle::Crash => (None, 0u16),
            Cycle::Reset => (Some(0u16), 0),
            Cycle::Restart => (Some(1), 0),
            Cycle::Resume => (Some(1), 1),
        };
        if let Some(kind) = shutdown {
            client.run(&command(Cc::SHUTDOWN).put(kind)).unwrap();
        }
        client.tpm.init();
        client.run(&command(Cc::STARTUP).put(startup)).unwrap();
    }

    fn lock(code: Cc) -> CommandBuilder {
        command(code).handle(Handle::OWNER).handle(Handle(INDEX)).password(b"")
    }

    fn written(attributes: NvAttributes) -> Client {
        let mut client = Client::started();
        client.run(&test_util::define(INDEX, attributes, 4)).unwrap();
        client.run(&test_util::write(INDEX, b"data", 0)).unwrap();
        client
    }

    #[test]
    fn ordinary_contents_survive_every_start() {
        for kind in CYCLES {
            let mut client = written(ORDINARY);
            cycle(&mut client, kind);
            assert_eq!(test_util::contents(&mut client, INDEX, 4), Ok(b"data".to_vec()));
        }
    }

    #[test]
    fn clear_stclear_contents_survive_a_resume_only() {
        for kind in CYCLES {
            let mut client = written(ORDINARY.with(NvAttributes::CLEAR_ST_CLEAR));
            cycle(&mut client, kind);
            let kept = test_util::contents(&mut client, INDEX, 4);
            assert_eq!(kept.is_ok(), kind == Cycle::Resume, "{kind:?}");
        }
    }

    #[test]
    fn orderly_contents_survive_a_restart_and_a_resume() {
        for kind in CYCLES {
            let mut client = written(ORDINARY.with(NvAttributes::ORDERLY));
            assert!(!client.outcome.durable);
            cycle(&mut client, kind);
            let kept = test_util::contents(&mut client, INDEX, 4);
            let expected = if matches!(kind, Cycle::Restart | Cycle::Resume) {
                Ok(b"data".to_vec())
            } else {
                Err(Rc::NV_UNINITIALIZED)
            };
            assert_eq!(kept, expected, "{kind:?}");
        }
    }

    #[test]
    fn an_orderly_counter_never_repeats_a_value() {
        for (kind, expected) in
            [(Cycle::Crash, 0x100), (Cycle::Reset, 4), (Cycle::Restart, 4), (Cycle::Resume, 4)]
        {
            let mut client = Client::started();
            let attributes = COUNTER.with(NvAttributes::ORDERLY);
            client.run(&test_util::define(INDEX, attributes, 8)).unwrap();
            let increment = lock(Cc::NV_INCREMENT);
            (0..3).for_each(|_| drop(client.run(&increment).unwrap()));
            cycle(&mut client, kind);
            client.run(&increment).unwrap();
            let value = test_util::contents(&mut client, INDEX, 8).unwrap();
            assert_eq!(value, u64::to_be_bytes(expected), "{kind:?}");
        }
    }

    #[test]
    fn an_orderly_counter_that_rolled_over_goes_on_from_there() {
        let mut client = Client::started();
        let attributes = COUNTER.with(NvAttributes::ORDERLY);
        client.run(&test_util::define(INDEX, attributes, 8)).unwrap();
        let increment = lock(Cc::NV_INCREMENT);
        for value in 1..=0x101u32 {
            client.run(&increment).unwrap();
            assert_eq!(client.outcome.durable, matches!(value, 1 | 0x100), "{value:#x}");
        }
        cycle(&mut client, Cycle::Crash);
        let value = test_util::contents(&mut client, INDEX, 8).unwrap();
        assert_eq!(value, 0x1ffu64.to_be_bytes());
    }

    #[test]
    fn a_counter_that_is_not_orderly_goes_on_after_every_start() {
        for kind in CYCLES {
            let mut client = Client::started();
            client.run(&test_util::define(INDEX, COUNTER, 8)).unwrap();
            client.run(&lock(Cc::NV_INCREMENT)).unwrap();
            cycle(&mut client, kind);
            client.run(&lock(Cc::NV_INCREMENT)).unwrap();
            let value = test_util::contents(&mut client, INDEX, 8).unwrap();
            assert_eq!(value, 2u64.to_be_bytes(), "{kind:?}");
        }
    }

    #[test]
    fn locks_until_the_next_start_survive_a_resume_only() {
        for kind in CYCLES {
            let attributes =
                ORDINARY.with(NvAttributes::WRITE_ST_CLEAR).with(NvAttributes::READ_ST_CLEAR);
            let mut client = written(attributes);
            client.run(&lock(Cc::NV_WRITE_LOCK)).unwrap();
            client.run(&lock(Cc::NV_READ_LOCK)).unwrap();
            cycle(&mut client, kind);
            let write = client.run(&test_util::write(INDEX, b"more", 0));
            assert_eq!(write.is_err(), kind == Cycle::Resume, "{kind:?}");
            let read = test_util::contents(&mut client, INDEX, 4);
            assert_eq!(read.is_err(), kind == Cycle::Resume, "{kind:?}");
        }
    }

    #[test]
    fn a_lock_for_good_of_a_written_index_survives_every_start() {
        for kind in CYCLES {
            let mut client = written(ORDINARY.with(NvAttributes::WRITE_DEFINE));
            client.run(&lock(Cc::NV_WRITE_LOCK)).unwrap();
            assert!(client.outcome.durable);
            cycle(&mut client, kind);
            assert_eq!(client.rc(&test_util::write(INDEX, b"more", 0)), Rc::NV_LOCKED);
        }
    }

    #[test]
    fn a_lock_of_an_index_that_was_not_written_ends_with_a_reset() {
        let mut client = Client::started();
        let attributes = ORDINARY.with(NvAttributes::WRITE_DEFINE);
        client.run(&test_util::define(INDEX, attributes, 4)).unwrap();
        client.run(&lock(Cc::NV_WRITE_LOCK)).unwrap();
        assert!(!client.outcome.durable);
        assert_eq!(client.rc(&test_util::write(INDEX, b"more", 0)), Rc::NV_LOCKED);
        cycle(&mut client, Cycle::Reset);
        client.run(&test_util::write(INDEX, b"more", 0)).unwrap();
    }
}
