//! HMAC (FIPS 198-1, RFC 2104) over the module's own hash states, so that a running HMAC can be
//! saved like a hash.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::hash::{Digest, HashAlg, Hasher, MAX_BLOCK_SIZE, hash};

const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// A running HMAC.
#[derive(Clone)]
pub struct Hmac {
    /// Has taken the key xor the inner pad, then the message so far.
    inner: Hasher,
    /// Has taken the key xor the outer pad.
    outer: Hasher,
}

impl Hmac {
    /// Begins an HMAC. A key longer than the hash's block is hashed first, as the standard says.
    #[must_use]
    pub fn new(alg: HashAlg, key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0u8; MAX_BLOCK_SIZE]);
        let hashed;
        let key = if key.len() > alg.block_size() {
            hashed = Zeroizing::new(hash(alg, &[key]));
            hashed.as_bytes()
        } else {
            key
        };
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let mut pad_with = |pad: u8| {
            block.iter_mut().for_each(|byte| *byte ^= pad);
            let mut hasher = Hasher::new(alg);
            hasher.update(block.get(..alg.block_size()).unwrap_or_default());
            hasher
        };
        let inner = pad_with(INNER_PAD);
        let outer = pad_with(INNER_PAD ^ OUTER_PAD);
        Self { inner, outer }
    }

    /// The hash algorithm.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.inner.alg()
    }

    /// Adds bytes to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    /// Ends the message and gives its HMAC.
    #[must_use]
    pub fn finish(self) -> Digest {
        let Self { inner, mut outer } = self;
        let mut digest = inner.finish();
        outer.update(&digest);
        digest.zeroize();
        outer.finish()
    }

    /// Ends the message and compares its HMAC with `expected` in constant time. A different length
    /// is a mismatch.
    #[must_use]
    pub fn verify(self, expected: &[u8]) -> bool {
        self.finish().ct_eq(expected).into()
    }

    /// The state as bytes, from which [`Hmac::restore`] goes on. They are as secret as the key.
    #[must_use]
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let inner = Zeroizing::new(self.inner.save());
        let outer = Zeroizing::new(self.outer.save());
        let mut saved = Zeroizing::new(Vec::with_capacity(inner.len().saturating_add(outer.len())));
        saved.extend_from_slice(&inner);
        saved.extend_from_slice(&outer);
        saved
    }

    /// Continues a saved HMAC; `None` when `saved` is no HMAC state of this algorithm.
    #[must_use]
    pub fn restore(alg: HashAlg, saved: &[u8]) -> Option<Self> {
        if !saved.len().is_multiple_of(2) {
            return None;
        }
        let (inner, outer) = saved.split_at_checked(saved.len() / 2)?;
        let (inner, outer) = (Hasher::restore(alg, inner)?, Hasher::restore(alg, outer)?);
        Some(Self { inner, outer })
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hmac({:?}, ..)", self.alg())
    }
}

/// The HMAC of the concatenation of `parts`.
#[must_use]
pub fn hmac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(alg, key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finish()
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{hex, pattern, to_hex};
    use super::*;

    /// RFC 4231 (and RFC 2202), test cases 2 and 6; an empty key and message; a key of exactly a
    /// block with a message of 300 bytes. What the RFCs lack comes from Python's hmac.
    const VECTORS: [(HashAlg, &str, &str, &str, &str); 7] = [
        (
            HashAlg::Sha1,
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "90d0dace1c1bdc957339307803160335bde6df2b",
            "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d",
            "bb5f41c1df414f808d601173a9d49473aab8e568",
        ),
        (
            HashAlg::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
            "65ab6d8042d5a5d80836c7c6a7f6e4fba0d16d3749fb1ec1cab511acc6c66834",
        ),
        (
            HashAlg::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c7\
             8b3239ecfab21649",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe82\
             96248df163f44952",
            "6c1f2ee938fad2e24bd91298474382ca218c75db3d83e114b3d4367776d14d3551289e75e8209cd4\
             b792302840234adc",
            "f87fa179954280b489233e50507273dd976260c7165bc1abc14caf514fa7dfab172780c8229559c0\
             38bc46f66aa9d3ff",
        ),
        (
            HashAlg::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a\
             6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598\
             bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            "b936cee86c9f87aa5d3c6f2e84cb5a4239a5fe50480a6ec66b70ab5b1f4ac6730c6c515421b327ec\
             1d69402e53dfb49ad7381eb067b338fd7b0cb22247225d47",
            "de887c5b866836b8879868c326e62fc6b1305109c1638e37b4104555af3e74b5e46acd4109de1e2c\
             e9a4c6f868e655f25e1b3270f87f445621435c8ad7738e7f",
        ),
        (
            HashAlg::Sha3_256,
            "c7d4072e788877ae3596bbb0da73b887c9171f93095b294ae857fbe2645e1ba5",
            "ed73a374b96c005235f948032f09674a58c0ce555cfc1f223b02356560312c3b",
            "e841c164e5b4f10c9f3985587962af72fd607a951196fc92fb3a5251941784ea",
            "56e0d4e784ebcdefb89e3486ce5c248e6dc704af5dc0830af3f062cd2ee4a8ae",
        ),
        (
            HashAlg::Sha3_384,
            "f1101f8cbf9766fd6764d2ed61903f21ca9b18f57cf3e1a23ca13508a93243ce48c045dc007f26a2\
             1b3f5e0e9df4c20a",
            "0fc19513bf6bd878037016706a0e57bc528139836b9a42c3d419e498e0e1fb9616fd669138d33a11\
             05e07c72b6953bcc",
            "adca89f07bbfbeaf58880c1572379ea2416568fd3b66542bd42599c57c4567e6ae086299ea216c6f\
             3e7aef90b6191d24",
            "ca61bf626ea5efddcc49db14379b4af48b54efe6a6c4046da53e1e71a3175562d897cda519e99b59\
             3626ce9a4ba11b80",
        ),
        (
            HashAlg::Sha3_512,
            "5a4bfeab6166427c7a3647b747292b8384537cdb89afb3bf5665e4c5e709350b287baec921fd7ca0\
             ee7a0c31d022a95e1fc92ba9d77df883960275beb4e62024",
            "00f751a9e50695b090ed6911a4b65524951cdc15a73a5d58bb55215ea2cd839ac79d2b44a39bafab\
             27e83fde9e11f6340b11d991b1b91bf2eee7fc872426c3a4",
            "cbcf45540782d4bc7387fbbf7d30b3681d6d66cc435cafd82546b0fce96b367ea79662918436fba4\
             42e81a01d0f9592dfcd30f7a7a8f1475693d30be4150ca84",
            "a28cd35697b4adbf7556595baee7462c5a21d12e33abcfeea6a2ab400cf3370d95406dac98c109cd\
             c0850501caf6ecf4439ee1c140b20784ddf7bac54c75aab1",
        ),
    ];

    #[test]
    fn results_are_those_of_the_standards() {
        for (alg, short, long, empty, block) in VECTORS {
            let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
            assert_eq!(to_hex(&hmac(alg, b"Jefe", &parts)), short, "{alg:?}");
            let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
            assert_eq!(to_hex(&hmac(alg, &[0xaa; 131], &[message])), long, "{alg:?}");
            assert_eq!(to_hex(&hmac(alg, b"", &[])), empty, "{alg:?}");
            let key = pattern(alg.block_size());
            assert_eq!(to_hex(&hmac(alg, &key, &[&pattern(300)])), block, "{alg:?}");
        }
    }

    #[test]
    fn a_saved_hmac_goes_on_after_restoring() {
        for alg in HashAlg::ALL {
            let mut running = Hmac::new(alg, b"key");
            running.update(&pattern(100));
            let mut restored = Hmac::restore(alg, &running.save()).expect("a saved state");
            restored.update(&pattern(50));
            let expected = hmac(alg, b"key", &[&pattern(100), &pattern(50)]);
            assert_eq!(restored.finish(), expected, "{alg:?}");
        }
    }

    #[test]
    fn damaged_states_are_refused() {
        let saved = Hmac::new(HashAlg::Sha256, b"key").save();
        assert!(Hmac::restore(HashAlg::Sha256, &saved[1..]).is_none());
        assert!(Hmac::restore(HashAlg::Sha256, &[]).is_none());
        assert!(Hmac::restore(HashAlg::Sha512, &saved).is_none());
    }

    #[test]
    fn verifying_takes_the_right_value_only() {
        let tag = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let mut running = Hmac::new(HashAlg::Sha256, b"Jefe");
        running.update(b"what do ya want for nothing?");
        assert!(running.clone().verify(&tag));
        assert!(!running.clone().verify(&tag[..31]));
        assert!(!running.clone().verify(&[]));
        let mut wrong = tag;
        wrong[31] ^= 1;
        assert!(!running.verify(&wrong));
    }
}
