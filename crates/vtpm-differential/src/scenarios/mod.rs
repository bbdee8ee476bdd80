//! Hand-written sequences, chapter by chapter: every command with success and its main errors.
//! The generators take them as their material.

mod attestation;
mod crypto;
mod duplication;
mod objects;
mod platform;
mod policies;
mod sessions;
mod storage;

use crate::cc;
use crate::crypto::{Hash, Sym};
use crate::step::{Command, Salt, Seq, Start, cmd};
use crate::templates::NULL;

/// All sequences.
pub(crate) fn all() -> Vec<Seq> {
    [platform::all(), storage::all(), objects::all(), crypto::all(), sessions::all()].concat()
}

/// `TPM2_StartAuthSession` without salt and binding: 0 HMAC, 1 policy, 3 trial.
pub(super) fn start_session(kind: u8, hash: Hash) -> Command {
    start_with(kind, hash, Sym::Null)
}

/// As [`start_session`], with parameter encryption.
pub(super) fn start_with(kind: u8, hash: Hash, sym: Sym) -> Command {
    let nonce = vec![0x5a; hash.size()];
    cmd(cc::START_AUTH_SESSION)
        .h(NULL)
        .h(NULL)
        .b2(&nonce)
        .b2([])
        .u8(kind)
        .b(sym.marshal())
        .u16(hash.id())
        .starts(Start { hash, sym, nonce, salt: Salt::None, bind: None })
}

/// `TPMS_NV_PUBLIC` with SHA-256 and no policy.
pub(super) fn nv_public(index: u32, attributes: u32, size: u16) -> Vec<u8> {
    [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0], &size.to_be_bytes()]
        .concat()
}

/// `TPM2_TestParms` with many parameters, right and wrong.
pub(super) fn test_parms(s: &mut Seq) {
    let algs: Vec<u16> = (0..0x48).collect();
    for alg in &algs {
        s.run(cmd(cc::TEST_PARMS).u16(*alg).b([0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0]));
        // RSA: symmetric, scheme, bits, exponent.
        s.run(cmd(cc::TEST_PARMS).u16(1).u16(0x10).u16(*alg).u16(0xb).u16(2048).u32(0));
        s.run(cmd(cc::TEST_PARMS).u16(1).u16(*alg).u16(128).u16(0x43).u16(0x10).u16(2048).u32(0));
        // ECC: symmetric, scheme, curve, kdf.
        s.run(cmd(cc::TEST_PARMS).u16(0x23).u16(0x10).u16(*alg).u16(0xb).u16(3).u16(0x10));
        s.run(cmd(cc::TEST_PARMS).u16(0x23).u16(0x10).u16(0x10).u16(3).u16(*alg).u16(0xb));
        s.run(cmd(cc::TEST_PARMS).u16(0x23).u16(0x10).u16(0x10).u16(*alg).u16(0x10));
        // Keyed hash and symmetric.
        s.run(cmd(cc::TEST_PARMS).u16(8).u16(*alg).u16(0xb).u16(0x22));
        s.run(cmd(cc::TEST_PARMS).u16(8).u16(5).u16(*alg));
        s.run(cmd(cc::TEST_PARMS).u16(8).u16(0xa).u16(0xb).u16(*alg));
        s.run(cmd(cc::TEST_PARMS).u16(0x25).u16(*alg).u16(128).u16(0x43));
        s.run(cmd(cc::TEST_PARMS).u16(0x25).u16(6).u16(128).u16(*alg));
    }
    for bits in [0, 512, 1024, 1025, 1536, 2048, 3072, 4096, 8192] {
        s.run(cmd(cc::TEST_PARMS).u16(1).u16(0x10).u16(0x10).u16(bits).u32(0));
    }
    for exponent in [1, 3, 5, 17, 65537, 65536, 65539, 0xffff_ffff] {
        s.run(cmd(cc::TEST_PARMS).u16(1).u16(0x10).u16(0x10).u16(2048).u32(exponent));
    }
    for bits in [0, 64, 128, 192, 256, 512] {
        s.run(cmd(cc::TEST_PARMS).u16(0x25).u16(6).u16(bits).u16(0x43));
    }
}
