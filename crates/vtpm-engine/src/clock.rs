//! Time and Clock (Part 1, clause 36).

use crate::tpm::Tpm;
use crate::wire::{ClockInfo, Rc, Reader, TimeInfo, Unmarshal};

/// `TPM_PT_CLOCK_UPDATE`: at most so many milliseconds of Clock are lost by a non-orderly
/// shutdown. The specification allows up to 2^22.
pub(crate) const UPDATE_INTERVAL_MS: u64 = 1 << 18;

/// Time and Clock of a TPM.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// The platform's time when Time and Clock were last advanced.
    pub(crate) platform_ms: u64,
    /// Milliseconds since `_TPM_Init`.
    pub(crate) time: u64,
    /// The Clock.
    pub(crate) clock: u64,
    /// No larger Clock was ever reported.
    pub(crate) safe: bool,
    /// Changes whenever Time is not continuous, so that a policy's time-out does not outlive it.
    pub(crate) epoch: u64,
    /// How much faster than the platform Clock runs, in parts per million.
    pub(crate) rate_ppm: i32,
    /// Fraction of a millisecond that the rate left over, in millionths.
    pub(crate) remainder: i64,
}

impl Clock {
    /// A clock that shows `clock`, started now.
    pub(crate) fn start(platform_ms: u64, clock: u64, safe: bool, epoch: u64) -> Self {
        Self { platform_ms, time: 0, clock, safe, epoch, rate_ppm: 0, remainder: 0 }
    }

    /// Advances to the platform's time; `true` when Clock passed a multiple of
    /// [`UPDATE_INTERVAL_MS`] and must be made durable.
    pub(crate) fn advance(&mut self, platform_ms: u64) -> bool {
        let elapsed = platform_ms.saturating_sub(self.platform_ms);
        self.platform_ms = self.platform_ms.max(platform_ms);
        if elapsed == 0 {
            return false;
        }
        let elapsed = self.adjusted(elapsed);
        let before = self.clock / UPDATE_INTERVAL_MS;
        self.time = self.time.saturating_add(elapsed);
        self.clock = self.clock.saturating_add(elapsed);
        let passed = self.clock / UPDATE_INTERVAL_MS != before;
        self.safe |= passed;
        passed
    }

    fn adjusted(&mut self, elapsed: u64) -> u64 {
        let scaled = i128::from(elapsed)
            .saturating_mul(i128::from(self.rate_ppm).saturating_add(1_000_000))
            .saturating_add(i128::from(self.remainder));
        self.remainder = i64::try_from(scaled.rem_euclid(1_000_000)).unwrap_or(0);
        u64::try_from(scaled.div_euclid(1_000_000)).unwrap_or(elapsed)
    }
}

/// `TPM_CLOCK_ADJUST`: coarse, medium or fine steps, slower or faster.
#[doc(alias = "TPM_CLOCK_ADJUST")]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockAdjust(i8);

impl Unmarshal for ClockAdjust {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self, Rc> {
        match reader.get()? {
            step @ -3..=3 => Ok(Self(step)),
            _ => Err(Rc::VALUE),
        }
    }
}

impl Clock {
    /// Changes the rate by a step, within the 15 % that the specification allows.
    pub(crate) fn adjust_rate(&mut self, adjust: ClockAdjust) {
        const LIMIT_PPM: i32 = 150_000;
        let step = match adjust.0 {
            -3 => -10_000,
            -2 => -1_000,
            -1 => -100,
            1 => 100,
            2 => 1_000,
            3 => 10_000,
            _ => 0,
        };
        self.rate_ppm = self.rate_ppm.saturating_add(step).clamp(-LIMIT_PPM, LIMIT_PPM);
    }
}

impl Tpm {
    /// Brings Clock, the dictionary-attack timers and the countdown timers to the present.
    pub(crate) fn advance_clock(&mut self) {
        let now = self.platform.now_ms();
        if self.clock.advance(now) {
            self.persist();
        }
        self.heal_lockout();
        self.advance_acts();
    }

    /// `TPMS_CLOCK_INFO`.
    pub(crate) fn clock_info(&self) -> ClockInfo {
        ClockInfo {
            clock: self.clock.clock,
            reset_count: self.permanent.reset_count,
            restart_count: self.reset.restart_count,
            safe: self.clock.safe,
        }
    }

    /// `TPMS_TIME_INFO`.
    pub(crate) fn time_info(&self) -> TimeInfo {
        TimeInfo { time: self.clock.time, clock_info: self.clock_info() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_becomes_safe_when_it_passes_the_update_interval() {
        let mut clock = Clock::start(100, 5, false, 0);
        assert!(!clock.advance(200));
        assert_eq!((clock.time, clock.clock, clock.safe), (100, 105, false));
        assert!(clock.advance(200 + UPDATE_INTERVAL_MS));
        assert!(clock.safe);
    }

    #[test]
    fn a_rate_is_kept_over_many_small_steps() {
        let mut clock = Clock::start(0, 0, true, 0);
        clock.rate_ppm = 100_000;
        (1..=1000).for_each(|now| {
            clock.advance(now);
        });
        assert_eq!(clock.time, 1100);
    }

    #[test]
    fn a_platform_clock_that_goes_back_does_not_take_clock_back() {
        let mut clock = Clock::start(1000, 0, true, 0);
        clock.advance(2000);
        clock.advance(500);
        assert_eq!(clock.time, 1000);
        clock.advance(2001);
        assert_eq!(clock.time, 1001);
    }
}
