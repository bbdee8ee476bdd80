//! Key derivation: KDFa and KDFe (TPM 2.0 Part 1, 11.4.10) and the mask generation function of
//! PKCS #1.

use zeroize::Zeroizing;

use super::hash::{Digest, HashAlg, Hasher};
use super::hmac::Hmac;

/// KDFa (TPM 2.0 Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC.
///
/// `label` comes without its terminating zero, which is added here; a label that already ends in
/// zero is left alone. `context_u` and `context_v` are concatenated. The result has `bits` bits,
/// rounded up to whole bytes with the excess high-order bits cleared.
#[doc(alias = "KDFa")]
#[must_use]
pub fn kdfa(
    alg: HashAlg,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    let keyed = Hmac::new(alg, key);
    expand(bits, |counter| {
        let mut hmac = keyed.clone();
        hmac.update(&counter.to_be_bytes());
        hmac.update(label);
        hmac.update(terminator(label));
        hmac.update(context_u);
        hmac.update(context_v);
        hmac.update(&bits.to_be_bytes());
        hmac.finish()
    })
}

/// KDFe (TPM 2.0 Part 1, 11.4.10.3): the concatenation KDF of SP 800-56A for a secret `z` that two
/// parties agreed on.
///
/// `label` and the length of the result are treated as by [`kdfa`].
#[doc(alias = "KDFe")]
#[must_use]
pub fn kdfe(
    alg: HashAlg,
    z: &[u8],
    label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    expand(bits, |counter| {
        let mut hasher = Hasher::new(alg);
        hasher.update(&counter.to_be_bytes());
        hasher.update(z);
        hasher.update(label);
        hasher.update(terminator(label));
        hasher.update(party_u);
        hasher.update(party_v);
        hasher.finish()
    })
}

/// MGF1 (RFC 8017, B.2.1): a mask of `len` bytes from a seed.
#[must_use]
pub fn mgf1(alg: HashAlg, seed: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut seeded = Hasher::new(alg);
    seeded.update(seed);
    let mut mask = Zeroizing::new(Vec::with_capacity(len.saturating_add(alg.digest_size())));
    for counter in 0u32..=u32::MAX {
        if mask.len() >= len {
            break;
        }
        let mut hasher = seeded.clone();
        hasher.update(&counter.to_be_bytes());
        mask.extend_from_slice(&hasher.finish());
    }
    mask.truncate(len);
    mask
}

/// KDF2 (ISO/IEC 18033-2, 6.2.3; TPM 2.0 Part 1, C.8): `len` bytes from a secret. It is [`mgf1`]
/// with a counter that starts at one.
#[doc(alias = "KDF2")]
#[must_use]
pub fn kdf2(alg: HashAlg, z: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut seeded = Hasher::new(alg);
    seeded.update(z);
    let bits = u32::try_from(len.saturating_mul(8)).unwrap_or(u32::MAX);
    expand(bits, |counter| {
        let mut hasher = seeded.clone();
        hasher.update(&counter.to_be_bytes());
        hasher.finish()
    })
}

/// The zero that ends a label, unless the label brings its own.
fn terminator(label: &[u8]) -> &'static [u8] {
    if label.last() == Some(&0) { &[] } else { &[0] }
}

/// Concatenates `block(1)`, `block(2)` and so on to a number of `bits` bits.
fn expand(bits: u32, mut block: impl FnMut(u32) -> Digest) -> Zeroizing<Vec<u8>> {
    // A u32 of bits is at most 2^29 bytes, which fits any usize that we build for.
    let len = bits.div_ceil(8) as usize;
    let mut key = Zeroizing::new(Vec::with_capacity(len.saturating_add(64)));
    let mut counter = 0u32;
    while key.len() < len {
        counter = counter.wrapping_add(1);
        let digest = Zeroizing::new(block(counter));
        key.extend_from_slice(&digest);
    }
    key.truncate(len);
    if let (Some(first), spare @ 1..) = (key.first_mut(), bits % 8) {
        *first &= (1u8 << spare).wrapping_sub(1);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{hex, to_hex};
    use super::*;

    /// Bits, KDFa and KDFe, from the KBKDFHMAC and ConcatKDFHash of Python's cryptography.
    const VECTORS: [(HashAlg, u32, &str, &str); 14] = [
        (
            HashAlg::Sha1,
            128,
            "aa1a7d408e7342d264d9b4ab49deb0e7",
            "3b00c78f7c01996c89e6ffa59b01be5b",
        ),
        (
            HashAlg::Sha1,
            521,
            "00ad5ccb5367bc5d2e82767ba254fe2936f2b90e030b1b09f84568c7d7d68d0e7ec1ca5617924dd9\
             b27333e8ecc422851429cee7c9828169d453133d5a840d03fced",
            "0100c78f7c01996c89e6ffa59b01be5b5541d0f7c2254eb477ad71c8fdb72b0b0b40cbd2d0b1be2b\
             0e02c495dbb2b30a73c48e85a1dae649675b09d651ba44182897",
        ),
        (
            HashAlg::Sha256,
            128,
            "3c25a132c225c3884aa69c0b5764ddff",
            "99bc071354d73accfb785910fd469744",
        ),
        (
            HashAlg::Sha256,
            521,
            "00cb8f1c6e3eed15c270c92a23f66cb4f82a571c8ccf630a28314a04888a7410c3c3d188dbedefda\
             0320b333f5f6561bbbef429d9dc3c79cdc2bc826676267199f6f",
            "01bc071354d73accfb785910fd469744d146a06c24704edb9edab88b6bee46874197fd2b58d48c13\
             f0144f7f85fe18353e49983eb0d7c6488f065898bc6ad23e9abf",
        ),
        (
            HashAlg::Sha384,
            128,
            "26862876d8aedf72e18531f916ed99d3",
            "632e52cdd5208413d526a25ce5963be4",
        ),
        (
            HashAlg::Sha384,
            521,
            "009ebaa0fd3a1c95e706a8b4d44bbffaa371710122a97b0e829c00c1d1f516da2be2a1300967bc95\
             9c0dab4ab3ca5a37860ef0a6fd5b31529f53cdeaabbb50cb5cc1",
            "012e52cdd5208413d526a25ce5963be4c5bf7aff6537feb7ca5f2312eb82b8bf351d4ecd71dc8b4b\
             088c10b2ccc2edbb5e982e25749651db387c604feeae8a24c6a5",
        ),
        (
            HashAlg::Sha512,
            128,
            "b88ceee77663a37e0bacee8cb239afdc",
            "cace7d208bf5db77bb7f3dcf3fd7f94a",
        ),
        (
            HashAlg::Sha512,
            521,
            "01c0eeedf6a31775eb114b291fe554514ec8b546a4c21a409e0f3554d06126a7faeec12ab290c2df\
             d782dbda9436277810e9893ad055823d2340e886dc074d173f4e",
            "00ce7d208bf5db77bb7f3dcf3fd7f94a59dfe25859acc24488853ef7a03fe3dd438d208ec3595607\
             89505e873d37703c159d7d7f484d8a57783032313039318d5efb",
        ),
        (
            HashAlg::Sha3_256,
            128,
            "ed184c1846b6f200e2bc600648da6895",
            "0be565203564bc7aa60c3f8122fd26ab",
        ),
        (
            HashAlg::Sha3_256,
            521,
            "00efa94913be2a04be42f18af59fcdd921962cc3027241059e3ad3b47c2acec8ea6e5894fb735b63\
             f0ae865a16c78a55e29aef3112aab923534c7b279463405ea166",
            "01e565203564bc7aa60c3f8122fd26ab47db2908ac3661d22d53946884f5629e33781209dcb07c5d\
             f1ff27e0b47d6bc6417a9d978ea8db650c81ff68a8f28842f707",
        ),
        (
            HashAlg::Sha3_384,
            128,
            "5be3780e8c4fe2ec29941619186dd785",
            "58044ceab033529375e7bca1e8b73aee",
        ),
        (
            HashAlg::Sha3_384,
            521,
            "01d2fa912a21e9c341c0981a3a80626218fb0776457b9d3fba7225da1ccca9076b79e24493e978c9\
             6e22d98232a80f969f2aa80599da3da8d72980fb9664a07b85a3",
            "00044ceab033529375e7bca1e8b73aeee154d6333db35ab8f0e0a842a8347e8ef77783fb644f8c71\
             75886d9bc68fd640d42601b26f51578e58f7048a2cca7f16c404",
        ),
        (
            HashAlg::Sha3_512,
            128,
            "0104c0ec50868e7882b04bcddd198173",
            "adb057a82dfa2d0a9f9908a177e4773a",
        ),
        (
            HashAlg::Sha3_512,
            521,
            "005c478d62c7eeb33ad9cf05c061862f82a46248c70ef223e66f458c49118786cc55354000e6d586\
             f73afb384a77acf5375824c9cd82098a9f45dc0c2662487a5b74",
            "01b057a82dfa2d0a9f9908a177e4773a4ba4ea46ea570c0d2005b6f7e5550bf0dc41e7a3ed35337f\
             d7725d08bc7556386de3da811a17819549e55ab8d64e04cca707",
        ),
    ];

    /// 100 bytes from the seed "seed", computed in Python after RFC 8017.
    const MASKS: [(HashAlg, &str); 2] = [
        (
            HashAlg::Sha1,
            "09d8db2214e56d4dec8f9a3099b851a46886fe3f682e3c4f6a35ff98dd072c1124a6b7b411e543f2\
             04ffbe1792ab51164538516a486f13eb429493635ecc3410846592b58abc991f06416d282a1f21a5\
             1c88ba9e3ea996286bc420e4a84c60aba8d13421",
        ),
        (
            HashAlg::Sha256,
            "336f28a022193939585a1b4edc989f870917f3a5f6ddd16e4fb357084a6bdfc273a649427664d03b\
             bb062e456425488416c52c64ef46fe011ed2a983f30ea9b90eeb559ba5193bb7741a6ed9186af9c4\
             24eb25f7840996ed9712bf5a5a327db3f1875c59",
        ),
    ];

    fn counting(len: u8) -> Vec<u8> {
        (0..len).collect()
    }

    #[test]
    fn derived_keys_are_those_of_the_standards() {
        for (alg, bits, a, e) in VECTORS {
            let key = kdfa(alg, &counting(32), b"STORAGE", &[1; 34], &[2; 3], bits);
            assert_eq!(to_hex(&key), a, "{alg:?}, {bits} bits");
            let key = kdfe(alg, &counting(48), b"DUPLICATE", &[3; 32], &[4; 32], bits);
            assert_eq!(to_hex(&key), e, "{alg:?}, {bits} bits");
        }
    }

    #[test]
    fn a_label_gets_one_terminating_zero_whoever_brings_it() {
        let derive = |label: &[u8]| kdfa(HashAlg::Sha256, b"key", label, b"", b"", 256);
        assert_eq!(derive(b"XOR"), derive(b"XOR\0"));
        assert_eq!(derive(b""), derive(b"\0"));
        assert_ne!(derive(b"XOR"), derive(b"XOR\0\0"));
        let derive = |label: &[u8]| kdfe(HashAlg::Sha256, b"z", label, b"", b"", 256);
        assert_eq!(derive(b"XOR"), derive(b"XOR\0"));
    }

    #[test]
    fn lengths_are_exact_and_excess_bits_clear() {
        for bits in 0..=65 {
            for key in [
                kdfa(HashAlg::Sha1, b"key", b"L", b"", b"", bits),
                kdfe(HashAlg::Sha1, b"key", b"L", b"", b"", bits),
            ] {
                assert_eq!(key.len(), bits.div_ceil(8) as usize);
                if bits % 8 != 0 {
                    assert_eq!(key[0] >> (bits % 8), 0);
                }
            }
        }
    }

    #[test]
    fn masks_are_those_of_pkcs1() {
        for (alg, mask) in MASKS {
            assert_eq!(to_hex(&mgf1(alg, b"seed", 100)), mask);
            assert_eq!(to_hex(&mgf1(alg, b"seed", 7)), mask[..14]);
        }
        assert!(mgf1(HashAlg::Sha512, b"seed", 0).is_empty());
    }

    #[test]
    fn kdf2_gives_the_published_mask() {
        let seed = hex(
            "032e45326fa859a72ec235acff929b15d1372e30b207255f0611b8f785d764374152e0ac009e509e7ba3\
             0cd2f1778e113b64e135cf4e2292c75efe5288edfda4",
        );
        let expected = "10a2403db42a8743cb989de86e668d168cbe6046e23ff26f741e87949a3bba1311ac179f\
             819a3d18412e9eb45668f2923c087c1299005f8d5fd42ca257bc93e8fee0c5a0d2a8aa70185401fbbd99\
             379ec76c663e9a29d0b70f3fe261a59cdc24875a60b4aacb1319fa11c3365a8b79a44669f26fba933d01\
             2db213d7e3b16349";
        assert_eq!(to_hex(&kdf2(HashAlg::Sha256, &seed, 128)), expected);
        assert_eq!(to_hex(&kdf2(HashAlg::Sha256, &seed, 5)), expected[..10]);
    }
}
