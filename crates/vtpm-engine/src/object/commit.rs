//! Commitments of `TPM2_Commit` and `TPM2_EC_Ephemeral` (Part 1, clause C.2.3).
//!
//! ```text
//!   next_commit_secret -> begin_commit -> counter -> ... -> commit_secret -> end_commit
//! ```
//!
//! A commitment stays open until it is used, until [`WINDOW`] further ones were begun after it, or
//! until a TPM Reset. It does not survive that a saved state is restored: of a state that is
//! restored
//! twice, two signatures with one secret would give the key away.

use zeroize::Zeroizing;

use crate::crypto::Rng;
use crate::crypto::drbg::Drbg;
use crate::crypto::ecc::{Curve, commit_scalar};
use crate::tpm::Tpm;
use crate::wire::Rc;

/// How many commitments can be open at once.
pub(crate) const WINDOW: u16 = 128;

/// The open commitments. The secret of number `n` is derived from the nonce, so nothing but a bit
/// is kept for it.
#[derive(Clone)]
pub(crate) struct Commits {
    /// Key of the derivation.
    pub(crate) nonce: Zeroizing<[u8; 32]>,
    /// Number of the next commitment.
    pub(crate) counter: u64,
    /// Bit `n % 128` is set while commitment `n` is open.
    pub(crate) open: u128,
}

impl Commits {
    /// No commitment is open, and the secrets of those to come are new.
    pub(crate) fn new(drbg: &mut Drbg) -> Self {
        let mut nonce = Zeroizing::new([0; 32]);
        drbg.fill(nonce.as_mut());
        Self { nonce, counter: 0, open: 0 }
    }

    /// Opens the next commitment and gives the low bits of its number.
    fn begin(&mut self) -> u16 {
        let counter = self.counter as u16;
        self.open |= bit(counter);
        self.counter = self.counter.wrapping_add(1);
        counter
    }

    /// The full number of an open commitment; `TPM_RC_VALUE` when it is not open.
    fn find(&self, counter: u16) -> Result<u64, Rc> {
        let age = (self.counter as u16).wrapping_sub(counter);
        if !(1..=WINDOW).contains(&age) || self.open & bit(counter) == 0 {
            return Err(Rc::VALUE);
        }
        self.counter.checked_sub(u64::from(age)).ok_or(Rc::VALUE)
    }

    fn end(&mut self, counter: u16) {
        self.open &= !bit(counter);
    }
}

const fn bit(counter: u16) -> u128 {
    1u128 << (counter % WINDOW)
}

impl Tpm {
    /// The secret of the commitment that [`Tpm::begin_commit`] would open, for the key of this
    /// name; without a name, for `TPM2_EC_Ephemeral`.
    pub(crate) fn next_commit_secret(&self, curve: Curve, name: &[u8]) -> Zeroizing<Vec<u8>> {
        self.secret_of(curve, name, self.reset.commit.counter)
    }

    /// Opens a commitment and gives the number by which the caller refers to it.
    pub(crate) fn begin_commit(&mut self) -> u16 {
        self.reset.commit.begin()
    }

    /// The secret of an open commitment of `TPM2_EC_Ephemeral`.
    ///
    /// # Errors
    /// `TPM_RC_VALUE` when the commitment is not open.
    pub(crate) fn commit_secret(
        &self,
        curve: Curve,
        counter: u16,
    ) -> Result<Zeroizing<Vec<u8>>, Rc> {
        self.key_commit_secret(curve, &[], counter)
    }

    /// The secret of an open commitment of `TPM2_Commit` with the key of this name. One that was
    /// opened for another key or curve gives a secret that fits nothing.
    ///
    /// # Errors
    /// `TPM_RC_VALUE` when the commitment is not open.
    pub(crate) fn key_commit_secret(
        &self,
        curve: Curve,
        name: &[u8],
        counter: u16,
    ) -> Result<Zeroizing<Vec<u8>>, Rc> {
        Ok(self.secret_of(curve, name, self.reset.commit.find(counter)?))
    }

    /// Closes a commitment that was used: using it twice would give the key away.
    pub(crate) fn end_commit(&mut self, counter: u16) {
        self.reset.commit.end(counter);
    }

    fn secret_of(&self, curve: Curve, name: &[u8], number: u64) -> Zeroizing<Vec<u8>> {
        let nonce = self.reset.commit.nonce.as_ref();
        commit_scalar(curve, self.context_integrity_hash(), nonce, name, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(counter: u64) -> Commits {
        Commits { nonce: Zeroizing::new([1; 32]), counter, open: 0 }
    }

    #[test]
    fn a_commitment_is_open_until_it_is_used() {
        let mut commits = commits(0);
        assert_eq!(commits.find(0), Err(Rc::VALUE));
        let first = commits.begin();
        let second = commits.begin();
        assert_eq!((commits.find(first), commits.find(second)), (Ok(0), Ok(1)));
        commits.end(first);
        assert_eq!((commits.find(first), commits.find(second)), (Err(Rc::VALUE), Ok(1)));
    }

    #[test]
    fn a_commitment_leaves_the_window_when_its_bit_is_needed_again() {
        let mut commits = commits(0);
        let first = commits.begin();
        (1..WINDOW).for_each(|_| {
            commits.begin();
        });
        assert_eq!(commits.find(first), Ok(0));
        let reused = commits.begin();
        assert_eq!(bit(reused), bit(first));
        assert_eq!((commits.find(first), commits.find(reused)), (Err(Rc::VALUE), Ok(128)));
    }

    #[test]
    fn numbers_go_on_where_the_low_bits_wrap() {
        let mut commits = commits(0x1_fffe);
        let counters: Vec<u16> = (0..4).map(|_| commits.begin()).collect();
        assert_eq!(counters, [0xfffe, 0xffff, 0, 1]);
        for (counter, number) in counters.into_iter().zip(0x1_fffe..) {
            assert_eq!(commits.find(counter), Ok(number));
        }
    }

    #[test]
    fn a_number_that_was_never_given_is_not_open() {
        let mut commits = commits(3);
        commits.open = u128::MAX;
        assert_eq!(commits.find(3), Err(Rc::VALUE));
        assert_eq!(commits.find(0xffff), Err(Rc::VALUE));
        assert_eq!(commits.find(2), Ok(2));
    }
}
