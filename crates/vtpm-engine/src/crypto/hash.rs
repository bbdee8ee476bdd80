//! Hash algorithms (FIPS 180-4, FIPS 202) and their running states.
//!
//! A state can be saved and restored, because a TPM's hash sequences are: by context save and when
//! the whole machine moves. Nothing here allocates except [`Hasher::save`].

use core::fmt;
use core::ops::Deref;

use sha1::Sha1;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use sha3::{Sha3_256, Sha3_384, Sha3_512};
use zeroize::Zeroize;

/// The longest digest of all algorithms, in bytes.
pub const MAX_DIGEST_SIZE: usize = 64;

/// The longest block of all algorithms, in bytes (SHA3-256).
pub const MAX_BLOCK_SIZE: usize = 136;

/// A hash algorithm.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HashAlg {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
    /// SHA3-256, 32 bytes.
    Sha3_256,
    /// SHA3-384, 48 bytes.
    Sha3_384,
    /// SHA3-512, 64 bytes.
    Sha3_512,
}

impl HashAlg {
    /// All algorithms, by rising identifier.
    pub const ALL: [Self; 7] = [
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
    ];

    /// The algorithm's TPM_ALG_ID (TCG Algorithm Registry).
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
            Self::Sha512 => 0x000D,
            Self::Sha3_256 => 0x0027,
            Self::Sha3_384 => 0x0028,
            Self::Sha3_512 => 0x0029,
        }
    }

    /// The algorithm with this TPM_ALG_ID, if it is one of ours.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            0x0004 => Self::Sha1,
            0x000B => Self::Sha256,
            0x000C => Self::Sha384,
            0x000D => Self::Sha512,
            0x0027 => Self::Sha3_256,
            0x0028 => Self::Sha3_384,
            0x0029 => Self::Sha3_512,
            _ => return None,
        })
    }

    /// The digest's length in bytes.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// The length in bytes of the block that the algorithm works on.
    #[must_use]
    pub const fn block_size(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
            Self::Sha3_256 => 136,
            Self::Sha3_384 => 104,
            Self::Sha3_512 => 72,
        }
    }
}

/// A digest, kept inline.
///
/// `==` compares in variable time; use [`Hmac::verify`](super::hmac::Hmac::verify) or
/// `subtle` where an attacker may try values.
#[derive(Clone, Zeroize)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_SIZE],
    len: usize,
}

impl Digest {
    /// The digest's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut digest = Self { bytes: [0; MAX_DIGEST_SIZE], len: bytes.len() };
        for (to, from) in digest.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        digest
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// A running hash.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    Sha3_256(Sha3_256),
    Sha3_384(Sha3_384),
    Sha3_512(Sha3_512),
}

/// Evaluates one expression with the concrete hasher, whichever it is.
macro_rules! with_state {
    ($state:expr, $hasher:ident => $body:expr) => {
        match $state {
            State::Sha1($hasher) => $body,
            State::Sha256($hasher) => $body,
            State::Sha384($hasher) => $body,
            State::Sha512($hasher) => $body,
            State::Sha3_256($hasher) => $body,
            State::Sha3_384($hasher) => $body,
            State::Sha3_512($hasher) => $body,
        }
    };
}

impl Hasher {
    /// Begins a hash.
    #[must_use]
    pub fn new(alg: HashAlg) -> Self {
        Self(match alg {
            HashAlg::Sha1 => State::Sha1(Sha1::new()),
            HashAlg::Sha256 => State::Sha256(Sha256::new()),
            HashAlg::Sha384 => State::Sha384(Sha384::new()),
            HashAlg::Sha512 => State::Sha512(Sha512::new()),
            HashAlg::Sha3_256 => State::Sha3_256(Sha3_256::new()),
            HashAlg::Sha3_384 => State::Sha3_384(Sha3_384::new()),
            HashAlg::Sha3_512 => State::Sha3_512(Sha3_512::new()),
        })
    }

    /// The algorithm that this hash runs.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        match self.0 {
            State::Sha1(_) => HashAlg::Sha1,
            State::Sha256(_) => HashAlg::Sha256,
            State::Sha384(_) => HashAlg::Sha384,
            State::Sha512(_) => HashAlg::Sha512,
            State::Sha3_256(_) => HashAlg::Sha3_256,
            State::Sha3_384(_) => HashAlg::Sha3_384,
            State::Sha3_512(_) => HashAlg::Sha3_512,
        }
    }

    /// Adds bytes to the message.
    pub fn update(&mut self, data: &[u8]) {
        with_state!(&mut self.0, hasher => hasher.update(data));
    }

    /// Ends the message and gives its digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        with_state!(self.0, hasher => Digest::from_bytes(&hasher.finalize()))
    }

    /// The state as bytes, from which [`Hasher::restore`] goes on.
    ///
    /// The format is pinned by tests: a state saved by one release restores in every later one.
    /// It reveals the last part of the message and is a secret when the message is.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        with_state!(&self.0, hasher => hasher.serialize().to_vec())
    }

    /// Continues a saved hash; `None` when `saved` is no state of this algorithm.
    #[must_use]
    pub fn restore(alg: HashAlg, saved: &[u8]) -> Option<Self> {
        if !has_plausible_count(alg, saved) {
            return None;
        }
        Some(Self(match alg {
            HashAlg::Sha1 => State::Sha1(deserialize(saved)?),
            HashAlg::Sha256 => State::Sha256(deserialize(saved)?),
            HashAlg::Sha384 => State::Sha384(deserialize(saved)?),
            HashAlg::Sha512 => State::Sha512(deserialize(saved)?),
            HashAlg::Sha3_256 => State::Sha3_256(deserialize(saved)?),
            HashAlg::Sha3_384 => State::Sha3_384(deserialize(saved)?),
            HashAlg::Sha3_512 => State::Sha3_512(deserialize(saved)?),
        }))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({:?}, ..)", self.alg())
    }
}

/// Hashes the concatenation of `parts`.
#[must_use]
pub fn hash(alg: HashAlg, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(alg);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// Hashes data that is no secret, which may be long.
///
/// Where the processor has no instructions for it, the library's code is twice as fast as that of
/// [`Hasher`]; but it gives no state to save, and what it worked on stays in memory.
#[must_use]
pub fn hash_public(alg: HashAlg, data: &[u8]) -> Digest {
    match alg {
        HashAlg::Sha1 => Digest::from_bytes(&openssl::sha::sha1(data)),
        HashAlg::Sha256 => Digest::from_bytes(&openssl::sha::sha256(data)),
        HashAlg::Sha384 => Digest::from_bytes(&openssl::sha::sha384(data)),
        HashAlg::Sha512 => Digest::from_bytes(&openssl::sha::sha512(data)),
        HashAlg::Sha3_256 | HashAlg::Sha3_384 | HashAlg::Sha3_512 => hash(alg, &[data]),
    }
}

/// Whether the number of blocks in a saved state is below 2^48, which no message reaches. Counting
/// on from a forged one could overflow.
fn has_plausible_count(alg: HashAlg, saved: &[u8]) -> bool {
    // The counter follows the chaining value, the least significant byte first.
    let counter = match alg {
        HashAlg::Sha1 => saved.get(20..28),
        HashAlg::Sha256 => saved.get(32..40),
        HashAlg::Sha384 | HashAlg::Sha512 => saved.get(64..80),
        HashAlg::Sha3_256 | HashAlg::Sha3_384 | HashAlg::Sha3_512 => Some(&[][..]),
    };
    counter.is_some_and(|counter| counter.iter().skip(6).all(|byte| *byte == 0))
}

fn deserialize<T: SerializableState>(saved: &[u8]) -> Option<T> {
    let state = SerializedState::<T>::try_from(saved).ok()?;
    T::deserialize(&state).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Rng;
    use super::super::test_util::{TestRng, hex, pattern, to_hex};
    use super::*;

    /// Digests of nothing, of "abc" (FIPS 180-4 and 202) and of [`pattern`], the last from Python's
    /// hashlib.
    const DIGESTS: [(HashAlg, &str, &str, &str); 7] = [
        (
            HashAlg::Sha1,
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "c171cf8316b7c44ede787146936af403e0ec9de1",
        ),
        (
            HashAlg::Sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "9a76b8af8f16f19d60de2b3999c22f9d10be4395c90ea3bfc5eb6cd6254243af",
        ),
        (
            HashAlg::Sha384,
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fb\
             d51ad2f14898b95b",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc23\
             58baeca134c825a7",
            "23396a75d57d5ed9a9526c10b751b6c9b196c165a00407e38cf5a0126d387a7217fb03d195b632c4\
             02887805e9d47d8d",
        ),
        (
            HashAlg::Sha512,
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0\
             ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a8\
             36ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "c59cdec0ad3e782b46895375b8721ded04fe2767263ea52ad3f794e98e990d60b83d2671430d34c6\
             e27c5d0f556a30964f1243b7cb4f98c21ea8b8bde9907fda",
        ),
        (
            HashAlg::Sha3_256,
            "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
            "c87546fd20d13b902ade349f6e67c3b1085d6a746ae0e9a01dfa62c26297b2a7",
        ),
        (
            HashAlg::Sha3_384,
            "0c63a75b845e4f7d01107d852e4c2485c51a50aaaa94fc61995e71bbee983a2ac3713831264adb47\
             fb6bd1e058d5f004",
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f5\
             39f1edf228376d25",
            "ac2957d0f9f01abd7c2a8f2d8f7e2e84c98db55bd1a0fdea4b9f72f67dda32612f060c20b3a44594\
             54eaf5b0ea6a0704",
        ),
        (
            HashAlg::Sha3_512,
            "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c\
             11e3e9402c3ac558f500199d95b6d3e301758586281dcd26",
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c9\
             1a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
            "8d37d4297d0d1578535c68997e0f640052de1d21e8c9ed5993f6f7418e2dbda6c5b6dcb299eabece\
             c371d12ed518a831a03ba2a76378d60a46528d1608b4c122",
        ),
    ];

    /// The saved states after the first 200 bytes of [`pattern`], as SHA-256 of them. A state saved
    /// by any release must restore in every later one.
    const SAVED: [(HashAlg, &str); 7] = [
        (HashAlg::Sha1, "587cfa6e82f885b37a76c3eb313ecc39274263af064ebc214712e7c03d6e728b"),
        (HashAlg::Sha256, "de961413e931960b24a9878276d59cf8201b755d71acbf86dfd176f102509652"),
        (HashAlg::Sha384, "e358553dd0ed53d952d6a7ce07e68a32b7beb319623732b63172c3cb8660538b"),
        (HashAlg::Sha512, "bf1cda2b47a19ce616306375050189650af6cf130ec037241079f9fa6d675241"),
        (HashAlg::Sha3_256, "fa9eb52bc5e7563e0f461f97d93f4ddfe91c86f74298c63ef4299ea8159afdd9"),
        (HashAlg::Sha3_384, "6a6ef24e6af82182feed05623f63788b727f64a91a2781965a66fde7a07e3070"),
        (HashAlg::Sha3_512, "934df1865ab3a21566ba9ba1d7e4128596d31374fba7ae0c0e2dd8fda3c05ba3"),
    ];

    #[test]
    fn digests_are_those_of_the_standards() {
        for (alg, empty, abc, long) in DIGESTS {
            assert_eq!(to_hex(&hash(alg, &[])), empty, "{alg:?}");
            assert_eq!(to_hex(&hash(alg, &[b"abc"])), abc, "{alg:?}");
            assert_eq!(to_hex(&hash(alg, &[&pattern(300)])), long, "{alg:?}");
            assert_eq!(to_hex(&hash_public(alg, b"")), empty, "{alg:?}");
            assert_eq!(to_hex(&hash_public(alg, b"abc")), abc, "{alg:?}");
            assert_eq!(to_hex(&hash_public(alg, &pattern(300))), long, "{alg:?}");
        }
    }

    #[test]
    fn splitting_and_saving_at_any_place_changes_nothing() {
        let message = pattern(300);
        for alg in HashAlg::ALL {
            let whole = hash(alg, &[&message]);
            for at in 0..=message.len() {
                let (first, second) = message.split_at(at);
                assert_eq!(hash(alg, &[first, second]), whole);
                let mut hasher = Hasher::new(alg);
                hasher.update(first);
                let mut restored = Hasher::restore(alg, &hasher.save()).expect("a saved state");
                restored.update(second);
                assert_eq!(restored.finish(), whole, "{alg:?} at {at}");
            }
        }
    }

    #[test]
    fn saved_states_keep_their_format() {
        for (alg, expected) in SAVED {
            let mut hasher = Hasher::new(alg);
            hasher.update(&pattern(200));
            let digest = hash(HashAlg::Sha256, &[&hasher.save()]);
            assert_eq!(to_hex(&digest), expected, "{alg:?}");
        }
    }

    #[test]
    fn damaged_states_are_refused() {
        for alg in HashAlg::ALL {
            let saved = Hasher::new(alg).save();
            assert!(Hasher::restore(alg, &[]).is_none());
            assert!(Hasher::restore(alg, &saved[1..]).is_none());
            assert!(Hasher::restore(alg, &[&saved[..], &[0]].concat()).is_none());
            // The number of buffered bytes is last or, in SHA-3, the place in the sponge; neither
            // can be 255.
            let mut damaged = saved;
            damaged.iter_mut().for_each(|byte| *byte = 0xff);
            assert!(Hasher::restore(alg, &damaged).is_none(), "{alg:?}");
        }
    }

    #[test]
    fn forged_states_are_refused_or_hash_on() {
        let mut rng = TestRng(1);
        let mut refused = 0;
        for alg in HashAlg::ALL {
            let mut hasher = Hasher::new(alg);
            hasher.update(&pattern(200));
            let saved = hasher.save();
            for at in 0..saved.len() {
                for _ in 0..8 {
                    let mut forged = saved.clone();
                    rng.fill(&mut forged[at..][..1]);
                    match Hasher::restore(alg, &forged) {
                        None => refused += 1,
                        Some(mut hasher) => {
                            hasher.update(&pattern(300));
                            assert_eq!(hasher.finish().len(), alg.digest_size());
                        }
                    }
                }
            }
        }
        assert!(refused > 100, "{refused} were refused");
    }

    #[test]
    fn counts_of_blocks_that_could_overflow_are_refused() {
        for (alg, place) in [(HashAlg::Sha1, 20), (HashAlg::Sha256, 32), (HashAlg::Sha512, 64)] {
            let mut hasher = Hasher::new(alg);
            hasher.update(&vec![0; alg.block_size() * 3]);
            let mut saved = hasher.save();
            assert_eq!(saved[place], 3);
            saved[place + 5] = 0xff;
            assert!(Hasher::restore(alg, &saved).is_some());
            saved[place + 6] = 1;
            assert!(Hasher::restore(alg, &saved).is_none());
        }
    }

    #[test]
    fn sizes_and_identifiers_are_consistent() {
        for alg in HashAlg::ALL {
            assert_eq!(HashAlg::from_id(alg.id()), Some(alg));
            assert_eq!(hash(alg, &[]).len(), alg.digest_size());
            assert_eq!(Hasher::new(alg).alg(), alg);
            assert!(alg.digest_size() <= MAX_DIGEST_SIZE && alg.block_size() <= MAX_BLOCK_SIZE);
        }
        assert_eq!(HashAlg::from_id(0x0010), None);
    }

    #[test]
    fn a_digest_shows_its_bytes_and_wipes_to_nothing() {
        let mut digest = hash(HashAlg::Sha1, &[b"abc"]);
        assert_eq!(format!("{digest:?}"), "Digest(a9993e364706816aba3e25717850c26c9cd0d89d)");
        assert_eq!(digest.as_ref(), hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
        digest.zeroize();
        assert!(digest.is_empty());
    }
}
