//! What goes over the channel for memory: records of page runs, bounded and checked.
//!
//! ```text
//! offset  length  field
//! 0            8  number of the first page, little-endian
//! 8            4  number of pages n, 1 to 256
//! 12           1  0: n pages of content follow; 1: all of them are zero, nothing follows
//! 13           3  reserved, zero
//! 16   n * 4096  content
//! ```
//!
//! A batch is records one after the other, at most [`BATCH_MAX`] bytes.

use std::ops::Range;

use thiserror::Error;

/// Size of a page in bytes: what KVM's dirty log counts in on x86-64.
pub(super) const PAGE_SIZE: usize = 4096;

/// The most pages that one record covers.
pub(super) const RUN_MAX: u32 = 256;

/// The most bytes of records in one batch.
pub(super) const BATCH_MAX: usize = RECORD + RUN_MAX as usize * PAGE_SIZE;

const RECORD: usize = 16;

/// Why a batch of pages was refused. The sender is at fault: the channel is authentic.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum PagesError {
    /// The batch ends inside a record.
    #[error("a batch of memory pages ends in the middle of a record; the source is faulty")]
    Truncated,
    /// A record has a number of pages or a kind that no source sends.
    #[error("a record of memory pages is malformed; source and destination differ in version")]
    Malformed,
    /// A record names pages that the guest does not have.
    #[error("pages {first} to {last} are outside of the guest's memory; start both sides alike")]
    Outside {
        /// The first page of the record.
        first: u64,
        /// The last page of the record.
        last: u64,
    },
}

/// Collects page runs into batches.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where the header of the last record stands, its first page, its count, whether it is zero.
    open: Option<(usize, u64, u32, bool)>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(BATCH_MAX), open: None }
    }

    /// Whether another page with content might not fit.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() + RECORD + PAGE_SIZE > BATCH_MAX
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The records so far.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets the records, and keeps the memory for the next ones.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.open = None;
    }

    /// Adds page `number`. The caller has seen that the batch is not full.
    pub(super) fn push(&mut self, number: u64, content: &[u8; PAGE_SIZE]) {
        let zero = is_zero(content);
        match &mut self.open {
            Some((at, first, count, kind))
                if *kind == zero && *count < RUN_MAX && *first + u64::from(*count) == number =>
            {
                *count += 1;
                let header = encode(*first, *count, zero);
                if let Some(place) = self.bytes.get_mut(*at..*at + RECORD) {
                    place.copy_from_slice(&header);
                }
            }
            _ => {
                self.open = Some((self.bytes.len(), number, 1, zero));
                self.bytes.extend_from_slice(&encode(number, 1, zero));
            }
        }
        if !zero {
            self.bytes.extend_from_slice(content);
        }
    }
}

fn encode(first: u64, count: u32, zero: bool) -> [u8; RECORD] {
    let mut header = [0; RECORD];
    let (number, rest) = header.split_at_mut(8);
    number.copy_from_slice(&first.to_le_bytes());
    let (pages, rest) = rest.split_at_mut(4);
    pages.copy_from_slice(&count.to_le_bytes());
    if let Some(kind) = rest.first_mut() {
        *kind = u8::from(zero);
    }
    header
}

/// Whether a page holds nothing but zeros.
#[must_use]
pub(super) fn is_zero(page: &[u8; PAGE_SIZE]) -> bool {
    // In words, so that the compiler uses vectors; guests have many zero pages.
    page.chunks_exact(16).all(|word| word == [0; 16])
}

/// A run of pages, as received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// These pages have this content, a multiple of [`PAGE_SIZE`] bytes.
    Content(Range<u64>, &'a [u8]),
    /// These pages are zero.
    Zero(Range<u64>),
}

/// Reads a batch, run by run, for a guest of `pages` pages. Ends at the first fault.
pub(super) fn runs(batch: &[u8], pages: u64) -> impl Iterator<Item = Result<Run<'_>, PagesError>> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let run = next_run(&mut rest, pages);
        if run.is_err() {
            rest = &[];
        }
        Some(run)
    })
}

fn next_run<'a>(rest: &mut &'a [u8], pages: u64) -> Result<Run<'a>, PagesError> {
    let (header, after) = rest.split_first_chunk::<RECORD>().ok_or(PagesError::Truncated)?;
    let [n0, n1, n2, n3, n4, n5, n6, n7, c0, c1, c2, c3, kind, 0, 0, 0] = *header else {
        return Err(PagesError::Malformed);
    };
    let first = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let count = u32::from_le_bytes([c0, c1, c2, c3]);
    if !(1..=RUN_MAX).contains(&count) || kind > 1 {
        return Err(PagesError::Malformed);
    }
    let end = first.saturating_add(u64::from(count));
    if end > pages {
        return Err(PagesError::Outside { first, last: end.saturating_sub(1) });
    }
    if kind == 1 {
        *rest = after;
        return Ok(Run::Zero(first..end));
    }
    let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(PAGE_SIZE);
    let (content, after) = after.split_at_checked(length).ok_or(PagesError::Truncated)?;
    *rest = after;
    Ok(Run::Content(first..end, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(fill: u8) -> [u8; PAGE_SIZE] {
        [fill; PAGE_SIZE]
    }

    #[test]
    fn neighbouring_pages_of_a_kind_share_a_record() {
        let mut batch = Batch::new();
        for (number, fill) in [(5, 1), (6, 2), (7, 0), (8, 0), (10, 3)] {
            batch.push(number, &page(fill));
        }
        let runs: Vec<_> = runs(batch.bytes(), 11).map(Result::unwrap).collect();
        let content = [page(1), page(2)].concat();
        assert_eq!(
            runs,
            [Run::Content(5..7, &content), Run::Zero(7..9), Run::Content(10..11, &page(3)),]
        );
    }

    #[test]
    fn a_full_batch_is_within_its_bound() {
        let mut batch = Batch::new();
        let mut number = 0;
        while !batch.is_full() {
            batch.push(number, &page(7));
            number += 2;
        }
        assert!(batch.bytes().len() <= BATCH_MAX);
        assert_eq!(runs(batch.bytes(), number).filter(Result::is_err).count(), 0);
    }

    #[test]
    fn a_batch_cut_anywhere_is_refused_or_shorter_but_never_wrong() {
        let mut batch = Batch::new();
        batch.push(0, &page(1));
        batch.push(4, &page(0));
        let whole: Vec<_> = runs(batch.bytes(), 5).collect();
        for cut in 1..batch.bytes().len() {
            let cut: Vec<_> = runs(&batch.bytes()[..cut], 5).collect();
            let good = cut.iter().take_while(|run| run.is_ok()).count();
            assert_eq!(cut[..good], whole[..good]);
            assert!(cut.len() - good <= 1);
        }
    }

    #[test]
    fn pages_outside_of_memory_and_unknown_kinds_are_refused() {
        let mut batch = Batch::new();
        batch.push(9, &page(0));
        assert_eq!(
            runs(batch.bytes(), 9).next(),
            Some(Err(PagesError::Outside { first: 9, last: 9 }))
        );
        for (offset, value) in [(8, 0), (10, 1), (12, 2), (13, 1)] {
            let mut bytes = batch.bytes().to_vec();
            bytes[offset] = value;
            assert_eq!(runs(&bytes, 10).next(), Some(Err(PagesError::Malformed)), "{offset}");
        }
        let last = encode(u64::MAX, 1, true);
        assert!(matches!(runs(&last, 10).next(), Some(Err(PagesError::Outside { .. }))));
    }
}
