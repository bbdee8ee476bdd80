//! Pre-copy: memory goes over while the guest runs, in rounds, until little enough is left.
//!
//! Round 0 sends every page that is not zero; each later round what the guest wrote during the
//! one before. When what is left would take no longer than the downtime limit, the guest is
//! paused, and one last round ends it. A guest that writes faster than the channel carries is
//! slowed down, more in each round, so that the rounds end.

use std::time::{Duration, Instant};

use super::pages::{Batch, PAGE_SIZE};

/// The guest's memory as the copier needs it: numbered pages, holes left out.
pub(super) trait Pages {
    /// What can go wrong with memory or with the dirty log.
    type Error;

    /// The number of pages.
    fn count(&self) -> u64;

    /// Copies page `number` into `content`.
    ///
    /// # Errors
    /// If the guest's memory cannot be read.
    fn read(&self, number: u64, content: &mut [u8; PAGE_SIZE]) -> Result<(), Self::Error>;

    /// The pages written since the last call (by vCPUs and by devices), as bits from page 0 on;
    /// afterwards they count as clean.
    ///
    /// # Errors
    /// If the hypervisor's dirty log cannot be read.
    fn take_dirty(&mut self) -> Result<Vec<u64>, Self::Error>;
}

/// Limits of a migration, as the operator sets them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the last round may take, the guest being paused.
    pub downtime: Duration,
    /// How many rounds are run at most before the guest is paused whatever is left.
    pub rounds: u32,
    /// By how much of its time a guest is slowed down at most, in percent, 0 to 99.
    pub throttle: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { downtime: Duration::from_millis(300), rounds: 30, throttle: 90 }
    }
}

/// How far the copying is; for the operator's eyes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// The round, from 0.
    pub round: u32,
    /// Bytes of page content sent so far.
    pub sent: u64,
    /// Bytes that are still to go, as of now.
    pub remaining: u64,
    /// Bytes a second over the last round.
    pub rate: u64,
    /// By how much the guest is slowed down, in percent of its time.
    pub throttle: u8,
}

/// What to do after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send another round while the guest runs, slowed down by so many percent.
    Round {
        /// Percent of its time that the guest is to sleep.
        throttle: u8,
    },
    /// Pause the guest and send the last round.
    Pause,
}

/// The copier of one migration.
#[derive(Debug)]
pub(super) struct Copier {
    limits: Limits,
    progress: Progress,
    /// Pages to send in this round.
    due: Vec<u64>,
    /// Pages that the destination holds something other than zero for.
    filled: Vec<u64>,
    before: u64,
}

impl Copier {
    /// Begins a migration: every page is due. The dirty log must be on already.
    #[must_use]
    pub(super) fn new(limits: Limits, pages: u64) -> Self {
        let words = usize::try_from(pages.div_ceil(64)).unwrap_or(usize::MAX);
        let mut due = vec![u64::MAX; words];
        if let (Some(last), rest @ 1..) = (due.last_mut(), pages % 64) {
            *last = (1 << rest) - 1;
        }
        let filled = vec![0; due.len()];
        Self { limits, progress: Progress::default(), due, filled, before: u64::MAX }
    }

    /// How far it is.
    #[must_use]
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Sends the pages that are due, a batch at a time, through `send`.
    ///
    /// # Errors
    /// What `send` or the memory say. `send` may give up at any batch, so that a cancelled
    /// migration ends soon.
    pub(super) fn round<M, E>(
        &mut self,
        memory: &M,
        mut send: impl FnMut(&[u8], Progress) -> Result<(), E>,
    ) -> Result<(), E>
    where
        M: Pages,
        E: From<M::Error>,
    {
        let started = Instant::now();
        let (mut batch, mut content) = (Batch::new(), [0; PAGE_SIZE]);
        let due = std::mem::take(&mut self.due);
        let mut left = bits(&due);
        let begun = self.progress.sent;
        for number in numbers(&due) {
            memory.read(number, &mut content)?;
            left = left.saturating_sub(1);
            if !self.is_needed(number, &content) {
                continue;
            }
            batch.push(number, &content);
            if batch.is_full() {
                self.note(batch.bytes().len(), left, begun, started);
                send(batch.bytes(), self.progress)?;
                batch.clear();
            }
        }
        self.note(batch.bytes().len(), 0, begun, started);
        if !batch.is_empty() {
            send(batch.bytes(), self.progress)?;
        }
        self.progress.round = self.progress.round.saturating_add(1);
        Ok(())
    }

    /// Takes what was written meanwhile as the next round, and says whether to send it now or
    /// after pausing the guest. After [`Next::Pause`] call this again, paused, before the round.
    ///
    /// # Errors
    /// As [`Pages::take_dirty`].
    pub(super) fn next<M: Pages>(&mut self, memory: &mut M) -> Result<Next, M::Error> {
        let dirty = memory.take_dirty()?;
        if self.due.len() == dirty.len() {
            self.due.iter_mut().zip(&dirty).for_each(|(due, dirty)| *due |= dirty);
        } else {
            self.due = dirty;
        }
        let remaining = bits(&self.due).saturating_mul(PAGE_SIZE as u64);
        self.progress.remaining = remaining;
        let fits = u128::from(remaining) * 1000
            <= u128::from(self.progress.rate) * self.limits.downtime.as_millis();
        if fits || self.progress.round >= self.limits.rounds {
            return Ok(Next::Pause);
        }
        // Less than a third gone in a round: the guest is too fast.
        if self.progress.round > 1 && remaining > self.before / 3 * 2 {
            self.progress.throttle =
                self.progress.throttle.saturating_add(20).min(self.limits.throttle.min(99));
        }
        self.before = remaining;
        Ok(Next::Round { throttle: self.progress.throttle })
    }

    /// Zero pages go over only where the destination has something else.
    fn is_needed(&mut self, number: u64, content: &[u8; PAGE_SIZE]) -> bool {
        let Some(word) =
            usize::try_from(number / 64).ok().and_then(|index| self.filled.get_mut(index))
        else {
            return true;
        };
        let bit = 1 << (number % 64);
        if super::pages::is_zero(content) {
            let was = *word & bit != 0;
            *word &= !bit;
            was
        } else {
            *word |= bit;
            true
        }
    }

    fn note(&mut self, bytes: usize, left: u64, begun: u64, started: Instant) {
        let progress = &mut self.progress;
        progress.sent = progress.sent.saturating_add(bytes as u64);
        progress.remaining = left.saturating_mul(PAGE_SIZE as u64);
        let micros = started.elapsed().as_micros().max(1);
        let rate = u128::from(progress.sent - begun) * 1_000_000 / micros;
        // A round of a few pages says little about the channel.
        if progress.sent - begun >= 1 << 18 || progress.rate == 0 {
            progress.rate = u64::try_from(rate).unwrap_or(u64::MAX);
        }
    }
}

fn bits(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn numbers(words: &[u64]) -> impl Iterator<Item = u64> + '_ {
    (0u64..).zip(words).flat_map(|(index, &word)| {
        let mut left = word;
        std::iter::from_fn(move || {
            let bit = u64::from((left != 0).then(|| left.trailing_zeros())?);
            left &= left - 1;
            Some(index * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::pages::{Run, runs};
    use super::*;

    /// A guest whose pages are one byte each, written between rounds by `write`.
    struct Guest {
        pages: Vec<u8>,
        dirty: Vec<u64>,
    }

    impl Guest {
        fn new(pages: &[u8]) -> Self {
            Self { pages: pages.to_vec(), dirty: vec![0; pages.len().div_ceil(64)] }
        }

        fn write(&mut self, number: usize, value: u8) {
            self.pages[number] = value;
            self.dirty[number / 64] |= 1 << (number % 64);
        }
    }

    impl Pages for Guest {
        type Error = Infallible;

        fn count(&self) -> u64 {
            self.pages.len() as u64
        }

        fn read(&self, number: u64, content: &mut [u8; PAGE_SIZE]) -> Result<(), Infallible> {
            content.fill(self.pages[usize::try_from(number).unwrap()]);
            Ok(())
        }

        fn take_dirty(&mut self) -> Result<Vec<u64>, Infallible> {
            let clean = vec![0; self.dirty.len()];
            Ok(std::mem::replace(&mut self.dirty, clean))
        }
    }

    fn apply(there: &mut [u8], batch: &[u8]) {
        for run in runs(batch, there.len() as u64) {
            match run.unwrap() {
                Run::Content(pages, content) => {
                    for (number, page) in pages.zip(content.chunks(PAGE_SIZE)) {
                        there[usize::try_from(number).unwrap()] = page[0];
                    }
                }
                Run::Zero(pages) => pages.for_each(|n| there[usize::try_from(n).unwrap()] = 0),
            }
        }
    }

    #[test]
    fn what_arrives_is_what_the_guest_had_when_it_was_paused() {
        let mut guest = Guest::new(&[3, 0, 0, 5, 9, 0, 1].repeat(30));
        let mut there = vec![0; guest.pages.len()];
        let mut copier = Copier::new(Limits::default(), guest.count());
        for round in 0..5u8 {
            copier
                .round(&guest, |batch, _| {
                    apply(&mut there, batch);
                    Ok::<_, Infallible>(())
                })
                .unwrap();
            for number in (0..guest.pages.len()).step_by(usize::from(round) + 2) {
                guest.write(number, round % 3);
            }
            copier.next(&mut guest).unwrap();
        }
        copier
            .round(&guest, |batch, _| {
                apply(&mut there, batch);
                Ok::<_, Infallible>(())
            })
            .unwrap();
        assert_eq!(there, guest.pages);
    }

    #[test]
    fn zero_pages_are_not_sent_unless_they_were_something_else() {
        let mut guest = Guest::new(&[0; 100]);
        let mut copier = Copier::new(Limits::default(), guest.count());
        let mut sizes = Vec::new();
        let mut send = |batch: &[u8], _: Progress| {
            sizes.push(batch.len());
            Ok::<_, Infallible>(())
        };
        copier.round(&guest, &mut send).unwrap();
        guest.write(7, 1);
        copier.next(&mut guest).unwrap();
        copier.round(&guest, &mut send).unwrap();
        guest.write(7, 0);
        guest.write(8, 0);
        copier.next(&mut guest).unwrap();
        copier.round(&guest, &mut send).unwrap();
        assert_eq!(sizes, [16 + PAGE_SIZE, 16]);
    }

    #[test]
    fn a_guest_at_rest_is_paused_after_the_first_round() {
        let mut guest = Guest::new(&[1; 64]);
        let mut copier = Copier::new(Limits::default(), guest.count());
        copier.round(&guest, |_, _| Ok::<_, Infallible>(())).unwrap();
        assert_eq!(copier.next(&mut guest).unwrap(), Next::Pause);
    }

    #[test]
    fn a_guest_that_writes_too_fast_is_slowed_down_and_paused_in_the_end() {
        let mut guest = Guest::new(&[1; 640]);
        let limits = Limits { downtime: Duration::ZERO, rounds: 9, throttle: 70 };
        let mut copier = Copier::new(limits, guest.count());
        let mut throttles = Vec::new();
        loop {
            copier.round(&guest, |_, _| Ok::<_, Infallible>(())).unwrap();
            (0..640).for_each(|number| guest.write(number, 2));
            match copier.next(&mut guest).unwrap() {
                Next::Round { throttle } => throttles.push(throttle),
                Next::Pause => break,
            }
        }
        assert_eq!(throttles, [0, 20, 40, 60, 70, 70, 70, 70]);
    }

    #[test]
    fn pages_due_are_kept_when_the_guest_is_paused_for_the_last_round() {
        let mut guest = Guest::new(&[1; 70]);
        let mut copier = Copier::new(Limits::default(), guest.count());
        copier.round(&guest, |_, _| Ok::<_, Infallible>(())).unwrap();
        guest.write(3, 4);
        assert_eq!(copier.next(&mut guest).unwrap(), Next::Pause);
        guest.write(69, 5);
        copier.next(&mut guest).unwrap();
        assert_eq!(numbers(&copier.due).collect::<Vec<_>>(), [3, 69]);
    }
}
