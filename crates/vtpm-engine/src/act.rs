//! Authenticated countdown timers (Part 1, clause 41 of revision 1.59).

use crate::tpm::{Policy, Tpm};
use crate::wire::{Handle, Rc};

/// One timer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Act {
    /// Seconds that remain.
    pub(crate) remaining: u32,
    /// Milliseconds of the current second that have passed.
    pub(crate) passed_ms: u64,
    /// The timer ran out since it was last set.
    pub(crate) signaled: bool,
    /// `TPMA_ACT` `preserveSignaled`.
    pub(crate) preserve_signaled: bool,
    pub(crate) policy: Option<Policy>,
    /// Time when the timer was last advanced.
    pub(crate) last_time: u64,
}

impl Tpm {
    /// Counts the timers down to the present.
    pub(crate) fn advance_acts(&mut self) {
        let time = self.clock.time;
        for act in &mut self.clear.acts {
            let elapsed = time.saturating_sub(act.last_time).saturating_add(act.passed_ms);
            act.last_time = time;
            if act.remaining == 0 {
                act.passed_ms = 0;
                continue;
            }
            act.passed_ms = elapsed % 1000;
            let seconds = u32::try_from(elapsed / 1000).unwrap_or(u32::MAX);
            act.remaining = act.remaining.saturating_sub(seconds);
            act.signaled |= act.remaining == 0;
        }
    }

    /// A timer; `TPM_RC_VALUE` for the first handle when this TPM does not have it.
    pub(crate) fn act_mut(&mut self, handle: Handle) -> Result<&mut Act, Rc> {
        let number = usize::from(handle.act().ok_or(Rc::VALUE.handle(1))?);
        self.clear.acts.get_mut(number).ok_or(Rc::VALUE.handle(1))
    }
}
