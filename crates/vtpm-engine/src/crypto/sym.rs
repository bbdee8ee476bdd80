//! AES in the TPM's block cipher modes (SP 800-38A), and the XOR obfuscation of parameters.
//!
//! The modes are written over the block function here because TPM2_EncryptDecrypt chains the
//! initialisation vector out of one command into the next, partial blocks included.

use core::fmt;

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256, Block};

use super::Error;
use super::hash::HashAlg;
use super::kdf::kdfa;

/// The length of an AES block and of its initialisation vector, in bytes.
pub const BLOCK_SIZE: usize = 16;

/// How many blocks are handed to the cipher at once where they do not depend on each other.
const BATCH: usize = 8;

/// A mode of operation.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Cipher feedback, 128 bits wide.
    Cfb,
    /// Counter mode; the whole block is a big-endian counter.
    Ctr,
    /// Output feedback.
    Ofb,
    /// Cipher block chaining, without padding.
    Cbc,
    /// Electronic codebook, without padding.
    Ecb,
}

/// An AES key, ready for use.
#[derive(Clone)]
pub struct AesKey(Schedule);

#[derive(Clone)]
enum Schedule {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl AesKey {
    /// Expands a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::Size`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        Ok(Self(match key.len() {
            16 => Schedule::Aes128(Aes128::new_from_slice(key).map_err(|_| Error::Size)?),
            24 => Schedule::Aes192(Aes192::new_from_slice(key).map_err(|_| Error::Size)?),
            32 => Schedule::Aes256(Aes256::new_from_slice(key).map_err(|_| Error::Size)?),
            _ => return Err(Error::Size),
        }))
    }

    /// Expands a key of 256 bits, which can't fail.
    pub(super) fn from_256(key: &[u8; 32]) -> Self {
        Self(Schedule::Aes256(Aes256::new(key.into())))
    }

    /// Encrypts one block in place.
    pub fn encrypt_block(&self, block: &mut [u8; BLOCK_SIZE]) {
        self.encrypt(block.into());
    }

    fn encrypt(&self, block: &mut Block) {
        match &self.0 {
            Schedule::Aes128(cipher) => cipher.encrypt_block(block),
            Schedule::Aes192(cipher) => cipher.encrypt_block(block),
            Schedule::Aes256(cipher) => cipher.encrypt_block(block),
        }
    }

    fn encrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Aes128(cipher) => cipher.encrypt_blocks(blocks),
            Schedule::Aes192(cipher) => cipher.encrypt_blocks(blocks),
            Schedule::Aes256(cipher) => cipher.encrypt_blocks(blocks),
        }
    }

    fn decrypt_blocks(&self, blocks: &mut [Block]) {
        match &self.0 {
            Schedule::Aes128(cipher) => cipher.decrypt_blocks(blocks),
            Schedule::Aes192(cipher) => cipher.decrypt_blocks(blocks),
            Schedule::Aes256(cipher) => cipher.decrypt_blocks(blocks),
        }
    }

    fn cfb(&self, encrypt: bool, iv: &mut [u8; BLOCK_SIZE], data: &mut [u8]) {
        for chunk in data.chunks_mut(BLOCK_SIZE) {
            self.encrypt_block(iv);
            for (byte, feedback) in chunk.iter_mut().zip(iv.iter_mut()) {
                let input = *byte;
                *byte ^= *feedback;
                *feedback = if encrypt { *byte } else { input };
            }
        }
    }

    fn ofb(&self, iv: &mut [u8; BLOCK_SIZE], data: &mut [u8]) {
        for chunk in data.chunks_mut(BLOCK_SIZE) {
            self.encrypt_block(iv);
            xor(chunk, iv);
        }
    }

    pub(super) fn ctr(&self, iv: &mut [u8; BLOCK_SIZE], data: &mut [u8]) {
        let mut counter = u128::from_be_bytes(*iv);
        for chunk in data.chunks_mut(BLOCK_SIZE * BATCH) {
            let mut stream = [Block::default(); BATCH];
            let used = stream.get_mut(..chunk.len().div_ceil(BLOCK_SIZE)).unwrap_or_default();
            for block in used.iter_mut() {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            self.encrypt_blocks(used);
            for (part, block) in chunk.chunks_mut(BLOCK_SIZE).zip(used.iter()) {
                xor(part, block);
            }
        }
        *iv = counter.to_be_bytes();
    }

    fn cbc_encrypt(&self, iv: &mut [u8; BLOCK_SIZE], data: &mut [u8]) {
        for chunk in data.chunks_exact_mut(BLOCK_SIZE) {
            xor(iv, chunk);
            self.encrypt_block(iv);
            chunk.copy_from_slice(iv);
        }
    }

    fn cbc_decrypt(&self, iv: &mut [u8; BLOCK_SIZE], data: &mut [u8]) {
        for chunk in data.chunks_mut(BLOCK_SIZE * BATCH) {
            let mut cipher_text = [Block::default(); BATCH];
            let (blocks, _) = Block::slice_as_chunks_mut(chunk);
            for (to, from) in cipher_text.iter_mut().zip(blocks.iter()) {
                *to = *from;
            }
            self.decrypt_blocks(blocks);
            for (block, next) in blocks.iter_mut().zip(cipher_text) {
                xor(block, iv);
                *iv = next.into();
            }
        }
    }

    fn ecb(&self, encrypt: bool, data: &mut [u8]) {
        let (blocks, _) = Block::slice_as_chunks_mut(data);
        if encrypt { self.encrypt_blocks(blocks) } else { self.decrypt_blocks(blocks) }
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Schedule::Aes128(_) => "AesKey(128 bits)",
            Schedule::Aes192(_) => "AesKey(192 bits)",
            Schedule::Aes256(_) => "AesKey(256 bits)",
        })
    }
}

/// Encrypts or decrypts `data` in place and leaves in `iv` what the next piece goes on with.
///
/// After CFB and CBC that is the last block of cipher text, after OFB the last block of key stream,
/// after CTR the next counter; ECB does not touch it. Where CFB ends in a partial block, the
/// cipher text fills the block's beginning and unused key stream its end, which is what the TPM
/// implementations over OpenSSL answer; the next piece can't go on from there in any TPM. No data
/// leaves `iv` as it is.
///
/// # Errors
/// [`Error::Size`] when the key is not 16, 24 or 32 bytes long, or `data` no multiple of 16 in CBC
/// or ECB.
#[doc(alias = "TPM2_EncryptDecrypt")]
pub fn crypt(
    key: &[u8],
    mode: Mode,
    encrypt: bool,
    iv: &mut [u8; BLOCK_SIZE],
    data: &mut [u8],
) -> Result<(), Error> {
    let key = AesKey::new(key)?;
    if matches!(mode, Mode::Cbc | Mode::Ecb) && !data.len().is_multiple_of(BLOCK_SIZE) {
        return Err(Error::Size);
    }
    match mode {
        Mode::Cfb => key.cfb(encrypt, iv, data),
        Mode::Ctr => key.ctr(iv, data),
        Mode::Ofb => key.ofb(iv, data),
        Mode::Cbc if encrypt => key.cbc_encrypt(iv, data),
        Mode::Cbc => key.cbc_decrypt(iv, data),
        Mode::Ecb => key.ecb(encrypt, data),
    }
    Ok(())
}

/// Encrypts `data` in place with AES-CFB: parameter encryption and object protection.
///
/// # Errors
/// [`Error::Size`] when the key is not 16, 24 or 32 bytes long.
pub fn cfb_encrypt(key: &[u8], iv: &[u8; BLOCK_SIZE], data: &mut [u8]) -> Result<(), Error> {
    crypt(key, Mode::Cfb, true, &mut { *iv }, data)
}

/// Decrypts `data` in place with AES-CFB.
///
/// # Errors
/// [`Error::Size`] when the key is not 16, 24 or 32 bytes long.
pub fn cfb_decrypt(key: &[u8], iv: &[u8; BLOCK_SIZE], data: &mut [u8]) -> Result<(), Error> {
    crypt(key, Mode::Cfb, false, &mut { *iv }, data)
}

/// XOR obfuscation (TPM 2.0 Part 1, 11.4.7.3): masks `data` in place with the output of KDFa. The
/// same call takes the mask off again.
pub fn xor_obfuscate(
    alg: HashAlg,
    key: &[u8],
    nonce_newer: &[u8],
    nonce_older: &[u8],
    data: &mut [u8],
) {
    // Parameters are a few kilobytes; the length in bits always fits.
    let bits = u32::try_from(data.len().saturating_mul(8)).unwrap_or(u32::MAX);
    xor(data, &kdfa(alg, key, b"XOR", nonce_newer, nonce_older, bits));
}

fn xor(data: &mut [u8], mask: &[u8]) {
    for (byte, mask) in data.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_util::{hex, pattern, to_hex};
    use super::*;

    const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51 \
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

    /// SP 800-38A, annex F: mode, key, initialisation vector and the cipher text of [`PLAIN`].
    const VECTORS: [(Mode, &str, &str, &str); 15] = [
        (
            Mode::Cfb,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "000102030405060708090a0b0c0d0e0f",
            "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140\
             b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6",
        ),
        (
            Mode::Cfb,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "000102030405060708090a0b0c0d0e0f",
            "cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a2e1e8a1dd59b88b1\
             c8e60fed1efac4c9c05f9f9ca9834fa042ae8fba584b09ff",
        ),
        (
            Mode::Cfb,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407bdf10132415e54b92\
             a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471",
        ),
        (
            Mode::Ctr,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e\
             5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            Mode::Ctr,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e941e36b26bd1ebc670\
             d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        ),
        (
            Mode::Ctr,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94c\
             e87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
        (
            Mode::Ofb,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "000102030405060708090a0b0c0d0e0f",
            "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed8259740051e9c5fecf6\
             4344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e",
        ),
        (
            Mode::Ofb,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "000102030405060708090a0b0c0d0e0f",
            "cdc80d6fddf18cab34c25909c99a4174fcc28b8d4c63837c09e81700c11004018d9a9aeac0f6596f\
             559c6d4daf59a5f26d9f200857ca6c3e9cac524bd9acc92a",
        ),
        (
            Mode::Ofb,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d71ab47a086e86eed\
             f39d1c5bba97c4080126141d67f37be8538f5a8be740e484",
        ),
        (
            Mode::Cbc,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "000102030405060708090a0b0c0d0e0f",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b\
             7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Mode::Cbc,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "000102030405060708090a0b0c0d0e0f",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae0\
             7fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            Mode::Cbc,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacf\
             a530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
        (
            Mode::Ecb,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "000102030405060708090a0b0c0d0e0f",
            "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf43b1cd7f598ece23\
             881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4",
        ),
        (
            Mode::Ecb,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "000102030405060708090a0b0c0d0e0f",
            "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eefef7afd2270e2e60a\
             dce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e",
        ),
        (
            Mode::Ecb,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "000102030405060708090a0b0c0d0e0f",
            "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870b6ed21b99ca6f4f9\
             f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7",
        ),
    ];

    fn block(text: &str) -> [u8; BLOCK_SIZE] {
        hex(text).try_into().expect("a block")
    }

    #[test]
    fn all_modes_follow_the_standard_in_both_directions() {
        for (mode, key, iv, cipher_text) in VECTORS {
            let mut data = hex(PLAIN);
            crypt(&hex(key), mode, true, &mut block(iv), &mut data).expect("valid arguments");
            assert_eq!(data, hex(cipher_text), "{mode:?}");
            crypt(&hex(key), mode, false, &mut block(iv), &mut data).expect("valid arguments");
            assert_eq!(data, hex(PLAIN), "{mode:?}");
        }
    }

    #[test]
    fn pieces_of_whole_blocks_chain_through_the_vector() {
        let plain = pattern(BLOCK_SIZE * 20);
        for (mode, key, iv, _) in VECTORS {
            for encrypt in [true, false] {
                let mut whole = plain.clone();
                let mut whole_iv = block(iv);
                crypt(&hex(key), mode, encrypt, &mut whole_iv, &mut whole).expect("valid");
                let (mut pieces, mut chained) = (plain.clone(), block(iv));
                for piece in pieces.chunks_mut(BLOCK_SIZE * 3) {
                    crypt(&hex(key), mode, encrypt, &mut chained, piece).expect("valid");
                }
                assert_eq!(pieces, whole, "{mode:?}");
                assert_eq!(chained, whole_iv, "{mode:?}");
            }
        }
    }

    #[test]
    fn any_length_comes_back_in_the_stream_modes() {
        for mode in [Mode::Cfb, Mode::Ctr, Mode::Ofb] {
            for len in 0..=150 {
                let mut data = pattern(len);
                crypt(&[7; 32], mode, true, &mut [9; 16], &mut data).expect("valid arguments");
                assert!(len < 16 || data != pattern(len));
                crypt(&[7; 32], mode, false, &mut [9; 16], &mut data).expect("valid arguments");
                assert_eq!(data, pattern(len), "{mode:?}, {len} bytes");
            }
        }
    }

    #[test]
    fn vectors_after_a_partial_block_are_what_tpms_answer() {
        let (key, iv) = (hex("2b7e151628aed2a6abf7158809cf4f3c"), [0u8; 16]);
        let mut stream = iv;
        AesKey::new(&key).expect("a key").encrypt_block(&mut stream);
        for encrypt in [true, false] {
            let run = |mode| {
                let (mut iv, mut data) = (iv, [0x55u8; 5]);
                crypt(&key, mode, encrypt, &mut iv, &mut data).expect("valid arguments");
                (iv, data)
            };
            let (cfb, data) = run(Mode::Cfb);
            let cipher_text = if encrypt { data } else { [0x55; 5] };
            assert_eq!(cfb[..5], cipher_text);
            assert_eq!(cfb[5..], stream[5..]);
            assert_eq!(run(Mode::Ofb).0, stream);
            assert_eq!(run(Mode::Ctr).0, 1u128.to_be_bytes());
        }
    }

    #[test]
    fn the_counter_wraps_over_the_whole_block() {
        let mut iv = [0xff; 16];
        crypt(&[0; 16], Mode::Ctr, true, &mut iv, &mut [0; 17]).expect("valid arguments");
        assert_eq!(iv, 1u128.to_be_bytes());
    }

    #[test]
    fn nothing_in_leaves_the_vector_alone() {
        for mode in [Mode::Cfb, Mode::Ctr, Mode::Ofb, Mode::Cbc, Mode::Ecb] {
            let mut iv = [3; 16];
            crypt(&[0; 24], mode, true, &mut iv, &mut []).expect("valid arguments");
            assert_eq!(iv, [3; 16]);
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for len in [0, 1, 15, 17, 31, 33, 64] {
            let refused = crypt(&vec![0; len], Mode::Cfb, true, &mut [0; 16], &mut [0; 16]);
            assert_eq!(refused, Err(Error::Size));
        }
        for mode in [Mode::Cbc, Mode::Ecb] {
            for encrypt in [true, false] {
                let refused = crypt(&[0; 16], mode, encrypt, &mut [0; 16], &mut [0; 17]);
                assert_eq!(refused, Err(Error::Size));
            }
        }
    }

    #[test]
    fn the_helpers_undo_each_other() {
        let mut data = pattern(77);
        cfb_encrypt(&[1; 16], &[2; 16], &mut data).expect("valid arguments");
        assert_ne!(data, pattern(77));
        cfb_decrypt(&[1; 16], &[2; 16], &mut data).expect("valid arguments");
        assert_eq!(data, pattern(77));
        assert_eq!(cfb_encrypt(&[1; 5], &[2; 16], &mut data), Err(Error::Size));
    }

    #[test]
    fn obfuscation_is_the_output_of_kdfa() {
        let mut data = vec![0; 70];
        xor_obfuscate(HashAlg::Sha256, b"key", b"newer", b"older", &mut data);
        let mask = kdfa(HashAlg::Sha256, b"key", b"XOR", b"newer", b"older", 560);
        assert_eq!(to_hex(&data), to_hex(&mask));
        xor_obfuscate(HashAlg::Sha256, b"key", b"newer", b"older", &mut data);
        assert_eq!(data, [0; 70]);
    }
}
