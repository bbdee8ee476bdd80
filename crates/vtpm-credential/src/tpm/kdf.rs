//! Key derivation (Part 1, clause 11.4.10).

use zeroize::Zeroizing;

use super::HashAlg;

/// KDFa: `bits` of key from `key`, for `label` and the two contexts. `bits` is a multiple of 8.
#[must_use]
pub fn kdfa(
    alg: HashAlg,
    key: &[u8],
    label: &str,
    context_u: &[u8],
    context_v: &[u8],
    bits: u16,
) -> Zeroizing<Vec<u8>> {
    let bit_count = u32::from(bits).to_be_bytes();
    expand(alg, bits, |counter| {
        alg.hmac(key, &[counter, label.as_bytes(), &[0], context_u, context_v, &bit_count])
    })
}

/// KDFe: `bits` of key from the x-coordinate `z` of an ECDH exchange (SP 800-56A).
#[must_use]
pub fn kdfe(
    alg: HashAlg,
    z: &[u8],
    label: &str,
    party_u: &[u8],
    party_v: &[u8],
    bits: u16,
) -> Zeroizing<Vec<u8>> {
    expand(alg, bits, |counter| alg.digest(&[counter, z, label.as_bytes(), &[0], party_u, party_v]))
}

fn expand(alg: HashAlg, bits: u16, mut block: impl FnMut(&[u8]) -> Vec<u8>) -> Zeroizing<Vec<u8>> {
    let wanted = usize::from(bits / 8);
    let blocks = u32::try_from(wanted.div_ceil(alg.size())).unwrap_or(u32::MAX);
    let mut out = Zeroizing::new(Vec::with_capacity(wanted.saturating_add(alg.size())));
    for counter in 1..=blocks {
        out.extend_from_slice(&Zeroizing::new(block(&counter.to_be_bytes())));
    }
    out.truncate(wanted);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_key_begins_with_nothing_of_a_shorter_one_but_kdfe_does() {
        let short = kdfa(HashAlg::Sha256, b"key", "LABEL", b"u", b"v", 128);
        let long = kdfa(HashAlg::Sha256, b"key", "LABEL", b"u", b"v", 512);
        assert_eq!((short.len(), long.len()), (16, 64));
        assert_ne!(short[..], long[..16], "the number of bits is part of what is hashed");
        let short = kdfe(HashAlg::Sha256, b"z", "LABEL", b"u", b"v", 128);
        let long = kdfe(HashAlg::Sha256, b"z", "LABEL", b"u", b"v", 512);
        assert_eq!(short[..], long[..16]);
    }
}
