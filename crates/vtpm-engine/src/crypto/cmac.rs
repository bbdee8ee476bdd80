//! AES-CMAC (SP 800-38B), running, with a state that can be saved.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Error;
use super::sym::{AesKey, BLOCK_SIZE};

/// A running CMAC.
///
/// The key is not part of the saved state: whoever restores it brings the key again.
#[derive(Clone)]
pub struct Cmac {
    key: AesKey,
    state: State,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct State {
    /// The chaining value.
    chain: [u8; BLOCK_SIZE],
    /// The last bytes of the message, one to sixteen once there are any: the final block is
    /// treated differently, so a full block waits until more follows.
    pending: [u8; BLOCK_SIZE],
    pending_len: usize,
}

impl Cmac {
    /// Begins a CMAC with a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Size`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        let state = State { chain: [0; BLOCK_SIZE], pending: [0; BLOCK_SIZE], pending_len: 0 };
        Ok(Self { key: AesKey::new(key)?, state })
    }

    /// Adds bytes to the message.
    pub fn update(&mut self, data: &[u8]) {
        let State { chain, pending, pending_len } = &mut self.state;
        let mut rest = data;
        while !rest.is_empty() {
            if *pending_len == BLOCK_SIZE {
                absorb(&self.key, chain, pending);
                *pending_len = 0;
            }
            let free = pending.get_mut(*pending_len..).unwrap_or_default();
            let (now, later) = rest.split_at(rest.len().min(free.len()));
            free.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            *pending_len = (*pending_len).saturating_add(now.len()).min(BLOCK_SIZE);
            rest = later;
        }
    }

    /// Ends the message and gives its CMAC.
    #[must_use]
    pub fn finish(mut self) -> [u8; BLOCK_SIZE] {
        let mut subkey = Zeroizing::new([0u8; BLOCK_SIZE]);
        self.key.encrypt_block(&mut subkey);
        double(&mut subkey);
        let State { chain, pending, pending_len } = &mut self.state;
        if *pending_len < BLOCK_SIZE {
            double(&mut subkey);
            for (at, byte) in pending.iter_mut().enumerate().skip(*pending_len) {
                *byte = if at == *pending_len { 0x80 } else { 0 };
            }
        }
        pending.iter_mut().zip(subkey.iter()).for_each(|(byte, mask)| *byte ^= mask);
        absorb(&self.key, chain, pending);
        *chain
    }

    /// Ends the message and compares its CMAC with `expected` in constant time.
    #[must_use]
    pub fn verify(self, expected: &[u8]) -> bool {
        self.finish().ct_eq(expected).into()
    }

    /// The state without the key: the chaining value, the pending bytes and their number, in
    /// 33 bytes.
    #[must_use]
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let State { chain, pending, pending_len } = &self.state;
        let mut saved = Zeroizing::new(Vec::with_capacity(2 * BLOCK_SIZE + 1));
        saved.extend_from_slice(chain);
        for (at, byte) in pending.iter().enumerate() {
            saved.push(if at < *pending_len { *byte } else { 0 });
        }
        saved.push(u8::try_from(*pending_len).unwrap_or_default());
        saved
    }

    /// Continues a saved CMAC under the same key; `None` when the key's length or `saved` is wrong.
    #[must_use]
    pub fn restore(key: &[u8], saved: &[u8]) -> Option<Self> {
        let (chain, rest) = saved.split_first_chunk::<BLOCK_SIZE>()?;
        let (pending, rest) = rest.split_first_chunk::<BLOCK_SIZE>()?;
        let [pending_len @ 0..=16] = *rest else { return None };
        let state =
            State { chain: *chain, pending: *pending, pending_len: usize::from(pending_len) };
        Some(Self { key: AesKey::new(key).ok()?, state })
    }
}

impl fmt::Debug for Cmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cmac({:?}, ..)", self.key)
    }
}

fn absorb(key: &AesKey, chain: &mut [u8; BLOCK_SIZE], block: &[u8; BLOCK_SIZE]) {
    chain.iter_mut().zip(block).for_each(|(byte, other)| *byte ^= other);
    key.encrypt_block(chain);
}

/// Doubles a block in GF(2^128), in constant time (SP 800-38B, 6.1).
fn double(block: &mut [u8; BLOCK_SIZE]) {
    let value = u128::from_be_bytes(*block);
    let carry = (value >> 127).wrapping_neg() & 0x87;
    *block = ((value << 1) ^ carry).to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{hex, pattern, to_hex};
    use super::*;

    const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51 \
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

    /// SP 800-38B, annex D: key and the CMAC of the first 0, 16, 40 and 64 bytes of [`PLAIN`].
    const VECTORS: [(&str, &str, &str, &str, &str); 3] = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "bb1d6929e95937287fa37d129b756746",
            "070a16b46b4d4144f79bdd9dd04a287c",
            "dfa66747de9ae63030ca32611497c827",
            "51f0bebf7e3b9d92fc49741779363cfe",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "d17ddf46adaacde531cac483de7a9367",
            "9e99a7bf31e710900662f65e617c5184",
            "8a1de5be2eb31aad089a82e6ee908b0e",
            "a1d5df0eed790f794d77589659f39a11",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "028962f61b7bf89efc6b551f4667d983",
            "28a7023f452e8f82bd4bf28d8c37c35c",
            "aaf3d8f1de5640c232f5b169b9c911e6",
            "e1992190549f6ed5696a2c056c315410",
        ),
    ];

    fn cmac(key: &[u8], parts: &[&[u8]]) -> [u8; BLOCK_SIZE] {
        let mut cmac = Cmac::new(key).expect("a key");
        parts.iter().for_each(|part| cmac.update(part));
        cmac.finish()
    }

    #[test]
    fn results_are_those_of_the_standard() {
        for (key, none, one, some, four) in VECTORS {
            for (len, expected) in [(0, none), (16, one), (40, some), (64, four)] {
                assert_eq!(to_hex(&cmac(&hex(key), &[&hex(PLAIN)[..len]])), expected);
            }
        }
    }

    #[test]
    fn splitting_and_saving_at_any_place_changes_nothing() {
        let (key, message) = ([5; 24], pattern(67));
        let whole = cmac(&key, &[&message]);
        for at in 0..=message.len() {
            let (first, second) = message.split_at(at);
            assert_eq!(cmac(&key, &[first, second]), whole);
            let mut running = Cmac::new(&key).expect("a key");
            running.update(first);
            let mut restored = Cmac::restore(&key, &running.save()).expect("a saved state");
            restored.update(second);
            assert!(restored.verify(&whole), "at {at}");
        }
    }

    #[test]
    fn a_saved_state_keeps_its_format() {
        let mut running = Cmac::new(&[5; 16]).expect("a key");
        running.update(&pattern(20));
        let mut chain = pattern(16).try_into().expect("a block");
        AesKey::new(&[5; 16]).expect("a key").encrypt_block(&mut chain);
        let expected = [&chain[..], &pattern(20)[16..], &[0; 12], &[4]].concat();
        assert_eq!(running.save().as_slice(), expected);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert_eq!(Cmac::new(&[0; 15]).err(), Some(Error::Size));
        let saved = Cmac::new(&[0; 16]).expect("a key").save();
        assert!(Cmac::restore(&[0; 15], &saved).is_none());
        assert!(Cmac::restore(&[0; 16], &saved[1..]).is_none());
        assert!(Cmac::restore(&[0; 16], &[]).is_none());
        let mut damaged = saved.to_vec();
        damaged[32] = 17;
        assert!(Cmac::restore(&[0; 16], &damaged).is_none());
        let cmac = Cmac::new(&[0; 16]).expect("a key");
        assert!(!cmac.clone().verify(&[]));
        assert!(!cmac.verify(&[0; 16]));
    }
}
