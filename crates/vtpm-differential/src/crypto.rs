//! The client's half of sessions: hashes, HMAC, KDFa, KDFe, AES-CFB, XOR obfuscation
//! (Part 1, clauses 11.4 and 21). Independent of the engine's own.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use sha2::Digest;

/// A hash algorithm of sessions.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) const ALL: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    pub(crate) fn id(self) -> u16 {
        match self {
            Hash::Sha1 => 4,
            Hash::Sha256 => 0xb,
            Hash::Sha384 => 0xc,
            Hash::Sha512 => 0xd,
        }
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    fn block(self) -> usize {
        match self {
            Hash::Sha1 | Hash::Sha256 => 64,
            Hash::Sha384 | Hash::Sha512 => 128,
        }
    }

    /// The digest of the concatenation.
    pub(crate) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        fn run<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().to_vec()
        }
        match self {
            Hash::Sha1 => run::<sha1::Sha1>(parts),
            Hash::Sha256 => run::<sha2::Sha256>(parts),
            Hash::Sha384 => run::<sha2::Sha384>(parts),
            Hash::Sha512 => run::<sha2::Sha512>(parts),
        }
    }

    /// HMAC of the concatenation.
    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut block = if key.len() > self.block() { self.of(&[key]) } else { key.to_vec() };
        block.resize(self.block(), 0);
        let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).collect();
        let outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).collect();
        let mut all: Vec<&[u8]> = vec![&inner];
        all.extend_from_slice(parts);
        let digest = self.of(&all);
        self.of(&[&outer, &digest])
    }

    /// KDFa; the label without its NUL.
    pub(crate) fn kdfa(
        self,
        key: &[u8],
        label: &[u8],
        u: &[u8],
        v: &[u8],
        bytes: usize,
    ) -> Vec<u8> {
        let bits = (bytes as u32 * 8).to_be_bytes();
        let mut out = Vec::new();
        for counter in 1u32.. {
            if out.len() >= bytes {
                break;
            }
            let counter = counter.to_be_bytes();
            out.extend(self.hmac(key, &[&counter, label, &[0], u, v, &bits]));
        }
        out.truncate(bytes);
        out
    }

    /// KDFe with as many bytes as the digest has; the label without its NUL.
    pub(crate) fn kdfe(self, z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
        self.of(&[&1u32.to_be_bytes(), z, label, &[0], u, v])
    }
}

/// How a session encrypts parameters.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sym {
    Null,
    Aes(u16),
    Xor(Hash),
}

impl Sym {
    /// `TPMT_SYM_DEF`.
    pub(crate) fn marshal(self) -> Vec<u8> {
        match self {
            Sym::Null => vec![0, 0x10],
            Sym::Aes(bits) => [&[0, 6][..], &bits.to_be_bytes(), &[0, 0x43]].concat(),
            Sym::Xor(hash) => [&[0, 0xa][..], &hash.id().to_be_bytes()].concat(),
        }
    }

    /// Encrypts or decrypts `data` in place.
    pub(crate) fn apply(
        self,
        hash: Hash,
        key: &[u8],
        newer: &[u8],
        older: &[u8],
        data: &mut [u8],
        encrypt: bool,
    ) {
        match self {
            Sym::Null => {}
            Sym::Aes(bits) => {
                let size = usize::from(bits / 8);
                let material = hash.kdfa(key, b"CFB", newer, older, size + 16);
                let (key, iv) = material.split_at(size);
                cfb(key, iv, data, encrypt);
            }
            Sym::Xor(mask_hash) => {
                let mask = mask_hash.kdfa(key, b"XOR", newer, older, data.len());
                data.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
            }
        }
    }
}

fn block_encrypt(key: &[u8], block: &mut [u8; 16]) {
    fn run<C: BlockCipherEncrypt + KeyInit>(key: &[u8], block: &mut [u8; 16]) {
        let Ok(cipher) = C::new_from_slice(key) else { return };
        let mut buffer = aes::cipher::Block::<C>::default();
        buffer.copy_from_slice(block);
        cipher.encrypt_block(&mut buffer);
        block.copy_from_slice(&buffer);
    }
    match key.len() {
        16 => run::<aes::Aes128>(key, block),
        24 => run::<aes::Aes192>(key, block),
        _ => run::<aes::Aes256>(key, block),
    }
}

fn cfb(key: &[u8], iv: &[u8], data: &mut [u8], encrypt: bool) {
    let mut feedback = [0; 16];
    feedback.copy_from_slice(iv);
    for chunk in data.chunks_mut(16) {
        block_encrypt(key, &mut feedback);
        for (byte, mask) in chunk.iter_mut().zip(&mut feedback) {
            let plain_or_cipher = *byte;
            *byte ^= *mask;
            *mask = if encrypt { *byte } else { plain_or_cipher };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_test_case_2_of_rfc_4231() {
        let mac = Hash::Sha256.hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    }

    #[test]
    fn cfb_undoes_itself() {
        let mut data = *b"twenty-one bytes here";
        Sym::Aes(128).apply(Hash::Sha256, b"k", b"n", b"o", &mut data, true);
        assert_ne!(&data, b"twenty-one bytes here");
        Sym::Aes(128).apply(Hash::Sha256, b"k", b"n", b"o", &mut data, false);
        assert_eq!(&data, b"twenty-one bytes here");
    }
}
