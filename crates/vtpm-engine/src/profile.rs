//! Profiles: what a TPM offers. Fixed at manufacture and kept in its state, so that a guest never
//! sees its TPM change when the host's software does.

use crate::crypto::ecc::Curve;
use crate::crypto::hash::HashAlg;
use crate::wire::Alg;

/// A set of algorithms, key sizes and curves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// Bit `n` stands for `TPM_ALG_ID` `n`; all identifiers of this engine are below 128.
    pub(crate) algs: u128,
    /// Bit `n` stands for RSA keys of `1024 * n` bits.
    pub(crate) rsa: u8,
    /// Bit `n` stands for AES keys of `64 * n` bits.
    pub(crate) aes: u8,
    /// Bit `n` stands for `TPM_ECC_CURVE` `n`.
    pub(crate) curves: u32,
    /// Hashes whose PCR banks a new TPM has active; bit `n` stands for `TPM_ALG_ID` `n`.
    pub(crate) active_banks: u128,
}

/// Every algorithm that the engine has, in the order of identifiers.
pub(crate) const ALL_ALGORITHMS: [Alg; 33] = [
    Alg::RSA,
    Alg::SHA1,
    Alg::HMAC,
    Alg::AES,
    Alg::MGF1,
    Alg::KEYEDHASH,
    Alg::XOR,
    Alg::SHA256,
    Alg::SHA384,
    Alg::SHA512,
    Alg::RSASSA,
    Alg::RSAES,
    Alg::RSAPSS,
    Alg::OAEP,
    Alg::ECDSA,
    Alg::ECDH,
    Alg::ECDAA,
    Alg::ECSCHNORR,
    Alg::ECMQV,
    Alg::KDF1_SP800_56A,
    Alg::KDF2,
    Alg::KDF1_SP800_108,
    Alg::ECC,
    Alg::SYMCIPHER,
    Alg::SHA3_256,
    Alg::SHA3_384,
    Alg::SHA3_512,
    Alg::CMAC,
    Alg::CTR,
    Alg::OFB,
    Alg::CBC,
    Alg::CFB,
    Alg::ECB,
];

impl Default for Algorithms {
    /// Everything.
    fn default() -> Self {
        let algs = ALL_ALGORITHMS.iter().fold(0u128, |set, alg| set | 1u128 << (alg.0 % 128));
        Self {
            algs,
            rsa: 0b0001_1110,
            aes: 0b0001_1100,
            curves: Curve::ALL.iter().fold(0, |set, curve| set | 1u32 << (curve.id() % 32)),
            active_banks: 1u128 << Alg::SHA256.0,
        }
    }
}

impl Algorithms {
    /// Whether an algorithm is there.
    pub fn has(&self, alg: Alg) -> bool {
        alg.0 < 128 && self.algs >> alg.0 & 1 != 0
    }

    /// Whether RSA keys of so many bits are there.
    pub fn has_rsa(&self, bits: u16) -> bool {
        bits.is_multiple_of(1024) && bits < 8 * 1024 && self.rsa >> (bits / 1024) & 1 != 0
    }

    /// Bytes of the modulus of the largest RSA key.
    pub fn max_rsa_bytes(&self) -> usize {
        const BITS: [u16; 4] = [4096, 3072, 2048, 1024];
        BITS.iter().find(|bits| self.has_rsa(**bits)).map_or(0, |bits| usize::from(bits / 8))
    }

    /// Whether AES keys of so many bits are there.
    pub fn has_aes(&self, bits: u16) -> bool {
        bits.is_multiple_of(64) && bits < 8 * 64 && self.aes >> (bits / 64) & 1 != 0
    }

    /// Whether a curve is there.
    pub fn has_curve(&self, curve: Curve) -> bool {
        self.curves >> (curve.id() % 32) & 1 != 0
    }

    /// Without an algorithm.
    #[must_use]
    pub fn without(mut self, alg: Alg) -> Self {
        self.algs &= !(1u128 << (alg.0 % 128));
        self
    }

    /// Without RSA keys of so many bits.
    #[must_use]
    pub fn without_rsa(mut self, bits: u16) -> Self {
        self.rsa &= !(1u8 << (bits / 1024 % 8));
        self
    }

    /// Without a curve.
    #[must_use]
    pub fn without_curve(mut self, curve: Curve) -> Self {
        self.curves &= !(1u32 << (curve.id() % 32));
        self
    }

    /// With exactly these PCR banks active in a new TPM; `TPM2_PCR_Allocate` can change them.
    #[must_use]
    pub fn with_active_banks(mut self, banks: &[HashAlg]) -> Self {
        self.active_banks = banks.iter().fold(0, |set, hash| set | 1u128 << (hash.id() % 128));
        self
    }

    /// Whether a new TPM has the PCR bank of a hash active.
    pub fn is_bank_active(&self, hash: HashAlg) -> bool {
        self.active_banks >> (hash.id() % 128) & 1 != 0
    }

    /// The hash algorithms.
    pub fn hashes(&self) -> impl Iterator<Item = HashAlg> + '_ {
        HashAlg::ALL.iter().copied().filter(|hash| self.has(Alg(hash.id())))
    }

    /// The curves.
    pub fn curves(&self) -> impl Iterator<Item = Curve> + '_ {
        Curve::ALL.iter().copied().filter(|curve| self.has_curve(*curve))
    }
}

/// How much of everything a TPM has.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects that can be loaded at once (`TPM_PT_HR_TRANSIENT_MIN`).
    pub loaded_objects: u16,
    /// Sessions that can be loaded at once (`TPM_PT_HR_LOADED_MIN`).
    pub loaded_sessions: u16,
    /// Sessions that can exist at once, loaded or saved (`TPM_PT_ACTIVE_SESSIONS_MAX`).
    pub active_sessions: u16,
    /// Persistent objects (`TPM_PT_HR_PERSISTENT_MIN`).
    pub persistent_objects: u16,
    /// Bytes for NV indices and persistent objects together.
    pub nv_bytes: u32,
    /// Authenticated countdown timers.
    pub acts: u8,
}

/// What the TPM says about itself (`TPM_PT_FIXED`).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `TPM_PT_MANUFACTURER`: four characters of the TCG's vendor ID registry.
    pub manufacturer: [u8; 4],
    /// `TPM_PT_VENDOR_STRING_1` to `4`.
    pub vendor: [u8; 16],
    /// `TPM_PT_VENDOR_TPM_TYPE`.
    pub vendor_type: u32,
    /// `TPM_PT_FIRMWARE_VERSION_1` and `2`.
    pub firmware_version: u64,
}

/// Everything that is fixed when a TPM is manufactured.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Algorithms, key sizes and curves.
    pub algorithms: Algorithms,
    /// How much of everything.
    pub limits: Limits,
    /// What it says about itself.
    pub identity: Identity,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            algorithms: Algorithms::default(),
            limits: Limits {
                loaded_objects: 16,
                loaded_sessions: 16,
                active_sessions: 64,
                persistent_objects: 64,
                nv_bytes: 176_832,
                acts: 1,
            },
            identity: Identity {
                manufacturer: *b"VTPM",
                vendor: *b"vTPM\0\0\0\0\0\0\0\0\0\0\0\0",
                vendor_type: 1,
                firmware_version: 0x0001_0000_0000_0000,
            },
        }
    }
}

impl Profile {
    /// What software written for swtpm expects: no algorithm that older TSS releases cannot name,
    /// and all PCR banks active, as a TPM has them that `swtpm` started without `swtpm_setup`.
    pub fn like_swtpm() -> Self {
        const BANKS: [HashAlg; 4] =
            [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
        let mut profile = Self::default();
        profile.algorithms = [Alg::SHA3_256, Alg::SHA3_384, Alg::SHA3_512]
            .into_iter()
            .fold(profile.algorithms, Algorithms::without)
            .with_active_banks(&BANKS);
        profile
    }

    /// As [`Profile::default`], but with only as many slots for objects and sessions as the
    /// specification demands of any TPM: for tests of software that must cope with such a TPM.
    pub fn few_slots() -> Self {
        let mut profile = Self::default();
        profile.limits.loaded_objects = 3;
        profile.limits.loaded_sessions = 3;
        profile
    }
}
